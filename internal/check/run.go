package check

import (
	"context"
	"sync"
	"time"
)

// Run runs the jobs until ctx ends, and returns nil when the last probe has
// ended. It is called once.
//
// sink hears of each result of a job that has a verdict, in order, from one
// goroutine; the schedule stands still while it works. It may call the runner.
func (r *Runner) Run(ctx context.Context, sink func(Verdict)) error {
	ctx, cancel := context.WithCancel(ctx)
	var probes sync.WaitGroup
	defer probes.Wait()
	defer r.endPolling()
	defer cancel()

	r.beginPolling(ctx)
	r.begin()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		r.launch(ctx, &probes)
		r.harvest(sink)
		if d, ok := r.pause(); ok {
			timer.Reset(d)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-r.wake:
		case f := <-r.done:
			r.finish(f, sink)
			for range len(r.done) { // nobody else takes from it
				r.finish(<-r.done, sink)
			}
		case batch := <-r.batches:
			for _, f := range batch {
				r.finish(f, sink)
			}
		}
	}
}

// beginPolling makes the poller. Without one, goroutines do its work.
func (r *Runner) beginPolling(ctx context.Context) {
	if !r.polls {
		return
	}
	p, err := newPoller(func(batch []finished) {
		select {
		case r.batches <- batch:
		case <-ctx.Done():
		}
	})
	if err != nil {
		r.log.Warn("checks run without their poller, at a higher cost", "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.poller = p
	p.leave(r.pace.brisk)
}

func (r *Runner) endPolling() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.poller != nil {
		r.poller.close()
		r.poller = nil
	}
}

func (r *Runner) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	all := make([]*job, 0, len(r.jobs))
	for _, j := range r.jobs {
		all = append(all, j)
	}
	r.spread(all)
}

// launch starts what is due, a handful at most: the results of those come first.
func (r *Runner) launch(ctx context.Context, probes *sync.WaitGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := 0; n < handful && len(r.queue) > 0 && r.stats.Running < r.limit; n++ {
		now := time.Now()
		if r.queue[0].job.due.After(now) || !r.pace.admits(now) {
			return
		}
		r.start(ctx, probes, r.queue.take(), now)
	}
}

// start starts a run of a job. The caller holds the mutex.
func (r *Runner) start(ctx context.Context, probes *sync.WaitGroup, j *job, now time.Time) {
	late := now.Sub(j.due)
	r.late(late)
	j.start, j.tardy = now, late > tardy
	r.stats.Running++
	r.pace.recent.begin(now)
	r.stats.Started++
	if r.poller != nil && r.poller.takes(j.Spec) {
		j.polled, r.launched = true, true
		r.poller.start(j, now)
		return
	}
	var run context.Context
	run, j.cancel = context.WithCancel(ctx)
	probes.Go(func() { r.run(ctx, run, j) })
}

// harvest takes the results that the poller has: always, where the poller leaves that
// to us; else those that are there at once, as those of servers nearby are, for
// waking its own goroutine would cost more than the probes do.
func (r *Runner) harvest(sink func(Verdict)) {
	r.mu.Lock()
	p, pending := r.poller, r.launched || r.pace.brisk
	r.launched = false
	r.mu.Unlock()
	if p == nil || !pending {
		return
	}
	results, _ := p.harvest()
	for _, f := range results {
		r.finish(f, sink)
	}
}

// run is the goroutine of one probe.
func (r *Runner) run(ctx, run context.Context, j *job) {
	start := time.Now()
	res := r.probe(run, j.Spec)
	if res.At.IsZero() {
		res.At = time.Now()
	}
	if res.Took == 0 {
		res.Took = time.Since(start)
	}
	select {
	case r.done <- finished{j, res}:
	case <-ctx.Done():
	}
}

// finish takes a result: counts it, schedules the next run, tells the sink.
func (r *Runner) finish(f finished, sink func(Verdict)) {
	j, res := f.job, f.result
	v, tell, counted := r.account(j, res)
	if !counted {
		return
	}
	r.observe(j.kind, res.Code, res.Took)
	if v.Changed {
		r.log.Debug("check verdict", "kind", j.kind, "target", j.Spec.Subject(),
			"up", v.Up, "code", string(res.Code), "detail", res.Detail)
	}
	if tell {
		sink(v)
	}
}

// ended accounts for a run that has come to its end. The caller holds the mutex.
func (r *Runner) ended(j *job) {
	r.stats.Running--
	r.pace.recent.end(j.start, time.Now())
}

func (r *Runner) account(j *job, res Result) (v Verdict, tell, counted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended(j)
	if j.cancel != nil {
		j.cancel()
		j.cancel = nil
	}
	j.polled = false
	if j.gone {
		return Verdict{}, false, false
	}
	if r.stalled(j, res) {
		r.stats.Excused++
		j.excused = true
		j.due = time.Now()
		r.queue.add(j)
		return Verdict{}, false, false
	}
	j.excused = false
	j.last = res
	j.history.add(&r.sayings, res)
	if res.works() {
		j.good = j.start
	}
	r.pace.learn(j.tardy, res.Took)
	changed := j.add(res.works(), j.Schedule)
	changed = j.wish.heed(&res, j.up) || changed
	r.counts[countKey{j.kind, res.Code}]++
	j.due = j.next(time.Now())
	r.queue.add(j)
	return j.verdict(res, changed), j.known, true
}

// stalled reports whether a failure tells of this host and not of the target: it
// came so long after the probe's deadline that this process cannot have run in
// the meantime (a stopped process, a paused virtual machine, a processor that
// others keep busy). Such a result is not counted and the probe is repeated,
// once: after a pause of a second all servers would otherwise be down at the same
// time. A probe ends at its deadline, and the timers of a process that is merely
// busy are some 60 ms late at most.
func (r *Runner) stalled(j *job, res Result) bool {
	timeout := j.Spec.Timeout
	if res.works() || j.excused || timeout <= 0 {
		return false
	}
	return res.Took > timeout+100*time.Millisecond
}
