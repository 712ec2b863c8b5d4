package balancer

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"baton/internal/pool"
)

var byAlice = Note{By: "alice", At: time.Date(2026, 1, 2, 15, 4, 0, 0, time.Local), Reason: "new disk"}

// second is an override of the second server of web.
func second(state ServerState, weight ...uint32) Override {
	o := Override{Service: "web", Server: netip.MustParseAddrPort("10.0.0.2:80"), State: state}
	if state != "" {
		o.Stated = byAlice
	}
	for _, w := range weight {
		o.Weight, o.Weighed = &w, byAlice
	}
	return o
}

func (r *rig) wish(w Wishes) {
	r.Helper()
	if err := r.Wish(r.Context(), w); err != nil {
		r.Error(err)
	}
}

func overrides(o ...Override) Wishes { return Wishes{Overrides: o} }

// holds has a reason for the second server of web.
func holds(_ *pool.Service, s *pool.Server) string {
	if s.Address.String() == "10.0.0.2" {
		return "file x exists"
	}
	return ""
}

const drainedByAlice = "drained by alice 2026-01-02 15:04: new disk"

func TestWishDrains(t *testing.T) {
	run(t, webSpec(2), newFakeKernel(), func(r *rig) {
		after(time.Second)
		r.want(bothServe)
		r.kernel.connect(2, 0, 0)
		r.seen()
		r.wish(overrides(second(Draining)))
		r.want(oneDrains) // when it is answered the kernel has been told
		s := r.Status().Services[0]
		if srv := s.Servers[1]; srv.State != Draining || srv.Reason != drainedByAlice || srv.Override == nil || srv.Override.Stated != byAlice || s.Weight != 1 {
			t.Errorf("%+v", srv)
		}
		after(10 * time.Second)
		r.want(oneDrains)
		r.reload(webSpec(2, func(s *Spec) { s.Services[0].Quorum.Min = 2 })) // the last one is not enough now
		r.want(oneDrains)
		r.kernel.connect(0, 0, 0)
		after(2 * time.Second)
		r.want(oneLeft)
		r.wish(Wishes{})
		r.want(bothServe)
		r.wantSeen("web 10.0.0.2:80: up -> draining: "+drainedByAlice,
			"web: up -> down: live weight 1 of a quorum of 2; 1 of its servers drained or disabled; the servers that are left serve on",
			"web 10.0.0.2:80: draining -> removed: it has no connections any more, 11s after it began to drain",
			"web 10.0.0.2:80: draining -> up: its check passes: connected to 10.0.0.2:80",
			"web: down -> up: live weight 2 of a quorum of 2")
	})
}

func TestWishDrainsForSomeTime(t *testing.T) {
	run(t, webSpec(2, timeout(30*time.Second)), newFakeKernel(), func(r *rig) {
		after(time.Second)
		r.kernel.connect(2, 0, 0)
		r.wish(overrides(second(Draining)))
		if s := r.Status().Services[0].Servers[1]; time.Until(s.DrainUntil).Round(time.Second) != 30*time.Second {
			t.Errorf("it drains until %s", s.DrainUntil)
		}
		after(29 * time.Second)
		r.want(oneDrains)
		after(2 * time.Second)
		r.want(oneLeft)
		// Enabled and drained again its time begins anew.
		r.wish(Wishes{})
		after(2 * time.Second)
		r.want(bothServe)
		r.kernel.connect(2, 0, 0)
		r.wish(overrides(second(Draining)))
		after(29 * time.Second)
		r.want(oneDrains)
	})
}

func TestWishDisables(t *testing.T) {
	run(t, webSpec(2), newFakeKernel(), func(r *rig) {
		after(time.Second)
		r.kernel.connect(2, 0, 0)
		r.seen()
		r.wish(overrides(second(Disabled)))
		r.want(oneLeft)
		r.wish(Wishes{})
		r.want(bothServe)
		r.wantSeen("web 10.0.0.2:80: up -> disabled: disabled by alice 2026-01-02 15:04: new disk",
			"web 10.0.0.2:80: disabled -> up: its check passes: connected to 10.0.0.2:80")
	})
}

func TestWishWeighs(t *testing.T) {
	run(t, webSpec(2), newFakeKernel(), func(r *rig) {
		after(time.Second)
		r.seen()
		r.wish(overrides(second("", 7)))
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*7")
		s := r.Status().Services[0]
		const why = "its check passes: connected to 10.0.0.2:80; its weight is 7 instead of 1, set by alice 2026-01-02 15:04: new disk"
		if srv := s.Servers[1]; s.Weight != 8 || srv.Weight != 7 || srv.ConfiguredWeight != 1 || srv.Reason != why {
			t.Errorf("%+v", srv)
		}
		r.wantSeen("")
		before := r.kernel.written()
		r.wish(overrides(second("", 7)))
		if n := r.kernel.written(); n != before {
			t.Errorf("the same wish again wrote %d times", n-before)
		}
		r.wish(Wishes{})
		r.want(bothServe)
	})
}

