package balancer

import (
	"strings"
	"testing"
	"time"
)

const apart = "tcp 10.0.0.100:81:"

// cold is a spec with a service of the router web, and one of none.
func cold(s *Spec) {
	s.Cold = true
	s.Services[0].Router = "web"
	s.Services = append(s.Services, webService("apart", "10.0.0.100:81"))
}

func TestColdStandby(t *testing.T) {
	run(t, webSpec(1, cold), newFakeKernel(), func(r *rig) {
		after(time.Second)
		r.want(apart)
		r.SetRouters(nil)
		after(time.Second)
		r.want(apart)
		s := r.Status().Services
		if !s[0].Standby || !s[0].Up || s[1].Standby {
			t.Errorf("%+v", s)
		}
		if text := strings.Join(s[0].Servers[0].Explain(s[0], noPast), "\n"); !strings.Contains(text, "It is not programmed here: standby; router web") {
			t.Errorf("explain: %s", text)
		}
		r.SetRouters([]string{"web", "other"})
		after(time.Millisecond) // at once, with the servers that live
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1\n" + apart)
		after(time.Second)
		if s := r.Status().Services[0]; s.Standby || !s.Servers[0].InKernel {
			t.Errorf("%+v", s)
		}
		r.reload(webSpec(1, cold, func(s *Spec) { s.Cold = false }))
		r.SetRouters([]string{"other"})
		after(time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1\n" + apart)
		r.reload(webSpec(1, cold))
		r.want(apart)
		if n := len(r.Owned()); n != 1 {
			t.Errorf("%d services are ours", n)
		}
	})
}

// A director that starts anew knows nothing of the routers yet, and takes nothing
// away that serves.
func TestColdStandbyOverARestart(t *testing.T) {
	run(t, webSpec(1, cold), newFakeKernel(inKernel("10.0.0.100:80", "10.0.0.1")), func(r *rig) {
		after(time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1\n" + apart)
		r.SetRouters(nil)
		after(time.Millisecond)
		r.want(apart)
	})
}
