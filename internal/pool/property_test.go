package pool

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// anyServices draws up to three services over a few addresses and checks, so
// that checks are shared.
func anyServices(t *rapid.T) []Service {
	checks := rapid.SliceOfN(rapid.SampledFrom([]CheckID{"a", "b", "c", "d"}), 0, 2)
	out := make([]Service, rapid.IntRange(0, 3).Draw(t, "services"))
	for i := range out {
		s := &out[i]
		s.Name = fmt.Sprintf("s%d", i)
		s.Keys = []Key{key(fmt.Sprintf("10.0.0.100:%d", 80+i))}
		s.Scheduler = "wlc"
		s.OnFailure = rapid.SampledFrom([]OnFailure{Remove, Quiesce}).Draw(t, "on failure")
		s.Admit = rapid.SampledFrom([]Admit{AdmitChecked, AdmitAtOnce}).Draw(t, "admit")
		s.Quorum.Min = rapid.Uint64Range(1, 4).Draw(t, "quorum")
		s.Quorum.Hysteresis = rapid.Uint64Range(0, s.Quorum.Min-1).Draw(t, "hysteresis")
		for n := range rapid.IntRange(0, 4).Draw(t, "servers") {
			s.Servers = append(s.Servers, Server{
				Address: addr(fmt.Sprintf("10.0.0.%d", n+1)), Port: 80,
				Weight: rapid.Uint32Range(0, 3).Draw(t, "weight"), Checks: checks.Draw(t, "checks"),
				Drain: rapid.IntRange(0, 9).Draw(t, "drain") == 0,
			})
		}
		if rapid.Bool().Draw(t, "fallback") {
			last := rapid.IntRange(3, 9).Draw(t, "fallback address")
			s.Fallback = &Server{Address: addr(fmt.Sprintf("10.0.0.%d", last)), Port: 80, Weight: 1, Checks: checks.Draw(t, "fallback checks")}
		}
	}
	return out
}

func anyTable(t *rapid.T) Table {
	out := make(Table, rapid.IntRange(0, 3).Draw(t, "found"))
	for i := range out {
		out[i].Key = key(fmt.Sprintf("10.0.0.100:%d", 80+i))
		for n := range 9 {
			if rapid.Bool().Draw(t, "found server") {
				out[i].Servers = append(out[i].Servers, kernelServer(fmt.Sprintf("10.0.0.%d", n+1), rapid.Uint32Range(0, 2).Draw(t, "found weight")))
			}
		}
	}
	return out
}

// checkInvariants holds what a pool says in its table against what it says in
// its snapshot.
func checkInvariants(t *rapid.T, p *Pool) {
	table := p.Table()
	for i, v := range table {
		if i > 0 && table[i-1].Key.Compare(v.Key) >= 0 {
			t.Fatalf("the table is not sorted:\n%s", show(table))
		}
	}
	for _, st := range p.Snapshot() {
		checkService(t, st, table.Find(st.Spec.Keys[0]))
	}
}

func checkService(t *rapid.T, st *ServiceState, v *VirtualService) {
	if v == nil {
		t.Fatalf("service %s is not in the table", st.Spec.Name)
	}
	in := make(map[string]uint32)
	for i, s := range v.Servers {
		in[s.AddrPort().String()] = s.Weight
		if i > 0 && v.Servers[i-1].Compare(s) >= 0 {
			t.Fatalf("servers are not sorted or not unique: %s", show(Table{*v}))
		}
	}
	for _, s := range st.Leaving {
		if weight, there := in[s.Spec.AddrPort().String()]; there && weight > 0 && (!st.FallbackActive || st.Spec.Fallback.AddrPort() != s.Spec.AddrPort()) {
			t.Fatalf("%s is leaving and gets clients", s.Spec.AddrPort())
		}
	}
	fallback, anyUp, sum, serving := "", false, uint64(0), false
	if st.FallbackActive {
		fallback = st.Spec.Fallback.AddrPort().String()
		if in[fallback] == 0 {
			t.Fatalf("the fallback is active and not in the table: %s", show(Table{*v}))
		}
	}
	for i := range st.Servers {
		s := &st.Servers[i]
		name := s.Spec.AddrPort().String()
		weight, there := in[name]
		serving = serving || weight > 0
		if s.State == Up {
			sum += uint64(effective(s))
			anyUp = anyUp || effective(s) > 0
		}
		switch {
		case name == fallback:
		case s.State != Up && weight > 0:
			t.Fatalf("%s is %s and gets clients", name, s.State)
		case s.State == Disabled && there:
			t.Fatalf("%s is disabled and in the table", name)
		case s.Override.Disable != "" && s.State != Disabled, s.Override.Drain != "" && s.State != Draining && s.State != Disabled:
			t.Fatalf("%s is %s with %+v", name, s.State, s.Override)
		case s.State == Down && there && st.Spec.OnFailure == Remove:
			t.Fatalf("%s is down and in the table", name)
		case s.InTable != there || s.Weight != weight:
			t.Fatalf("%s: table %v*%d, snapshot %v*%d", name, there, weight, s.InTable, s.Weight)
		case fallback != "" && weight > 0:
			t.Fatalf("%s serves beside the fallback", name)
		}
	}
	q := st.Spec.Quorum
	switch {
	case sum != st.Weight:
		t.Fatalf("weight %d, want %d", st.Weight, sum)
	case anyUp && !serving && !st.FallbackActive:
		t.Fatalf("a server is up and nobody serves: %s", show(Table{*v}))
	case st.Up && (sum == 0 || sum < q.Min-q.Hysteresis):
		t.Fatalf("up with %d of %+v", sum, q)
	case !st.Up && sum >= q.Min+q.Hysteresis:
		t.Fatalf("down with %d of %+v", sum, q)
	}
}

