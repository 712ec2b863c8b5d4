package check

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are what a [Runner] is built with. The zero value is ready for use.
type Options struct {
	// Probe does what a spec says and returns when ctx ends; nil: [Probe].
	Probe func(ctx context.Context, s Spec) Result
	// Observe hears of each result, for metrics. It is called by one goroutine
	// and must not block; nil: nobody hears.
	Observe func(kind string, code Code, took time.Duration)
	// Limit is how many probes run at a time; 0: 4096. Each takes a file
	// descriptor. A probe that is due beyond the limit starts late.
	Limit int
	Log   *slog.Logger // nil: discard
}

// Runner runs jobs on their schedules and says when a target went up or down.
// All of its methods are safe for concurrent use.
//
// There is one goroutine for the schedule, one for all mere connects and plain
// HTTP requests, and one for each other probe that is just running. A job never
// runs twice at a time: a run that takes longer than the interval delays the next
// one.
type Runner struct {
	probe   func(context.Context, Spec) Result
	poller  *poller // of a run with the built-in probes; nil: goroutines do all
	observe func(string, Code, time.Duration)
	limit   int
	log     *slog.Logger

	wake    chan struct{} // capacity 1: the schedule has changed
	done    chan finished
	batches chan []finished // from the poller

	mu       sync.Mutex
	jobs     map[string]*job
	queue    queue
	pace     pacer
	seeds    map[string]bool // assumed to be up when Set brings them
	polls    bool            // a run has a poller
	launched bool            // the poller has got something since the last harvest
	started  bool            // Run was called
	counts   map[countKey]uint64
	sayings  sayings
	stats    Stats
}

// finished is a run that has ended.
type finished struct {
	job    *job
	result Result
}

// NewRunner returns a runner without jobs.
func NewRunner(o Options) *Runner {
	r := &Runner{
		probe:   o.Probe,
		observe: o.Observe,
		limit:   o.Limit,
		log:     o.Log,
		wake:    make(chan struct{}, 1),
		done:    make(chan finished, 256), // so that a probe need not wait to say how it went
		batches: make(chan []finished, 16),
		jobs:    make(map[string]*job),
		seeds:   make(map[string]bool),
		counts:  make(map[countKey]uint64),
		sayings: newSayings(),
	}
	if r.probe == nil {
		r.probe, r.polls = Probe, true
	}
	if r.observe == nil {
		r.observe = func(string, Code, time.Duration) {}
	}
	if r.limit <= 0 {
		r.limit = 4096
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r
}

// Seed says that the targets of these jobs were in service before and count as
// up until Fall failures in a row say otherwise. It concerns jobs without a
// verdict, and those that the next [Runner.Set] brings.
func (r *Runner) Seed(ids ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if j := r.jobs[id]; j == nil {
			r.seeds[id] = true
		} else if !j.known {
			j.assumed = true
		}
	}
}

// Set replaces the jobs. A job that is the same as before keeps its counters and
// its place in the schedule; one that is gone or has changed is stopped, in the
// middle of a probe if need be. Of equal jobs the one that was there first is kept.
// Nobody may change the jobs afterwards.
func (r *Runner) Set(jobs map[string]*Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, j := range r.jobs {
		want, ok := jobs[id]
		if ok && (want == j.Job || reflect.DeepEqual(want, j.Job)) {
			continue
		}
		if ok && (j.up || j.assumed) {
			r.seeds[id] = true // what worked is not doubted because of an edit
		}
		r.drop(j)
	}
	var fresh []*job
	for id, spec := range jobs {
		if r.jobs[id] != nil {
			continue
		}
		j := &job{Job: spec, id: id, kind: spec.Spec.Kind(), place: -1}
		j.assumed = r.seeds[id]
		r.jobs[id] = j
		fresh = append(fresh, j)
	}
	clear(r.seeds)
	r.setDemand()
	if r.started {
		r.spread(fresh)
		r.poke()
	}
}

// drop forgets a job.
func (r *Runner) drop(j *job) {
	delete(r.jobs, j.id)
	j.gone = true
	j.history.forget(&r.sayings)
	switch {
	case j.polled && r.poller.cancel(j):
		r.ended(j)
	case j.cancel != nil:
		j.cancel()
	}
	if j.place >= 0 {
		r.queue.remove(j)
	}
}

// spread puts new jobs on the schedule. A few start at once. Many start evenly
// over a moment, not longer than their interval: ten thousand connects in the
// same millisecond would be late, and lose packets, by their own number.
func (r *Runner) spread(fresh []*job) {
	const few, moment = 50, 2 * time.Second
	// In the order of their IDs, which has nothing to do with their targets.
	slices.SortFunc(fresh, func(a, b *job) int { return strings.Compare(a.id, b.id) })
	now := time.Now()
	for i, j := range fresh {
		j.due = now
		if len(fresh) > few {
			window := min(j.Schedule.Interval, moment)
			j.due = now.Add(window * time.Duration(i) / time.Duration(len(fresh)))
		}
		r.queue.add(j)
	}
}

// poke makes the schedule look again.
func (r *Runner) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
