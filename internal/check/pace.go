package check

import "time"

const (
	// handful is how many probes are started before others are looked at. A host that
	// is asked for more than it can do must not open connections by the thousand before
	// it closes the first, and a server must not wait long for what it is asked.
	handful = 16
	// brisk is from how many probes a second on their starts and their ends are
	// gathered, for up to a moment: several come within any few milliseconds, and to
	// wake up for each costs as much as a connect does. What a probe took is then
	// rounded up to that.
	brisk, moment = 500, 5 * time.Millisecond
	// crowd is how many probes may be under way before the next ones are paced, to
	// leastPace a second or more. Servers that answer are never so many at a time;
	// either they do not, or this host or they are overrun, and then starting
	// more would make those fail that work.
	crowd, leastPace = 512, 2000
)

// pacer holds back probes while too many are under way. The zero value knows no
// demand.
type pacer struct {
	brisk bool          // so many are asked for
	every time.Duration // between two probes
	next  time.Time     // when the next one may start, in a crowd
}

// demand tells how many probes a second the jobs ask for. What is held back must
// not fall ever further behind.
func (p *pacer) demand(perSecond float64) {
	p.brisk = perSecond >= brisk
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
	d, ok = r.untilDue(time.Now())
	if !r.pace.brisk || ok && d == 0 {
		return d, ok
	}
	if r.poller != nil && r.stats.Running > 0 { // only this goroutine looks how they go on
		return moment, true
	}
	return max(d, moment), ok
}

// untilDue returns how long nothing can be started; not ok: until something else
// happens. 0: a handful was not enough. The caller holds the mutex.
func (r *Runner) untilDue(now time.Time) (d time.Duration, ok bool) {
	if len(r.queue) == 0 || r.stats.Running >= r.limit {
		return 0, false
	}
	d = r.queue[0].job.due.Sub(now)
	if d <= 0 && r.stats.Running >= crowd {
		d = r.pace.next.Sub(now)
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
	if r.poller != nil {
		r.poller.leave(r.pace.brisk)
	}
}
