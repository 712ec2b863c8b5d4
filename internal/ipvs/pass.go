package ipvs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"time"

	"baton/internal/pool"
)

// pass is one Apply or ApplyChange.
type pass struct {
	*Reconciler
	want    []*wanted
	wants   map[pool.Key]bool
	applied Applied
	round   int  // 1 or 2
	dumped  bool // the table was read in this round
	failed  map[pool.Key]joined
	orphans map[pool.Key]bool // services that could not be made in this round
	clashed bool              // an answer contradicted what is known
}

func newPass(r *Reconciler, want pool.Table) *pass {
	p := &pass{Reconciler: r}
	p.want, p.wants = normalTable(want, r.want)
	r.want = p.want
	p.applied.Writes = make(map[OpKind]int)
	return p
}

// read dumps the table, sorts its services into ours and others', and notes what
// somebody else has changed in ours.
func (p *pass) read(ctx context.Context) error {
	list, err := p.table.Dump(ctx)
	if err != nil {
		return err
	}
	p.dumped = true
	found := make(map[pool.Key]*entry, len(list))
	p.applied.Services, p.applied.Foreign = make([]Service, 0, len(list)), nil
	for _, s := range list {
		if k := s.Key(); p.wants[k] || p.owned[k] {
			p.applied.Services = append(p.applied.Services, s)
			if found[k] = p.known[k]; found[k] == nil || !found[k].isOf(s) {
				found[k] = entryOf(s)
			}
		} else {
			p.applied.Foreign = append(p.applied.Foreign, s)
		}
	}
	if p.synced {
		p.noteDrift(found)
	} else {
		p.log.Info("read the kernel's virtual server table", "ours", len(found), "foreign", len(p.applied.Foreign))
	}
	p.known, p.synced = found, true
	clear(p.unsure)
	clear(p.owned)
	for k := range found {
		p.owned[k] = true
	}
	return nil
}

// noteDrift compares what was found with what should have been.
func (p *pass) noteDrift(found map[pool.Key]*entry) {
	var changed []pool.Key
	for k, e := range p.known {
		if found[k] != e && !p.unsure[k] {
			changed = append(changed, k)
		}
	}
	slices.SortFunc(changed, pool.Key.Compare)
	for _, k := range changed {
		d := differences(steps(found[k], p.known[k].service()))
		p.applied.Drift = append(p.applied.Drift, d...)
	}
}

// write makes the changes that are due. It reports whether an answer of the
// kernel contradicted what is known of the table.
func (p *pass) write(ctx context.Context) bool {
	p.failed = make(map[pool.Key]joined)
	p.orphans = make(map[pool.Key]bool)
	p.clashed = false
	if ops := p.due(); len(ops) > 0 {
		for i, err := range p.table.Write(ctx, ops) {
			p.settle(ops[i], err)
		}
	}
	p.dumped = false
	p.applied.Failed = make(map[pool.Key]error, len(p.failed))
	for k, errs := range p.failed {
		p.applied.Failed[k] = errs
	}
	return p.clashed
}

// due returns the changes to make now: the services of the table in its order,
// then the services to delete, so that what replaces a service is there before
// it goes.
func (p *pass) due() []Op {
	var ops []Op
	for _, w := range p.want {
		if w.err != nil {
			p.failed[w.Key] = append(p.failed[w.Key], w.err)
			continue
		}
		e := p.known[w.Key]
		if e != nil && e.meets == w {
			continue
		}
		list := steps(e, w.VirtualService)
		if len(list) == 0 {
			e.equals(w)
		}
		ops = p.appendDue(ops, list)
	}
	var gone []pool.Key
	for k := range p.known {
		if !p.wants[k] {
			gone = append(gone, k)
		}
	}
	slices.SortFunc(gone, pool.Key.Compare)
	for _, k := range gone {
		ops = p.appendDue(ops, deletion(p.known[k].settings))
	}
	if p.removeForeign && p.dumped {
		for _, s := range p.applied.Foreign {
			p.log.Warn("deleting a virtual service that the configuration does not name (ipvs: foreign: remove)", "service", s.Key().String())
			ops = p.appendDue(ops, deletion(s.Settings))
		}
	}
	return ops
}

