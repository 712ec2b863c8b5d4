package balancer

import (
	"context"
	"io"
	"maps"
	"reflect"
	"time"

	"baton/internal/check"
	"baton/internal/ipvs"
	"baton/internal/pool"
)

const (
	// settle is how long a change waits for others to come along: servers fail
	// together, and one pass over the kernel's table serves them all.
	settle = 3 * time.Millisecond
	// refresh is how often the snapshot is renewed when nothing happens.
	refresh = time.Second
	// The pauses between attempts to open the kernel's table.
	firstRetry, lastRetry = time.Second, 30 * time.Second
	// A comparison with the kernel takes a twenty-fifth of the time between two
	// at most, where the table allows it, and never stands in the way of a verdict
	// for longer than longestSample. See [ipvs.Kernel.Sample].
	sampleShare, longestSample = 25, 100 * time.Millisecond
	// Where a table takes long to be compared, that is done less often: it takes a tenth
	// of the time at most. What others change is found after [slowResyncs] resyncs all
	// the same, for it may have taken long for another reason.
	resyncShare, slowResyncs = 10, 5
	// floodResyncs is how many resyncs in a row a flood of verdicts puts off.
	floodResyncs = 5
	// The snapshot of what has not changed is renewed in turn: at each refresh for
	// as long as this, longer while somebody looks, and at least a publishRounds-th
	// of the services.
	shortPublish, longPublish, publishRounds = 4 * time.Millisecond, 20 * time.Millisecond, 30
	// looking is how long somebody who has asked for the snapshot is taken to look.
	looking = 3 * time.Second
	// patience bounds what one pass over the kernel's table may take.
	patience = 30 * time.Second
)

// engine is the state of the goroutine of Run.
type engine struct {
	b    *Balancer
	spec Spec
	pool *pool.Pool
	jobs map[pool.CheckID]*check.Job // of the spec, and of servers that drain; not to be changed

	routers map[string]bool   // that have their addresses here; nil: not known yet
	found   map[pool.Key]bool // in the kernel when it was opened

	wishes  wishes
	vias    vias
	drains  drains
	book    book // since when and why things are as they are
	kernel  Kernel
	table   *ipvs.Reconciler // of kernel; nil without one
	view    view             // what was last seen in the kernel and done to it
	drifts  drifts           // what others did to it, until it is told
	agenda  agenda
	pause   time.Duration // before the next attempt to open the kernel's table
	expense time.Duration // of the last pass
	// compared is what the last comparison with the kernel took.
	compared time.Duration
}

// agenda says when what has to be done; the zero time is never.
type agenda struct {
	change, resync, open, publish, ramp time.Time

	latest time.Time // a resync cannot be put off any more
}

