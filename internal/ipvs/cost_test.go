package ipvs

import (
	"context"
	"testing"
)

// What an entry costs is held here in allocations, which do not depend on the
// machine: a table of 10,000 servers has each of them ten thousand times.
func TestAllocationsPerEntry(t *testing.T) {
	v := service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"))
	op := Op{Kind: NewServer, Service: v, Server: v.Servers[0]}
	answer := encodeOp(op)
	c := &conn{family: 30}
	for _, tt := range []struct {
		what string
		most float64
		f    func()
	}{
		{"decode a server", 0, func() { _, _ = decodeServer(answer, false) }},
		{"decode a service", 1, func() { _, _ = decodeService(encodedService) }}, // its scheduler's name
		{"encode a change", 1, func() { c.message(op) }},
	} {
		if got := testing.AllocsPerRun(100, tt.f); got > tt.most {
			t.Errorf("%s: %v allocations, want %v at most", tt.what, got, tt.most)
		}
	}
}

var encodedService = encodeOp(Op{Kind: NewService, Service: service("tcp 10.0.0.100:80 wlc")})

// A table that is as wanted costs a comparison, and one that was read before not
// even that.
func TestUnchangedTableIsNotBuiltAgain(t *testing.T) {
	k := newFakeKernel()
	r := NewReconciler(remembering{fakeKernel: k, list: new([]Service)}, nil, silent())
	want := many(100, 10)
	mustApply(t, r, want)
	mustApply(t, r, want)
	unchanged := testing.AllocsPerRun(10, func() { mustApply(t, r, want) })
	if most := 0.5 * 100; unchanged > most {
		t.Errorf("%v allocations for 100 services with 10 servers that have not changed, want %v at most", unchanged, most)
	}
	change := testing.AllocsPerRun(10, func() {
		if _, err := r.ApplyChange(t.Context(), want); err != nil {
			t.Error(err)
		}
	})
	if most := 0.5 * 100; change > most {
		t.Errorf("%v allocations for a pass without a change, want %v at most", change, most)
	}
}

// remembering is a kernel whose dumps are the same slices until something is
// written, as those of [Kernel.Sample].
type remembering struct {
	*fakeKernel
	list *[]Service
}

func (r remembering) Dump(ctx context.Context) (list []Service, err error) {
	if *r.list == nil {
		*r.list, err = r.fakeKernel.Dump(ctx)
	}
	return *r.list, err
}

func (r remembering) Write(ctx context.Context, ops []Op) []error {
	*r.list = nil
	return r.fakeKernel.Write(ctx, ops)
}
