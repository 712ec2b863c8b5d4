package realserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
)

// Kernel is what the kernel is asked for.
type Kernel interface {
	// Look reports what is there. Of the settings only those named, and the ports of
	// GUE only if they matter: asking for them loads a module.
	Look(keys []string, gue bool) (Found, error)
	// Check returns an error if a step would certainly fail. It changes nothing.
	Check(Step) error
	// Do takes a step.
	Do(context.Context, Step) error
}

// Server is the real server that baton runs on.
type Server struct {
	kernel Kernel
	store  *Store
}

// New returns the real server with a kernel and a record of what was done to it.
func New(kernel Kernel, store *Store) *Server { return &Server{kernel, store} }

// Result is what was done.
type Result struct {
	// Changed: something was done, or with DryRun would be.
	Changed bool     `json:"changed"`
	DryRun  bool     `json:"dry_run,omitempty"`
	Steps   []Step   `json:"steps"`
	Notes   []string `json:"notes"`
}

func (r *Result) add(p plan) {
	r.Steps = append(r.Steps, p.steps...)
	r.Notes = append(r.Notes, p.notes...)
	r.Changed = len(r.Steps) > 0
}

// Up prepares the host for VIPs, which are complete specs. What is right already
// is not touched. Everything that can be known to fail is found before the first
// change; when a step fails all the same, the ones before it are undone.
func (s *Server) Up(ctx context.Context, specs []Spec, dryRun bool) (Result, error) {
	out := Result{DryRun: dryRun, Steps: []Step{}, Notes: []string{}}
	unlock, err := s.begin(dryRun)
	if err != nil {
		return out, err
	}
	defer unlock()
	r, err := s.store.Load()
	if err != nil {
		return out, err
	}
	p, err := s.prospect(specs, r)
	if dryRun {
		out.add(p)
	}
	if err != nil || dryRun {
		return out, err
	}
	// Modules bring interfaces and settings that could only be guessed before.
	loaded, err := s.load(ctx, p.steps)
	out.Steps = append(out.Steps, loaded...)
	out.Changed = len(loaded) > 0
	if err != nil {
		return out, err
	}
	if len(loaded) > 0 {
		if p, err = s.prospect(specs, r); err != nil {
			return out, err
		}
		p.steps = slices.DeleteFunc(p.steps, func(s Step) bool { return s.Op == Load })
	}
	if !reflect.DeepEqual(p.record, r) {
		if err := s.store.Save(p.record); err != nil {
			return out, fmt.Errorf("nothing was changed: %w", err)
		}
	}
	if err := s.take(ctx, p.steps, r); err != nil {
		return out, err
	}
	out.add(p)
	return out, nil
}

// begin locks the store, if something is to be changed and may be.
func (s *Server) begin(dryRun bool) (func(), error) {
	if dryRun {
		return func() {}, nil
	}
	if err := s.kernel.Check(Step{}); err != nil {
		return nil, err
	}
	return s.store.Lock()
}

// prospect looks and plans, and checks what it has planned; the plan is there
// beside an error of such a check.
func (s *Server) prospect(specs []Spec, r Record) (plan, error) {
	f, err := s.kernel.Look(keys(specs), needsPorts(specs))
	if err != nil {
		return plan{}, err
	}
	p, err := planUp(specs, f, r)
	if err != nil {
		return plan{}, err
	}
	var errs []error
	for _, step := range p.steps {
		_, there := f.Sysctls[step.Key]
		if step.Op != Set || there { // else it comes with its interface
			errs = append(errs, s.kernel.Check(step))
		}
	}
	return p, joinDistinct(errs)
}

// joinDistinct joins errors; several steps can fail for one reason.
func joinDistinct(errs []error) error {
	seen := map[string]bool{}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool {
		if err == nil || seen[err.Error()] {
			return true
		}
		seen[err.Error()] = true
		return false
	})...)
}

func needsPorts(specs []Spec) bool {
	return slices.ContainsFunc(specs, func(s Spec) bool { return s.Tunnel == GUE })
}

// load loads the modules among the steps.
func (s *Server) load(ctx context.Context, steps []Step) (done []Step, err error) {
	for _, step := range steps {
		if step.Op != Load {
			continue
		}
		if err := s.kernel.Do(ctx, step); err != nil {
			return done, err
		}
		done = append(done, step)
	}
	return done, nil
}

// take takes steps and, when one fails, goes back: before is the record without
// them.
func (s *Server) take(ctx context.Context, steps []Step, before Record) error {
	for i, step := range steps {
		err := s.kernel.Do(ctx, step)
		if err == nil {
			continue
		}
		left := before
		for _, done := range slices.Backward(steps[:i]) {
			back, ok := done.undo()
			if !ok {
				continue
			}
			if errBack := s.kernel.Do(context.WithoutCancel(ctx), back); errBack != nil {
				left = left.withStep(done)
				err = errors.Join(err, fmt.Errorf("going back: %w", errBack))
			}
		}
		if len(left.Done) == len(before.Done) && i > 0 {
			err = fmt.Errorf("%w\nwhat had been changed before that was undone", err)
		}
		return errors.Join(err, s.store.Save(left))
	}
	return nil
}

// Down takes VIPs back, with everything that no other VIP needs; all: every VIP
// that is set up here. A step that fails does not stop the rest.
func (s *Server) Down(ctx context.Context, vips []netip.Addr, all, dryRun bool) (Result, error) {
	out := Result{DryRun: dryRun, Steps: []Step{}, Notes: []string{}}
	unlock, err := s.begin(dryRun)
	if err != nil {
		return out, err
	}
	defer unlock()
	r, err := s.store.Load()
	if err != nil {
		return out, err
	}
	f, err := s.kernel.Look(r.keys(), r.needsPorts())
	if err != nil {
		return out, err
	}
	if all {
		vips = known(f, r)
	}
	p := planDown(vips, f, r)
	var errs []error
	for _, step := range p.steps {
		errs = append(errs, s.kernel.Check(step))
	}
	if dryRun {
		out.add(p)
	}
	if err := joinDistinct(errs); err != nil || dryRun {
		return out, err
	}
	out.Notes = append(out.Notes, p.notes...)
	for _, step := range p.steps {
		err := s.kernel.Do(ctx, step)
		if err == nil {
			out.Steps = append(out.Steps, step)
			continue
		}
		errs = append(errs, err)
		p.record = keepFailed(p.record, r, step)
	}
	out.Changed = len(out.Steps) > 0
	return out, errors.Join(append(errs, s.store.Save(p.record))...)
}

// keepFailed keeps in a record what could not be undone, so that it can be tried
// again.
func keepFailed(r, before Record, failed Step) Record {
	for _, d := range before.Done {
		if back, ok := d.undo(); ok && back.id() == failed.id() {
			r = r.withStep(d)
		}
	}
	return r
}

// keys are the settings that a record speaks of.
func (r Record) keys() []string {
	var more []string
	for _, d := range r.Done {
		if d.Op == Set {
			more = append(more, d.Key)
		}
	}
	return keys(r.VIPs, more...)
}

func (r Record) needsPorts() bool {
	return slices.ContainsFunc(r.Done, func(d Step) bool { return d.Op == Open })
}

// known are the VIPs that are set up here, by the record or by their mark.
func known(f Found, r Record) []netip.Addr {
	var out []netip.Addr
	for _, s := range r.VIPs {
		out = append(out, s.VIP)
	}
	for _, a := range f.Addresses {
		if marked(a) {
			out = append(out, a.Prefix.Addr())
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
