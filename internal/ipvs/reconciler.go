package ipvs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"syscall"

	"baton/internal/pool"
)

// Table is what a [Reconciler] needs of a kernel; [Kernel] is the real one. The
// errors of Write must unwrap to the [syscall.Errno] with which the kernel
// refused the change; any other error means that nobody knows its outcome.
type Table interface {
	Dump(ctx context.Context) ([]Service, error)
	Write(ctx context.Context, ops []Op) []error
}

var _ Table = (*Kernel)(nil)

// Reconciler makes the kernel's table equal a desired one and remembers what is
// ours in it. It is safe for concurrent use; one call works at a time.
//
// A service in the kernel is ours when the desired table names it, has named it
// before, or when it was in the list of an earlier run. All others are foreign
// and left alone, unless [Reconciler.RemoveForeign] says otherwise.
type Reconciler struct {
	table Table
	log   *slog.Logger

	mu            sync.Mutex // guards all below
	removeForeign bool
	synced        bool                // known comes from a dump
	known         map[pool.Key]*entry // what is ours in the kernel, by the last dump and the writes since
	owned         map[pool.Key]bool   // the keys of known, and before the first dump those of the earlier run
	unsure        map[pool.Key]bool   // services of known that a write may or may not have changed
	retries       retries
	reports       reports
	want          []*wanted // of the last pass
}

// Applied is what one pass found and did.
type Applied struct {
	// Services are our services as the dump found them, before the writes, with
	// counters; nil after an ApplyChange that needed no dump.
	Services []Service
	// Foreign are the services of others that are in the kernel after this
	// pass; nil after an ApplyChange that needed no dump.
	Foreign []Service
	// Writes counts the changes that were made, by kind.
	Writes map[OpKind]int
	// Drift is what somebody else had changed in our services since the last
	// pass. What the first pass finds is adopted and is no drift.
	Drift []Difference
	// Failed are the services that are not as wanted, each with a sentence that
	// says why and what to do. What failed is tried again by the following
	// passes, after 1 s at first and 30 s at last.
	Failed map[pool.Key]error
}

// Wrote returns the number of changes that were made.
func (a Applied) Wrote() int {
	n := 0
	for _, c := range a.Writes {
		n += c
	}
	return n
}

// NewReconciler returns a Reconciler for the table. owned are the services that
// an earlier run left in the kernel, see [Reconciler.Owned]: the first Apply
// deletes those that are no longer wanted.
func NewReconciler(table Table, owned []pool.Key, log *slog.Logger) *Reconciler {
	r := &Reconciler{
		table:   table,
		log:     log,
		known:   make(map[pool.Key]*entry),
		owned:   make(map[pool.Key]bool),
		unsure:  make(map[pool.Key]bool),
		retries: make(retries),
	}
	for _, k := range owned {
		r.owned[k] = true
	}
	return r
}

// RemoveForeign sets whether Apply deletes the services of others (foreign:
// remove) or leaves them alone, which is the default.
func (r *Reconciler) RemoveForeign(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removeForeign = on
}

// Apply reads the kernel's table and writes what is missing to make our part of
// it equal want. Called again with the same want it writes nothing. The error is
// that of a table that could not be read or of a context that ended; a service
// that could not be brought to what is wanted is in Applied.Failed and affects
// no other.
func (r *Reconciler) Apply(ctx context.Context, want pool.Table) (Applied, error) {
	return r.apply(ctx, want, true)
}

// ApplyChange is Apply without reading the table: it writes the differences
// between want and what the table held after the last pass. One changed weight
// is one write, whatever the size of the table. When the kernel's answers show
// that somebody else has changed the table, and before the first Apply, it does
// what Apply does.
func (r *Reconciler) ApplyChange(ctx context.Context, want pool.Table) (Applied, error) {
	return r.apply(ctx, want, false)
}

func (r *Reconciler) apply(ctx context.Context, want pool.Table, dump bool) (Applied, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := newPass(r, want)
	dump = dump || !r.synced
	// A second round is needed when the kernel's answers contradict what is
	// known: somebody else writes too. A third would only race with them; the
	// next Apply is soon enough.
	for p.round = 1; ; p.round++ {
		if dump {
			if err := p.read(ctx); err != nil {
				return p.applied, err
			}
		}
		contradicted := p.write(ctx)
		if err := ctx.Err(); err != nil {
			return p.applied, fmt.Errorf("make the kernel's virtual server table equal the desired one: %w", context.Cause(ctx))
		}
		if !contradicted || p.round == 2 {
			break
		}
		dump = true
	}
	r.retries.forgetOthers()
	r.reports.failures(r.log, p.applied.Failed)
	r.reports.drift(r.log, p.applied.Drift)
	return p.applied, nil
}

// Owned returns the services in the kernel that are ours, sorted, to be kept for
// the next run. Before the first Apply it is the list of the earlier run.
func (r *Reconciler) Owned() []pool.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Keys(r.owned), pool.Key.Compare)
}

// OwnsOnly reports whether the table names all services that are ours.
func (r *Reconciler) OwnsOnly(t pool.Table) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for i := range t {
		if r.owned[t[i].Key] {
			n++
		}
	}
	return n == len(r.owned)
}

// Withdraw deletes all our services with their servers, in as few exchanges as
// there are batches, and leaves those of others. The error names the services
// that could not be deleted; they stay ours.
func (r *Reconciler) Withdraw(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ops []Op
	for _, k := range slices.SortedFunc(maps.Keys(r.owned), pool.Key.Compare) {
		ops = append(ops, Op{Kind: DelService, Service: pool.VirtualService{Key: k}})
	}
	if len(ops) == 0 {
		return nil
	}
	var failed joined
	for i, err := range r.table.Write(ctx, ops) {
		if err == nil || errors.Is(err, syscall.ESRCH) {
			r.made(ops[i])
			continue
		}
		r.unsure[ops[i].Service.Key] = true
		failed = append(failed, err)
	}
	if len(failed) > 0 {
		return fmt.Errorf("withdraw: %d of %d services may still be in the kernel: %w", len(failed), len(ops), failed)
	}
	clear(r.retries)
	return nil
}

// made brings what is known up to date with a change that was made.
func (r *Reconciler) made(op Op) {
	r.retries.made(op)
	k := op.Service.Key
	e := r.known[k]
	if e != nil {
		e.written()
	}
	switch {
	case op.Kind == NewService:
		r.known[k] = entryOf(Service{Settings: op.Service})
		r.known[k].written()
		r.owned[k] = true
	case op.Kind == DelService:
		delete(r.known, k)
		delete(r.owned, k)
		delete(r.unsure, k)
	case e == nil:
	case op.Kind == EditService:
		e.settings = op.Service
	case op.Kind == DelServer:
		e.remove(op.Server)
	default:
		e.put(op.Server)
	}
}
