package check

import "time"

const (
	// handful is how many probes are started before the results of others are
	// looked at. A host that is asked for more than it can do must not open
	// connections by the thousand before it closes the first.
	handful = 64
	// many is from how many jobs on their starts are gathered, for up to a moment:
	// several are due within any few milliseconds, and waking up for each costs as
	// much as a connect does.
	many, moment = 500, 10 * time.Millisecond
	// crowd is how many probes may be under way before the next ones are paced, to
	// leastPace a second or more. Servers that answer are never so many at a time;
	// either they do not, or this host or they are overrun, and then starting
	// more would make those fail that work.
	crowd, leastPace = 512, 2000
)

// pacer holds back probes while too many are under way. The zero value knows no
// demand.
type pacer struct {
	every time.Duration // between two probes
	next  time.Time     // when the next one may start, in a crowd
}

// demand tells how many probes a second the jobs ask for. What is held back must
// not fall ever further behind.
func (p *pacer) demand(perSecond float64) {
	p.every = time.Duration(float64(time.Second) / max(leastPace, perSecond*5/4))
}

// admits reports whether a probe may start now, while so many are under way.
func (p *pacer) admits(now time.Time, running int) bool {
	if running < crowd {
		return true
	}
	if now.Before(p.next) {
		return false
	}
	// A little may be made up for.
	p.next = later(p.next, now.Add(-moment)).Add(p.every)
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// pause returns how long the schedule may sleep; not ok: until something else
// happens.
func (r *Runner) pause() (d time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 || r.stats.Running >= r.limit {
		return 0, false
	}
	now := time.Now()
	d = r.queue[0].job.due.Sub(now)
	switch {
	case d > 0:
	case r.stats.Running >= crowd:
		d = r.pace.next.Sub(now)
	default:
		return 0, true // a handful was not enough
	}
	if len(r.jobs) >= many {
		d = max(d, moment)
	}
	return max(d, 0), true
}

// setDemand adds up what the jobs ask for. The caller holds the mutex.
func (r *Runner) setDemand() {
	perSecond := 0.0
	for _, j := range r.jobs {
		perSecond += 1 / max(j.Schedule.Interval, 10*time.Millisecond).Seconds()
	}
	r.pace.demand(perSecond)
}
