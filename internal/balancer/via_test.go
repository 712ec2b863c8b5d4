package balancer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

// vipSpec is a spec whose servers are also checked through the VIP.
func vipSpec(servers int, edit ...func(*Spec)) Spec {
	return webSpec(servers, append([]func(*Spec){func(s *Spec) {
		s.Marks = Marks{16, 31}
		for i := range s.Services[0].Servers {
			srv := &s.Services[0].Servers[i]
			srv.Forward = pool.DR
			job := &check.Job{
				Spec: check.Spec{
					Target: netip.MustParseAddrPort("10.0.0.100:80"), Timeout: time.Second, TCP: &check.TCP{},
					Via: &check.Via{Server: srv.Address, Forward: pool.DR},
				},
				Schedule: check.Schedule{Interval: 2 * time.Second, FastInterval: time.Second, Rise: 2, Fall: 3},
			}
			id := pool.CheckID(job.ID())
			s.Jobs[id] = job
			srv.Checks = append(srv.Checks, id)
		}
	}}, edit...)...)
}

// markOf is the mark of a server in the fake kernel.
func (r *rig) markOf(server string) (mark uint32) {
	for k, s := range r.kernel.services {
		if k.FWMark != 0 && len(s.Servers) == 1 && s.Servers[0].Address.String() == server {
			mark = k.FWMark
		}
	}
	return mark
}

func TestViasAreInTheTable(t *testing.T) {
	run(t, vipSpec(2), newFakeKernel(), func(r *rig) {
		after(time.Second)
		one, two := r.markOf("10.0.0.1"), r.markOf("10.0.0.2")
		if one < 16 || one > 31 || two < 16 || two > 31 || one == two {
			t.Fatalf("the marks are %d and %d", one, two)
		}
		via := func(mark uint32, server string) string { return fmt.Sprintf("fwmark %d: %s:0*1", mark, server) }
		lines := []string{via(one, "10.0.0.1"), via(two, "10.0.0.2")}
		if one > two {
			slices.Reverse(lines)
		}
		lines = append([]string{"tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1"}, lines...)
		r.want(strings.Join(lines, "\n"))
		if f := r.Status().Foreign; len(f) > 0 || len(r.Owned()) != 3 {
			t.Errorf("foreign are %v, ours %v", f, r.Owned())
		}
		// What somebody else removes comes back, for the same server.
		r.kernel.do(func() { delete(r.kernel.services, pool.Key{FWMark: one}) })
		after(time.Second)
		r.want(strings.Join(lines, "\n"))
		// A server more takes nobody's mark, one less gives its mark back.
		r.reload(vipSpec(9))
		if r.markOf("10.0.0.1") != one || r.markOf("10.0.0.2") != two || r.markOf("10.0.0.9") == 0 {
			t.Errorf("after a reload the table is\n%s", r.kernel)
		}
		r.reload(vipSpec(1, func(s *Spec) { s.Services[0].DrainTimeout = time.Second }))
		after(time.Minute)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1\n" + via(one, "10.0.0.1"))
	})
}

// On standby the checks run, so their services are there, and only they.
func TestViasOnStandby(t *testing.T) {
	run(t, vipSpec(1, func(s *Spec) { s.Cold, s.Services[0].Router, s.RemoveForeign = true, "web", true }), newFakeKernel(), func(r *rig) {
		r.SetRouters(nil)
		after(2 * time.Second)
		r.want(fmt.Sprintf("fwmark %d: 10.0.0.1:0*1", r.markOf("10.0.0.1")))
		if s := r.Status().Services[0]; !s.Up || s.Servers[0].State != Up {
			t.Errorf("%+v", s)
		}
	})
}

// A check does not run without its service: another server would answer it.
func TestViasWaitForTheKernel(t *testing.T) {
	kernel := newFakeKernel()
	for mark := uint32(16); mark < 32; mark++ {
		kernel.refuse[pool.Key{FWMark: mark}] = errors.New("no such scheduler")
	}
	run(t, vipSpec(1), kernel, func(r *rig) {
		after(3 * time.Second)
		r.want("tcp 10.0.0.100:80:")
		s := r.Status().Services[0]
		text := strings.Join(s.Servers[0].Explain(s, r.Past), "\n")
		if s.Servers[0].State != Checking || !strings.Contains(s.Problem, "no such scheduler") ||
			!strings.Contains(text, "The tcp check of 10.0.0.100:80 through the VIP does not run: no such scheduler") {
			t.Errorf("%+v\n%s", s, text)
		}
		kernel.do(func() { clear(kernel.refuse) })
		after(time.Minute)
		if s := r.Status().Services[0]; s.Servers[0].State != Up || s.Problem != "" {
			t.Errorf("%+v", s)
		}
	})
	run(t, vipSpec(3, func(s *Spec) { s.Marks = Marks{16, 17} }), newFakeKernel(), func(r *rig) {
		after(time.Second)
		states, texts := 0, ""
		for _, srv := range r.Status().Services[0].Servers {
			if srv.State == Up {
				states++
			}
			texts += strings.Join(srv.Explain(r.Status().Services[0], r.Past), "\n")
		}
		if states != 2 || !strings.Contains(texts, "all 2 marks are taken") {
			t.Errorf("%d servers are up with two marks:\n%s", states, texts)
		}
	})
}

