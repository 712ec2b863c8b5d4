package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"baton/test/lab"
)

// A backup has the interface, and nothing leaves by it: the switches would send
// it what is for the master.
func TestVirtualLinkOfABackupIsSilent(t *testing.T) {
	n := newLAN(t)
	for _, key := range []string{"accept_ra", "dad_transmits", "accept_dad"} { // a host that would speak by itself
		n.a.Sysctl("net.ipv6.conf.default."+key, "1")
	}
	seen := n.l.Capture(n.client, "eth0", "")
	n.sets(t, n.m, false)
	for _, name := range []string{"v4.51.eth0", "v6.51.eth0"} {
		if up(t, n.a, name) {
			t.Errorf("%s of a backup is up", name)
		}
	}
	for range 3 {
		n.sets(t, n.m, false)
		time.Sleep(time.Second)
	}
	n.pings(t, "10.0.0.1") // the capture works
	for _, mac := range [][6]byte{mac4, mac6} {
		if leaked := from(seen, mac); len(leaked) > 0 {
			t.Errorf("%d frames from %x:%s", len(leaked), mac, describe(leaked))
		}
	}
	if len(seen.Packets()) == 0 {
		t.Error("nothing was captured at all")
	}
	// Nor does it say a word on its way out.
	n.sets(t, n.m, true)
	time.Sleep(time.Second)
	n.sets(t, n.m, false)
	released := time.Now()
	time.Sleep(2 * time.Second)
	must(t, n.m.Set(t.Context(), "web4", State{}))
	must(t, n.m.Set(t.Context(), "web6", State{}))
	time.Sleep(time.Second)
	for _, mac := range [][6]byte{mac4, mac6} {
		for _, p := range from(seen, mac) {
			if p.Time.After(released) {
				t.Errorf("after the release:%s", describe([]lab.Packet{p}))
			}
		}
	}
	if len(from(seen, mac6)) == 0 {
		t.Error("the master was not heard either: this test shows nothing")
	}
}

// The master's VIPs are found at the virtual address, its own at its own, and
// traffic flows, whatever the host's settings were.
func TestVirtualLinkOfTheMasterAnswers(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(map[bool]string{false: "as the kernel boots", true: "strict rp_filter"}[strict], func(t *testing.T) {
			n := newLAN(t)
			if strict {
				for _, h := range []*lab.Host{n.a, n.b} {
					h.Sysctl("net.ipv4.conf.all.rp_filter", "1")
					h.Sysctl("net.ipv4.conf.default.rp_filter", "1")
					h.Sysctl("net.ipv4.conf.eth0.rp_filter", "1")
				}
			}
			seen := n.l.Capture(n.client, "eth0", "arp or icmp6")
			n.sets(t, n.other, false)
			n.sets(t, n.m, true)
			v4, v6, own := net.HardwareAddr(mac4[:]).String(), net.HardwareAddr(mac6[:]).String(), n.a.Link("eth0").MAC().String()
			for range 2 { // and after more than one question
				for addr, mac := range map[string]string{
					"10.0.0.100": v4, "10.0.0.101": v4, "fd00::100": v6, "fe80::100": v6,
					"10.0.0.1": own, "fd00::1": own,
				} {
					if got := n.neighbour(t, addr); got != mac {
						t.Errorf("%s is at %q, want %s", addr, got, mac)
					}
				}
			}
			n.repliesFrom(t, seen, own)
			n.serves(t, "10.0.0.100")
			n.serves(t, "fd00::100")

			// Hand over: the other takes the addresses, the client keeps its cache.
			n.sets(t, n.m, false)
			n.sets(t, n.other, true)
			announce(t, n.b, mac4)
			announce(t, n.b, mac6)
			for _, addr := range []string{"10.0.0.100", "fd00::100", "10.0.0.1", "fd00::1"} {
				n.pings(t, addr)
			}
			n.serves(t, "10.0.0.100")
			if got := n.neighbour(t, "10.0.0.100"); got != v4 {
				t.Errorf("after the hand-over the address is at %s", got)
			}
		})
	}
}

