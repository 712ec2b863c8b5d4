package pool

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// show prints a table so that a test can name all of it in one line:
// "10.0.0.1:80*2" is a server with weight 2.
func show(t Table) string {
	var lines []string
	for _, v := range t {
		var servers []string
		for _, s := range v.Servers {
			servers = append(servers, fmt.Sprintf("%s*%d", s.AddrPort(), s.Weight))
		}
		lines = append(lines, strings.TrimSpace(v.Key.String()+": "+strings.Join(servers, " ")))
	}
	return strings.Join(lines, "\n")
}

// servers prints the servers of a table of one service.
func servers(t *testing.T, p *Pool) string {
	t.Helper()
	_, list, ok := strings.Cut(show(p.Table()), ":80:")
	if !ok {
		t.Fatalf("not a table of one service at port 80: %s", show(p.Table()))
	}
	return strings.TrimSpace(list)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func key(s string) Key { return KeyOf(TCP, netip.MustParseAddrPort(s)) }

// web is a service of two servers of weight 1 and 2, each with one check.
func web(edit ...func(*Service)) Service {
	s := Service{
		Name:      "web",
		Keys:      []Key{key("10.0.0.100:80")},
		Scheduler: "wlc",
		Quorum:    Quorum{Min: 1},
		Servers: []Server{
			{Address: addr("10.0.0.1"), Port: 80, Weight: 1, Checks: []CheckID{"a"}},
			{Address: addr("10.0.0.2"), Port: 80, Weight: 2, Checks: []CheckID{"b"}},
		},
	}
	for _, e := range edit {
		e(&s)
	}
	return s
}

func quiesce(s *Service)   { s.OnFailure = Quiesce }
func atOnce(s *Service)    { s.Admit = AdmitAtOnce }
func datagrams(s *Service) { s.Keys[0].Protocol = UDP }
func sorry(s *Service) {
	s.Fallback = &Server{Address: addr("10.0.0.9"), Port: 80, Weight: 1}
}

func quorum(low, hysteresis uint64) func(*Service) {
	return func(s *Service) { s.Quorum = Quorum{Min: low, Hysteresis: hysteresis} }
}

func pool(services ...Service) *Pool { return New(services, nil) }

// say sets verdicts: "a" up, "-a" down.
func say(p *Pool, verdicts ...string) {
	for _, v := range verdicts {
		id, down := strings.CutPrefix(v, "-")
		p.Set(CheckID(id), !down)
	}
}

func TestTable(t *testing.T) {
	const s1, s2 = "10.0.0.1:80*1", "10.0.0.2:80*2"
	for _, tt := range []struct {
		name string
		edit []func(*Service)
		say  []string
		want string
	}{
		{name: "nothing is known", want: ""},
		{name: "nothing is known, at once", edit: []func(*Service){atOnce}, want: s1 + " " + s2},
		{name: "nothing is known, quiesce", edit: []func(*Service){quiesce}, want: ""},
		{name: "one is up", say: []string{"a"}, want: s1},
		{name: "both are up", say: []string{"a", "b"}, want: s1 + " " + s2},
		{name: "one is down", say: []string{"a", "b", "-a"}, want: s2},
		{name: "one is down, at once", edit: []func(*Service){atOnce}, say: []string{"-a"}, want: s2},
		{name: "one is down, quiesce", edit: []func(*Service){quiesce}, say: []string{"a", "b", "-a"}, want: "10.0.0.1:80*0 " + s2},
		{name: "one is down, quiesce, UDP", edit: []func(*Service){quiesce, datagrams}, say: []string{"a", "b", "-a"}, want: s2},
		{name: "one is back", say: []string{"a", "-a", "a"}, want: s1},
		{name: "all are down", say: []string{"-a", "-b"}, want: ""},

		{name: "the fallback serves from the start", edit: []func(*Service){sorry}, want: "10.0.0.9:80*1"},
		{name: "the fallback leaves", edit: []func(*Service){sorry}, say: []string{"a"}, want: s1},
		{name: "the fallback is back", edit: []func(*Service){sorry}, say: []string{"a", "-a"}, want: "10.0.0.9:80*1"},
		{
			name: "below the quorum the fallback serves, and live servers finish what they have", edit: []func(*Service){sorry, quorum(3, 0)},
			say: []string{"a", "b", "-a"}, want: "10.0.0.2:80*0 10.0.0.9:80*1",
		},
		{
			name: "… and so do failed ones", edit: []func(*Service){sorry, quorum(3, 0), quiesce}, say: []string{"a", "b", "-a"},
			want: "10.0.0.1:80*0 10.0.0.2:80*0 10.0.0.9:80*1",
		},
		{name: "below the quorum without a fallback the rest serve", edit: []func(*Service){quorum(3, 0)}, say: []string{"a", "b", "-a"}, want: s2},
		{name: "never up, without a fallback, below the quorum", edit: []func(*Service){quorum(3, 0)}, say: []string{"b"}, want: s2},

		{name: "hysteresis: not yet up", edit: []func(*Service){sorry, quorum(2, 1)}, say: []string{"b"}, want: "10.0.0.2:80*0 10.0.0.9:80*1"},
		{name: "hysteresis: up", edit: []func(*Service){sorry, quorum(2, 1)}, say: []string{"b", "a"}, want: s1 + " " + s2},
		{name: "hysteresis: still up", edit: []func(*Service){sorry, quorum(2, 1)}, say: []string{"b", "a", "-b"}, want: s1},
		{name: "hysteresis: lost", edit: []func(*Service){sorry, quorum(2, 1)}, say: []string{"b", "a", "-b", "-a"}, want: "10.0.0.9:80*1"},
		{name: "hysteresis: not yet back", edit: []func(*Service){sorry, quorum(2, 1)}, say: []string{"b", "a", "-b", "-a", "b"}, want: "10.0.0.2:80*0 10.0.0.9:80*1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(web(tt.edit...))
			say(p, tt.say...)
			if got := servers(t, p); got != tt.want {
				t.Errorf("after %q: %s, want %s", tt.say, got, tt.want)
			}
		})
	}
}

