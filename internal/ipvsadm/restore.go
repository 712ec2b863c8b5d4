package ipvsadm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// Kernel is what rules change; *[ipvs.Kernel] is one.
type Kernel interface {
	ipvs.Table
	Flush(ctx context.Context) error
	Zero(ctx context.Context, service pool.Key) error
	SetTimeouts(ctx context.Context, t ipvs.Timeouts) error
	StartSync(ctx context.Context, d ipvs.SyncDaemon) error
	StopSync(ctx context.Context, role ipvs.SyncRole) (stopped bool, err error)
}

// Failure is a rule that could not be carried out.
type Failure struct {
	Line int
	Err  error
}

func (f Failure) Error() string {
	if f.Line == 0 { // a service that no rule names, and that would not go
		return f.Err.Error()
	}
	return fmt.Sprintf("line %d: %v", f.Line, f.Err)
}

// Restored is the outcome of rules.
type Restored struct {
	Done     int // rules that were carried out; with Replace, changes that were made
	Failures []Failure
}

// Add carries the rules out in their order, upon what the table holds. A failure
// does not stop those after it. The changes between two rules of another kind
// go to the kernel in batches.
func Add(ctx context.Context, k Kernel, rules []Rule) Restored {
	var out Restored
	var ops []ipvs.Op
	var lines []int
	write := func() {
		for i, err := range k.Write(ctx, ops) {
			out.note(lines[i], err)
		}
		ops, lines = ops[:0], lines[:0]
	}
	for _, r := range rules {
		if op, ok := r.Op(); ok {
			ops, lines = append(ops, op), append(lines, r.Line)
			continue
		}
		write()
		out.note(r.Line, r.other(ctx, k))
	}
	write()
	return out
}

func (o *Restored) note(line int, err error) {
	if err != nil {
		o.Failures = append(o.Failures, Failure{line, err})
		return
	}
	o.Done++
}

// other carries a rule out that is no change of the table's entries.
func (r Rule) other(ctx context.Context, k Kernel) error {
	switch r.Command {
	case Clear:
		return k.Flush(ctx)
	case Zero:
		return k.Zero(ctx, r.Service.Key)
	case SetTimeouts:
		return k.SetTimeouts(ctx, r.Timeouts)
	case StartDaemon:
		return k.StartSync(ctx, r.Sync)
	case StopDaemon:
		stopped, err := k.StopSync(ctx, r.Sync.Role)
		if err == nil && !stopped {
			err = fmt.Errorf("stop the connection sync %s: there is none", r.Sync.Role)
		}
		return err
	}
	return fmt.Errorf("%v is no rule", r.Command)
}

// Replace makes the table what the rules make of an empty one, and then carries
// out those of timeouts, counters and daemons. It writes the differences only: a
// service that stays as it is keeps its connections and its counters, and is
// never away. The error is that of rules that do not fit each other, [Mistakes],
// or of a table that could not be read.
func Replace(ctx context.Context, k Kernel, rules []Rule) (Restored, error) {
	want, err := Table(rules)
	if err != nil {
		return Restored{}, err
	}
	r := ipvs.NewReconciler(k, nil, slog.New(slog.DiscardHandler))
	r.RemoveForeign(true)
	a, err := r.Apply(ctx, want)
	if err != nil {
		return Restored{}, err
	}
	out := Restored{Done: a.Wrote()}
	for _, err := range a.Failed {
		for _, one := range split(err) {
			out.Failures = append(out.Failures, Failure{lineOf(rules, one), one})
		}
	}
	for _, rule := range rules {
		if _, ok := rule.Op(); !ok && rule.Command != Clear {
			out.note(rule.Line, rule.other(ctx, k))
		}
	}
	slices.SortStableFunc(out.Failures, func(a, b Failure) int { return cmp.Compare(a.Line, b.Line) })
	return out, nil
}

// split takes an error that is several apart.
func split(err error) []error {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		return many.Unwrap()
	}
	return []error{err}
}

// lineOf finds the last rule that speaks of what an error is about; 0: none.
func lineOf(rules []Rule, err error) (line int) {
	var failed *ipvs.OpError
	if !errors.As(err, &failed) {
		return 0
	}
	for _, r := range rules {
		op, ok := r.Op()
		if !ok || op.Service.Key != failed.Op.Service.Key {
			continue
		}
		ofServer := failed.Op.Kind >= ipvs.NewServer
		if ofServer == (op.Kind >= ipvs.NewServer) && (!ofServer || op.Server.AddrPort() == failed.Op.Server.AddrPort()) {
			line = r.Line
		}
	}
	return line
}

// Touched is what rules change.
type Touched struct {
	Keys     []pool.Key // services, in the order of the rules, each once
	All      bool       // whatever services there are
	Timeouts bool
	Daemons  bool
}

// Touches returns what the rules change.
func Touches(rules []Rule) (t Touched) {
	seen := make(map[pool.Key]bool)
	for _, r := range rules {
		switch r.Command {
		case Clear:
			t.All = true
		case SetTimeouts:
			t.Timeouts = true
		case StartDaemon, StopDaemon:
			t.Daemons = true
		}
		if _, ok := r.Op(); ok && !seen[r.Service.Key] {
			seen[r.Service.Key] = true
			t.Keys = append(t.Keys, r.Service.Key)
		}
	}
	return t
}
