package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"sync"
)

// commandContext is the context of a command. A client that goes away does not
// stop it half-way: what was begun is carried through.
func commandContext(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), commandTimeout)
}

func (s *Server) postReload(w http.ResponseWriter, r *http.Request) {
	untimed(w)
	ctx, cancel := commandContext(r)
	defer cancel()
	done, err := s.engine.Reload(ctx)
	var invalid *InvalidConfigError
	switch {
	case errors.As(err, &invalid):
		(&Problem{
			Type: ProblemInvalidConfig, Title: "Invalid configuration", Status: http.StatusUnprocessableEntity,
			Detail: fmt.Sprintf("%s is invalid, so nothing was changed: correct it (baton check -c %s shows the same) and reload again",
				invalid.Path, invalid.Path),
			Mistakes: invalid.Mistakes,
		}).write(w)
	case err != nil:
		newProblem(http.StatusInternalServerError, "the reload failed: "+err.Error()).write(w)
	default:
		if done.Changes == nil {
			done.Changes = []string{}
		}
		writeJSON(w, done)
	}
}

func (s *Server) postFailover(w http.ResponseWriter, r *http.Request) {
	s.command(w, r, "The addresses were not handed over", s.engine.Failover)
}

func (s *Server) postResume(w http.ResponseWriter, r *http.Request) {
	s.command(w, r, "The router does not take part again", s.engine.Resume)
}

// command carries something out for one router or for all of them at once.
func (s *Server) command(w http.ResponseWriter, r *http.Request, failed string, do func(context.Context, string) error) {
	names, problem := s.commanded(r)
	if problem != nil {
		problem.write(w)
		return
	}
	untimed(w)
	ctx, cancel := commandContext(r)
	defer cancel()
	out := make([]Outcome, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			out[i].Router = name
			if err := do(ctx, name); err != nil {
				out[i].Error = err.Error()
			}
		})
	}
	wg.Wait()
	failures, detail := 0, ""
	for _, o := range out {
		if o.Error != "" {
			failures++
			detail = o.Error
		}
	}
	switch {
	case failures == 0:
		writeJSON(w, Outcomes{Routers: out})
		return
	case len(out) > 1:
		detail = fmt.Sprintf("failed for %d of %d routers", failures, len(out))
	}
	(&Problem{
		Type: ProblemHandoverFailed, Title: failed, Status: http.StatusConflict, Detail: detail, Routers: out,
	}).write(w)
}

// commanded returns the routers that a command is for.
func (s *Server) commanded(r *http.Request) ([]string, *Problem) {
	var cmd RouterCommand
	if problem := readBody(r, &cmd); problem != nil {
		return nil, problem
	}
	routers := s.engine.Snapshot().Routers
	switch {
	case cmd.All == (cmd.Router != ""):
		return nil, newProblem(http.StatusBadRequest, `say either {"router": NAME} or {"all": true}`)
	case cmd.All && len(routers.Routers) == 0:
		return nil, newProblem(http.StatusNotFound, "the configuration names no routers")
	case !cmd.All:
		if _, problem := findRouter(routers, cmd.Router); problem != nil {
			return nil, problem
		}
		return []string{cmd.Router}, nil
	}
	names := make([]string, len(routers.Routers))
	for i, router := range routers.Routers {
		names[i] = router.Spec.Name
	}
	return names, nil
}

// readBody decodes a request strictly.
func readBody(r *http.Request, into any) *Problem {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return newProblem(http.StatusUnsupportedMediaType, "send the request with Content-Type: application/json")
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, end := d.Token(); errors.Is(end, io.EOF) {
			return nil
		}
		err = errors.New("more than one JSON value")
	}
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return newProblem(http.StatusRequestEntityTooLarge,
			fmt.Sprintf("the request is longer than %d bytes", tooLong.Limit))
	}
	return newProblem(http.StatusBadRequest, "the request is not understood: "+err.Error())
}