func TestAllChecksOfAServerMustPass(t *testing.T) {
	p := pool(web(func(s *Service) {
		s.Servers = s.Servers[:1]
		s.Servers[0].Checks = []CheckID{"a", "b", "a"}
	}))
	for _, step := range []struct {
		say, want string
		state     State
	}{
		{"a", "", Checking},
		{"b", "10.0.0.1:80*1", Up},
		{"-a", "", Down},
		{"-b", "", Down},
		{"a", "", Down},
		{"b", "10.0.0.1:80*1", Up},
	} {
		say(p, step.say)
		st := p.Snapshot()[0].Servers[0]
		if got := servers(t, p); got != step.want || st.State != step.state {
			t.Errorf("after %s: %s %q, want %s %q", step.say, st.State, got, step.state, step.want)
		}
	}
}

func TestSetReportsChanges(t *testing.T) {
	p := pool(web())
	for _, step := range []struct {
		id   CheckID
		up   bool
		want bool
	}{{"a", true, true}, {"a", true, false}, {"a", false, true}, {"nobody's", true, false}, {"b", false, true}} {
		if got := p.Set(step.id, step.up); got != step.want {
			t.Errorf("Set(%s, %v) = %v, want %v", step.id, step.up, got, step.want)
		}
	}
}

func TestAServerWithoutChecksIsUp(t *testing.T) {
	p := pool(web(func(s *Service) { s.Servers[0].Checks = nil }))
	if got, want := servers(t, p), "10.0.0.1:80*1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !p.Snapshot()[0].Up {
		t.Error("the service is not up")
	}
}

