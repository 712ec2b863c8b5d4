package pool

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// wanting are overrides of the second server of web.
func wanting(o Override) map[Place]Override {
	return map[Place]Override{{"web", web().Servers[1].AddrPort()}: o}
}

var (
	drained  = Override{Drain: "drained by alice"}
	disabled = Override{Disable: "disabled by alice"}
)

func weighs(n uint32) Override { return Override{Weighs: true, Weight: n, WeightWhy: "by alice"} }

func TestOverride(t *testing.T) {
	const s1, s2, zero = "10.0.0.1:80*1", "10.0.0.2:80*2", "10.0.0.2:80*0"
	for _, tt := range []struct {
		name   string
		edit   []func(*Service)
		say    []string
		want   Override
		then   []string
		table  string
		state  State
		weight uint64 // of the service
		back   string // the table without it; empty: as at first
	}{
		{name: "drain", say: []string{"a", "b"}, want: drained, table: s1 + " " + zero, state: Draining, weight: 1},
		{name: "drain, dh", edit: []func(*Service){scheduler("dh")}, say: []string{"a", "b"}, want: drained, table: s1, state: Draining, weight: 1},
		{name: "drain, and it fails", say: []string{"a", "b"}, want: drained, then: []string{"-b"}, table: s1, state: Draining, weight: 1, back: s1},
		{
			name: "drain, it fails and is quiesced", edit: []func(*Service){quiesce}, say: []string{"a", "b"}, want: drained, then: []string{"-b"},
			table: s1 + " " + zero, state: Draining, weight: 1, back: s1 + " " + zero,
		},
		{name: "drain, it is restarted", say: []string{"a", "b"}, want: drained, then: []string{"-b", "b"}, table: s1, state: Draining, weight: 1},
		{name: "drain one that is down", say: []string{"a", "-b"}, want: drained, table: s1, state: Draining, weight: 1, back: s1},
		{name: "drain one that is being checked", say: []string{"a"}, want: drained, table: s1, state: Draining, weight: 1, back: s1},
		{name: "disable", say: []string{"a", "b"}, want: disabled, table: s1, state: Disabled, weight: 1},
		{name: "disable one that is quiesced", edit: []func(*Service){quiesce}, say: []string{"a", "-b"}, want: disabled, table: s1, state: Disabled, weight: 1, back: s1 + " " + zero},
		{name: "disable, and it fails", say: []string{"a", "b"}, want: disabled, then: []string{"-b"}, table: s1, state: Disabled, weight: 1, back: s1},
		{
			name: "disable counts more than drain", say: []string{"a", "b"}, want: Override{Drain: "a file", Disable: "alice"},
			table: s1, state: Disabled, weight: 1,
		},
		{name: "weight", say: []string{"a", "b"}, want: weighs(7), table: s1 + " 10.0.0.2:80*7", state: Up, weight: 8},
		{name: "weight 0", say: []string{"a", "b"}, want: weighs(0), table: s1 + " " + zero, state: Up, weight: 1},
		{name: "weight, and it comes up", say: []string{"a"}, want: weighs(7), then: []string{"b"}, table: s1 + " 10.0.0.2:80*7", state: Up, weight: 8, back: s1 + " " + s2},
		{name: "weight and drain", say: []string{"a", "b"}, want: Override{Drain: "x", Weighs: true, Weight: 7}, table: s1 + " " + zero, state: Draining, weight: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(web(tt.edit...))
			say(p, tt.say...)
			before := servers(t, p)
			if !p.Override(wanting(tt.want)) {
				t.Error("nothing changed")
			}
			if p.Override(wanting(tt.want)) {
				t.Error("the same again changed something")
			}
			say(p, tt.then...)
			// A reload in between changes nothing about it.
			p.Reconfigure([]Service{web(append(tt.edit, func(s *Service) { s.PersistenceSeconds = 5 })...)})
			if got := servers(t, p); got != tt.table {
				t.Errorf("%s, want %s", got, tt.table)
			}
			st := p.Snapshot()[0]
			if srv := st.Servers[1]; srv.State != tt.state || st.Weight != tt.weight || *srv.Override != tt.want {
				t.Errorf("%s: %s, weight of the service %d", srv.State, srv.Reason, st.Weight)
			}
			if !p.Override(nil) {
				t.Error("taken back, nothing changed")
			}
			want := before
			if tt.back != "" {
				want = tt.back
			}
			if got := servers(t, p); got != want {
				t.Errorf("taken back: %s, want %s", got, want)
			}
		})
	}
}

// All reasons to drain count, each by itself, and each is named.
func TestReasonsToDrain(t *testing.T) {
	p := pool(web())
	say(p, "a", "b")
	p.Override(wanting(drained))
	p.Reconfigure([]Service{web(without(1))})
	l := p.Snapshot()[0].Leaving
	if len(l) != 1 || l[0].Reason != "it is no longer in the configuration; drained by alice" || !l[0].InTable {
		t.Fatalf("%+v", l)
	}
	p.Override(nil) // it is still leaving
	if l := p.Snapshot()[0].Leaving; len(l) != 1 || l[0].State != Draining || !l[0].InTable {
		t.Errorf("%+v", l)
	}
	p.Override(wanting(disabled)) // at once, then
	if l := p.Snapshot()[0].Leaving; len(l) != 1 || l[0].State != Disabled || l[0].InTable {
		t.Errorf("%+v", l)
	}
	p.Release("web", l[0].Spec.AddrPort())
	if l := p.Snapshot()[0].Leaving; len(l) != 0 {
		t.Errorf("it has no place and stays: %+v", l)
	}
	// An override of a server that is not there waits for it.
	p.Reconfigure([]Service{web()})
	if srv := p.Snapshot()[0].Servers[1]; srv.State != Disabled || srv.Reason != "disabled by alice" {
		t.Errorf("%+v", srv)
	}
}

