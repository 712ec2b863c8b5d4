package balancer

import (
	"strings"
	"testing"
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

// connect gives the second server of web so many connections.
func (k *fakeKernel) connect(active, inactive, persistent uint32) {
	k.do(func() {
		servers := k.services[key("10.0.0.100:80")].Servers
		for i := range servers {
			if servers[i].Address.String() == "10.0.0.2" {
				servers[i].Active, servers[i].Inactive, servers[i].Persistent = active, inactive, persistent
			}
		}
	})
}

func timeout(d time.Duration) func(*Spec) {
	return func(s *Spec) { s.Services[0].DrainTimeout = d }
}

const (
	bothServe = "tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1"
	oneDrains = "tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*0"
	oneLeft   = "tcp 10.0.0.100:80: 10.0.0.1:80*1"
)

// drainsNow lets the second of two servers serve and then leave the spec.
func drainsNow(r *rig, edit ...func(*Spec)) {
	r.Helper()
	after(time.Second)
	r.want(bothServe)
	r.kernel.connect(2, 1, 1)
	r.seen()
	r.reload(webSpec(1, edit...))
	r.want(oneDrains)
	after(10 * time.Second)
	r.want(oneDrains)
}

func (r *rig) wantSeen(want ...string) {
	r.Helper()
	if got := r.seen(); got != strings.Join(want, "\n") {
		r.Errorf("transitions\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

const begins = "web 10.0.0.2:80: up -> draining: it is no longer in the configuration"

func TestDrainEnds(t *testing.T) {
	t.Run("with the last connection", func(t *testing.T) {
		run(t, webSpec(2), newFakeKernel(), func(r *rig) {
			drainsNow(r)
			s := r.Status().Services[0].Servers[1]
			if s.State != Draining || s.Active != 2 || s.Inactive != 1 || !s.InKernel || !s.DrainUntil.IsZero() || len(s.Checks) != 1 {
				t.Errorf("%+v", s)
			}
			r.kernel.connect(0, 1, 1)
			after(3 * time.Second)
			r.want(oneDrains)
			r.kernel.connect(0, 0, 1) // the client that is bound to it goes elsewhere
			after(2 * time.Second)
			r.want(oneLeft)
			r.wantSeen(begins, "web 10.0.0.2:80: draining -> removed: it has no connections any more, 14s after it began to drain")
			if n := len(r.Status().Services[0].Servers); n != 1 {
				t.Errorf("%d servers are shown", n)
			}
			if st, known := r.options.Runner.Status(string(webSpec(2).Services[0].Servers[1].Checks[0])); known {
				t.Errorf("it is still checked: %+v", st)
			}
		})
	})
	t.Run("with the time", func(t *testing.T) {
		run(t, webSpec(2, timeout(30*time.Second)), newFakeKernel(), func(r *rig) {
			drainsNow(r, timeout(30*time.Second))
			if s := r.Status().Services[0].Servers[1]; time.Until(s.DrainUntil).Round(time.Second) != 20*time.Second {
				t.Errorf("it drains until %s, which is in %s", s.DrainUntil, time.Until(s.DrainUntil))
			}
			after(19 * time.Second)
			r.want(oneDrains)
			after(2 * time.Second)
			r.want(oneLeft)
			r.wantSeen(begins, "web 10.0.0.2:80: draining -> removed: its drain_timeout of 30s is over; 3 connections left")
		})
	})
	t.Run("with its life", func(t *testing.T) {
		run(t, webSpec(2), newFakeKernel(), func(r *rig) {
			drainsNow(r)
			r.targets.set(true, "10.0.0.2")
			after(5 * time.Second)
			r.want(oneLeft)
			r.wantSeen(begins, "web 10.0.0.2:80: draining -> removed: it is no longer in the configuration, and its check is failing: "+
				"connection refused by 10.0.0.2:80")
		})
	})
	t.Run("with its return", func(t *testing.T) {
		run(t, webSpec(2), newFakeKernel(), func(r *rig) {
			drainsNow(r)
			r.reload(webSpec(2))
			r.want(bothServe)
			after(10 * time.Second)
			r.want(bothServe)
			r.wantSeen(begins, "web 10.0.0.2:80: draining -> up: its check passes: connected to 10.0.0.2:80")
		})
	})
}

// Where the kernel leads clients back, those that may return count, too.
func TestDrainAndPersistence(t *testing.T) {
	persistent := func(s *Spec) {
		s.Services[0].Flags, s.Services[0].PersistenceSeconds = pool.Persistent, 300
	}
	run(t, webSpec(2, persistent), newFakeKernel(), func(r *rig) {
		drainsNow(r, persistent)
		r.kernel.connect(0, 0, 1)
		after(10 * time.Second)
		r.want(oneDrains)
		r.kernel.connect(0, 0, 0)
		after(2 * time.Second)
		r.want(oneLeft)
	}, func(_ *rig, o *Options) { o.ClientsReturn = func() bool { return true } })
}

// A restart of the program in the middle: the server drains on, and its time too.
func TestDrainOverARestart(t *testing.T) {
	kernel := newFakeKernel(inKernel("10.0.0.100:80", "10.0.0.1", "10.0.0.2"))
	var kept []Drain
	run(t, webSpec(1, timeout(30*time.Second)), kernel, func(r *rig) {
		kernel.connect(2, 0, 0)
		after(20 * time.Second)
		r.want(oneDrains)
		if len(kept) != 1 || kept[0].Service != "web" {
			t.Fatalf("kept %+v", kept)
		}
		r.cancel()
		<-r.ended
		// The next run.
		o := r.options
		o.Drains, o.Runner = kept, check.NewRunner(check.Options{Probe: r.targets.probe})
		next := New(o, webSpec(1, timeout(30*time.Second)))
		done := make(chan error)
		go func() { done <- next.Run(r.Context()) }()
		after(8 * time.Second)
		r.want(oneDrains)
		after(4 * time.Second)
		r.want(oneLeft)
		const found = "web 10.0.0.2:80:  -> draining: it was found in the kernel's table and is not in the configuration"
		r.wantSeen(found, found, "web 10.0.0.2:80: draining -> removed: its drain_timeout of 30s is over; 2 connections left")
		if len(kept) != 0 {
			t.Errorf("kept %+v", kept)
		}
		if err := next.Stop(r.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}, func(_ *rig, o *Options) { o.OnDrains = func(d []Drain) { kept = d } })
}
