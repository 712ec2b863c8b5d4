package balancer

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"baton/internal/pool"
)

// Drain is the draining of a server, to be kept for the next run: its deadline
// counts from its begin.
type Drain struct {
	Service string         `json:"service"`
	Server  netip.AddrPort `json:"server"`
	Since   time.Time      `json:"since"`
}

// drains remembers since when servers drain, which the pool, knowing no time,
// does not.
type drains struct {
	running []Drain // in the order of the services
	earlier []Drain // of an earlier run; those that go on are taken up
}

// since returns when a server's draining began, which is now if nobody knows.
func (d *drains) since(service string, server netip.AddrPort, now time.Time) time.Time {
	for _, known := range slices.Concat(d.running, d.earlier) {
		if known.Service == service && known.Server == server && !known.Since.After(now) {
			return known.Since
		}
	}
	return now
}

// drain ends the draining of the servers that have nothing left to wait for.
func (e *engine) drain(now time.Time) {
	var running []Drain
	ended := false
	for _, st := range e.pool.Snapshot() {
		var over []netip.AddrPort
		for _, srv := range draining(st) {
			d := Drain{Service: st.Spec.Name, Server: srv.Spec.AddrPort()}
			d.Since = e.drains.since(d.Service, d.Server, now)
			why := e.drained(st.Spec, srv, d.Since, now)
			if why == "" {
				running = append(running, d)
				continue
			}
			over = append(over, d.Server)
			e.tell(Transition{
				At: now, Service: d.Service, Server: d.Server.String(),
				From: string(Draining), To: "removed", Reason: why,
			})
		}
		if len(over) > 0 {
			e.pool.Release(st.Spec.Name, over...)
			ended = true
		}
	}
	if e.table != nil {
		e.drains.earlier = nil // what goes on has been taken up
	}
	if !slices.Equal(running, e.drains.running) {
		e.drains.running = running
		if e.b.options.OnDrains != nil {
			e.b.options.OnDrains(running)
		}
	}
	if ended {
		e.setJobs()
		e.agenda.change = now
	}
}

// draining returns the servers of a service that drain and have a place yet, and
// those that the service does not have any more.
func draining(st *pool.ServiceState) (out []*pool.ServerState) {
	for i := range st.Servers {
		if srv := &st.Servers[i]; srv.State == pool.Draining && srv.InTable {
			out = append(out, srv)
		}
	}
	for i := range st.Leaving {
		out = append(out, &st.Leaving[i])
	}
	return out
}

// drained says why a server need not be waited for any longer; empty: it need.
func (e *engine) drained(spec *pool.Service, srv *pool.ServerState, since, now time.Time) string {
	n, known := e.remaining(spec, srv)
	switch timeout := spec.DrainTimeout; {
	case !srv.InTable:
		return e.book.reason(srv)
	case known && n == 0:
		return fmt.Sprintf("it has no connections any more, %s after it began to drain", now.Sub(since).Round(time.Second))
	case timeout > 0 && now.Sub(since) >= timeout:
		return fmt.Sprintf("its drain_timeout of %s is over; %s left", timeout, count(int(n), "connection"))
	}
	return ""
}

// remaining counts the connections of a server that drains, those that are being
// closed among them. It is not known before the kernel was seen to give the
// server no new ones.
//
// Clients that persistence binds to the server count only where the kernel brings
// them back to a server of weight 0 (expire_quiescent_template).
func (e *engine) remaining(spec *pool.Service, srv *pool.ServerState) (n uint64, known bool) {
	known = e.table != nil && e.view.services != nil
	bound := spec.PersistenceSeconds > 0 && e.b.options.ClientsReturn != nil && e.b.options.ClientsReturn()
	for _, k := range spec.Keys {
		seen := e.view.services[k]
		if seen == nil {
			continue
		}
		found := seen.Find(srv.Spec.At(k))
		if found == nil {
			continue
		}
		known = known && found.Weight == 0
		n += uint64(found.Active) + uint64(found.Inactive)
		if bound {
			n += uint64(found.Persistent)
		}
	}
	return n, known
}

// deadline is until when a server that drains is waited for; zero: for as long as
// it has connections.
func (e *engine) deadline(spec *pool.Service, srv *pool.ServerState) time.Time {
	if srv.State != pool.Draining || !srv.InTable || spec.DrainTimeout == 0 {
		return time.Time{}
	}
	return e.drains.since(spec.Name, srv.Spec.AddrPort(), time.Now()).Add(spec.DrainTimeout)
}