// At a planned stop they go, also where the services stay. After a crash they are
// adopted, and those that nobody needs go.
func TestViasAtTheEnd(t *testing.T) {
	kernel := newFakeKernel()
	var owned []pool.Key
	run(t, vipSpec(2), kernel, func(r *rig) {
		after(time.Second)
		owned = r.Owned()
	})
	if len(owned) != 3 || len(kernel.services) != 3 {
		t.Fatalf("ours are %v", owned)
	}
	before := kernel.written()
	run(t, vipSpec(2), kernel, func(r *rig) {
		after(5 * time.Second)
		if n := kernel.written(); n != before {
			t.Errorf("%d changes after a crash", n-before)
		}
		r.reload(webSpec(2, func(s *Spec) {
			for i := range s.Services[0].Servers {
				s.Services[0].Servers[i].Forward = pool.DR
			}
		}))
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1")
		r.reload(vipSpec(2))
		if err := r.Stop(context.Background()); err != nil { // Withdraw is off: on_stop: keep
			t.Error(err)
		}
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1")
	}, func(_ *rig, o *Options) { o.Owned = owned })
}

func TestViaHints(t *testing.T) {
	job := func(target string, v *check.Via) *check.Job {
		return &check.Job{Spec: check.Spec{Target: netip.MustParseAddrPort(target), TCP: &check.TCP{}, Via: v}}
	}
	vip, own := "10.0.0.100:80", "10.0.0.1:80"
	ok := CheckStatus{Job: job(own, nil), Known: true, Up: true, Successes: 3}
	via := func(v check.Via) CheckStatus {
		return CheckStatus{Job: job(vip, &v), Known: true, Failures: 3}
	}
	server := netip.MustParseAddr("10.0.0.1")
	for _, c := range []struct {
		name   string
		server ServerStatus
		want   string // empty: no hint
	}{
		{
			"dr",
			ServerStatus{Forward: pool.DR, Checks: []CheckStatus{ok, via(check.Via{Server: server, Forward: pool.DR})}},
			`it answers at its own address and not through the VIP: 10.0.0.100 is probably missing on its lo. On the server, "baton realserver up --vip 10.0.0.100 --forward dr" puts it there, and "baton realserver status" tells what there is.`,
		},
		{
			"nothing to compare with",
			ServerStatus{Forward: pool.DR, Checks: []CheckStatus{via(check.Via{Server: server, Forward: pool.DR})}},
			`it does not answer through the VIP: 10.0.0.100 is probably missing on its lo. On the server, "baton realserver up --vip 10.0.0.100 --forward dr" puts it there, and "baton realserver status" tells what there is.`,
		},
		{"gue to IPv6", ServerStatus{Forward: pool.TUN, Checks: []CheckStatus{ok, via(check.Via{
			Server: netip.MustParseAddr("fd00::1"), Forward: pool.TUN, Tunnel: pool.Tunnel{Type: pool.GUE, Port: 6080},
		})}}, `it answers at its own address and not through the VIP: its tunnel device is probably missing or down, does not have 10.0.0.100, or rp_filter drops what comes out of it; a firewall may drop the tunnel, too. On the server, "baton realserver up --vip 10.0.0.100 --forward tun --tunnel gue --port 6080 --outer inet6" sets it up, and "baton realserver status" tells what there is.`},
		{"all is well", ServerStatus{Forward: pool.DR, Checks: []CheckStatus{ok, {Job: job(vip, &check.Via{}), Known: true, Up: true}}}, ""},
		{"both fail", ServerStatus{Forward: pool.DR, Checks: []CheckStatus{
			{Job: job(own, nil), Known: true, Failures: 3}, via(check.Via{Server: server, Forward: pool.DR}),
		}}, ""},
	} {
		if got := strings.Join(c.server.hints(ServiceStatus{}), "\n"); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}
