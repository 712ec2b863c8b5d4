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
	// crowd is how many probes may be under way that are not [hanging], where no more
	// are asked for; and squeezed is how far that goes down on a host that is overrun.
	crowd, squeezed = 512, 32
	// hanging is after how long a probe waits for a server that will hardly answer:
	// it costs nothing any more, and holds back nobody.
	hanging = 300 * time.Millisecond
	// slow is what probes may take on a host that is late, and quick what they take
	// where it can do more. See [pacer.learn].
	slow, quick = 250 * time.Millisecond, 100 * time.Millisecond
	// leastPace is how many probes a second begin at the least.
	leastPace = 100
	// tardy is how late a probe begins on a host that is late.
	tardy = 100 * time.Millisecond
)

// pacer holds back probes while too many are under way. The zero value knows no
// demand.
//
// A host that is asked for more than it can do must not begin as many probes as are
// due: all would take longer and longer, until those of servers that work were out
// of time.
type pacer struct {
	brisk  bool          // so many are asked for
	every  time.Duration // between two probes that are beyond the window
	next   time.Time     // when the next of these may start
	window float64       // how many may be under way that are not hanging
	most   float64       // the window of a host that is in time
	recent recent
}

// demand tells how many probes a second the jobs ask for. While the host is in time
// all of them may be under way until they hang, and then some.
func (p *pacer) demand(perSecond float64) {
	p.brisk = perSecond >= brisk
	p.every = time.Duration(float64(time.Second) / max(leastPace, perSecond/8))
	if most := max(crowd, perSecond*hanging.Seconds()*3/2); most != p.most { // else what was learned holds
		p.most, p.window = most, most
	}
}

// admits reports whether a probe may start now.
func (p *pacer) admits(now time.Time) bool {
	if !p.full(now) {
		return true
	}
	if now.Before(p.next) {
		return false
	}
	// A little may be made up for.
	p.next = later(p.next, now.Add(-moment)).Add(p.every)
	return true
}

// full reports whether as many probes are under way as should be.
func (p *pacer) full(now time.Time) bool { return float64(p.recent.sum(now)) >= p.window }

// learn hears how long a probe took, and whether it had begun late. Where probes begin
// late and take long, it is this host that is overrun: with fewer under way just as
// many come to their end, and sooner. Servers that are slow or silent do not make
// anything begin late.
func (p *pacer) learn(late bool, took time.Duration) {
	switch {
	case late && took > slow:
		p.window = max(squeezed, p.window*(1-1.0/64))
	case !late || took < quick:
		p.window = min(p.most, p.window+1)
	}
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
	if d <= 0 && r.pace.full(now) {
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
