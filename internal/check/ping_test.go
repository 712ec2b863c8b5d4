package check

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"baton/test/lab"
)

// pingOf is a ping with time enough to find out a hardware address at the second
// attempt.
func pingOf(target string) Spec {
	return Spec{Target: netip.AddrPortFrom(netip.MustParseAddr(target), 0), Timeout: lab.Patience(5 * time.Second), Ping: &Ping{}}
}

// sane holds a result of a ping against what is wanted, and that nothing of it
// is left behind.
func sane(t *testing.T, r Result, code Code, detail string) {
	t.Helper()
	if r.Code != code || !strings.Contains(r.Detail, detail) {
		t.Errorf("%s: %s; want %s: %s", r.Code, r.Detail, code, detail)
	}
	pings.mu.Lock()
	defer pings.mu.Unlock()
	if n := len(pings.hubs); n != 0 {
		t.Errorf("%d sockets are left open", n)
	}
}

func TestPingThisHost(t *testing.T) {
	for _, target := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		sane(t, Probe(context.Background(), pingOf(target)), L3OK, "answered the ping")
	}
}

// network is two hosts, one of which pings.
func network(t *testing.T) (l *lab.Lab, us, them *lab.Host) {
	t.Helper()
	l = lab.New(t)
	lan := l.Bridge("lan")
	us, them = l.Host("us"), l.Host("them")
	us.Connect(lan, "eth0", "10.0.0.1/16", "10.0.0.2/16", "fd00::1/64", "fd00::2/64")
	them.Connect(lan, "eth0", "10.0.0.9/16", "fd00::9/64")
	return l, us, them
}

// probeOn runs a probe on a host.
func probeOn(t *testing.T, h *lab.Host, s Spec) (r Result) {
	t.Helper()
	if err := h.Do(func() error { r = Probe(context.Background(), s); return nil }); err != nil {
		t.Fatal(err)
	}
	return r
}

// groups lets all groups, or none, have ICMP datagram sockets.
func groups(t *testing.T, h *lab.Host, value string) {
	t.Helper()
	err := h.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte(value), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPing(t *testing.T) {
	_, us, them := network(t)
	for kind, value := range map[string]string{"datagram": "0 2147483647", "raw": "1 0"} {
		t.Run(kind, func(t *testing.T) {
			groups(t, us, value)
			if err := us.Do(func() error { return theSocketIs(kind) }); err != nil {
				t.Fatal(err)
			}
			for _, target := range []string{"10.0.0.9", "fd00::9"} {
				s := pingOf(target)
				sane(t, probeOn(t, us, s), L3OK, target+" answered the ping")
				s.Interface = "eth0"
				sane(t, probeOn(t, us, s), L3OK, "")
				s.FWMark = 7
				sane(t, probeOn(t, us, s), L3OK, "")
				s.Interface = "nosuch0"
				sane(t, probeOn(t, us, s), L4CON, "this host cannot ping: cannot bind to interface nosuch0: no such device")
			}
			for target, foreign := range map[string]string{"10.0.0.9": "192.0.2.1", "fd00::9": "2001:db8::1"} {
				s := pingOf(target)
				s.Source = netip.MustParseAddr(foreign)
				sane(t, probeOn(t, us, s), L4CON, "this host cannot ping: it does not have the source address "+foreign)
			}
			sane(t, probeOn(t, us, pingOf("203.0.113.1")), L4CON, "no route to the network of 203.0.113.1")
			sane(t, probeOn(t, us, pingOf("2001:db8::1")), L4CON, "no route to the network of 2001:db8::1")

			dead := pingOf("10.0.0.77")
			dead.Timeout = 200 * time.Millisecond
			sane(t, probeOn(t, us, dead), L4TOUT, "no answer to a ping from 10.0.0.77 within 200ms")
			dead.Target = netip.MustParseAddrPort("[fd00::77]:0")
			sane(t, probeOn(t, us, dead), L4TOUT, "no answer to a ping from fd00::77 within 200ms")
		})
	}
	// The address is there, the host is not.
	them.Link("eth0").Down()
	s := pingOf("10.0.0.9")
	s.Timeout = 200 * time.Millisecond
	sane(t, probeOn(t, us, s), L4TOUT, "no answer")
}

// theSocketIs says whether pings of this thread use a socket of that kind.
func theSocketIs(kind string) error {
	h, err := pings.take(pingOf("10.0.0.9"), false)
	if err != nil {
		return err
	}
	defer pings.release(h)
	if h.raw != (kind == "raw") {
		return fmt.Errorf("the socket is raw: %t", h.raw)
	}
	return nil
}

func TestPingSource(t *testing.T) {
	l, us, them := network(t)
	seen := l.Capture(them, "eth0", "icmp or icmp6")
	for target, source := range map[string]string{"10.0.0.9": "10.0.0.2", "fd00::9": "fd00::2"} {
		s := pingOf(target)
		s.Source = netip.MustParseAddr(source)
		sane(t, probeOn(t, us, s), L3OK, "")
		if _, err := seen.Await(5*time.Second, func(p lab.Packet) bool { return sourceOf(p.Data) == s.Source }); err != nil {
			t.Error(err)
		}
	}
}

func sourceOf(frame []byte) netip.Addr {
	const ethernet = 14
	switch {
	case len(frame) >= ethernet+40 && frame[12] == 0x86:
		return netip.AddrFrom16([16]byte(frame[ethernet+8:]))
	case len(frame) >= ethernet+20:
		return netip.AddrFrom4([4]byte(frame[ethernet+12:]))
	}
	return netip.Addr{}
}

// A link-local address needs its interface.
func TestPingLinkLocal(t *testing.T) {
	_, us, them := network(t)
	var target netip.Addr
	lab.Eventually(t, 10*time.Second, func() error {
		device, err := them.Netlink().LinkByName("eth0")
		if err != nil {
			return err
		}
		list, err := them.Netlink().AddrList(device, unix.AF_INET6)
		if err != nil {
			return err
		}
		for _, a := range list {
			if a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
				target, _ = netip.AddrFromSlice(a.IP)
				return nil
			}
		}
		return fmt.Errorf("no link-local address")
	})
	sane(t, probeOn(t, us, pingOf(target.String()+"%eth0")), L3OK, "answered")
}

