package balancer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// view is what was last seen in the kernel, and what was done to it.
type view struct {
	services map[pool.Key]*ipvs.Service // ours, with counters
	foreign  []ForeignService
	wanted   pool.Table         // that the last successful pass brought about
	failed   map[pool.Key]error // except for these
	lacking  map[pool.Key]error // these are there and still cannot serve
	timeouts Timeouts           // that were set, or found right
	problem  string             // why the table cannot be kept, or empty
	writes   map[string]uint64
	drift    uint64
}

func newView() view { return view{writes: make(map[string]uint64)} }

// open opens the kernel's table and returns what is in it. When this fails, it
// is tried again later; checks and status go on without it.
func (e *engine) open(ctx context.Context) pool.Table {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k, err := e.b.options.Open(ctx)
	if err != nil {
		if !errors.Is(err, context.Canceled) { // at our own end
			e.setProblem(err.Error())
		}
		e.agenda.open = time.Now().Add(e.pause)
		e.pause = min(2*e.pause, lastRetry)
		return nil
	}
	e.kernel = k
	e.table = ipvs.NewReconciler(sampled{k, e}, e.b.Owned(), e.b.log)
	e.agenda.open, e.pause = time.Time{}, firstRetry
	e.book.refresh()
	found := e.dump(ctx)
	e.found = make(map[pool.Key]bool, len(found))
	for i := range found {
		e.found[found[i].Key] = true
	}
	return found
}

// sampler is a Kernel that can be read at bounded cost.
type sampler interface {
	Sample(ctx context.Context, budget time.Duration) ([]ipvs.Service, error)
}

var _ sampler = (*ipvs.Kernel)(nil)

// sampled is a Kernel as a resync reads it.
type sampled struct {
	Kernel
	e *engine
}

// Dump returns a sample where there is one to be had.
func (s sampled) Dump(ctx context.Context) ([]ipvs.Service, error) {
	if k, ok := s.Kernel.(sampler); ok {
		return k.Sample(ctx, min(s.e.resync()/sampleShare, longestSample))
	}
	return s.Kernel.Dump(ctx)
}

// dump returns the kernel's table, all of it as it is now; nil when it cannot be read, which the next
// pass reports.
func (e *engine) dump(ctx context.Context) pool.Table {
	services, err := e.kernel.Dump(ctx)
	if err != nil {
		e.b.log.Warn("cannot read the kernel's virtual server table", "error", err)
		return nil
	}
	t := make(pool.Table, len(services))
	for i, s := range services {
		t[i] = s.Plain()
	}
	t.Sort()
	return t
}

// setProblem takes note of why the table cannot be kept, and logs it once.
func (e *engine) setProblem(problem string) {
	switch problem {
	case e.view.problem:
	case "":
		e.b.log.Info("the kernel's virtual server table is kept again")
	default:
		e.b.log.Error("the kernel's virtual server table cannot be kept", "problem", problem)
	}
	e.view.problem = problem
}

// setLacking takes note of the services that the kernel cannot serve although it
// has them, and logs each once.
func (e *engine) setLacking(lacking map[pool.Key]error) {
	for _, k := range slices.SortedFunc(maps.Keys(lacking), pool.Key.Compare) {
		if e.view.lacking[k] == nil {
			e.b.log.Warn("a virtual service needs more than the kernel has", "service", k.String(), "error", lacking[k])
		}
	}
	e.view.lacking = lacking
}

// apply makes the kernel's table what the pool wants: by a comparison with all
// that is there (full), or by writing what has changed since the last pass.
func (e *engine) apply(ctx context.Context, full bool) {
	start := time.Now()
	e.agenda.change = time.Time{}
	e.planRamp(start)
	e.note()
	refusals := len(e.view.failed)
	if e.table != nil {
		e.pass(ctx, full)
	}
	e.drain(time.Now())
	e.readyVias()
	if full {
		e.compared = time.Since(start)
		e.agenda.resync = time.Now().Add(e.pauseAfter(e.compared))
		e.agenda.latest = time.Now().Add(floodResyncs * e.resync())
	}
	e.publish(full || refusals+len(e.view.failed) > 0)
	e.expense = time.Since(start)
}