// repliesFrom checks every claim of an address in a capture: ARP packets that
// name a sender, and neighbour advertisements.
func (n *lan) repliesFrom(t *testing.T, seen *lab.Capture, own string) {
	t.Helper()
	owner := map[string]string{}
	for _, a := range []string{"10.0.0.100", "10.0.0.101"} {
		owner[a] = net.HardwareAddr(mac4[:]).String()
	}
	for _, a := range []string{"fd00::100", "fe80::100"} {
		owner[a] = net.HardwareAddr(mac6[:]).String()
	}
	owner["10.0.0.1"], owner["fd00::1"] = own, own
	arp, nd := 0, 0
	for _, p := range seen.Packets() {
		addr, mac := "", ""
		switch binary.BigEndian.Uint16(p.Data[12:]) {
		case 0x0806:
			arp++
			addr, mac = netip.AddrFrom4([4]byte(p.Data[28:])).String(), net.HardwareAddr(p.Data[22:28]).String()
		case 0x86dd:
			if len(p.Data) < 54+32 || p.Data[54] != 136 || p.Data[54+24] != 2 {
				continue
			}
			nd++
			addr, mac = netip.AddrFrom16([16]byte(p.Data[54+8:])).String(), net.HardwareAddr(p.Data[54+26:54+32]).String()
		}
		if want := owner[addr]; want != "" && mac != want {
			t.Errorf("%s is claimed by %s, not %s:%s", addr, mac, want, describe([]lab.Packet{p}))
		}
	}
	if arp < 6 || nd < 3 {
		t.Errorf("%d ARP packets and %d advertisements were seen: too few to show anything", arp, nd)
	}
}

// serves makes a TCP connection from the client to an address of a.
func (n *lan) serves(t *testing.T, addr string) {
	t.Helper()
	host := n.a
	if !host.Has(addr) {
		host = n.b
	}
	listener, err := host.Listen("tcp", net.JoinHostPort(addr, "80"))
	must(t, err)
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience(5*time.Second))
	defer cancel()
	c, err := n.client.Dial(ctx, "tcp", net.JoinHostPort(addr, "80"))
	must(t, err)
	defer c.Close()
	buf := make([]byte, 5)
	if _, err := c.Read(buf); err != nil || string(buf) != "hello" {
		t.Errorf("%s answered %q, %v", addr, buf, err)
	}
}

// A master has on the link what it was told, and nothing that routers or the
// kernel would add: an address made from the virtual one would be on both
// directors after a failover.
func TestVirtualLinkHasNothingElse(t *testing.T) {
	n := newLAN(t)
	for _, key := range []string{"accept_ra", "autoconf", "dad_transmits", "accept_dad"} {
		n.a.Sysctl("net.ipv6.conf.default."+key, "1")
		n.a.Sysctl("net.ipv6.conf.eth0."+key, "1")
	}
	seen := n.l.Capture(n.client, "eth0", "icmp6")
	n.sets(t, n.m, true)
	for range 3 {
		transmit(t, n.client, routerAdvertisement(n.client.Link("eth0").MAC(), netip.MustParsePrefix("2001:db8::/64")))
		time.Sleep(500 * time.Millisecond)
	}
	if out := ip(t, n.a, "addr show dev eth0"); !strings.Contains(out, "2001:db8::") {
		t.Fatalf("the advertisement does nothing: %s", out)
	}
	for name, want := range map[string]string{
		"v4.51.eth0": "10.0.0.100/24 10.0.0.101/32", "v6.51.eth0": "fd00::100/64 fe80::100/64",
	} {
		list, err := n.a.Netlink().AddrList(linkOf(t, n.a, name), netlink.FAMILY_ALL)
		must(t, err)
		var got []string
		for _, a := range list {
			got = append(got, a.IPNet.String())
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s has %s, want %s", name, s, want)
		}
		if out := ip(t, n.a, "-6 route show default dev "+name); out != "" {
			t.Errorf("a default route by %s: %s", name, out)
		}
	}
	for _, p := range slices.Concat(from(seen, mac4), from(seen, mac6)) {
		if kind := p.Data[54]; kind == 133 || (kind == 135 && bytes.Equal(p.Data[22:38], make([]byte, 16))) {
			t.Errorf("a router solicitation, or duplicate address detection, from a virtual address:%s", describe([]lab.Packet{p}))
		}
	}
}

// The host's own traffic takes the parent, as before.
func TestVirtualLinkDoesNotDrawTheHostsTraffic(t *testing.T) {
	n := newLAN(t)
	n.sets(t, n.m, true)
	for _, to := range []string{"10.0.0.3", "fd00::3"} {
		if out := ip(t, n.a, "route get "+to); !strings.Contains(out, "dev eth0 ") {
			t.Errorf("the way to %s: %s", to, out)
		}
	}
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(ip(t, n.a, family+" route show dev v"+family[1:]+".51.eth0")) {
			if !strings.HasPrefix(line, "fe80::/64") {
				t.Errorf("a route by the virtual interface: %s", line)
			}
		}
	}
	// An address of a network that the parent is not in brings its route.
	s := web(false, true)
	s.Addresses = append(s.Addresses, state(0, "10.5.0.1/24@v4.51.eth0").Addresses...)
	must(t, n.m.Set(t.Context(), "web4", s))
	if out := ip(t, n.a, "route get 10.5.0.9"); !strings.Contains(out, "dev v4.51.eth0") {
		t.Errorf("the way to 10.5.0.9: %s", out)
	}
}

