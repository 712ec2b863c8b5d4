package pool

import (
	"testing"
)

func without(n int) func(*Service) {
	return func(s *Service) { s.Servers = append(s.Servers[:n:n], s.Servers[n+1:]...) }
}

func drain(s *Service) { s.Servers[1].Drain = true }

// A server that a new version of its service does not name, or that is told to
// drain, keeps its place at weight 0.
func TestDrain(t *testing.T) {
	const s1, s2, drained = "10.0.0.1:80*1", "10.0.0.2:80*2", "10.0.0.2:80*0"
	for _, tt := range []struct {
		name   string
		before []func(*Service)
		say    []string
		after  []func(*Service)
		then   []string
		want   string
		state  State // of the second server; Checking: it is forgotten
	}{
		{name: "removed", say: []string{"a", "b"}, after: []func(*Service){without(1)}, want: s1 + " " + drained, state: Draining},
		{name: "a verdict that it lives", say: []string{"a", "b"}, after: []func(*Service){without(1)}, then: []string{"b"}, want: s1 + " " + drained, state: Draining},
		{name: "it fails meanwhile", say: []string{"a", "b"}, after: []func(*Service){without(1)}, then: []string{"-b"}, want: s1, state: Draining},
		{name: "… and lives again", say: []string{"a", "b"}, after: []func(*Service){without(1)}, then: []string{"-b", "b"}, want: s1, state: Draining},
		{
			name: "it fails meanwhile, quiesce", before: []func(*Service){quiesce}, say: []string{"a", "b"},
			after: []func(*Service){quiesce, without(1)}, then: []string{"-b"}, want: s1 + " " + drained, state: Draining,
		},
		{name: "it had failed before", say: []string{"a", "b", "-b"}, after: []func(*Service){without(1)}, want: s1},
		{name: "it was never in service", say: []string{"a"}, after: []func(*Service){without(1)}, want: s1},
		{
			name: "it had failed before, quiesce", before: []func(*Service){quiesce}, say: []string{"a", "b", "-b"},
			after: []func(*Service){quiesce, without(1)}, want: s1 + " " + drained, state: Draining,
		},
		{name: "told to", say: []string{"a", "b"}, after: []func(*Service){drain}, then: []string{"b"}, want: s1 + " " + drained, state: Draining},
		{name: "told to, and not in service", say: []string{"a"}, after: []func(*Service){drain}, then: []string{"b"}, want: s1, state: Draining},
		{name: "told to, and it fails", say: []string{"a", "b"}, after: []func(*Service){drain}, then: []string{"-b"}, want: s1, state: Draining},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(web(tt.before...))
			say(p, tt.say...)
			p.Reconfigure([]Service{web(tt.after...)})
			say(p, tt.then...)
			if got := servers(t, p); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			st := p.Snapshot()[0]
			second := append(st.Servers, st.Leaving...)[1:]
			switch {
			case len(second) == 0 && tt.state != Checking:
				t.Errorf("the server is forgotten")
			case len(second) > 0 && second[0].State != tt.state:
				t.Errorf("the server is %s: %s", second[0].State, second[0].Reason)
			}
			// Put back, it serves again: at once, if its check says that it lives.
			p.Reconfigure([]Service{web(tt.before...)})
			say(p, "b")
			if got := servers(t, p); got != s1+" "+s2 {
				t.Errorf("put back: %s, want %s", got, s1+" "+s2)
			}
			if st := p.Snapshot()[0]; len(st.Leaving) > 0 {
				t.Errorf("put back, and still leaving: %+v", st.Leaving)
			}
		})
	}
}

// Once released, a server has no place; one that is leaving is forgotten.
func TestRelease(t *testing.T) {
	second := web().Servers[1].AddrPort()
	for _, tt := range []struct {
		name    string
		after   func(*Service)
		remains int
	}{
		{"removed", without(1), 1},
		{"told to", drain, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(web())
			say(p, "a", "b")
			p.Release("web", second) // it serves
			p.Reconfigure([]Service{web(tt.after)})
			p.Reconfigure([]Service{web(tt.after, func(s *Service) { s.Scheduler = "rr" })}) // it drains on
			if got, want := servers(t, p), "10.0.0.1:80*1 10.0.0.2:80*0"; got != want {
				t.Fatalf("%s, want %s", got, want)
			}
			p.Release("web", second)
			p.Release("another", second)
			say(p, "-b", "b")
			st := p.Snapshot()[0]
			if got, want := servers(t, p), "10.0.0.1:80*1"; got != want || len(st.Servers)+len(st.Leaving) != tt.remains {
				t.Errorf("%s and %d servers, want %s and %d", got, len(st.Servers)+len(st.Leaving), want, tt.remains)
			}
		})
	}
}

// What the kernel has and the configuration does not drains after a start, with
// the settings that it has, under the keys that it has.
func TestAdoptStrangers(t *testing.T) {
	several := web(func(s *Service) {
		s.Keys = []Key{key("10.0.0.100:80"), key("10.0.0.100:81")}
		for i := range s.Servers {
			s.Servers[i].Port = 0
		}
	})
	at := func(ip string, port uint16) RealServer {
		return RealServer{Address: addr(ip), Port: port, Weight: 3, Upper: 5}
	}
	p := New([]Service{several}, Table{
		{Key: several.Keys[0], Servers: []RealServer{at("10.0.0.1", 80), at("10.0.0.7", 80), at("10.0.0.8", 80)}},
		{Key: several.Keys[1], Servers: []RealServer{at("10.0.0.1", 81), at("10.0.0.7", 81), at("10.0.0.9", 9000)}},
	})
	const want = "tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.7:80*0 10.0.0.8:80*0\n" +
		"tcp 10.0.0.100:81: 10.0.0.1:81*1 10.0.0.7:81*0 10.0.0.9:9000*0"
	if got := show(p.Table()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if r := p.Table()[0].Servers[1]; r.Upper != 5 {
		t.Errorf("it drains with other settings: %+v", r)
	}
	if n := len(p.Snapshot()[0].Leaving); n != 3 {
		t.Errorf("%d servers are leaving, want 3: one for a range of ports", n)
	}
	one := several
	one.Keys = one.Keys[:1]
	p.Reconfigure([]Service{one})
	const fewer = "tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.7:80*0 10.0.0.8:80*0"
	if got := show(p.Table()); got != fewer {
		t.Errorf("without the second key: %s\nwant\n%s", got, fewer)
	}
	p.Reconfigure(nil)
	p.Reconfigure([]Service{several})
	if n := len(p.Snapshot()[0].Leaving); n != 0 {
		t.Errorf("%d servers of a service that was removed are leaving", n)
	}
}
