package track

import (
	"context"
	"slices"
	"time"
)

// tell tells the sink of each router of which something has changed.
func (t *Tracker) tell(ctx context.Context) {
	t.mu.Lock()
	names := make([]string, len(t.routers))
	for i, r := range t.routers {
		names[i] = r.name
	}
	t.mu.Unlock()
	for _, name := range names {
		states, changed := t.news(name)
		if changed && ctx.Err() == nil {
			t.sink(name, states)
		}
	}
}

// news returns the states of a router, if there is something new about them.
func (t *Tracker) news(name string) ([]State, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.router(name)
	if r == nil {
		return nil, false
	}
	told, heard := t.told[name]
	known := heard // a router without any result is not worth a call
	states := make([]State, len(r.objects))
	for i, o := range r.objects {
		s := o.state(t.seen[o.source()])
		s.Since = time.Now()
		if before, ok := stateOf(told, o.Name); ok && before.same(s) {
			s.Since = before.Since
		}
		known = known || s.Known
		states[i] = s
	}
	if !known || heard && slices.Equal(told, states) {
		return nil, false
	}
	for _, s := range states {
		if before, _ := stateOf(told, s.Name); !before.same(s) {
			t.report(name, before, s)
		}
	}
	t.told[name] = states
	return slices.Clone(states), true
}

func stateOf(states []State, name string) (State, bool) {
	for _, s := range states {
		if s.Name == name {
			return s, true
		}
	}
	return State{Name: name}, false
}

// report logs a change.
func (t *Tracker) report(router string, before, now State) {
	log := t.log.With("router", router, "object", now.Name, "weight", now.Weight, "detail", now.Detail)
	switch {
	case !now.Known:
	case before.Known && before.Up == now.Up:
		log.Debug("tracked object has another weight")
	case now.Up:
		log.Info("tracked object is up")
	default:
		log.Warn("tracked object is down")
	}
}