// The parent's settings come back when the last link has gone, whoever removes
// it; and only if nobody else has changed them.
func TestVirtualLinkRestoresTheParent(t *testing.T) {
	n := newLAN(t)
	n.a.Sysctl("net.ipv4.conf.eth0.arp_announce", "1")
	want := func(ignore, announce string) {
		t.Helper()
		i, a := sysctl(t, n.a, "net.ipv4.conf.eth0.arp_ignore"), sysctl(t, n.a, "net.ipv4.conf.eth0.arp_announce")
		if i != ignore || a != announce {
			t.Fatalf("arp_ignore %s, arp_announce %s; want %s, %s", i, a, ignore, announce)
		}
	}
	release := func(m *Manager, owner string) { t.Helper(); must(t, m.Set(t.Context(), owner, State{})) }
	n.sets(t, n.m, true)
	want("1", "2")
	release(n.m, "web4")
	want("1", "2")
	release(n.m, "web6")
	want("0", "1")

	n.sets(t, n.m, false)
	second := manager(t, n.a) // after a crash
	must(t, second.Set(t.Context(), "web4", web(false, true)))
	removed, err := second.Sweep(t.Context())
	must(t, err)
	wantList(t, "swept", removed, "interface v6.51.eth0")
	want("1", "2")
	release(second, "web4")
	want("0", "1")

	n.sets(t, n.m, true)
	executor := manager(t, n.a)
	for range 2 {
		must(t, executor.Remove(t.Context(), web(false, true), web(true, true)))
	}
	want("0", "1")
	for _, name := range []string{"v4.51.eth0", "v6.51.eth0"} {
		if _, err := n.a.Netlink().LinkByName(name); err == nil {
			t.Errorf("%s is still there", name)
		}
	}

	n.sets(t, n.m, true) // the first one puts everything back
	want("1", "2")
	n.a.Sysctl("net.ipv4.conf.eth0.arp_ignore", "2")
	release(n.m, "web4")
	release(n.m, "web6")
	want("2", "1")
	n.sets(t, n.m, true)
	want("2", "2") // 2 is stricter than what is needed
}

// What someone else changes is put right again.
func TestVirtualLinkIsRepaired(t *testing.T) {
	n := newLAN(t)
	changes := watch(t, n.m, nil)
	n.sets(t, n.m, true)
	for i, tt := range []struct {
		name, do string
		lost     bool
	}{
		{"deleted", "link del v4.51.eth0", true},
		{"down", "link set v4.51.eth0 down", true},
		{"another address", "link set v4.51.eth0 address 02:00:00:00:00:09", false},
		{"another mode", "link set v4.51.eth0 type macvlan mode private", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			drain(changes)
			ip(t, n.a, tt.do)
			if tt.lost {
				awaitLost(t, changes, web(false, true))
			}
			n.m.links[linkIndex(n.m, "v4.51.eth0")].proved = time.Time{} // ten seconds later
			must(t, n.m.Set(t.Context(), "web4", web(false, true)))
			l := linkOf(t, n.a, "v4.51.eth0")
			mv, ok := l.(*netlink.Macvlan)
			if !ok || mv.Mode != netlink.MACVLAN_MODE_BRIDGE || l.Attrs().HardwareAddr.String() != net.HardwareAddr(mac4[:]).String() ||
				l.Attrs().Flags&net.FlagUp == 0 {
				t.Errorf("%d: the interface is %+v", i, l)
			}
			if got := n.neighbour(t, "10.0.0.100"); got != net.HardwareAddr(mac4[:]).String() {
				t.Errorf("the address is at %q", got)
			}
		})
	}
	t.Run("settings", func(t *testing.T) {
		n.a.Sysctl("net.ipv4.conf.eth0.arp_ignore", "0")
		n.a.Sysctl("net/ipv4/conf/v4.51.eth0/rp_filter", "1")
		n.a.Sysctl("net.ipv4.ip_forward", "1")
		n.a.Sysctl("net/ipv4/conf/v4.51.eth0/forwarding", "0")
		n.m.links[linkIndex(n.m, "v4.51.eth0")].proved = time.Time{}
		must(t, n.m.Set(t.Context(), "web4", web(false, true)))
		for key, want := range map[string]string{
			"net/ipv4/conf/eth0/arp_ignore": "1", "net/ipv4/conf/v4.51.eth0/rp_filter": "2", "net/ipv4/conf/v4.51.eth0/forwarding": "1",
		} {
			if got := sysctl(t, n.a, key); got != want {
				t.Errorf("%s is %s, want %s", key, got, want)
			}
		}
	})
	t.Run("the parent goes", func(t *testing.T) {
		must(t, n.a.Netlink().LinkDel(linkOf(t, n.a, "eth0")))
		if err := n.m.Set(t.Context(), "web4", web(false, true)); !errors.Is(err, ErrNoInterface) {
			t.Errorf("error %v", err)
		}
		must(t, n.m.Set(t.Context(), "web4", State{}))
		must(t, n.m.Set(t.Context(), "web6", State{}))
	})
}

