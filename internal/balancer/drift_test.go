package balancer

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// watched lets a test hear of drift.
func watched(told *[]Drift) func(*rig, *Options) {
	return func(r *rig, o *Options) {
		o.OnDrift = func(d Drift) {
			r.mu.Lock()
			defer r.mu.Unlock()
			*told = append(*told, d)
		}
	}
}

func TestDriftIsTold(t *testing.T) {
	spec := webSpec(2, func(s *Spec) { s.Timeouts = Timeouts{TCP: time.Minute, UDP: time.Second} })
	var told []Drift
	run(t, spec, newFakeKernel(), func(r *rig) {
		after(1500 * time.Millisecond)
		if len(told) != 0 {
			t.Errorf("the first pass told %+v", told)
		}
		r.kernel.do(func() {
			r.kernel.services[key("10.0.0.100:80")].Servers[0].Weight = 7
			r.kernel.timeouts.UDP = time.Hour
		})
		after(time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1")
		const want = "tcp 10.0.0.100:80: server 10.0.0.1:80 changed: weight 7, not 1; connection timeouts changed: udp 1h0m0s, not 1s"
		if len(told) != 1 || told[0].String() != want || r.Status().Drift != 2 || r.kernel.timeouts.UDP != time.Second {
			t.Errorf("told %+v, drift %d, timeouts %+v", told, r.Status().Drift, r.kernel.timeouts)
		}
		r.kernel.do(func() { // what cannot be put right is told as that
			clear(r.kernel.services)
			r.kernel.refuse[key("10.0.0.100:80")] = fmt.Errorf("no memory")
		})
		after(time.Second)
		if len(told) != 2 || told[0].Outcome() != "put right" || told[1].Outcome() != "not put right" || !strings.Contains(told[1].String(), "service missing; not put right yet: no memory") {
			t.Errorf("told %+v", told)
		}
		after(time.Minute) // that it is still missing is no drift again
		if len(told) != 2 {
			t.Errorf("told %+v", told[2:])
		}
	}, watched(&told))
}

// A table that takes long to be compared takes a tenth of the time, and drift is found
// after five resyncs all the same.
func TestSlowComparison(t *testing.T) {
	for _, tt := range []struct {
		takes time.Duration
		want  int // comparisons in a minute
	}{
		{0, 60},
		{50 * time.Millisecond, 57},
		{200 * time.Millisecond, 27}, // each 2.2 s
		{20 * time.Second, 2},        // after 5 s
	} {
		t.Run(tt.takes.String(), func(t *testing.T) {
			kernel := newFakeKernel()
			kernel.slow = tt.takes
			run(t, webSpec(2), kernel, func(r *rig) {
				after(tt.takes + 100*time.Millisecond)
				began := 0
				r.kernel.do(func() { began = r.kernel.dumps })
				after(time.Minute)
				r.kernel.do(func() {
					if n := r.kernel.dumps - began; n < tt.want-1 || n > tt.want+1 {
						t.Errorf("%d comparisons in a minute, want %d", n, tt.want)
					}
				})
			})
		})
	}
}

// What the kernel misses is shown until it is there, and hinders nothing.
func TestLacking(t *testing.T) {
	kernel := newFakeKernel()
	kernel.lacking = map[pool.Key]error{key("10.0.0.100:80"): fmt.Errorf("the helper is not loaded")}
	run(t, webSpec(1), kernel, func(r *rig) {
		after(1500 * time.Millisecond)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1")
		if s := r.Status().Services[0]; s.Lacking != "the helper is not loaded" || s.Problem != "" || !s.Up {
			t.Errorf("status %+v", s)
		}
		r.kernel.do(func() { r.kernel.lacking = nil })
		after(2 * time.Second)
		if s := r.Status().Services[0]; s.Lacking != "" {
			t.Errorf("still lacking %q", s.Lacking)
		}
	})
}

// Somebody fights for the table: the history must not be full of it, and nothing
// is lost.
func TestDriftIsToldNotTooOften(t *testing.T) {
	var told []Drift
	run(t, webSpec(1), newFakeKernel(), func(r *rig) {
		after(100 * time.Millisecond)
		const minutes = 10
		for range minutes * 60 {
			r.kernel.do(func() { r.kernel.services[key("10.0.0.100:80")].Servers[0].Weight++ })
			after(time.Second)
		}
		after(driftEvery + time.Second)
		if n := len(told); n < driftBurst+minutes*6-2 || n > driftBurst+minutes*6+2 {
			t.Errorf("told %d times in %d minutes", n, minutes)
		}
		sum := 0
		for _, d := range told {
			sum += d.Count
		}
		if sum != minutes*60 || uint64(sum) != r.Status().Drift {
			t.Errorf("%d differences were told, %d counted, of %d", sum, r.Status().Drift, minutes*60)
		}
		if last := told[len(told)-1].String(); !strings.HasSuffix(last, "more differences") {
			t.Errorf("told %q", last)
		}
	}, watched(&told))
}

// One weight of 10,000 servers is one write, and the same configuration none.
func TestReloadOfManyServers(t *testing.T) {
	spec := func(weight uint32) Spec {
		s := Spec{Resync: time.Second}
		for i := range 1000 {
			v := webService(fmt.Sprint("web", i), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80).String())
			for j := range 10 {
				v.Servers = append(v.Servers, pool.Server{Address: netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)}), Port: uint16(8000 + j), Weight: 1})
			}
			s.Services = append(s.Services, v)
		}
		s.Services[500].Servers[5].Weight = weight
		return s
	}
	run(t, spec(1), newFakeKernel(), func(r *rig) {
		after(100 * time.Millisecond)
		if n := r.kernel.written(); n != 11000 {
			t.Fatalf("%d writes at the start", n)
		}
		r.reload(spec(1))
		after(2 * time.Second)
		if n := r.kernel.written(); n != 11000 {
			t.Errorf("%d writes for the same configuration", n-11000)
		}
		r.reload(spec(9))
		after(2 * time.Second)
		if n := r.kernel.written(); n != 11001 || r.kernel.ops[n-1].Kind != ipvs.EditServer || r.kernel.ops[n-1].Server.Weight != 9 {
			t.Errorf("%d writes for one weight, the last %v", n-11000, r.kernel.ops[n-1])
		}
		if w := r.Status().Writes; w["edit_server"] != 1 {
			t.Errorf("counted %v", w)
		}
	})
}
