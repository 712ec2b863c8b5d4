package ipvsadm

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"baton/internal/pool"
)

func anyAddr(t *rapid.T, v6 bool) netip.Addr {
	if v6 {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		copy(b[4:], rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(t, "address"))
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
}

// anyService draws a service with all that the language can express.
func anyService(t *rapid.T) pool.VirtualService {
	v6 := rapid.Bool().Draw(t, "IPv6")
	v := pool.VirtualService{
		Scheduler:         rapid.SampledFrom([]string{"rr", "wlc", "sh", "mh", "twos"}).Draw(t, "scheduler"),
		Flags:             rapid.SampledFrom([]pool.Flags{0, 1, 8, 9, 16, 24, 32, 57}).Draw(t, "flags"),
		PersistenceEngine: rapid.SampledFrom([]string{"", "sip"}).Draw(t, "engine"),
		PersistencePrefix: 32,
	}
	if rapid.Bool().Draw(t, "mark") {
		v.Key = pool.Key{FWMark: rapid.Uint32Min(1).Draw(t, "mark"), IPv6: v6}
	} else {
		protocol := rapid.SampledFrom([]pool.Protocol{pool.TCP, pool.UDP, pool.SCTP}).Draw(t, "protocol")
		least := uint16(1)
		if v.Flags&pool.Persistent != 0 {
			least = 0
		}
		v.Key = pool.KeyOf(protocol, netip.AddrPortFrom(anyAddr(t, v6), rapid.Uint16Min(least).Draw(t, "port")))
	}
	if v6 {
		v.PersistencePrefix = 128
	}
	if v.Flags&pool.Persistent != 0 {
		v.PersistencePrefix = rapid.Uint8Range(1, v.PersistencePrefix).Draw(t, "prefix")
		v.PersistenceSeconds = rapid.Uint32Range(1, persistenceMax).Draw(t, "timeout")
	}
	if v.FWMark != 0 || v.Protocol == pool.UDP {
		v.Flags |= rapid.SampledFrom([]pool.Flags{0, pool.OnePacket}).Draw(t, "one packet")
	}
	for range rapid.IntRange(0, 4).Draw(t, "servers") {
		v.Servers = append(v.Servers, anyServer(t, v.Key))
	}
	return v
}

func anyServer(t *rapid.T, k pool.Key) pool.RealServer {
	s := pool.RealServer{
		Forward: rapid.SampledFrom([]pool.Forward{pool.NAT, pool.DR, pool.TUN}).Draw(t, "forward"),
		Port:    k.Port,
		Weight:  rapid.Uint32Range(0, weightMax).Draw(t, "weight"),
		Upper:   rapid.Uint32Range(0, thresholdMax).Draw(t, "upper"),
	}
	s.Lower = rapid.Uint32Range(0, s.Upper).Draw(t, "lower")
	if k.FWMark != 0 || s.Forward == pool.NAT {
		s.Port = rapid.Uint16().Draw(t, "port")
	}
	v6 := k.IPv6
	if s.Forward == pool.TUN {
		v6 = rapid.Bool().Draw(t, "server IPv6")
		s.Tunnel = rapid.SampledFrom([]pool.Tunnel{
			{},
			{Type: pool.GUE, Port: 1},
			{Type: pool.GUE, Port: 65535, Flags: 1},
			{Type: pool.GUE, Port: 6080, Flags: 2},
			{Type: pool.GRE},
			{Type: pool.GRE, Flags: 1},
		}).Draw(t, "tunnel")
	}
	s.Address = anyAddr(t, v6)
	return s
}

// What is printed is read as what it was.
func TestPrintThenParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want pool.Table
		seen := make(map[pool.Key]bool)
		for range rapid.IntRange(0, 3).Draw(t, "services") {
			if v := anyService(t); !seen[v.Key] && unique(v.Servers) {
				seen[v.Key] = true
				want = append(want, v)
			}
		}
		want.Sort()
		var lines []string
		for _, v := range want {
			more, err := Rules(v)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, more...)
		}
		rules, err := parse(strings.Join(lines, "\n"))
		if err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
		}
		got, err := Table(rules)
		if err != nil || !got.Equal(want) {
			t.Fatalf("%v\n%s\n(-want +got):\n%s", err, strings.Join(lines, "\n"), cmp.Diff(want, got, equateAddrs))
		}
	})
}

