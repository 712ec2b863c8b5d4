package balancer

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

// book remembers since when and why services and servers are in their state,
// which the pool, knowing no time, does not.
type book struct {
	pages  []*page // in the order of the configuration
	byName map[string]*page
	said   map[pool.CheckID]string // the sentence that came with the last verdict
	turn   int                     // the page that is next to be shown anew
}

// page is one service in the book.
type page struct {
	state *pool.ServiceState
	since time.Time
	lines []line         // of the servers, in the order of the state
	shown *ServiceStatus // in the last snapshot; nil after a change
}

// line is one server in the book.
type line struct {
	state  pool.State
	since  time.Time
	reason string
}

func newBook() book {
	return book{byName: make(map[string]*page), said: make(map[pool.CheckID]string)}
}

// begin opens the book. How things stand at the start is no transition; that a
// server begins to drain is one.
func (b *book) begin(states []*pool.ServiceState, now time.Time) []Transition {
	return b.update(states, now)
}

// update enters the present states and returns what has changed.
func (b *book) update(states []*pool.ServiceState, now time.Time) (out []Transition) {
	pages := make([]*page, len(states))
	moved := len(states) != len(b.pages)
	for i, st := range states {
		p := b.byName[st.Spec.Name]
		if p == nil {
			p = &page{since: now}
			moved = true
		}
		if p.state != st {
			out = append(out, b.enter(p, st, now)...)
		}
		pages[i] = p
	}
	b.pages = pages
	if moved { // the same number under other names has a new page among them
		clear(b.byName)
		for _, p := range pages {
			b.byName[p.state.Spec.Name] = p
		}
	}
	return out
}

// refresh makes the next snapshot show all services anew.
func (b *book) refresh() {
	for _, p := range b.pages {
		p.shown = nil
	}
}

// forget drops what checks have said that are gone.
func (b *book) forget(jobs map[pool.CheckID]*check.Job) {
	for id := range b.said {
		if _, ok := jobs[id]; !ok {
			delete(b.said, id)
		}
	}
}

// enter brings a page to a service's present state.
func (b *book) enter(p *page, st *pool.ServiceState, now time.Time) (out []Transition) {
	before := p.byServer()
	lines := make([]line, len(st.Servers)+len(st.Leaving))
	for i, srv := range st.All() {
		key := srv.Spec.AddrPort()
		was, known := before[key]
		l := &lines[i]
		*l = line{state: srv.State, since: now, reason: b.reason(srv)}
		switch {
		case !known && l.state != pool.Draining && l.state != pool.Disabled:
		case !known:
			out = append(out, Transition{At: now, Service: st.Spec.Name, Server: key.String(), To: l.state.String(), Reason: l.reason})
		case was.state == l.state:
			l.since = was.since
		default:
			out = append(out, Transition{
				At: now, Service: st.Spec.Name, Server: key.String(),
				From: was.state.String(), To: l.state.String(), Reason: l.reason,
			})
		}
	}
	if p.state != nil {
		moves := p.moves(st)
		if p.state.Up != st.Up {
			p.since = now
		}
		for i := range moves {
			moves[i].At, moves[i].Service, moves[i].Reason = now, st.Spec.Name, st.Reason
		}
		out = append(out, moves...)
	}
	p.state, p.lines, p.shown = st, lines, nil
	return out
}

// byServer finds the lines of a page.
func (p *page) byServer() map[netip.AddrPort]line {
	if p.state == nil {
		return nil
	}
	out := make(map[netip.AddrPort]line, len(p.lines))
	for i, srv := range p.state.All() {
		out[srv.Spec.AddrPort()] = p.lines[i]
	}
	return out
}

// moves returns what of a service itself has changed.
func (p *page) moves(st *pool.ServiceState) (out []Transition) {
	if p.state.Panic != st.Panic {
		out = append(out, Transition{From: panicOrNormal(p.state.Panic), To: panicOrNormal(st.Panic)})
	}
	if p.state.BackupsServe != st.BackupsServe {
		out = append(out, Transition{From: whoServes(p.state.BackupsServe), To: whoServes(st.BackupsServe)})
	}
	if p.state.Up != st.Up {
		out = append(out, Transition{From: upOrDown(p.state.Up), To: upOrDown(st.Up)})
	}
	return out
}

// reason completes the pool's reason with what the checks said, and with what else
// is special.
func (b *book) reason(srv *pool.ServerState) string {
	return joined(b.stated(srv), weightRemark(srv))
}

func (b *book) stated(srv *pool.ServerState) string {
	var all []string
	ids := srv.Failing
	if srv.State == pool.Up && len(srv.Waiting) == 0 {
		ids = srv.Spec.Checks
	}
	for _, id := range ids {
		if text, ok := b.said[id]; ok && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	if len(all) == 0 {
		return srv.Reason
	}
	return srv.Reason + ": " + strings.Join(all, "; ")
}

// The words of the transitions of a service that are not up and down.
const (
	Panicking = "panic"
	normal    = "normal"
	onBackups = "backups"
	primaries = "primaries"
)

func panicOrNormal(panics bool) string {
	if panics {
		return Panicking
	}
	return normal
}

func whoServes(backups bool) string {
	if backups {
		return onBackups
	}
	return primaries
}

func upOrDown(up bool) string {
	if up {
		return string(Up)
	}
	return string(Down)
}

// log writes one line about the transition.
func (t Transition) log(log *slog.Logger) {
	level := slog.LevelInfo
	if t.To == string(Down) || t.To == Panicking || t.To == onBackups {
		level = slog.LevelWarn
	}
	attrs := []any{"service", t.Service}
	what := "service is " + t.To
	switch t.To {
	case onBackups, primaries:
		what = "service is served by its " + t.To
	case Panicking:
		what = "service panics"
	case normal:
		what = "service panics no more"
	}
	if t.Server != "" {
		attrs = append(attrs, "server", t.Server)
		what = "server is " + t.To
	}
	log.Log(context.Background(), level, what, //nolint:sloglint // one of a few
		append(attrs, "from", t.From, "reason", t.Reason)...)
}