// Any reason to drain drains, and the last one that goes lets the server serve.
func TestWishAndHold(t *testing.T) {
	run(t, webSpec(2), newFakeKernel(), func(r *rig) {
		after(time.Second)
		r.kernel.connect(1, 0, 0)
		r.wish(Wishes{Overrides: []Override{second(Draining)}, Hold: holds})
		r.want(oneDrains)
		if s := r.Status().Services[0].Servers[1]; s.Reason != drainedByAlice+"; file x exists" || s.Held != "file x exists" {
			t.Errorf("%+v", s)
		}
		r.wish(Wishes{Hold: holds})
		r.want(oneDrains)
		r.wish(Wishes{})
		r.want(bothServe)
		// A server that a reload brings is held from the start.
		r.reload(webSpec(1))
		r.wish(Wishes{Hold: holds})
		r.kernel.connect(0, 0, 0)
		after(3 * time.Second)
		r.want(oneLeft)
		r.reload(webSpec(2))
		r.want(oneLeft)
		after(5 * time.Second)
		r.want(oneLeft)
	})
}

// The next run goes on as this one left it, from its first write on.
func TestWishOverARestart(t *testing.T) {
	kernel := newFakeKernel(inKernel("10.0.0.100:80", "10.0.0.1", "10.0.0.2"))
	kernel.connect(3, 0, 0)
	prepare := func(_ *rig, o *Options) { o.Wishes = overrides(second(Draining)) }
	for range 2 {
		run(t, webSpec(2), kernel, func(r *rig) {
			r.Helper()
			after(10 * time.Second)
			r.want(oneDrains)
			r.wantSeen("web 10.0.0.2:80:  -> draining: " + drainedByAlice)
			kernel.do(func() {
				for _, op := range kernel.ops {
					if op.Server.Address.String() == "10.0.0.2" && op.Server.Weight > 0 {
						t.Errorf("the draining server got a weight: %s", op)
					}
				}
			})
		}, prepare)
	}
	run(t, webSpec(2), kernel, func(r *rig) {
		after(time.Second)
		r.want(oneLeft)
		r.wantSeen("web 10.0.0.2:80:  -> disabled: disabled by alice 2026-01-02 15:04: new disk")
	}, func(_ *rig, o *Options) { o.Wishes = overrides(second(Disabled)) })
}

func TestWishOfABalancerThatHasEnded(t *testing.T) {
	run(t, webSpec(2), newFakeKernel(), func(r *rig) {
		r.cancel()
		<-r.ended
		if err := r.Wish(r.Context(), Wishes{}); err == nil {
			t.Error("no error")
		}
	})
}

func TestExplainWishes(t *testing.T) {
	failing := func(s *ServerStatus) { s.Checks[0].Up = false }
	for name, tt := range map[string]struct {
		edit func(*ServerStatus)
		want string
	}{
		"drained": {
			func(s *ServerStatus) { o := second(Draining); s.Override, s.State = &o, Draining },
			`"baton server enable web 10.0.0.1:80" takes that back; then it serves at once, for its checks pass.`,
		},
		"disabled and failing": {
			func(s *ServerStatus) { o := second(Disabled); s.Override, s.State = &o, Disabled; failing(s) },
			`"baton server enable web 10.0.0.1:80" takes that back; then it is down, for its checks fail.`,
		},
		"drained and held": {
			func(s *ServerStatus) {
				o := second(Draining)
				s.Override, s.State, s.Held = &o, Draining, "file x exists"
			},
			"takes that back; it drains all the same, because it is held.\nIt is held for as long as this is so: file x exists.",
		},
		"weight": {
			func(s *ServerStatus) { o := second("", 7); s.Override = &o },
			`Its weight is 7 instead of the configured 1, set by alice 2026-01-02 15:04: new disk. "baton server reset web 10.0.0.1:80" takes that back.`,
		},
		"drained, not yet checked": {
			func(s *ServerStatus) {
				o := second(Draining)
				s.Override, s.State, s.Checks[0].Known = &o, Draining, false
			},
			"then its checks decide, which have not all spoken yet.",
		},
	} {
		srv := upServer(tt.edit)
		if got, line := strings.Join(webStatus(srv).Explain(), "\n"), "\nServer 10.0.0.1:80: "+srv.wanted()+"."; srv.wanted() == "" || !strings.Contains(got, line) {
			t.Errorf("%s: the service is explained as\n%s\nwithout%s", name, got, line)
		}
		if got := strings.Join(srv.Explain(webStatus(srv), noPast), "\n"); !strings.Contains(got, tt.want) {
			t.Errorf("%s: explained as\n%s\nwant\n%s", name, got, tt.want)
		}
	}
}
