package balancer

import "testing"

// What a reload does not change is not in memory twice.
func TestReuse(t *testing.T) {
	build := func() Spec {
		s := webSpec(2)
		other := webService("other", "10.0.0.101:80")
		addServer(&s, &other, "10.0.0.9")
		s.Services = append(s.Services, other)
		return s
	}
	old, s := build(), build()
	s.Services[1].Servers[0].Weight = 7
	s.Reuse(old)
	if &s.Services[0].Servers[0] != &old.Services[0].Servers[0] {
		t.Error("a service that is the same is there twice")
	}
	if &s.Services[1].Servers[0] == &old.Services[1].Servers[0] || s.Services[1].Servers[0].Weight != 7 {
		t.Error("a service that has changed is the old one")
	}
	if len(s.Jobs) != 3 {
		t.Errorf("%d jobs", len(s.Jobs))
	}
	for id, j := range s.Jobs {
		if j != old.Jobs[id] {
			t.Errorf("check %s is there twice", id)
		}
	}
}
