package balancer

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"baton/internal/pool"
)

// Override is what an operator wants of a server, whatever the configuration says.
type Override struct {
	Service string         `json:"service"`
	Server  netip.AddrPort `json:"server"` // as [pool.Server.AddrPort]

	State   ServerState `json:"state,omitempty"` // Draining or Disabled; empty: the checks decide
	Stated  Note        `json:"stated,omitzero"`
	Weight  *uint32     `json:"weight,omitempty"` // 0–[MaxWeight]; nil: the configured one
	Weighed Note        `json:"weighed,omitzero"`

	// Absent is since when no service has the server; zero: one has.
	Absent time.Time `json:"absent,omitzero"`
}

// MaxWeight is the largest weight that the kernel takes.
const MaxWeight = 1<<31 - 1

// Note says who wanted something, when, and, if they said it, why.
type Note struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// String returns the note as a part of a sentence: "by alice 2026-01-02 15:04: new disk".
func (n Note) String() string {
	text := fmt.Sprintf("by %s %s", n.By, n.At.Local().Format("2006-01-02 15:04"))
	if n.Reason != "" {
		text += ": " + n.Reason
	}
	return text
}

// Place is whom the override concerns.
func (o Override) Place() pool.Place { return pool.Place{Service: o.Service, Server: o.Server} }

// String returns what the override does, by whom and why, as a part of a sentence.
func (o Override) String() string {
	var parts []string
	switch o.State {
	case Draining:
		parts = append(parts, "drained "+o.Stated.String())
	case Disabled:
		parts = append(parts, "disabled "+o.Stated.String())
	}
	if o.Weight != nil {
		parts = append(parts, fmt.Sprintf("weight %d %s", *o.Weight, o.Weighed))
	}
	return strings.Join(parts, "; ")
}

// Wishes are all that is wanted of servers beyond the specification. Nobody
// changes them after they were told.
type Wishes struct {
	Overrides []Override // one for a server at most
	// Hold says why else a server is to drain; empty: it need not. It is asked for
	// each server when something changes, by the goroutine of Run. nil: none is.
	Hold func(service *pool.Service, server *pool.Server) string
}

// Wish replaces the wishes and returns when the kernel has been told, if it can be.
// The error is only that of a balancer that has ended or of ctx.
func (b *Balancer) Wish(ctx context.Context, w Wishes) error {
	return b.command(ctx, command{wishes: &w})
}

// wishes are the wishes of the engine, by server.
type wishes struct {
	Wishes
	overrides map[pool.Place]*Override
	held      map[pool.Place]string
}

// wish puts other wishes into force.
func (e *engine) wish(ctx context.Context, w Wishes) {
	e.setWishes(w)
	e.pool.Advance(time.Now()) // who is enabled starts slowly from now on
	if e.pool.Override(e.wishes.forPool()) {
		e.apply(ctx, false)
	}
}

func (e *engine) setWishes(w Wishes) {
	e.wishes = wishes{Wishes: w, overrides: make(map[pool.Place]*Override, len(w.Overrides))}
	for i := range w.Overrides {
		e.wishes.overrides[w.Overrides[i].Place()] = &w.Overrides[i]
	}
	e.hold()
}

// hold asks for each server of the spec whether something holds it.
func (e *engine) hold() {
	e.wishes.held = nil
	if e.wishes.Hold == nil {
		return
	}
	e.wishes.held = make(map[pool.Place]string)
	for i := range e.spec.Services {
		s := &e.spec.Services[i]
		for n := range s.Servers {
			if why := e.wishes.Hold(s, &s.Servers[n]); why != "" {
				e.wishes.held[pool.Place{Service: s.Name, Server: s.Servers[n].AddrPort()}] = why
			}
		}
	}
}

// forPool is what the pool has to know of the wishes.
func (w *wishes) forPool() map[pool.Place]pool.Override {
	out := make(map[pool.Place]pool.Override, len(w.overrides)+len(w.held))
	for at, why := range w.held {
		out[at] = pool.Override{Drain: why}
	}
	for at, o := range w.overrides {
		p := out[at]
		switch o.State {
		case Draining:
			p.Drain = joined("drained "+o.Stated.String(), p.Drain)
		case Disabled:
			p.Disable = joined("disabled "+o.Stated.String(), p.Drain)
		}
		if o.Weight != nil {
			p.Weighs, p.Weight, p.WeightWhy = true, *o.Weight, "set "+o.Weighed.String()
		}
		out[at] = p
	}
	return out
}

// joined is both reasons, or the one that there is.
func joined(a, b string) string {
	if b == "" {
		return a
	}
	return a + "; " + b
}

// weightRemark says that a server has another weight than the configured one, and
// why; empty: it has not.
func weightRemark(srv *pool.ServerState) string {
	o := srv.Override
	if !o.Weighs {
		return ""
	}
	return fmt.Sprintf("its weight is %d instead of %d, %s", o.Weight, srv.Spec.Weight, o.WeightWhy)
}

// wanted is all that is wanted of the server, by whom and why; empty: nothing.
func (s ServerStatus) wanted() string {
	if s.Override == nil {
		return s.Held
	}
	return joined(s.Override.String(), s.Held)
}

// explainWishes says what takes back what is wanted of the server.
func (s ServerStatus) explainWishes(service ServiceStatus) (out []string) {
	undo := func(verb string) string {
		return fmt.Sprintf("\"baton server %s %s %s\"", verb, service.Name, s.Address)
	}
	o := s.Override
	if o != nil && o.State != "" {
		out = append(out, fmt.Sprintf("%s takes that back; %s", undo("enable"), s.then()))
	}
	if s.Held != "" {
		out = append(out, "It is held for as long as this is so: "+s.Held+".")
	}
	if o != nil && o.Weight != nil {
		out = append(out, fmt.Sprintf("Its weight is %d instead of the configured %d, set %s. %s takes that back.",
			*o.Weight, s.ConfiguredWeight, o.Weighed, undo("reset")))
	}
	return out
}

// then says what would become of the server without the override of its state.
func (s ServerStatus) then() string {
	if s.Held != "" {
		return "it drains all the same, because it is held."
	}
	waiting := false
	for _, c := range s.Checks {
		if c.Known && !c.Up {
			return "then it is down, for its checks fail."
		}
		waiting = waiting || !c.Known
	}
	if waiting {
		return "then its checks decide, which have not all spoken yet."
	}
	return "then it serves at once, for its checks pass."
}