func deletion(v pool.VirtualService) []step {
	return []step{{op: Op{Kind: DelService, Service: v}}}
}

// appendDue appends the changes of one service, without those that failed a
// short time ago. Without the service itself its servers have to wait too.
func (p *pass) appendDue(ops []Op, list []step) []Op {
	for _, s := range list {
		if err := p.retries.held(s.op, time.Now()); err != nil {
			k := s.op.Service.Key
			p.failed[k] = append(p.failed[k], err)
			if s.op.Kind == NewService {
				return ops
			}
			continue
		}
		ops = append(ops, s.op)
	}
	return ops
}

// settle notes the outcome of one change.
func (p *pass) settle(op Op, err error) {
	k := op.Service.Key
	switch {
	case err == nil:
		p.applied.Writes[op.Kind]++
		p.done(op)
	case op.Kind == DelService && errors.Is(err, syscall.ESRCH),
		op.Kind == DelServer && errors.Is(err, syscall.ENOENT):
		p.done(op) // it is gone, which is what was wanted
	case op.Kind.ofServer() && p.orphans[k] && errors.Is(err, syscall.ESRCH):
		// A consequence of the failure that was noted for the service.
	case contradicts(op.Kind, err):
		p.contradiction(op, err)
	default:
		p.failure(op, err)
	}
}

// done notes a change that was made.
func (p *pass) done(op Op) {
	p.made(op)
	if op.Kind == DelService {
		p.applied.Foreign = slices.DeleteFunc(p.applied.Foreign, func(s Service) bool { return s.Key() == op.Service.Key })
	}
}

// contradicts reports whether an answer shows that the table is not as known:
// what is to be made is there, or what is to be changed is not.
func contradicts(k OpKind, err error) bool {
	switch k {
	case NewService:
		return errors.Is(err, syscall.EEXIST)
	case EditService, DelServer:
		return errors.Is(err, syscall.ESRCH)
	case NewServer:
		return errors.Is(err, syscall.EEXIST) || errors.Is(err, syscall.ESRCH)
	case EditServer:
		return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH)
	}
	return false
}

// contradiction notes such an answer. It is a failure only when the second round
// meets it too.
func (p *pass) contradiction(op Op, err error) {
	p.clashed = true
	k := op.Service.Key
	if p.round > 1 {
		p.failed[k] = append(p.failed[k], err)
		p.retries.refused(op, err, time.Now())
	}
	if !p.dumped {
		return
	}
	// The table was changed while it was read. What looked like drift was none.
	// What is there although the dump has missed it may be as it should, so that
	// what the next dump finds is no drift either; what is gone was deleted, which
	// the next dump will find.
	if errors.Is(err, syscall.EEXIST) {
		p.unsure[k] = true
	}
	p.applied.Drift = slices.DeleteFunc(p.applied.Drift, func(d Difference) bool {
		return d.Kind == Missing && (object{d.Key, d.Server}) == op.object()
	})
}

// failure notes a change that was not made, or of which nobody knows whether it
// was.
func (p *pass) failure(op Op, err error) {
	k := op.Service.Key
	p.failed[k] = append(p.failed[k], err)
	if op.Kind == NewService {
		p.orphans[k] = true
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		p.retries.refused(op, err, time.Now())
		return
	}
	p.unsure[k] = true
	if op.Kind == NewService {
		p.owned[k] = true
	}
}

// joined is several errors in one sentence.
type joined []error

func (j joined) Unwrap() []error { return j }

// Error names the first three and counts the rest: all servers of a service may
// have failed.
func (j joined) Error() string {
	const most = 3
	var b strings.Builder
	for i, err := range j {
		if i == most {
			b.WriteString("; and ")
			b.WriteString(plural(len(j)-most, "more failure"))
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	return b.String()
}