// Whatever happens in whatever order, the table and the states agree.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New(anyServices(t), anyTable(t))
		checkInvariants(t, p)
		t.Repeat(map[string]func(*rapid.T){
			"verdict": func(t *rapid.T) {
				before := p.Table()
				changed := p.Set(rapid.SampledFrom([]CheckID{"a", "b", "c", "d", "x"}).Draw(t, "id"), rapid.Bool().Draw(t, "up"))
				if !changed && !p.Table().Equal(before) {
					t.Fatalf("the table changed and Set did not say so:\n%s\n%s", show(before), show(p.Table()))
				}
			},
			"reconfigure": func(t *rapid.T) { p.Reconfigure(anyServices(t)) },
			"release": func(t *rapid.T) {
				at := addr(fmt.Sprintf("10.0.0.%d", rapid.IntRange(1, 9).Draw(t, "released")))
				p.Release("s0", Server{Address: at, Port: 80}.AddrPort())
			},
			"override": func(t *rapid.T) {
				before := p.Table()
				if changed := p.Override(anyOverrides(t)); !changed && !p.Table().Equal(before) {
					t.Fatalf("the table changed and Override did not say so:\n%s\n%s", show(before), show(p.Table()))
				}
			},
			"adopt": func(t *rapid.T) { p.Adopt(anyTable(t)) },
			"":      func(t *rapid.T) { checkInvariants(t, p) },
		})
	})
}

// An equal configuration changes nothing, not even the snapshot's pointers.
func TestReconfigureWithEqualSpecChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		services := anyServices(t)
		p := New(services, anyTable(t))
		for id, up := range rapid.MapOf(rapid.SampledFrom([]CheckID{"a", "b", "c", "d"}), rapid.Bool()).Draw(t, "verdicts") {
			p.Set(id, up)
		}
		table, states := p.Table(), p.Snapshot()
		p.Reconfigure(append([]Service(nil), services...))
		if !p.Table().Equal(table) {
			t.Fatalf("the table changed from\n%s\nto\n%s", show(table), show(p.Table()))
		}
		for i, st := range p.Snapshot() {
			if st != states[i] {
				t.Fatalf("the state of %s changed", st.Spec.Name)
			}
		}
	})
}

// Without a hysteresis only the last verdict of each check counts, not the order
// they came in.
func TestOrderIndependence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		services := anyServices(t)
		for i := range services {
			services[i].Quorum.Hysteresis = 0
		}
		ids := []CheckID{"a", "b", "c", "d"}
		verdicts := rapid.SliceOfN(rapid.Bool(), len(ids), len(ids)).Draw(t, "verdicts")
		one, other := New(services, nil), New(services, nil)
		for i, id := range ids {
			one.Set(id, verdicts[i])
		}
		for _, i := range rapid.SliceOf(rapid.IntRange(0, len(ids)-1)).Draw(t, "wandering") {
			other.Set(ids[i], rapid.Bool().Draw(t, "passing"))
		}
		for _, i := range rapid.Permutation([]int{0, 1, 2, 3}).Draw(t, "order") {
			other.Set(ids[i], verdicts[i])
		}
		if !one.Table().Equal(other.Table()) {
			t.Fatalf("one order:\n%s\nanother order:\n%s", show(one.Table()), show(other.Table()))
		}
	})
}
