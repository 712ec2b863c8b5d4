package director

import (
	"context"
	"slices"
	"sync"
	"time"

	"baton/internal/link"
	"baton/internal/speaker"
	"baton/internal/vrrp"
)

const (
	// ownersTick is how often the status of the routers is looked at. Transitions
	// come beside it, at once.
	ownersTick = 500 * time.Millisecond
	// ownersLinger is how long the services outlive the addresses. The owner before
	// forwards for 200 ms after its successor's first advert, and neighbours may
	// take longer to learn of it. Without its services the kernel would answer what
	// still comes by itself, with resets.
	ownersLinger = 3 * time.Second
)

// owners knows which routers have their addresses here, for the services that are
// to be in the kernel with them only.
type owners struct {
	status func() *link.Status    // of the routers; nil: not known yet
	tell   func(routers []string) // those that have their addresses here
	wake   chan struct{}          // capacity 1

	mu      sync.Mutex
	heard   map[string]speaker.Transition // the last one of each router
	since   map[string]time.Time          // when a router had them last
	told    []string
	hasTold bool
}

func newOwners(status func() *link.Status, tell func(routers []string)) *owners {
	return &owners{
		status: status, tell: tell, wake: make(chan struct{}, 1),
		heard: map[string]speaker.Transition{}, since: map[string]time.Time{},
	}
}

// transition takes a router's change of state. It waits for nothing.
func (o *owners) transition(t speaker.Transition) {
	o.mu.Lock()
	o.heard[t.Router] = t
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends.
func (o *owners) run(ctx context.Context) {
	tick := time.NewTicker(ownersTick)
	defer tick.Stop()
	for {
		o.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		case <-tick.C:
		}
	}
}

// look tells who owns what, if that has changed.
func (o *owners) look(now time.Time) {
	status := o.status()
	if status == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	here := []string{}
	for _, r := range status.Routers.Routers {
		name, owns := r.Spec.Name, r.Election.State == vrrp.Master
		if t, ok := o.heard[name]; ok && t.At.After(status.At) {
			owns = t.To == vrrp.Master
		}
		if owns || r.Held {
			o.since[name] = now
		}
		if last, ok := o.since[name]; ok && now.Sub(last) < ownersLinger {
			here = append(here, name)
		}
	}
	if o.hasTold && slices.Equal(here, o.told) {
		return
	}
	o.told, o.hasTold = here, true
	o.tell(here)
}
