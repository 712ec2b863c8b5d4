package pool

import "testing"

func TestReconfigure(t *testing.T) {
	const s1, s2 = "10.0.0.1:80*1", "10.0.0.2:80*2"
	for _, tt := range []struct {
		name   string
		before []func(*Service)
		say    []string
		after  []func(*Service)
		then   []string
		want   string
	}{
		{name: "nothing changes", say: []string{"a", "-b"}, want: s1},
		{
			name: "the weight", say: []string{"a", "b"}, want: s1 + " 10.0.0.2:80*9",
			after: []func(*Service){func(s *Service) { s.Servers[1].Weight = 9 }},
		},
		{
			name: "another name", say: []string{"a"}, want: s1,
			after: []func(*Service){func(s *Service) { s.Name = "www" }},
		},
		{
			name: "another check of a server that is up", say: []string{"a", "b"}, want: s1 + " " + s2,
			after: []func(*Service){func(s *Service) { s.Servers[0].Checks = []CheckID{"a2"} }},
		},
		{
			name: "… which then fails", say: []string{"a", "b"}, want: s2, then: []string{"-a2"},
			after: []func(*Service){func(s *Service) { s.Servers[0].Checks = []CheckID{"a2"} }},
		},
		{
			name: "another check of a server that is down", say: []string{"-a", "b"}, want: s2,
			after: []func(*Service){func(s *Service) { s.Servers[0].Checks = []CheckID{"a2"} }},
		},
		{
			name: "… which then passes", say: []string{"-a", "b"}, want: s1 + " " + s2, then: []string{"a2"},
			after: []func(*Service){func(s *Service) { s.Servers[0].Checks = []CheckID{"a2"} }},
		},
		{
			name: "another check of a server that is quiesced", before: []func(*Service){quiesce}, say: []string{"a", "-a", "b"},
			want:  "10.0.0.1:80*0 " + s2,
			after: []func(*Service){quiesce, func(s *Service) { s.Servers[0].Checks = []CheckID{"a2"} }},
		},
		{
			name: "a new server with a known check", say: []string{"a"}, want: s1 + " 10.0.0.3:80*1",
			after: []func(*Service){func(s *Service) {
				s.Servers = append(s.Servers, Server{Address: addr("10.0.0.3"), Port: 80, Weight: 1, Checks: []CheckID{"a"}})
			}},
		},
		{
			name: "a new server with a new check", say: []string{"a"}, want: s1,
			after: []func(*Service){func(s *Service) {
				s.Servers = append(s.Servers, Server{Address: addr("10.0.0.3"), Port: 80, Weight: 1, Checks: []CheckID{"c"}})
			}},
		},
		{
			name: "a server is gone, and drains", say: []string{"a", "b"}, want: s1 + " 10.0.0.2:80*0",
			after: []func(*Service){func(s *Service) { s.Servers = s.Servers[:1] }},
		},
		{
			name: "the quorum is kept between the thresholds", before: []func(*Service){sorry, quorum(2, 1)}, say: []string{"a", "b", "-b"},
			want: s1, after: []func(*Service){sorry, quorum(2, 1), func(s *Service) { s.Scheduler = "rr" }},
		},
		{
			name: "and kept lost", before: []func(*Service){sorry, quorum(2, 1)}, say: []string{"b"},
			want: "10.0.0.2:80*0 10.0.0.9:80*1", after: []func(*Service){sorry, quorum(2, 1), func(s *Service) { s.Scheduler = "rr" }},
		},
		{name: "a fallback is added", say: []string{"-a", "-b"}, want: "10.0.0.9:80*1", after: []func(*Service){sorry}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(web(tt.before...))
			say(p, tt.say...)
			p.Reconfigure([]Service{web(tt.after...)})
			say(p, tt.then...)
			if got := servers(t, p); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestReconfigureForgetsVerdictsOfUnusedChecks(t *testing.T) {
	p := pool(web())
	say(p, "a", "b")
	p.Reconfigure(nil)
	if got := len(p.Table()) + len(p.Snapshot()); got != 0 {
		t.Errorf("%d services are left, want none", got)
	}
	p.Reconfigure([]Service{web()})
	if got := servers(t, p); got != "" {
		t.Errorf("servers %s without a verdict", got)
	}
}

func TestReconfigureLeavesEqualServicesAlone(t *testing.T) {
	p := pool(web(), web(func(s *Service) { s.Name, s.Keys = "other", []Key{key("10.0.0.100:81")} }))
	say(p, "a")
	before := p.Snapshot()
	p.Reconfigure([]Service{
		web(func(s *Service) { s.Name, s.Keys = "other", []Key{key("10.0.0.100:81")} }),
		web(func(s *Service) { s.Scheduler = "rr" }),
	})
	after := p.Snapshot()
	if after[0] != before[1] {
		t.Error("the service that is the same has another state")
	}
	if after[1] == before[0] || after[1].Spec.Scheduler != "rr" {
		t.Error("the service that has changed has its old state")
	}
}
