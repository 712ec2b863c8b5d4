package pool

import (
	"fmt"
	"math"
	"testing"
	"time"

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
		s.Scheduler = rapid.SampledFrom([]string{"wlc", "wlc", "sh", "dh"}).Draw(t, "scheduler")
		s.SlowStart = rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute}).Draw(t, "slow start")
		s.PanicThreshold = rapid.SampledFrom([]uint8{0, 0, 34, 50, 100}).Draw(t, "panic threshold")
		s.OnFailure = rapid.SampledFrom([]OnFailure{Remove, Quiesce}).Draw(t, "on failure")
		s.Admit = rapid.SampledFrom([]Admit{AdmitChecked, AdmitAtOnce}).Draw(t, "admit")
		s.Quorum.Min = rapid.Uint64Range(1, 4).Draw(t, "quorum")
		s.Quorum.Hysteresis = rapid.Uint64Range(0, s.Quorum.Min-1).Draw(t, "hysteresis")
		for n := range rapid.IntRange(0, 4).Draw(t, "servers") {
			s.Servers = append(s.Servers, Server{
				Address: addr(fmt.Sprintf("10.0.0.%d", n+1)), Port: 80,
				Weight: rapid.Uint32Range(0, 3).Draw(t, "weight"), Checks: checks.Draw(t, "checks"),
				Drain:  rapid.IntRange(0, 9).Draw(t, "drain") == 0,
				Backup: rapid.IntRange(0, 3).Draw(t, "backup") == 0,
				Agent:  rapid.SampledFrom([]CheckID{"", "", "g", "h"}).Draw(t, "agent"), Dynamic: true,
			})
		}
		if rapid.Bool().Draw(t, "fallback") {
			last := rapid.IntRange(3, 9).Draw(t, "fallback address")
			s.Fallback = &Server{Address: addr(fmt.Sprintf("10.0.0.%d", last)), Port: 80, Weight: 1, Checks: checks.Draw(t, "fallback checks")}
		}
	}
	return out
}

// anyVerdict draws a verdict of a check or, for g and h, of an agent.
func anyVerdict(t *rapid.T, id CheckID) Verdict {
	v := Verdict{Up: rapid.Bool().Draw(t, "up")}
	switch {
	case id == "g" || id == "h":
		v.Agent.Weighs = rapid.Bool().Draw(t, "agent weighs")
		if v.Agent.Weighs {
			v.Agent.Percent = rapid.Uint32Range(0, 200).Draw(t, "agent percent")
		}
		v.Agent.Down = rapid.IntRange(0, 3).Draw(t, "agent down") == 0
		v.Agent.Mode = rapid.SampledFrom([]AgentMode{AgentReady, AgentReady, AgentDrain, AgentMaint}).Draw(t, "agent mode")
	case v.Up && rapid.IntRange(0, 3).Draw(t, "weighted") == 0:
		v.Weighted, v.Weight = true, rapid.SampledFrom([]uint32{0, 1, 5, math.MaxInt32}).Draw(t, "check weight")
	}
	return v
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
		if s.Weight > math.MaxInt32 {
			t.Fatalf("%s has a weight that the kernel does not take: %d", s.AddrPort(), s.Weight)
		}
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
		if live := s.State == Up || s.Held; live && !s.Spare && (!s.Spec.Backup || st.BackupsServe) {
			sum += uint64(s.Effective)
			anyUp = anyUp || s.Effective > 0
			if fallback == "" && s.Ramp == 0 && (weight+st.Factor-1)/st.Factor != s.Effective {
				t.Fatalf("%s has weight %d, of %d in a unit, and should have %d", name, weight, st.Factor, s.Effective)
			}
		}
		switch {
		case name == fallback:
		case s.Held && !st.Panic:
			t.Fatalf("%s is held and there is no panic", name)
		case s.Spare && weight > 0:
			t.Fatalf("%s is a spare and gets clients", name)
		case s.State != Up && !s.Held && weight > 0:
			t.Fatalf("%s is %s and gets clients", name, s.State)
		case s.State == Disabled && there:
			t.Fatalf("%s is disabled and in the table", name)
		case s.Override.Disable != "" && s.State != Disabled, s.Override.Drain != "" && s.State != Draining && s.State != Disabled:
			t.Fatalf("%s is %s with %+v", name, s.State, s.Override)
		case s.State == Down && !s.Held && there && st.Spec.OnFailure == Remove:
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
		now := time.Unix(1000, 0)
		p.Advance(now)
		checkInvariants(t, p)
		t.Repeat(map[string]func(*rapid.T){
			"verdict": func(t *rapid.T) {
				before := p.Table()
				id := rapid.SampledFrom([]CheckID{"a", "b", "c", "d", "g", "h", "x"}).Draw(t, "id")
				changed := p.Tell(id, anyVerdict(t, id))
				if !changed && !p.Table().Equal(before) {
					t.Fatalf("the table changed and Tell did not say so:\n%s\n%s", show(before), show(p.Table()))
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(t, "ms")) * time.Millisecond)
				before, due := p.Table(), p.Deadline()
				changed := p.Advance(now)
				if !changed && !p.Table().Equal(before) {
					t.Fatalf("the table changed and Advance did not say so:\n%s\n%s", show(before), show(p.Table()))
				}
				if (due.IsZero() || now.Before(due)) && !p.Table().Equal(before) {
					t.Fatalf("the table changed at %s, before the deadline at %s", now, due)
				}
				if next := p.Deadline(); !next.IsZero() && !next.After(now) {
					t.Fatalf("at %s the next deadline is %s", now, next)
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
// they came in, once slow starts are over. It decides whether a service panics,
// too; only who serves on during a panic depends on what came before.
func TestOrderIndependence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		services := anyServices(t)
		for i := range services {
			services[i].Quorum.Hysteresis = 0
		}
		ids := []CheckID{"a", "b", "c", "d", "g", "h"}
		verdicts := make([]Verdict, len(ids))
		for i, id := range ids {
			verdicts[i] = anyVerdict(t, id)
			if verdicts[i].Agent.Mode == AgentDrain { // what drains keeps the place that it happens to have
				verdicts[i].Agent.Mode = AgentReady
			}
		}
		one, other := New(services, nil), New(services, nil)
		for i, id := range ids {
			one.Tell(id, verdicts[i])
		}
		for _, i := range rapid.SliceOf(rapid.IntRange(0, len(ids)-1)).Draw(t, "wandering") {
			other.Tell(ids[i], anyVerdict(t, ids[i]))
			other.Advance(time.Unix(int64(i), 0))
		}
		for _, i := range rapid.Permutation([]int{0, 1, 2, 3, 4, 5}).Draw(t, "order") {
			other.Tell(ids[i], verdicts[i])
		}
		one.Advance(time.Unix(1e6, 0))
		other.Advance(time.Unix(1e6, 0))
		sameTables(t, one, other)
	})
}

// sameTables compares all services but those that panic, which must be the same.
func sameTables(t *rapid.T, one, other *Pool) {
	states := other.Snapshot()
	calm := make(map[string]bool)
	for i, st := range one.Snapshot() {
		if st.Panic != states[i].Panic {
			t.Fatalf("service %s: panic %v in one order, %v in another", st.Spec.Name, st.Panic, states[i].Panic)
		}
		calm[st.Spec.Name] = !st.Panic
	}
	is := func(s *Service) bool { return calm[s.Name] }
	if a, b := one.TableOf(is), other.TableOf(is); !a.Equal(b) {
		t.Fatalf("one order:\n%s\nanother order:\n%s", show(a), show(b))
	}
}
