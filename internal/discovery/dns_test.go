package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"baton/test/catalogue"
)

// ask reads a source in the DNS once.
func ask(t *testing.T, r *dnsReader) (answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return r.read(ctx, false)
}

func newDNS(spec DNS, servers ...*nameServer) *dnsReader {
	for _, s := range servers {
		spec.Resolvers = append(spec.Resolvers, s.addr)
	}
	return New(Options{}).newDNSReader(&spec)
}

func show(a answer) string {
	var out []string
	for _, s := range a.servers {
		text := s.String()
		if s.Weight != 0 {
			text += fmt.Sprintf("*%d", s.Weight)
		}
		if s.Backup {
			text += " (backup)"
		}
		out = append(out, text)
	}
	return strings.Join(append(out, a.notes...), " ")
}

func TestLookups(t *testing.T) {
	var many []string
	var manyServers []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("many.example. 60 A 10.9.0.%d", i))
		manyServers = append(manyServers, fmt.Sprintf("10.9.0.%d", i))
	}
	for name, c := range map[string]struct {
		spec  DNS
		zone  catalogue.Zone
		want  string
		again time.Duration // its least
		asked []string
	}{
		"addresses": {
			spec:  DNS{Name: "www.example", Type: "A", Port: 8080},
			zone:  catalogue.Zone{Lines: []string{"www.example. 90 A 10.0.0.1", "www.example. 60 A 10.0.0.2", "other.example. 1 A 10.0.0.3"}},
			want:  "10.0.0.1:8080 10.0.0.2:8080",
			again: time.Minute,
			asked: []string{"www.example A udp"},
		},
		"IPv6, and a name in other letters": {
			spec:  DNS{Name: "WWW.example", Type: "AAAA"},
			zone:  catalogue.Zone{Lines: []string{"www.example. 60 AAAA 2001:db8::1", "www.example. 60 A 10.0.0.2"}},
			want:  "2001:db8::1",
			again: time.Minute,
		},
		"aliases": {
			spec:  DNS{Name: "a.example", Type: "A"},
			zone:  catalogue.Zone{Lines: []string{"a.example. 90 CNAME b.example.", "b.example. 30 CNAME c.example.", "c.example. 60 A 10.0.0.1"}},
			want:  "10.0.0.1",
			again: 30 * time.Second,
			asked: []string{"a.example A udp"},
		},
		"a TTL of a day counts five minutes": {
			spec: DNS{Name: "a.example", Type: "A"}, zone: catalogue.Zone{Lines: []string{"a.example. 86400 A 10.0.0.1"}},
			want: "10.0.0.1", again: longestTTL,
		},
		"and one of nothing a second": {
			spec: DNS{Name: "a.example", Type: "A"}, zone: catalogue.Zone{Lines: []string{"a.example. 0 A 10.0.0.1"}},
			want: "10.0.0.1", again: shortestTTL,
		},
		"no such name": {
			spec: DNS{Name: "a.example", Type: "A"}, want: "", again: 20 * time.Second,
		},
		"no such address": {
			spec: DNS{Name: "a.example", Type: "AAAA"}, zone: catalogue.Zone{Lines: []string{"a.example. 60 A 10.0.0.1"}}, again: 20 * time.Second,
		},
		"an alias to nothing": {
			spec: DNS{Name: "a.example", Type: "A"}, zone: catalogue.Zone{Lines: []string{"a.example. 10 CNAME b.example."}}, again: 10 * time.Second,
		},
		"too much for a datagram": {
			spec: DNS{Name: "many.example", Type: "A"}, zone: catalogue.Zone{Lines: many, Most: ednsSize},
			want: strings.Join(manyServers, " "), again: time.Minute,
			asked: []string{"many.example A udp", "many.example A tcp"},
		},
		"services with addresses": {
			spec: DNS{Name: "_web._tcp.example", Type: "SRV"},
			zone: catalogue.Zone{Extras: true, Lines: []string{
				"_web._tcp.example. 60 SRV 10 5 8001 a.example.", "_web._tcp.example. 60 SRV 10 0 8002 b.example.",
				"_web._tcp.example. 60 SRV 20 9 8003 c.example.", "_web._tcp.example. 60 SRV 30 9 8001 a.example.",
				"a.example. 40 A 10.0.0.1", "a.example. 60 AAAA 2001:db8::1", "b.example. 60 A 10.0.0.2", "b.example. 60 A 10.0.0.3", "c.example. 5 A 10.0.0.9",
			}},
			want:  "10.0.0.1:8001*5 10.0.0.2:8002*1 10.0.0.3:8002*1 10.0.0.9:8003*9 (backup)",
			again: 5 * time.Second,
			asked: []string{"_web._tcp.example SRV udp"},
		},
		"services without": {
			spec: DNS{Name: "_web._tcp.example", Type: "SRV", IPv6: true},
			zone: catalogue.Zone{Lines: []string{
				"_web._tcp.example. 60 SRV 0 1 80 a.example.", "_web._tcp.example. 60 SRV 0 2 80 b.example.", "_web._tcp.example. 60 SRV 0 2 81 c.example.",
				"a.example. 60 AAAA 2001:db8::1", "b.example. 60 CNAME a.example.", "c.example. 60 A 10.0.0.1",
			}},
			// Two names of one server: the larger weight counts.
			want:  "[2001:db8::1]:80*2 target c.example has no address of type AAAA",
			again: 20 * time.Second,
		},
		"decidedly no service": {
			spec: DNS{Name: "_web._tcp.example", Type: "SRV"}, zone: catalogue.Zone{Lines: []string{"_web._tcp.example. 60 SRV 0 0 0 ."}},
			again: negativeTTL,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.zone.Nothing = 20
			s := newNameServer(t, c.zone.Answer)
			a, err := ask(t, newDNS(c.spec, s))
			if err != nil || show(a) != c.want {
				t.Errorf("%q, %v; want %q", show(a), err, c.want)
			}
			if a.again < c.again || a.again > c.again+c.again/8 {
				t.Errorf("asked again after %s, want %s", a.again, c.again)
			}
			if c.asked != nil && !slices.Equal(s.Asked(), c.asked) {
				t.Errorf("asked %q", s.Asked())
			}
		})
	}
}

