package vrrp

import (
	"net/netip"
	"time"
)

// path is what is known of the masters heard on one of the ways that adverts
// come: the same master has another source on each.
type path struct {
	owner     netip.Addr
	priority  uint8
	lastHeard time.Time
}

// heard remembers who speaks as master, and where.
func (r *Router) heard(now time.Time, ev Event) {
	r.lastHeard = now
	r.owner, r.ownerPriority = ev.Source, ev.Advert.Priority
	for len(r.paths) <= ev.Path {
		r.paths = append(r.paths, path{})
	}
	r.paths[ev.Path] = path{ev.Source, ev.Advert.Priority, now}
}

// forget is for the time when nothing is known of a master.
func (r *Router) forget() {
	r.owner, r.ownerPriority = netip.Addr{}, 0
	clear(r.paths)
}

// anotherOwns reports whether a master other than the sender was heard on the
// same path so lately that it must still be there: then the sender has nothing
// to give up, and believing it would cost the real master its addresses for
// nothing.
func (r *Router) anotherOwns(now time.Time, ev Event) bool {
	if ev.Path >= len(r.paths) {
		return false
	}
	p := r.paths[ev.Path]
	return p.owner.IsValid() && p.owner != ev.Source && p.priority != 0 &&
		now.Sub(p.lastHeard) <= r.masterInterval+r.masterInterval/2
}

// losesTie reports whether the sender wins against our equal priority: the
// higher address does (RFC 9568 section 6.4.3). Two routers could stand in
// another order on a second path, and both yield; so it decides only when the
// sender was heard there for a down interval and not once on the first one.
func (r *Router) losesTie(now time.Time, ev Event) bool {
	if ev.Path == 0 || now.Sub(r.tieHeard) > r.ownDownInterval() {
		r.tieSince = now
	}
	r.tieHeard = now
	if ev.Path == 0 {
		return ev.Source.Compare(r.spec.Source) > 0
	}
	return now.Sub(r.tieSince) > r.ownDownInterval() && ev.Source.Compare(ev.Own) > 0
}
