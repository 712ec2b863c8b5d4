package api

import (
	"encoding/json"
	"net/http"
)

// The types of problems that a client may want to tell apart, besides by their
// status. They are places in the API's own description.
const (
	ProblemInvalidConfig  = "/api/v1/openapi.json#/components/responses/InvalidConfiguration"
	ProblemHandoverFailed = "/api/v1/openapi.json#/components/responses/HandoverFailed"
)

const problemContentType = "application/problem+json"

// Problem is an error as RFC 9457 has it. As an error of [Client] it is what the
// daemon answered.
type Problem struct {
	Type   string `json:"type"` // "about:blank" where the status says it all
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"` // what went wrong and what to do next

	Mistakes []string  `json:"mistakes,omitempty"` // of an invalid configuration
	Routers  []Outcome `json:"routers,omitempty"`  // of a command that failed for some router
}

// Error returns the detail, or the title where there is none.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// newProblem is a problem that its status describes.
func newProblem(status int, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

func (p *Problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", problemContentType)
	writeBody(w, p.Status, p)
}

// writeJSON sends a document.
func writeJSON(w http.ResponseWriter, doc any) {
	w.Header().Set("Content-Type", "application/json")
	writeBody(w, http.StatusOK, doc)
}

func writeBody(w http.ResponseWriter, status int, doc any) {
	body, err := json.Marshal(doc)
	if err != nil { // our own types: a mistake in this package
		http.Error(w, "encode the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A client that went away while it was answered is its own affair.
	_, _ = w.Write(append(body, '\n'))
}