// What is no answer to the question is not taken for one, and the right one that
// comes after it is.
func TestForgedAnswers(t *testing.T) {
	good := catalogue.Zone{Lines: []string{"www.example. 60 A 10.0.0.1"}}
	bad := catalogue.Zone{Lines: []string{"www.example. 60 A 10.6.6.6", "evil.example. 60 A 10.6.6.6"}}
	for name, forge := range map[string]func(m *dnsmessage.Message){
		"another number":       func(m *dnsmessage.Message) { m.ID++ },
		"another name":         func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("evil.example.") },
		"another type":         func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeAAAA },
		"another class":        func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS },
		"no question":          func(m *dnsmessage.Message) { m.Questions = nil },
		"two questions":        func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) },
		"a query":              func(m *dnsmessage.Message) { m.Response = false },
		"another opcode":       func(m *dnsmessage.Message) { m.OpCode = 4 },
		"a refusal for no one": func(m *dnsmessage.Message) { m.Questions, m.RCode = nil, dnsmessage.RCodeRefused },
	} {
		t.Run(name, func(t *testing.T) {
			s := newNameServer(t, good.Answer)
			s.Forges(func(q dnsmessage.Message) []byte {
				var m dnsmessage.Message
				must(t, m.Unpack(bad.Answer(q, false)))
				forge(&m)
				return catalogue.Packed(m)
			})
			r := newDNS(DNS{Name: "www.example", Type: "A"}, s)
			if a, err := ask(t, r); err != nil || show(a) != "10.0.0.1" {
				t.Errorf("%q, %v", show(a), err)
			}
		})
	}
}

// Nobody off the path can guess where an answer has to go and which number it has.
func TestQueriesCannotBeGuessed(t *testing.T) {
	s := newNameServer(t, catalogue.Zone{Lines: []string{"www.example. 60 A 10.0.0.1"}}.Answer)
	r := newDNS(DNS{Name: "www.example", Type: "A"}, s)
	const n = 50
	for range n {
		if _, err := ask(t, r); err != nil {
			t.Fatal(err)
		}
	}
	if ports, ids := s.Variety(); ports < n/2 || ids < n-5 {
		t.Errorf("%d queries from %d ports with %d numbers", n, ports, ids)
	}
}