// A program that is restarted while a server drains goes on with it: what the
// kernel has of the server stays there, at weight 0.
func TestOverrideOverARestart(t *testing.T) {
	table := Table{{Key: web().Keys[0], Servers: []RealServer{kernelServer("10.0.0.1", 1), kernelServer("10.0.0.2", 0)}}}
	for want, o := range map[string]Override{
		"10.0.0.1:80*1 10.0.0.2:80*0": drained,
		"10.0.0.1:80*1":               disabled,
		"10.0.0.1:80*1 10.0.0.2:80*9": weighs(9),
	} {
		p := New(nil, nil)
		p.Override(wanting(o))
		p.Reconfigure([]Service{web()})
		p.Adopt(table)
		if o.Weighs {
			say(p, "a", "b")
		}
		if got := servers(t, p); got != want {
			t.Errorf("%+v: %s, want %s", o, got, want)
		}
		say(p, "a", "b")
		if got := servers(t, p); got != want {
			t.Errorf("%+v, after the first checks: %s, want %s", o, got, want)
		}
	}
}

// The fallback is nobody's to drain, not even where it is a server as well.
func TestOverrideOfAFallback(t *testing.T) {
	s := web(func(s *Service) { s.Fallback = &Server{Address: addr("10.0.0.2"), Port: 80, Weight: 1} })
	p := pool(s)
	p.Override(wanting(disabled))
	say(p, "-a", "b")
	if got := servers(t, p); got != "10.0.0.2:80*1" {
		t.Errorf("%s: the fallback does not serve", got)
	}
}

// The last live server may be drained; then the service is down.
func TestOverrideAndQuorum(t *testing.T) {
	p := pool(web())
	say(p, "a", "b")
	all := map[Place]Override{}
	for _, s := range web().Servers {
		all[Place{"web", s.AddrPort()}] = drained
	}
	p.Override(all)
	st := p.Snapshot()[0]
	if st.Up || st.Weight != 0 || st.Reason != "live weight 0 of a quorum of 1; 2 of its servers drained or disabled" {
		t.Errorf("%+v", st)
	}
	p.Override(nil)
	if st := p.Snapshot()[0]; !st.Up || st.Weight != 3 {
		t.Errorf("taken back: %+v", st)
	}
}

// An operator's 0 sends the clients of a hash to others, a configured one does not.
func TestOverrideAndHash(t *testing.T) {
	for name, o := range map[string]Override{"drain": drained, "weight 0": weighs(0)} {
		p := pool(web(scheduler("sh")))
		say(p, "a", "b")
		p.Override(wanting(o))
		if got, flags := servers(t, p), p.Table()[0].Flags; got != "10.0.0.1:80*1 10.0.0.2:80*0" || flags != Sched1 {
			t.Errorf("%s: %s, flags %#x", name, got, flags)
		}
	}
}

// anyOverrides draws overrides of the servers of anyServices.
func anyOverrides(t *rapid.T) map[Place]Override {
	out := map[Place]Override{}
	for range rapid.IntRange(0, 4).Draw(t, "overrides") {
		at := Place{
			Service: rapid.SampledFrom([]string{"s0", "s1", "s2"}).Draw(t, "of"),
			Server:  netip.AddrPortFrom(addr("10.0.0."+rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "server")), 80),
		}
		o := Override{Weighs: rapid.Bool().Draw(t, "weighs")}
		if o.Weighs {
			o.Weight = rapid.Uint32Range(0, 5).Draw(t, "wanted weight")
		}
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0:
			o.Drain = "drain"
		case 1:
			o.Disable = "disable"
		}
		out[at] = o
	}
	return out
}

// What is taken back leaves no trace, once all checks have spoken and slow starts
// are over. Only a panic remembers: who was taken out in it is not kept any more.
func TestOverridesLeaveNoTrace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		services := anyServices(t)
		for i := range services {
			services[i].Quorum.Hysteresis = 0
			for n := range services[i].Servers {
				services[i].Servers[n].Drain = false
			}
			services[i].PanicThreshold = 0
		}
		p := New(services, nil)
		for _, id := range []CheckID{"a", "b", "c", "d"} {
			p.Set(id, rapid.Bool().Draw(t, "up"))
		}
		before := p.Table()
		for range 3 {
			p.Override(anyOverrides(t))
			checkInvariants(t, p)
		}
		p.Override(nil)
		p.Advance(time.Unix(1e6, 0))
		if !p.Table().Equal(before) {
			t.Fatalf("the table was\n%s\nand is\n%s", show(before), show(p.Table()))
		}
	})
}
