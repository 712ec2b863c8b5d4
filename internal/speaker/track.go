package speaker

import (
	"fmt"
	"time"

	"baton/internal/vrrp"
)

// tracked is an object that a router tracks, at work.
type tracked struct {
	spec  Track
	state TrackState
	iface *iface // TrackInterface only
	// changeAt is when a change of the interface that lasts until then counts;
	// zero: it has not changed.
	changeAt time.Time
}

// makeTracks makes the objects of a specification; those that were there before
// keep their state.
func (r *router) makeTracks() {
	old := r.tracks
	r.tracks = map[string]*tracked{}
	for _, spec := range r.spec.Track {
		t := &tracked{spec: spec, state: TrackState{Name: spec.Name}}
		if was := old[spec.Name]; was != nil {
			t.state, t.changeAt = was.state, was.changeAt
		}
		if spec.Kind == TrackInterface {
			t.iface = r.s.ifaceOf(spec.Interface)
		}
		r.tracks[spec.Name] = t
	}
}

// Tracked takes the states of objects that the speaker does not look at itself.
func (s *Speaker) Tracked(router string, states []TrackState) {
	s.post(func() {
		r := s.routers[router]
		if r == nil {
			return // removed meanwhile
		}
		for _, state := range states {
			if t := r.tracks[state.Name]; t != nil && t.iface == nil {
				t.state = state
			}
		}
		r.judge()
	})
}

// lookAtInterface brings the state of a tracked interface up to date, after its
// delay.
func (t *tracked) lookAtInterface(now time.Time) {
	if !t.iface.looked {
		return
	}
	why := t.iface.problem
	if why == "" && t.spec.Address && !t.iface.ownAddress() {
		why = fmt.Sprintf("interface %s has no address of its own", t.iface.name)
	}
	up := why == ""
	if t.state.Known && up == t.state.Up {
		t.changeAt = time.Time{}
		t.state.Detail = detail(t.iface.name, why)
		return
	}
	wait := t.spec.DownDelay
	if up {
		wait = t.spec.UpDelay
	}
	switch {
	case !t.state.Known || wait == 0: // the first look counts at once
	case t.changeAt.IsZero():
		t.changeAt = now.Add(wait)
		return
	case now.Before(t.changeAt):
		return
	}
	t.changeAt = time.Time{}
	t.state.Known, t.state.Up, t.state.Since, t.state.Detail = true, up, now, detail(t.iface.name, why)
	t.state.Weight = weigh(t.spec.Weight, up)
}

func detail(name, why string) string {
	if why == "" {
		return "interface " + name + " is up"
	}
	return why
}

// weigh is what an object of a weight adds to the priority.
func weigh(weight int, up bool) int {
	if (weight > 0) == up {
		return weight
	}
	return 0
}

// tickTracks is for delays that have passed.
func (r *router) tickTracks(now time.Time) {
	for _, t := range r.tracks {
		if !t.changeAt.IsZero() && !now.Before(t.changeAt) {
			r.judge()
			return
		}
	}
}

// lookAtTracks brings the tracked interfaces up to date.
func (r *router) lookAtTracks(now time.Time) {
	for _, t := range r.tracks {
		if t.iface != nil {
			t.lookAtInterface(now)
		}
	}
}

// judge lets everything that is tracked count: for this router, and for those
// that change their state with it.
func (r *router) judge() {
	for _, m := range r.together() {
		m.interfaceChanged()
	}
}

// trackFault says what puts the router into fault, or is empty.
func (r *router) trackFault() string {
	for _, spec := range r.spec.Track {
		if t := r.tracks[spec.Name].state; spec.Weight == 0 && t.Known && !t.Up {
			return fmt.Sprintf("tracked %s: %s", spec.Name, t.Detail)
		}
	}
	return ""
}

// trackUnknown names an object without which the router does not start and of
// which there is no result yet, or is empty. A router that runs already, and was
// told to track something more, goes on.
func (r *router) trackUnknown() string {
	for _, spec := range r.spec.Track {
		if spec.Weight == 0 && !r.tracks[spec.Name].state.Known {
			return "waiting for the first result of the tracked " + spec.Name
		}
	}
	return ""
}

// weighed is the effective priority: what the weights of this router and of the
// others of its group make of the configured one. The group's count all
// together, because its routers can only move together.
func (r *router) weighed() (priority uint8, why string) {
	if r.spec.Priority == vrrp.OwnerPriority {
		return r.spec.Priority, "as configured"
	}
	sum := 0
	why = fmt.Sprintf("%d as configured", r.spec.Priority)
	for _, m := range r.together() {
		for _, spec := range m.spec.Track {
			t := m.tracks[spec.Name]
			if w := t.state.Weight; w != 0 && spec.Weight != 0 {
				sum += w
				why += fmt.Sprintf(", %+d by %s (%s)", w, spec.Name, t.state.Detail)
			}
		}
	}
	const least, most = 1, vrrp.OwnerPriority - 1
	return uint8(max(least, min(most, int(r.spec.Priority)+sum))), why //nolint:gosec // within 1–254
}

// weigh makes the tracked weights count.
func (r *router) weigh(now time.Time) {
	priority, why := r.weighed()
	if priority == r.priority {
		return
	}
	from := r.priority
	r.priority = priority
	if from == 0 {
		return // the first time
	}
	r.s.note()
	r.log.Info("priority changed", "from", from, "to", priority, "reason", why)
	r.s.tell(Notice{
		At: now, Router: r.spec.Name, From: fmt.Sprintf("priority %d", from), To: fmt.Sprintf("priority %d", priority), Reason: why,
	})
}

func (r *router) trackStates() []TrackState {
	var out []TrackState
	for _, spec := range r.spec.Track {
		out = append(out, r.tracks[spec.Name].state)
	}
	return out
}