func (e *engine) pass(ctx context.Context, full bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	want := e.wanted()
	e.tellOwned(want)
	e.table.RemoveForeign(e.spec.RemoveForeign)
	var a ipvs.Applied
	var err error
	if full {
		a, err = e.table.Apply(ctx, want)
	} else {
		a, err = e.table.ApplyChange(ctx, want)
	}
	e.account(a, full && err == nil)
	if err == nil {
		e.view.wanted, e.view.failed = want, a.Failed
		if full {
			e.setLacking(e.kernel.Lacking(ctx, want))
			err = e.keepTimeouts(ctx)
		}
	}
	switch {
	case err == nil:
		e.setProblem(e.leftover(want))
	case ctx.Err() == nil || ctx.Err() == context.DeadlineExceeded: // not at our own end
		e.setProblem(err.Error())
	}
	e.tellDrift()
	e.tellOwned(want)
}

// account takes what a pass found and did into the view. Without a dump it may
// have found nothing and means nothing by it.
func (e *engine) account(a ipvs.Applied, dumped bool) {
	v := &e.view
	if dumped || a.Services != nil {
		v.services = make(map[pool.Key]*ipvs.Service, len(a.Services))
		for i := range a.Services {
			v.services[a.Services[i].Key()] = &a.Services[i]
		}
		v.foreign = v.foreign[:0:0]
		for _, s := range a.Foreign {
			v.foreign = append(v.foreign, ForeignService{Key: s.Key(), Scheduler: s.Settings.Scheduler, Servers: len(s.Servers)})
		}
	}
	for op, n := range a.Writes {
		v.writes[op.String()] += uint64(n)
	}
	v.drift += uint64(len(a.Drift))
	e.drifts.found(a.Drift, a.Failed)
}

// leftover says what cannot be removed, for no service of the spec stands for it
// and could say so.
func (e *engine) leftover(want pool.Table) string {
	var out []string
	for k, err := range e.view.failed {
		if want.Find(k) == nil {
			out = append(out, fmt.Sprintf("%s cannot be removed: %s", k, err))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// tellOwned tells which services are ours in the kernel: those that are, and
// those that are about to be.
func (e *engine) tellOwned(want pool.Table) {
	sameKey := func(k pool.Key, v pool.VirtualService) bool { return k == v.Key }
	if slices.EqualFunc(e.b.Owned(), want, sameKey) && e.table.OwnsOnly(want) {
		return // the rule, and much cheaper than the following
	}
	mine := make(map[pool.Key]bool, len(want))
	for _, k := range e.table.Owned() {
		mine[k] = true
	}
	for i := range want {
		mine[want[i].Key] = true
	}
	e.setOwned(slices.SortedFunc(maps.Keys(mine), pool.Key.Compare))
}

func (e *engine) setOwned(keys []pool.Key) {
	if slices.Equal(keys, e.b.Owned()) {
		return
	}
	e.b.owned.Store(&keys)
	if e.b.options.OnOwned != nil {
		e.b.options.OnOwned(keys)
	}
}

// keepTimeouts sets the kernel's connection timeouts where they differ.
func (e *engine) keepTimeouts(ctx context.Context) error {
	want := e.spec.Timeouts
	if want == (Timeouts{}) {
		return nil
	}
	have, err := e.kernel.Timeouts(ctx)
	if err != nil {
		return fmt.Errorf("read the kernel's connection timeouts: %w", err)
	}
	wrong := want.unlike(Timeouts(have))
	kept := e.view.timeouts == want
	e.view.timeouts = want
	if len(wrong) == 0 {
		return nil
	}
	e.view.timeouts = Timeouts{} // until they are set
	if kept {
		e.view.drift++
		e.drifts.add("connection timeouts changed: " + strings.Join(wrong, "; "))
	}
	if err := e.kernel.SetTimeouts(ctx, ipvs.Timeouts(want)); err != nil {
		return fmt.Errorf("set the kernel's connection timeouts: %w", err)
	}
	e.view.timeouts = want
	e.view.writes["set_timeouts"]++
	return nil
}

// withdraw removes our services at a planned stop, where the spec wants it.
func (e *engine) withdraw(ctx context.Context) error {
	if !e.spec.Withdraw {
		return e.withdrawVias(ctx)
	}
	if e.table == nil {
		if len(e.b.Owned()) == 0 {
			return nil
		}
		if e.open(ctx); e.table == nil {
			return fmt.Errorf("withdraw the virtual services: %s", e.view.problem)
		}
	}
	if err := e.table.Withdraw(ctx); err != nil {
		e.setOwned(e.table.Owned())
		return fmt.Errorf("withdraw the virtual services: %w", err)
	}
	e.setOwned([]pool.Key{})
	return nil
}
