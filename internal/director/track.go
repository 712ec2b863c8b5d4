package director

import (
	"context"
	"slices"
	"sync"
	"time"

	"baton/internal/balancer"
	"baton/internal/link"
	"baton/internal/speaker"
	"baton/internal/track"
)

// trackBook is what pulse was told of the objects that routers track. A pulse
// that begins a router anew has to be told again.
type trackBook struct {
	mu     sync.Mutex
	states map[string][]speaker.TrackState // by router
}

// tracked takes the tracker's states of one router and tells pulse.
func (d *Director) tracked(router string, states []track.State) {
	out := make([]speaker.TrackState, len(states))
	for i, s := range states {
		out[i] = speaker.TrackState(s)
	}
	d.tracks.mu.Lock()
	defer d.tracks.mu.Unlock()
	d.tracks.states[router] = out
	d.sendTracked(router, out)
}

// tellTracks tells pulse everything that is known of what its routers track.
func (d *Director) tellTracks() {
	d.tracks.mu.Lock()
	defer d.tracks.mu.Unlock()
	for router, states := range d.tracks.states {
		d.sendTracked(router, states)
	}
}

func (d *Director) sendTracked(router string, states []speaker.TrackState) {
	if err := d.pulse.tracked(link.Tracked{Router: router, Tracks: states}); err != nil {
		// It is gone, and so are the routers.
		d.log.Debug("what a router tracks was not told", "router", router, "error", err)
	}
}

// quorumEvery is how soon the tracker hears of a service that lost its quorum, or
// got it back.
const quorumEvery = 100 * time.Millisecond

// idleEvery is how often it is looked whether there are services to watch by now.
const idleEvery = 2 * time.Second

// track makes the tracker watch what a configuration names.
func (d *Director) track(objects []track.Object) {
	services := slices.ContainsFunc(objects, func(o track.Object) bool { return o.Service != nil })
	d.tracksServices.Store(services)
	d.tracker.Set(objects)
}

// watchQuorums tells the tracker of the services, if it watches any, until ctx
// ends.
func (d *Director) watchQuorums(ctx context.Context) {
	tick := time.NewTicker(quorumEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !d.tracksServices.Load() {
			tick.Reset(idleEvery)
			continue
		}
		tick.Reset(quorumEvery)
		for _, svc := range d.balancer.Last().Services {
			if decided(svc) {
				d.tracker.Service(svc.Name, svc.Up, svc.Reason)
			}
		}
	}
}

// decided reports whether it is known that a service is up, or not: one that
// waits for the first results of its checks may be either.
func decided(svc balancer.ServiceStatus) bool {
	return svc.Up || !slices.ContainsFunc(svc.Servers, func(s balancer.ServerStatus) bool {
		return s.State == balancer.Checking
	})
}