func TestServersThatFail(t *testing.T) {
	good := catalogue.Zone{Lines: []string{"www.example. 60 A 10.0.0.1"}}
	refuses := catalogue.Zone{RCodes: map[string]dnsmessage.RCode{"www.example.": dnsmessage.RCodeServerFailure}}
	t.Run("the next one is asked", func(t *testing.T) {
		first, second := newNameServer(t, refuses.Answer), newNameServer(t, good.Answer)
		a, err := ask(t, newDNS(DNS{Name: "www.example", Type: "A"}, first, second))
		if err != nil || show(a) != "10.0.0.1" || len(first.Asked()) != 1 {
			t.Errorf("%q, %v, %q", show(a), err, first.Asked())
		}
	})
	t.Run("all fail", func(t *testing.T) {
		s := newNameServer(t, refuses.Answer)
		_, err := ask(t, newDNS(DNS{Name: "www.example", Type: "A"}, s))
		if want := fmt.Sprintf("ask for www.example A: %s: the server says ServerFailure", s.addr); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if len(s.Asked()) != 2 {
			t.Errorf("asked %q", s.Asked())
		}
	})
	t.Run("silence", func(t *testing.T) {
		s := newNameServer(t, func(dnsmessage.Message, bool) []byte { return nil })
		conf := filepath.Join(t.TempDir(), "resolv.conf")
		res := &resolver{resolving: resolving{servers: []netip.AddrPort{s.addr}, timeout: 50 * time.Millisecond, attempts: 3}, dial: newDNS(DNS{}).dial}
		_, err := res.addresses(t.Context(), "www.example", dnsmessage.TypeA)
		if err == nil || !strings.Contains(err.Error(), "no answer in time") || len(s.Asked()) != 3 {
			t.Errorf("%v, asked %q", err, s.Asked())
		}
		// The end does not wait for an answer.
		must(t, os.WriteFile(conf, []byte("nameserver 127.0.0.1\noptions timeout:10\n"), 0o600))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		res.timeout = time.Hour
		if _, err := res.addresses(ctx, "www.example", dnsmessage.TypeA); err == nil {
			t.Error("an answer from nobody")
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		s := newNameServer(t, good.Answer)
		free := s.addr
		free = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), free.Port())
		_, err := ask(t, New(Options{}).newDNSReader(&DNS{Name: "www.example", Type: "A", Resolvers: []netip.AddrPort{free}}))
		if err == nil || !strings.Contains(err.Error(), "refused") {
			t.Error(err)
		}
	})
	t.Run("an old server", func(t *testing.T) {
		s := newNameServer(t, func(q dnsmessage.Message, tcp bool) []byte {
			if len(q.Additionals) == 0 {
				return good.Answer(q, tcp)
			}
			// It does not even understand enough to repeat the question.
			return catalogue.Packed(dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RCode: dnsmessage.RCodeFormatError}})
		})
		a, err := ask(t, newDNS(DNS{Name: "www.example", Type: "A"}, s))
		if err != nil || show(a) != "10.0.0.1" || !slices.Equal(s.Asked(), []string{"www.example A udp", "www.example A udp without EDNS"}) {
			t.Errorf("%q, %v, %q", show(a), err, s.Asked())
		}
	})
	t.Run("a chain without end", func(t *testing.T) {
		s := newNameServer(t, catalogue.Zone{Lines: []string{"a.example. 60 CNAME b.example.", "b.example. 60 CNAME a.example."}}.Answer)
		_, err := ask(t, newDNS(DNS{Name: "a.example", Type: "A"}, s))
		if err == nil || !strings.Contains(err.Error(), "alias") {
			if err != nil || len(s.Asked()) > maxAliases {
				t.Errorf("%v, asked %d times", err, len(s.Asked()))
			}
		}
	})
}

// A target that cannot be asked for keeps what it had, and costs the others nothing.
func TestTargetsThatFail(t *testing.T) {
	lines := []string{
		"_web._tcp.example. 60 SRV 0 1 80 a.example.", "_web._tcp.example. 60 SRV 0 1 80 b.example.",
		"a.example. 60 A 10.0.0.1", "b.example. 60 A 10.0.0.2",
	}
	s := newNameServer(t, catalogue.Zone{Lines: lines}.Answer)
	r := newDNS(DNS{Name: "_web._tcp.example", Type: "SRV"}, s)
	if a, err := ask(t, r); err != nil || show(a) != "10.0.0.1:80*1 10.0.0.2:80*1" {
		t.Fatalf("%q, %v", show(a), err)
	}
	lines = slices.Clone(lines)
	lines[2] = "a.example. 60 A 10.0.0.7"
	fails := map[string]dnsmessage.RCode{"b.example.": dnsmessage.RCodeServerFailure}
	s.Says(catalogue.Zone{Lines: lines, RCodes: fails}.Answer)
	for range 2 { // and again
		a, err := ask(t, r)
		want := fmt.Sprintf("10.0.0.2:80*1 10.0.0.7:80*1 target b.example: ask for b.example A: %s: the server says ServerFailure", s.addr)
		if err != nil || show(a) != want {
			t.Errorf("%q, %v; want %q", show(a), err, want)
		}
		if a.again < negativeTTL || a.again > negativeTTL*9/8 { // the others hold for longer
			t.Errorf("asked again after %s", a.again)
		}
	}
	fails = map[string]dnsmessage.RCode{"a.example.": dnsmessage.RCodeServerFailure, "b.example.": dnsmessage.RCodeServerFailure}
	s.Says(catalogue.Zone{Lines: lines, RCodes: fails}.Answer)
	if a, err := ask(t, r); err == nil {
		t.Errorf("no target can be asked for, and it says %q", show(a))
	}
}

