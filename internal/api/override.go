package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"baton/internal/balancer"
	"baton/internal/pool"
)

// The states that [ServerPatch] asks for.
const (
	ServerEnabled  = "enabled" // the checks decide
	ServerDraining = string(balancer.Draining)
	ServerDisabled = string(balancer.Disabled)
)

// MaxReason is how long the reason of an override may be, in characters.
const MaxReason = 200

// ServerPatch is the body of PATCH /api/v1/services/{service}/servers/{address}:
// what is absent stays as it is.
type ServerPatch struct {
	State  string  `json:"state,omitempty"`  // enabled, draining, disabled
	Weight *uint32 `json:"weight,omitempty"` // 0–2147483647, instead of the configured one
	Reset  bool    `json:"reset,omitempty"`  // undo everything first, the weight too
	Reason string  `json:"reason,omitempty"` // one line for other operators
}

// OverrideCommand is a [ServerPatch] for a server that was found, and who wants it.
type OverrideCommand struct {
	pool.Place
	ServerPatch
	By string
}

// Overridden is the document of PATCH /api/v1/services/{service}/servers/{address}.
type Overridden struct {
	Service string     `json:"service"`
	Server  RealServer `json:"server"`  // as it is now
	Changed bool       `json:"changed"` // false: it was so before
	Notes   []string   `json:"notes"`   // what else there is to know, in words
}

// OverrideDone is what became of an [OverrideCommand].
type OverrideDone struct {
	Changed bool
	Notes   []string
}

// Override is what an operator wants of a server, whatever the configuration says.
type Override struct {
	State        string    `json:"state,omitempty"` // draining, disabled; absent: the checks decide
	By           string    `json:"by,omitempty"`    // who wanted this state
	At           time.Time `json:"at,omitzero"`
	Reason       string    `json:"reason,omitempty"`
	Weight       *uint32   `json:"weight,omitempty"` // absent: the configured one
	WeightBy     string    `json:"weight_by,omitempty"`
	WeightAt     time.Time `json:"weight_at,omitzero"`
	WeightReason string    `json:"weight_reason,omitempty"`
}

// AbsentOverride is an override whose server is in no service just now.
type AbsentOverride struct {
	Service  string    `json:"service"`
	Server   string    `json:"server"`
	Override Override  `json:"override"`
	Since    time.Time `json:"since"` // when the server was seen to be gone
	Until    time.Time `json:"until"` // when the override is forgotten
}

// Absent is an override whose server is in no service, as the engine knows it.
type Absent struct {
	balancer.Override
	Until time.Time // when it is forgotten
}

func fromOverride(o *balancer.Override) *Override {
	if o == nil {
		return nil
	}
	out := &Override{State: string(o.State), Weight: o.Weight}
	if o.State != "" {
		out.By, out.At, out.Reason = o.Stated.By, o.Stated.At.UTC(), o.Stated.Reason
	}
	if o.Weight != nil {
		out.WeightBy, out.WeightAt, out.WeightReason = o.Weighed.By, o.Weighed.At.UTC(), o.Weighed.Reason
	}
	return out
}

func fromAbsent(a Absent) AbsentOverride {
	return AbsentOverride{
		Service: a.Service, Server: a.Server.String(), Override: *fromOverride(&a.Override),
		Since: a.Override.Absent.UTC(), Until: a.Until.UTC(),
	}
}

func (s *Server) getServer(w http.ResponseWriter, r *http.Request) {
	_, srv, problem := s.serverOf(r)
	if problem != nil {
		problem.write(w)
		return
	}
	writeJSON(w, fromServer(srv))
}

func (s *Server) patchServer(w http.ResponseWriter, r *http.Request) {
	var c OverrideCommand
	problem := readBody(r, &c.ServerPatch)
	if problem == nil {
		problem = c.check()
	}
	if problem == nil {
		c.Place, problem = findPlace(s.engine.Snapshot(), r.PathValue("service"), r.PathValue("address"), c.undoes())
	}
	if problem != nil {
		problem.write(w)
		return
	}
	c.By = requester(r.Context())
	untimed(w)
	ctx, cancel := commandContext(r)
	defer cancel()
	done, err := s.engine.Override(ctx, c)
	if err != nil {
		overrideProblem(err).write(w)
		return
	}
	out := Overridden{Service: c.Service, Changed: done.Changed, Notes: done.Notes}
	if out.Notes == nil {
		out.Notes = []string{}
	}
	out.Server = RealServer{Address: c.Server.String(), Checks: []Check{}} // of one that is not there
	if svc, problem := findService(s.engine.Snapshot().Balancer, c.Service); problem == nil {
		for _, srv := range svc.Servers {
			if srv.Address == c.Server {
				out.Server = fromServer(srv)
			}
		}
	}
	writeJSON(w, out)
}