// linkIndex returns the index of a manager's link.
func linkIndex(m *Manager, name string) int {
	for i, v := range m.links {
		if v.Name == name {
			return i
		}
	}
	return 0
}

func drain(c <-chan Change) {
	for {
		select {
		case <-c:
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
}

// awaitLost waits for a change that the owner of a state must answer.
func awaitLost(t testing.TB, c <-chan Change, s State) Change {
	t.Helper()
	deadline := time.After(lab.Patience(5 * time.Second))
	for {
		select {
		case got := <-c:
			if s.Lost(got) {
				return got
			}
		case <-deadline:
			t.Fatal("no change tells of it")
		}
	}
}

func TestForeignLinkIsLeftAlone(t *testing.T) {
	for _, tt := range []struct{ name, add string }{
		{"another type", "link add v4.51.eth0 type bridge"},
		{"a macvlan not ours", "link add v4.51.eth0 link eth0 address 00:00:5e:00:01:33 type macvlan mode bridge"},
		{"another's alias", "link add v4.51.eth0 link eth0 address 00:00:5e:00:01:33 alias batonish type macvlan mode bridge"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newLAN(t)
			ip(t, n.a, tt.add)
			before := linkOf(t, n.a, "v4.51.eth0").Attrs().Index
			s := web(false, true)
			s.Addresses = append(s.Addresses, state(0, "10.0.0.50/24").Addresses...)
			for range 2 {
				err := n.m.Set(t.Context(), "web4", s)
				var foreign *ForeignLinkError
				if !errors.As(err, &foreign) || !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "ip link del v4.51.eth0") {
					t.Fatalf("error %v", err)
				}
				if strings.Contains(err.Error(), "10.0.0.100") {
					t.Errorf("what follows is reported, too: %v", err)
				}
			}
			if addrs, err := n.a.Addresses("v4.51.eth0"); err != nil || len(addrs) > 0 {
				t.Errorf("it has %v, %v", addrs, err)
			}
			if !n.a.Has("10.0.0.50") {
				t.Error("the other address is missing")
			}
			must(t, n.m.Remove(t.Context(), s))
			must(t, n.m.Set(t.Context(), "web4", State{}))
			_, err := n.m.Sweep(t.Context())
			must(t, err)
			if linkOf(t, n.a, "v4.51.eth0").Attrs().Index != before {
				t.Error("it was replaced")
			}
		})
	}
	t.Run("of another router", func(t *testing.T) {
		n := newLAN(t)
		n.sets(t, n.m, true)
		s := web(false, true)
		s.Link.MAC[5] = 52
		if err := n.m.Set(t.Context(), "lan", s); err == nil || !strings.Contains(err.Error(), "router web4 has it") {
			t.Errorf("error %v", err)
		}
		// The one that has it may change it.
		must(t, n.m.Set(t.Context(), "web4", s))
		if mac := linkOf(t, n.a, "v4.51.eth0").Attrs().HardwareAddr; !slices.Equal(mac, s.Link.MAC[:]) {
			t.Errorf("the address is %s", mac)
		}
		if !up(t, n.a, "v4.51.eth0") || !n.a.Has("10.0.0.100") {
			t.Error("it is not in use any more")
		}
	})
}

// A rival with the same virtual address must be heard by the parent, where the
// adverts are received.
func TestParentHearsARivalsFrames(t *testing.T) {
	n := newLAN(t)
	n.sets(t, n.m, true)
	n.sets(t, n.other, true)
	conn, err := n.a.ListenPacket("udp4", ":3000")
	must(t, err)
	defer conn.Close()
	heard := n.l.Capture(n.a, "eth0", "udp port 3000")
	must(t, n.a.Do(func() error { return joinGroup(conn, "224.0.0.99", "eth0") }))
	must(t, conn.SetReadDeadline(time.Now().Add(lab.Patience(3*time.Second))))
	buf := make([]byte, 64)
	datagram := multicastDatagram(netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("224.0.0.99"), 3000, "advert")
	transmit(t, n.b, slices.Concat([]byte{1, 0, 0x5e, 0, 0, 99}, mac4[:], []byte{8, 0}, datagram))
	lab.Eventually(t, 3*time.Second, func() error {
		if len(heard.Packets()) == 0 {
			return errors.New("nothing came in")
		}
		return nil
	})
	if got := net.HardwareAddr(heard.Packets()[0].Data[6:12]); !slices.Equal(got, mac4[:]) {
		t.Fatalf("it was sent from %s: this test shows nothing", got)
	}
	if k, _, err := conn.ReadFrom(buf); err != nil || string(buf[:k]) != "advert" {
		t.Errorf("the parent heard %q, %v", buf[:k], err)
	}
}