// earliest returns the first of the times; there always is one.
func (a agenda) earliest() time.Time {
	first := a.publish
	for _, t := range []time.Time{a.change, a.resync, a.open, a.ramp} {
		if !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

func isDue(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

func newEngine(b *Balancer, spec Spec) engine {
	return engine{
		b: b, spec: spec, book: newBook(), view: newView(), pause: firstRetry,
		drains: drains{earlier: b.options.Drains},
	}
}

// begin looks at the kernel, builds the pool on what it finds and brings the
// table up to date, all before the first check: what serves is to serve on.
func (e *engine) begin(ctx context.Context) {
	found := e.open(ctx)
	e.setWishes(e.b.options.Wishes)
	e.pool = pool.New(nil, nil)
	e.pool.Override(e.wishes.forPool())
	e.pool.Reconfigure(e.spec.Services)
	e.pool.Adopt(found)
	for _, t := range e.book.begin(e.pool.Snapshot(), time.Now()) {
		e.tell(t)
	}
	e.planJobs()
	e.apply(ctx, true)
	e.runJobs()
}

// setJobs tells the runner which checks there are.
func (e *engine) setJobs() {
	e.planJobs()
	e.runJobs()
}

// planJobs finds which checks there are: those of the spec, and those of servers
// that drain, for one that fails is not worth waiting for.
func (e *engine) planJobs() {
	jobs := e.spec.Jobs // shared with the spec where nothing is to be added
	if more := e.drainedJobs(); len(more) > 0 {
		maps.Copy(more, jobs)
		jobs = more
	}
	e.jobs = jobs
	e.vias.assign(jobs, e.spec.Marks)
	e.vias.look(jobs, e.view)
}

// drainedJobs are the checks of servers that drain and that the spec does not have
// any more.
func (e *engine) drainedJobs() map[pool.CheckID]*check.Job {
	out := make(map[pool.CheckID]*check.Job)
	for _, st := range e.pool.Snapshot() {
		for _, srv := range st.Leaving {
			for _, id := range srv.Spec.Checks {
				if j := e.jobs[id]; j != nil && e.spec.Jobs[id] == nil {
					out[id] = j
				}
			}
		}
	}
	return out
}

// runJobs tells the runner which checks there are, without those that have to wait.
func (e *engine) runJobs() {
	e.seed()
	jobs := make(map[string]*check.Job, len(e.jobs))
	for id, j := range e.jobs {
		if j, ok := e.vias.runnable(id, j); ok {
			jobs[string(id)] = j
		}
	}
	e.b.options.Runner.Set(jobs)
}

// readyVias has the checks run whose virtual services the kernel has by now.
func (e *engine) readyVias() {
	if len(e.vias.of)+len(e.vias.ready) > 0 && e.vias.look(e.jobs, e.view) {
		e.runJobs()
	}
}

// seed tells the runner which targets serve already.
func (e *engine) seed() {
	for _, id := range e.pool.Adopted() {
		e.b.options.Runner.Seed(string(id))
	}
}

// loop works until ctx ends (nil) or a stop is asked for. work ends with it, or as
// soon as a stop is on its way.
func (e *engine) loop(ctx, work context.Context) *command {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(e.agenda.earliest()))
		select {
		case <-ctx.Done():
			return nil
		case <-e.b.inbox.wake:
			e.hear(e.b.inbox.take())
			e.heed()
		case c := <-e.b.commands:
			switch {
			case c.reload != nil:
				e.reload(work, *c.reload)
			case c.wishes != nil:
				e.wish(work, *c.wishes)
			default:
				return &c
			}
			c.reply <- nil
		case <-timer.C:
			e.work(work)
		}
	}
}

// hear takes verdicts into the pool and has the table changed soon.
func (e *engine) hear(verdicts []check.Verdict) {
	changed := e.pool.Advance(time.Now())
	for _, v := range verdicts {
		changed = e.tellPool(v) || changed
	}
	e.planRamp(time.Now())
	if changed {
		e.changed()
	}
}

// changed has the table written soon. Never busy for more than half of the time,
// however large the table and however many servers change.
func (e *engine) changed() {
	if e.agenda.change.IsZero() {
		e.agenda.change = time.Now().Add(max(settle, e.expense))
	}
}

// note enters what has changed in the pool into the book and tells it.
func (e *engine) note() {
	for _, t := range e.book.update(e.pool.Snapshot(), time.Now()) {
		e.tell(t)
	}
}

// tell logs a transition and passes it on.
func (e *engine) tell(t Transition) {
	t.log(e.b.log)
	if e.b.options.OnTransition != nil {
		e.b.options.OnTransition(t)
	}
}

// work does what is due.
func (e *engine) work(ctx context.Context) {
	now := time.Now()
	switch {
	case isDue(e.agenda.open, now):
		e.pool.Adopt(e.open(ctx))
		e.seed()
		e.apply(ctx, true)
	case isDue(e.agenda.resync, now) && !e.mayWait(now):
		e.apply(ctx, true)
	case isDue(e.agenda.change, now):
		e.apply(ctx, false)
	case isDue(e.agenda.ramp, now):
		e.ramp(now)
	case isDue(e.agenda.publish, now):
		e.drain(now)
		e.note()
		e.publish(true)
	}
}

// mayWait reports whether a resync may wait for the end of a flood of verdicts,
// and if so puts it off until the next: the services that were just changed would
// all have to be read. That is for large tables only, and for some seconds.
func (e *engine) mayWait(now time.Time) bool {
	if e.agenda.change.IsZero() || e.compared < longestSample || now.After(e.agenda.latest) {
		return false
	}
	e.agenda.resync = now.Add(e.resync())
	return true
}

// pauseAfter returns how long not to compare with the kernel after a comparison.
func (e *engine) pauseAfter(took time.Duration) time.Duration {
	return max(e.resync(), min(resyncShare*took, slowResyncs*e.resync()))
}

// resync is how often to compare with the kernel.
func (e *engine) resync() time.Duration { return max(e.spec.Resync, 100*time.Millisecond) }

// reload puts another spec into force.
func (e *engine) reload(ctx context.Context, spec Spec) {
	if reflect.DeepEqual(spec, e.spec) {
		return
	}
	old := e.spec
	e.spec = spec
	e.pool.Advance(time.Now())
	e.hold()
	e.pool.Override(e.wishes.forPool()) // before the servers come that it concerns
	e.pool.Reconfigure(spec.Services)
	if e.table != nil && bringsKeys(old, spec) {
		// A service that was foreign until now may be serving already.
		e.pool.Adopt(e.dump(ctx))
	}
	e.setJobs()
	e.recall()
	e.book.forget(e.jobs)
	e.apply(ctx, true)
}

// recall tells the pool the verdicts that there are. It has forgotten, or never
// heard, those of checks that no server had until now.
func (e *engine) recall() {
	for id := range e.jobs {
		if st, ok := e.b.options.Runner.Status(string(id)); ok && st.Known {
			e.tellPool(st.Verdict)
		}
	}
}

// bringsKeys reports whether a spec has services in the kernel that the last one
// did not have.
func bringsKeys(old, spec Spec) bool {
	had := make(map[pool.Key]bool)
	for _, s := range old.Services {
		for _, k := range s.Keys {
			had[k] = true
		}
	}
	for _, s := range spec.Services {
		for _, k := range s.Keys {
			if !had[k] {
				return true
			}
		}
	}
	return false
}

// close closes the kernel's table.
func (e *engine) close() {
	if c, ok := e.kernel.(io.Closer); ok {
		if err := c.Close(); err != nil {
			e.b.log.Debug("close the kernel's virtual server table", "error", err)
		}
	}
	e.kernel, e.table = nil, nil
}
