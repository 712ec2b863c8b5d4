package api

import "time"

// Kind says what an [Event] is about.
type Kind string

// The kinds of events.
const (
	KindRouter  Kind = "router"
	KindService Kind = "service"
	KindServer  Kind = "server"
	KindConfig  Kind = "config"
	KindProcess Kind = "process"
	KindTable   Kind = "ipvs" // the kernel's virtual server table as a whole
)

// Event is something that happened.
type Event struct {
	// Seq grows with every event, also over a restart of the daemon. It is given
	// by [Journal.Append].
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"`
	Kind   Kind      `json:"kind"`
	Name   string    `json:"name"`             // of the router or service, or what else it is about
	Server string    `json:"server,omitempty"` // kind server: its address
	From   string    `json:"from"`
	To     string    `json:"to"`
	Reason string    `json:"reason"`
}

// Events is the document of GET /api/v1/events, oldest first.
type Events struct {
	Events []Event `json:"events"`
}

// Explanation is the document of GET /api/v1/explain/…: why something is in its
// state, one sentence or so in each line.
type Explanation struct {
	Lines  []string    `json:"lines"`
	Checks []CheckPast `json:"checks,omitempty"` // of a server
}

// CheckPast is what is remembered of the results of one check, the oldest first.
type CheckPast struct {
	Kind    string        `json:"kind"`
	Target  string        `json:"target"`
	Results []CheckStreak `json:"results"`
}

// CheckStreak is a series of results with the same code. Of a check that ever
// fails and recovers the successes are forgotten first.
type CheckStreak struct {
	Code    string    `json:"code"`
	Detail  string    `json:"detail,omitempty"` // of the last one; failures only
	From    time.Time `json:"from"`             // of the first one
	To      time.Time `json:"to"`               // of the last one
	Results int       `json:"results"`
	Gap     bool      `json:"gap,omitempty"` // others came just before it that are forgotten
}

// Outcome is what a command did to one router.
type Outcome struct {
	Router string `json:"router"`
	Error  string `json:"error,omitempty"` // empty: done
}

// Outcomes is the document of POST /api/v1/failover and /api/v1/resume.
type Outcomes struct {
	Routers []Outcome `json:"routers"`
}

// RouterCommand is the body of POST /api/v1/failover and /api/v1/resume. One of
// the two is set.
type RouterCommand struct {
	Router string `json:"router,omitempty"`
	All    bool   `json:"all,omitempty"`
}

// Health is the document of GET /healthz and /readyz.
type Health struct {
	Status string `json:"status"` // ok, ready
}
