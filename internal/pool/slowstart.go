package pool

import (
	"slices"
	"time"
)

// A server that comes up into a service that works starts slowly, where the
// service says so: its weight grows in steps from a hundredth to all of it. What
// serves when the program starts has been doing so before, or begins together with
// all others, and does not.

// rampSteps is in how many steps a weight grows. Each is a write to the kernel.
const rampSteps = 20

// clock is the time as the pool was told it, and what is to be done by it.
type clock struct {
	now     time.Time
	next    time.Time // when the next step of a slow start is due; zero: never
	ramping []*server // that start slowly
}

// warm begins the slow start of a server that has just come up.
func (s *server) warm() {
	cold := s.cold && !s.held && !s.fallback // one that was held has been serving
	s.cold = false
	if s.service.spec.SlowStart <= 0 || !cold || s.service.factor == 1 && s.full() < 2 {
		return
	}
	s.warming, s.ramp = s.service.clock.now, 1
	s.service.clock.watch(s)
}

// reach sets the percentage that a slow start has reached and reports whether it
// changed.
func (s *server) reach(now time.Time) (changed bool) {
	before := s.ramp
	if s.ramp == 0 {
		return false
	}
	d := s.service.spec.SlowStart
	switch passed := max(now.Sub(s.warming), 0); {
	case s.state != Up, passed >= d:
		s.ramp = 0
	default:
		s.ramp = min(max(uint32(passed/step(d))*(100/rampSteps), 1), 100)
	}
	if s.ramp == 0 {
		s.warming = time.Time{}
	}
	if s.ramp != before {
		s.service.touch()
	}
	return s.ramp != before
}

// due is when the slow start takes its next step.
func (s *server) due(now time.Time) time.Time {
	d := step(s.service.spec.SlowStart)
	passed := max(now.Sub(s.warming), 0)
	return s.warming.Add(passed - passed%d + d)
}

func step(d time.Duration) time.Duration { return max(d/rampSteps, 1) }

// Advance tells the pool the time, which it needs for slow starts only, and
// reports whether the table may have changed by it. What is told to the pool
// afterwards happens at that time.
func (p *Pool) Advance(now time.Time) (changed bool) {
	c := p.clock
	c.now, c.next = now, time.Time{}
	watched := c.ramping
	c.ramping = nil
	for _, srv := range watched {
		changed = srv.reach(now) || changed
		srv.watched = false
		if srv.ramp > 0 {
			c.watch(srv)
		}
	}
	return changed
}

// Deadline is when [Pool.Advance] has something to do next; zero: never.
func (p *Pool) Deadline() time.Time { return p.clock.next }

// watch has a server that starts slowly take its next steps.
func (c *clock) watch(srv *server) {
	if !srv.watched {
		srv.watched = true
		c.ramping = append(c.ramping, srv)
	}
	if at := srv.due(c.now); c.next.IsZero() || at.Before(c.next) {
		c.next = at
	}
}

// keep forgets the servers of services that have been replaced.
func (c *clock) keep(services map[string]*service) {
	c.ramping = slices.DeleteFunc(c.ramping, func(srv *server) bool { return services[srv.service.spec.Name] != srv.service })
}