// Hundreds of dead hosts take nothing from the live one: their packets wait for
// hardware addresses in the same socket.
func TestPingAmongTheDead(t *testing.T) {
	_, us, _ := network(t)
	err := us.Do(func() error {
		// The hub is opened here, in the host's namespace, and shared from then on.
		h, err := pings.take(pingOf("10.0.0.9"), false)
		if err != nil {
			return err
		}
		defer pings.release(h)
		const many = 600 // the kernel has no room for more than 1024 neighbours
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		for i := range many {
			all.Go(func() {
				s := pingOf(fmt.Sprintf("10.0.%d.%d", 100+i/250, 1+i%250))
				s.Timeout = time.Minute
				if r := Probe(ctx, s); r.Code.OK() {
					t.Errorf("%s answered", s.Target)
				}
			})
		}
		lab.Eventually(t, 20*time.Second, func() error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if n := len(h.waiting); n < many {
				return fmt.Errorf("%d of %d pings are under way", n, many)
			}
			return nil
		})
		for range 5 {
			if r := Probe(context.Background(), pingOf("10.0.0.9")); r.Code != L3OK {
				t.Errorf("%s: %s", r.Code, r.Detail)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An answer counts only from the target, with its identifier, number and data.
func TestPingAnswers(t *testing.T) {
	h := &pingHub{raw: true, id: 0x1234, waiting: make(map[uint16]*ping)}
	from := func(a string) *ping {
		p := &ping{target: netip.MustParseAddr(a), result: make(chan error, 1)}
		copy(p.payload[:], "what was sent")
		if err := h.enlist(p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	answer := func(p *ping, edit func([]byte)) []byte {
		packet, err := h.encode(p)
		if err != nil {
			t.Fatal(err)
		}
		packet[0] = 0 // an answer
		if edit != nil {
			edit(packet)
		}
		return packet
	}
	for name, edit := range map[string]func([]byte){
		"another type":       func(b []byte) { b[0] = 8 },
		"another code":       func(b []byte) { b[1] = 1 },
		"another identifier": func(b []byte) { b[4]++ },
		"another number":     func(b []byte) { b[6]++ },
		"other data":         func(b []byte) { b[8]++ },
	} {
		p := from("10.0.0.9")
		h.answer(answer(p, edit), ipAddr("10.0.0.9"))
		if len(p.result) != 0 {
			t.Errorf("%s is taken for an answer", name)
		}
	}
	p := from("10.0.0.9")
	good := answer(p, nil)
	h.answer(good[:len(good)-1], ipAddr("10.0.0.9"))
	h.answer(good, ipAddr("10.0.0.8"))
	if len(p.result) != 0 {
		t.Error("a short or a foreign answer is taken")
	}
	h.answer(good, ipAddr("10.0.0.9"))
	h.answer(good, ipAddr("10.0.0.9")) // a duplicate is nobody's
	if len(p.result) != 1 {
		t.Error("the answer is not taken")
	}
}

func ipAddr(a string) net.Addr { return &net.IPAddr{IP: net.ParseIP(a)} }

// All waiting pings have numbers of their own, and there is an end to them.
func TestPingNumbers(t *testing.T) {
	h := &pingHub{waiting: make(map[uint16]*ping), seq: 65000}
	for range 1 << 16 {
		if err := h.enlist(&ping{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.enlist(&ping{}); err == nil {
		t.Error("there is a number for one more")
	}
	h.forget(&ping{seq: 7})
	last := &ping{}
	if err := h.enlist(last); err != nil || last.seq != 7 {
		t.Errorf("number %d, %v; want 7", last.seq, err)
	}
}

func FuzzPingAnswer(f *testing.F) {
	f.Add(true, false, []byte{0, 0, 0, 0, 0x12, 0x34, 0, 1, 'x'})
	f.Add(false, true, []byte{129, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, raw, v6 bool, packet []byte) {
		p := &ping{target: netip.MustParseAddr("10.0.0.9"), result: make(chan error, 1)}
		copy(p.payload[:], "a secret that no packet of a fuzzer holds by chance")
		h := &pingHub{raw: raw, id: 0x1234, path: pingPath{v6: v6}, waiting: map[uint16]*ping{1: p}}
		h.answer(packet, ipAddr("10.0.0.9"))
		if len(p.result) != 0 {
			t.Error("taken for an answer")
		}
	})
}