func unique(list []pool.RealServer) bool {
	seen := make(map[netip.AddrPort]bool)
	for _, s := range list {
		if seen[s.AddrPort()] {
			return false
		}
		seen[s.AddrPort()] = true
	}
	return true
}

// What the language cannot express is an error.
func TestRulesCannotSayAll(t *testing.T) {
	web := pool.VirtualService{
		Key: pool.KeyOf(pool.TCP, netip.MustParseAddrPort("10.0.0.1:80")), Scheduler: "wlc", PersistencePrefix: 32,
		Servers: []pool.RealServer{{Address: netip.MustParseAddr("10.0.0.2"), Port: 80, Weight: 1}},
	}
	for _, tt := range []struct {
		what string
		edit func(*pool.VirtualService)
		says string
	}{
		{"a mask that is no prefix", func(v *pool.VirtualService) { v.Flags, v.PersistenceSeconds, v.PersistencePrefix = 1, 9, 0 }, "no prefix"},
		{"one packet with TCP", func(v *pool.VirtualService) { v.Flags = pool.OnePacket }, "-o is for UDP"},
		{"all ports without persistence", func(v *pool.VirtualService) { v.Port = 0 }, "needs -p"},
		{"a port of its own with DR", func(v *pool.VirtualService) { v.Servers[0].Forward, v.Servers[0].Port = pool.DR, 81 }, "a server has settings"},
		{"checksums of GRE", func(v *pool.VirtualService) {
			v.Servers[0].Forward, v.Servers[0].Tunnel = pool.TUN, pool.Tunnel{Type: pool.GRE, Flags: 2}
		}, "type gre"},
		{"an unknown tunnel", func(v *pool.VirtualService) {
			v.Servers[0].Forward, v.Servers[0].Tunnel = pool.TUN, pool.Tunnel{Type: 9}
		}, "a server has settings"},
	} {
		v := web
		v.Servers = append([]pool.RealServer(nil), web.Servers...)
		tt.edit(&v)
		if lines, err := Rules(v); err == nil || lines != nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %q, %v", tt.what, lines, err)
		}
	}
	web.Servers[0].Forward = pool.Local
	if lines, err := Rules(web); err != nil || !strings.Contains(lines[1], " -g ") {
		t.Errorf("a server of this host: %q, %v", lines, err)
	}
}

// FuzzParse holds that no file breaks the parser, that each mistake has a place,
// and that what is believed means the same when it is printed and read again.
func FuzzParse(f *testing.F) {
	f.Add("-A -t 10.0.0.1:80 -s sh -p 300 -M 255.255.255.0 -b sh-port\n-a -t 10.0.0.1:80 -r 10.0.0.2 -m -w 5 -x 9 -y 1")
	f.Add("ipvsadm -At [2001:db8::1]:0 -p\n# nothing\n-a -t [2001:db8::1]:0 -r 10.0.0.2 -i --tun-type=gue --tun-port 1")
	f.Add("-A -f 7 -6 --pe sip -o\n-Z -f 7 -6\n--set 1 2 3\n--start-daemon master --mcast-group ff02::81\n-C")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := parse(text)
		var mistakes Mistakes
		if err != nil {
			if !errors.As(err, &mistakes) {
				t.Fatalf("%v", err)
			}
			for _, m := range mistakes {
				if m.Line < 1 || m.Line > strings.Count(text, "\n")+1 || m.Column < 0 || m.Text == "" {
					t.Errorf("%+v", m)
				}
			}
			return
		}
		table, err := Table(rules)
		if err != nil {
			return
		}
		for _, v := range table {
			if _, err := Rules(v); err != nil { // it reads them again itself
				t.Errorf("%v\n%s", err, text)
			}
		}
	})
}