func TestResolvConf(t *testing.T) {
	at := netip.MustParseAddrPort
	for text, want := range map[string]resolving{
		"": {[]netip.AddrPort{at("127.0.0.1:53")}, 5 * time.Second, 2},
		"# comment\nnameserver 10.0.0.1 # this one\nnameserver 2001:db8::1\nnameserver nonsense\nnameserver fe80::1%eth0\nnameserver 10.0.0.4\n" +
			"options timeout:1 attempts:9 rotate ndots:3\nsearch example\n": {
			[]netip.AddrPort{at("10.0.0.1:53"), at("[2001:db8::1]:53"), at("[fe80::1%eth0]:53")}, time.Second, 5,
		},
		"options timeout:0\noptions timeout:600 attempts:x\nnameserver ::ffff:10.0.0.1": {[]netip.AddrPort{at("10.0.0.1:53")}, maxDNSTimeout, 2},
	} {
		if got := parseResolvConf([]byte(text)); !slices.Equal(got.servers, want.servers) || got.timeout != want.timeout || got.attempts != want.attempts {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	missing, err := readResolvConf(filepath.Join(t.TempDir(), "no"))
	if err != nil || missing.servers[0] != at("127.0.0.1:53") {
		t.Errorf("%+v, %v", missing, err)
	}
}

// FuzzReply feeds any bytes as an answer: no panic, and what is accepted is within
// bounds and answers the question.
func FuzzReply(f *testing.F) {
	z := catalogue.Zone{Extras: true, Lines: []string{
		"_web._tcp.example. 60 SRV 10 5 8001 a.example.", "a.example. 40 A 10.0.0.1", "a.example. 60 AAAA 2001:db8::1", "b.example. 4294967295 CNAME a.example.",
	}}
	for _, name := range []string{"_web._tcp.example", "a.example", "b.example", "c.example"} {
		for _, qtype := range []dnsmessage.Type{dnsmessage.TypeSRV, dnsmessage.TypeA, dnsmessage.TypeAAAA} {
			q, err := newQuestion(name, qtype)
			must(&testing.T{}, err)
			packet, _, err := q.pack(true)
			must(&testing.T{}, err)
			var m dnsmessage.Message
			must(&testing.T{}, m.Unpack(packet))
			f.Add(z.Answer(m, true)[2:], name, uint16(qtype))
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte, name string, qtype uint16) {
		q, err := newQuestion(name, dnsmessage.Type(qtype))
		if err != nil {
			return
		}
		rep, err := q.parseReply(append([]byte{1, 2}, packet...), 0x102)
		if err != nil {
			return
		}
		if n := len(rep.addresses) + len(rep.cnames) + len(rep.services) + len(rep.additional); n > maxRecords {
			t.Errorf("%d records", n)
		}
		final, ttl := rep.follow(strings.ToLower(q.name.String()))
		tg := target{ttl: ttl}
		tg.collect(rep.addresses, final)
		if tg.ttl < 0 || rep.negativeTTL() <= 0 {
			t.Errorf("TTL %s, %s", tg.ttl, rep.negativeTTL())
		}
		for _, rec := range usable(slices.Clone(rep.services)) {
			if rec.target == "." || rec.port == 0 || srvWeight(rec.weight) == 0 {
				t.Errorf("%+v", rec)
			}
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 10.0.0.1\noptions timeout:1 attempts:9\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := parseResolvConf(data)
		if n := len(r.servers); n < 1 || n > maxResolvers || r.timeout < time.Second || r.timeout > maxDNSTimeout || r.attempts < 1 || r.attempts > maxAttempts {
			t.Errorf("%+v", r)
		}
	})
}