func TestWeightZeroIsUpAndServesNobody(t *testing.T) {
	p := pool(web(sorry, func(s *Service) { s.Servers[1].Weight = 0 }))
	say(p, "b")
	st := p.Snapshot()[0]
	if st.Up || st.Servers[1].State != Up {
		t.Errorf("service up %v, server %s; want false, up", st.Up, st.Servers[1].State)
	}
	if got, want := servers(t, p), "10.0.0.2:80*0 10.0.0.9:80*1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestFallback(t *testing.T) {
	t.Run("one of the servers", func(t *testing.T) {
		p := pool(web(quorum(3, 0), func(s *Service) {
			f := s.Servers[1]
			f.Weight = 7
			s.Fallback = &f
		}))
		say(p, "b")
		if got, want := servers(t, p), "10.0.0.2:80*7"; got != want {
			t.Errorf("while it is the fallback: %s, want %s", got, want)
		}
		say(p, "a")
		if got, want := servers(t, p), "10.0.0.1:80*1 10.0.0.2:80*2"; got != want {
			t.Errorf("while it is a server: %s, want %s", got, want)
		}
	})
	t.Run("down", func(t *testing.T) {
		p := pool(web(sorry, quorum(3, 0), func(s *Service) { s.Fallback.Checks = []CheckID{"f"} }))
		say(p, "b", "-f")
		if got, want := servers(t, p), "10.0.0.2:80*2"; got != want {
			t.Errorf("the rest should serve: %s, want %s", got, want)
		}
		if p.Snapshot()[0].FallbackActive {
			t.Error("a fallback that is down counts as active")
		}
		say(p, "f")
		if got, want := servers(t, p), "10.0.0.2:80*0 10.0.0.9:80*1"; got != want {
			t.Errorf("the fallback is back: %s, want %s", got, want)
		}
	})
	t.Run("without a weight", func(t *testing.T) {
		p := pool(web(sorry, func(s *Service) { s.Fallback.Weight = 0 }))
		if got, want := servers(t, p), "10.0.0.9:80*1"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestKeysAndPorts(t *testing.T) {
	p := pool(web(func(s *Service) {
		s.Keys = []Key{key("10.0.0.100:443"), key("10.0.0.100:80"), {FWMark: 7}}
		s.Servers = []Server{
			{Address: addr("10.0.0.1"), Port: 80, Weight: 1, Forward: DR},
			{Address: addr("10.0.0.2"), Port: 8080, Weight: 1},
			{Address: addr("10.0.0.3"), Weight: 1},
		}
	}))
	const want = `tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:8080*1 10.0.0.3:80*1
tcp 10.0.0.100:443: 10.0.0.1:443*1 10.0.0.2:8080*1 10.0.0.3:443*1
fwmark 7: 10.0.0.1:0*1 10.0.0.2:8080*1 10.0.0.3:0*1`
	if got := show(p.Table()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPersistence(t *testing.T) {
	for _, tt := range []struct {
		name       string
		key        Key
		seconds    uint32
		prefix     uint8
		wantFlags  Flags
		wantPrefix uint8
	}{
		{"none", key("10.0.0.100:80"), 0, 24, OnePacket, 32},
		{"by host", key("10.0.0.100:80"), 300, 0, OnePacket | Persistent, 32},
		{"by network", key("10.0.0.100:80"), 300, 24, OnePacket | Persistent, 24},
		{"IPv6 by host", key("[2001:db8::1]:80"), 300, 0, OnePacket | Persistent, 128},
		{"IPv6 by network", key("[2001:db8::1]:80"), 300, 64, OnePacket | Persistent, 64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(web(func(s *Service) {
				s.Keys = []Key{tt.key}
				s.Flags = OnePacket
				s.PersistenceSeconds, s.PersistencePrefix = tt.seconds, tt.prefix
			}))
			v := p.Table()[0]
			if v.Flags != tt.wantFlags || v.PersistencePrefix != tt.wantPrefix || v.PersistenceSeconds != tt.seconds {
				t.Errorf("flags %b prefix %d, want %b %d", v.Flags, v.PersistencePrefix, tt.wantFlags, tt.wantPrefix)
			}
		})
	}
}

func TestSnapshot(t *testing.T) {
	p := pool(web(quorum(9, 0)), web(func(s *Service) { s.Name, s.Keys = "other", []Key{key("10.0.0.100:81")} }))
	say(p, "a")
	before := p.Snapshot()
	if again := p.Snapshot(); again[0] != before[0] || again[1] != before[1] {
		t.Error("nothing changed, and yet the snapshot did")
	}
	const want = "live weight 1 of a quorum of 9; which it cannot reach, for all of its servers together weigh 3; the servers that are left serve on"
	if got := before[0].Reason; got != want {
		t.Errorf("reason of the service: %s\nwant %s", got, want)
	}
	say(p, "-a")
	if p.Snapshot()[0] == before[0] || before[0].Servers[0].State != Up {
		t.Error("the old snapshot must stay as it was and the new one be another")
	}
	for i, want := range []string{"its check is failing", "its check is without a result yet"} {
		if got := p.Snapshot()[0].Servers[i].Reason; got != want {
			t.Errorf("reason of server %d: %s, want %s", i, got, want)
		}
	}
}
