package pool

import (
	"slices"
	"testing"
)

// found is a kernel's table with the service of web and these servers.
func found(servers ...RealServer) Table {
	return Table{{Key: key("10.0.0.100:80"), Scheduler: "wlc", Servers: servers}}
}

func kernelServer(ip string, weight uint32) RealServer {
	return RealServer{Address: addr(ip), Port: 80, Weight: weight}
}

func TestAdopt(t *testing.T) {
	const s1, s2 = "10.0.0.1:80*1", "10.0.0.2:80*2"
	both := found(kernelServer("10.0.0.1", 1), kernelServer("10.0.0.2", 2))
	for _, tt := range []struct {
		name  string
		edit  []func(*Service)
		found Table
		say   []string
		want  string
		up    bool
	}{
		{name: "what serves serves on", found: both, want: s1 + " " + s2, up: true},
		{name: "until a check fails", found: both, say: []string{"-a"}, want: s2, up: true},
		{name: "and is admitted again by success only", found: both, say: []string{"-a", "a"}, want: s1 + " " + s2, up: true},
		{name: "with the weight of the configuration", found: found(kernelServer("10.0.0.1", 50)), want: s1, up: true},
		{
			name: "another's service is nothing to us", want: "",
			found: Table{{Key: key("10.0.0.100:81"), Servers: []RealServer{kernelServer("10.0.0.1", 1)}}},
		},
		{name: "a server that is not ours drains", found: found(kernelServer("10.0.0.7", 1)), want: "10.0.0.7:80*0"},
		{name: "a quiesced server keeps its place", found: found(kernelServer("10.0.0.1", 0)), want: "10.0.0.1:80*0"},
		{name: "until a check fails", found: found(kernelServer("10.0.0.1", 0)), say: []string{"-a"}, want: ""},
		{name: "or all succeed", found: found(kernelServer("10.0.0.1", 0)), say: []string{"a"}, want: s1, up: true},

		{name: "the fallback serves on", edit: []func(*Service){sorry}, found: found(kernelServer("10.0.0.9", 1)), want: "10.0.0.9:80*1"},
		{name: "no fallback while a server serves", edit: []func(*Service){sorry}, found: both, want: s1 + " " + s2, up: true},
		{
			name: "between the thresholds: it was up", edit: []func(*Service){sorry, quorum(2, 1)},
			found: found(kernelServer("10.0.0.1", 1)), want: s1, up: true,
		},
		{
			name: "between the thresholds: it was down", edit: []func(*Service){sorry, quorum(2, 1), quiesce},
			found: found(kernelServer("10.0.0.1", 0), kernelServer("10.0.0.9", 1)), say: []string{"a"}, want: "10.0.0.1:80*0 10.0.0.9:80*1",
		},
		{
			name: "a restart in the middle of a change", edit: []func(*Service){sorry, quorum(3, 0)},
			found: found(kernelServer("10.0.0.2", 2), kernelServer("10.0.0.9", 1)), want: "10.0.0.2:80*0 10.0.0.9:80*1",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := New([]Service{web(tt.edit...)}, tt.found)
			say(p, tt.say...)
			if got, up := servers(t, p), p.Snapshot()[0].Up; got != tt.want || up != tt.up {
				t.Errorf("%s, up %v; want %s, up %v", got, up, tt.want, tt.up)
			}
		})
	}
}

func TestAdopted(t *testing.T) {
	p := New([]Service{web(func(s *Service) { s.Servers[0].Checks = []CheckID{"c", "a"} })}, found(kernelServer("10.0.0.1", 1)))
	if got, want := p.Adopted(), []CheckID{"a", "c"}; !slices.Equal(got, want) {
		t.Errorf("adopted %v, want %v", got, want)
	}
	p.Set("a", true)
	if got, want := p.Adopted(), []CheckID{"c"}; !slices.Equal(got, want) {
		t.Errorf("after a verdict: adopted %v, want %v", got, want)
	}
	p.Set("a", false)
	p.Set("a", true)
	if st := p.Snapshot()[0].Servers[0]; st.State != Checking || st.Adopted {
		t.Errorf("a server that has failed is %s, want checking until all checks have passed", st.State)
	}
	if got := p.Adopted(); len(got) != 0 {
		t.Errorf("after a failure: adopted %v, want none", got)
	}
}

// A kernel that can be read only later is believed only where no check has
// spoken in the meantime.
func TestAdoptLate(t *testing.T) {
	p := pool(web(sorry, quorum(2, 1)))
	say(p, "-a")
	p.Adopt(found(kernelServer("10.0.0.1", 1), kernelServer("10.0.0.2", 2)))
	st := p.Snapshot()[0]
	if st.Servers[0].State != Down || st.Servers[1].State != Up || st.Up {
		t.Errorf("servers %s, %s, service up %v; want down, up, false", st.Servers[0].State, st.Servers[1].State, st.Up)
	}
}