// NotSavedError says that an override was refused because it could not have been
// kept: nothing has changed.
type NotSavedError struct{ Err error }

// Error says what can be done about it.
func (e *NotSavedError) Error() string {
	return fmt.Sprintf("nothing was changed, because it could not be kept for the next start: %v; make room, or let baton write there, and say it again", e.Err)
}

func (e *NotSavedError) Unwrap() error { return e.Err }

func overrideProblem(err error) *Problem {
	var unsaved *NotSavedError
	if errors.As(err, &unsaved) {
		return newProblem(http.StatusInsufficientStorage, unsaved.Error())
	}
	return newProblem(http.StatusServiceUnavailable, err.Error())
}

// undoes reports whether the patch takes things back and wants nothing new.
func (p ServerPatch) undoes() bool {
	return p.Weight == nil && (p.State == ServerEnabled || p.State == "" && p.Reset)
}

// check says what is wrong with a patch, and tidies its reason.
func (p *ServerPatch) check() *Problem {
	p.Reason = strings.TrimSpace(p.Reason)
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case p.State == "" && p.Weight == nil && !p.Reset:
		return newProblem(http.StatusBadRequest,
			`say what to change: {"state": "draining"}, "disabled" or "enabled", {"weight": N}, or {"reset": true}`)
	case p.State != "" && p.State != ServerEnabled && p.State != ServerDraining && p.State != ServerDisabled:
		return newProblem(http.StatusBadRequest, fmt.Sprintf("state is %q; it may be draining, disabled or enabled", p.State))
	case p.Weight != nil && *p.Weight > balancer.MaxWeight:
		return newProblem(http.StatusBadRequest, fmt.Sprintf("weight is %d; it may be from 0 to %d", *p.Weight, balancer.MaxWeight))
	case utf8.RuneCountInString(p.Reason) > MaxReason:
		return newProblem(http.StatusBadRequest, fmt.Sprintf("the reason is longer than %d characters", MaxReason))
	case !utf8.ValidString(p.Reason), strings.ContainsFunc(p.Reason, unprintable):
		return newProblem(http.StatusBadRequest, "the reason is not one line of text")
	}
	return nil
}

// findPlace finds the server that an override is for; what takes something back
// may be for one that is gone.
func findPlace(s Snapshot, service, which string, undo bool) (pool.Place, *Problem) {
	if undo {
		for _, a := range s.Absent {
			if a.Service == service && (a.Server.String() == which || a.Server.Addr().String() == which) {
				return a.Place(), nil
			}
		}
	}
	svc, problem := findService(s.Balancer, service)
	if problem != nil {
		return pool.Place{}, problem
	}
	fallback := svc.FallbackServer
	svc.FallbackServer = nil
	srv, problem := findServer(svc, which)
	if problem == nil {
		return pool.Place{Service: svc.Name, Server: srv.Address}, nil
	}
	if fallback != nil {
		svc.Servers, svc.FallbackServer = nil, fallback
		if f, none := findServer(svc, which); none == nil {
			problem = newProblem(http.StatusConflict, fmt.Sprintf(
				"%s is the fallback of service %s, which serves when nobody else does: it cannot be overridden; to replace it change the configuration and reload",
				f.Address, svc.Name))
		}
	}
	return pool.Place{}, problem
}

// userKey is the key of a request's context under which its user's name is found.
type userKey struct{}

// AsUser makes the requests of a context those of a user, whose name stands beside
// what they do.
func AsUser(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, userKey{}, name)
}

// requester is who made a request.
func requester(ctx context.Context) string {
	if name, ok := ctx.Value(userKey{}).(string); ok && name != "" {
		return name
	}
	return "somebody"
}
