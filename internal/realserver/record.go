package realserver

import (
	"reflect"
	"slices"
)

// Record is what was done on this host and is not undone yet.
type Record struct {
	// Boot and Namespace say where: after a reboot, and in another network, nothing
	// of it is true.
	Boot      string `json:"boot"`
	Namespace uint64 `json:"namespace"`
	VIPs      []Spec `json:"vips"`
	// Done are the steps, in their order. They are written down before they are
	// taken: each may be missing in the kernel.
	Done []Step `json:"done"`
}

// find returns the entry of a VIP.
func (r Record) find(s Spec) (Spec, bool) {
	i := slices.IndexFunc(r.VIPs, func(e Spec) bool { return e.VIP == s.VIP })
	if i < 0 {
		return Spec{}, false
	}
	return r.VIPs[i], true
}

// ours reports whether the record, or the address itself, says that we added it.
func (r Record) ours(s Step, mark bool) bool { return mark || r.did(s) }

func (r Record) did(s Step) bool {
	return slices.ContainsFunc(r.Done, func(d Step) bool { return d.id() == s.id() })
}

// withVIP notes that a VIP is wanted.
func (r Record) withVIP(s Spec) Record {
	if e, ok := r.find(s); ok && reflect.DeepEqual(e, s) {
		return r
	}
	r.VIPs = slices.DeleteFunc(slices.Clone(r.VIPs), func(e Spec) bool { return e.VIP == s.VIP })
	r.VIPs = append(r.VIPs, s)
	return r
}

// withStep notes a step. An earlier one about the same thing did not last: what
// was found now is what has to be restored.
func (r Record) withStep(s Step) Record {
	r.Done = slices.DeleteFunc(slices.Clone(r.Done), func(d Step) bool { return d.id() == s.id() })
	if _, ok := s.undo(); ok {
		r.Done = append(r.Done, s)
	}
	return r
}

func (r Record) empty() bool { return len(r.VIPs)+len(r.Done) == 0 }
