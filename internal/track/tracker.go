package track

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"baton/internal/check"
)

// Options are what a [Tracker] is built with.
type Options struct {
	// Sink hears of the states of a router, all of them in the order of
	// [Tracker.Set], whenever one has changed: the first time when the first of
	// them is known. It is called by one goroutine; what changes while it works is
	// told in one call after it. It gets a slice of its own.
	Sink func(router string, states []State)
	Log  *slog.Logger // nil: discard
}

// Tracker watches objects. Its methods are safe for concurrent use.
type Tracker struct {
	log    *slog.Logger
	sink   func(string, []State)
	runner *check.Runner
	files  *files
	procs  *processes
	wake   chan struct{} // capacity 1: there may be something to tell

	setting sync.Mutex // one Set at a time

	mu       sync.Mutex
	routers  []router
	seen     map[source]observation // of what is watched
	services map[string]observation // also of those that nobody tracks yet
	told     map[string][]State     // by router
}

// router is what one router tracks.
type router struct {
	name    string
	objects []Object
}

// New returns a tracker without objects.
func New(o Options) *Tracker {
	t := &Tracker{
		log: o.Log, sink: o.Sink, wake: make(chan struct{}, 1),
		seen: make(map[source]observation), services: make(map[string]observation), told: make(map[string][]State),
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.sink == nil {
		t.sink = func(string, []State) {}
	}
	t.runner = check.NewRunner(check.Options{Log: t.log})
	t.files = newFiles(t.log, t.observe)
	t.procs = newProcesses(t.log, t.observe)
	return t
}

// Set replaces the objects. What is watched already goes on being watched and
// keeps its state; so does an object of the same router, name and kind that is
// watched in another way from now on (at another interval, for example) until
// there is a result.
func (t *Tracker) Set(objects []Object) {
	t.setting.Lock()
	defer t.setting.Unlock()
	jobs := make(map[string]*check.Job)
	files := make(map[string]time.Duration)
	procs := make(map[string]time.Duration)
	for _, o := range objects {
		switch src := o.source(); src.kind {
		case ofCheck:
			jobs[src.id] = o.job()
		case ofFile:
			sooner(files, src.id, o.interval(defaultReread))
		case ofProcess:
			sooner(procs, src.id, o.interval(defaultInterval))
		}
	}
	t.runner.Seed(t.replace(objects)...)
	t.runner.Set(jobs)
	t.files.set(files)
	t.procs.set(procs)
	t.poke()
}

func sooner(m map[string]time.Duration, key string, d time.Duration) {
	if known, ok := m[key]; !ok || d < known {
		m[key] = d
	}
}

// identity is what an object is known by before and after a change.
type identity struct {
	router, name string
	kind         sourceKind
}

// replace exchanges the objects and keeps of what is known what holds for the
// new ones. It returns the jobs that are new and yet known to be up: they are
// given the benefit of the doubt.
func (t *Tracker) replace(objects []Object) (up []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := make(map[identity]observation)
	for _, r := range t.routers {
		for _, o := range r.objects {
			src := o.source()
			before[identity{r.name, o.Name, src.kind}] = t.seen[src]
		}
	}
	seen := make(map[source]observation)
	t.routers = nil
	for _, o := range objects {
		t.add(o)
		src := o.source()
		if known, ok := t.seen[src]; ok {
			seen[src] = known
			continue
		}
		if seen[src].known {
			continue // by another router
		}
		switch src.kind {
		case ofService:
			seen[src] = t.services[src.id]
		case ofCheck:
			seen[src] = before[identity{o.Router, o.Name, src.kind}]
			if seen[src].up {
				up = append(up, src.id)
			}
		default:
			seen[src] = observation{}
		}
	}
	t.seen = seen
	for name := range t.told {
		if t.router(name) == nil {
			delete(t.told, name)
		}
	}
	return up
}

func (t *Tracker) router(name string) *router {
	i := slices.IndexFunc(t.routers, func(r router) bool { return r.name == name })
	if i < 0 {
		return nil
	}
	return &t.routers[i]
}

func (t *Tracker) add(o Object) {
	r := t.router(o.Router)
	if r == nil {
		t.routers = append(t.routers, router{name: o.Router})
		r = &t.routers[len(t.routers)-1]
	}
	r.objects = append(r.objects, o)
}

// Service says whether a service has its quorum, and why, in one sentence.
func (t *Tracker) Service(name string, up bool, detail string) {
	o := observation{known: true, up: up, detail: detail}
	t.mu.Lock()
	t.services[name] = o
	t.mu.Unlock()
	t.observe(source{ofService, name}, o)
}

// observe takes what was seen of a source.
func (t *Tracker) observe(src source, o observation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, watched := t.seen[src]
	if src.kind != ofFile && src.kind != ofProcess && known.known && known.up == o.up {
		return // the reason of the last change is still the one that matters
	}
	if watched && known != o {
		t.seen[src] = o
		t.poke()
	}
}

// verdict takes what the runner makes of a script's or ping's results.
func (t *Tracker) verdict(v check.Verdict) {
	t.observe(source{ofCheck, v.ID}, observation{known: true, up: v.Up, detail: v.Result.Detail})
}

// poke makes Run look whether there is something to tell.
func (t *Tracker) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Run watches until ctx ends, and returns nil when nothing runs any more: no
// goroutine and no script. It is called once.
func (t *Tracker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { _ = t.runner.Run(ctx, t.verdict) })
	all.Go(func() { t.files.run(ctx) })
	all.Go(func() { t.procs.run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
			t.tell(ctx)
		}
	}
}
