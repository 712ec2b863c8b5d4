package balancer

import (
	"maps"
	"slices"
	"time"

	"baton/internal/pool"
)

// SetRouters tells which routers have their addresses here. With [Spec.Cold] they
// decide which services are in the kernel; until it is called for the first time
// nobody knows, and the services stay as they were found. It waits for nothing.
func (b *Balancer) SetRouters(here []string) {
	routers := make(map[string]bool, len(here))
	for _, name := range here {
		routers[name] = true
	}
	b.routers.Store(&routers)
	b.inbox.poke()
}

// heed has the table follow the routers, if they have moved.
func (e *engine) heed() {
	now := e.b.routers.Load()
	if now == nil || e.routers != nil && maps.Equal(*now, e.routers) {
		return
	}
	e.routers = *now
	if e.spec.Cold {
		e.agenda.change = time.Now() // clients are waiting
	}
}

// standby reports whether a service is left out of the kernel, because its
// address is elsewhere.
func (e *engine) standby(s *pool.Service) bool {
	switch {
	case !e.spec.Cold, s.Router == "":
		return false
	case e.routers == nil:
		return !slices.ContainsFunc(s.Keys, func(k pool.Key) bool { return e.found[k] })
	}
	return !e.routers[s.Router]
}
