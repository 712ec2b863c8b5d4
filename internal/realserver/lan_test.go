package realserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"baton/test/lab"
)

// lan is a client, a director and a real server on one segment.
type lan struct {
	l                     *lab.Lab
	bridge                *lab.Bridge
	client, director, web *lab.Host
	state                 string
}

var (
	vip, vip6 = netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("fd00::100")
	own, own6 = netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("fd00::3") // of the real server
)

func newLAN(t *testing.T) *lan {
	t.Helper()
	l := lab.New(t)
	n := &lan{l: l, bridge: l.Bridge("lan"), state: filepath.Join(t.TempDir(), "run", "state.json")}
	n.client, n.director, n.web = l.Host("client"), l.Host("director"), l.Host("web")
	for i, h := range []*lab.Host{n.client, n.director, n.web} {
		h.Connect(n.bridge, "eth0", fmt.Sprintf("10.0.0.%d/24", i+1), fmt.Sprintf("fd00::%d/64", i+1))
	}
	// The kernel checks its link-local address for a moment; then nothing moves by itself.
	lab.Eventually(t, 5*time.Second, func() error {
		text, err := n.web.Run(context.Background(), "ip", "address")
		if err == nil && strings.Contains(text, "tentative") {
			err = errors.New(text)
		}
		return err
	})
	return n
}

// on does something as the real server.
func (n *lan) on(t *testing.T, do func(context.Context, *Server) error) {
	t.Helper()
	must(t, n.web.Do(func() error {
		k, err := OpenHost()
		if err != nil {
			return err
		}
		defer k.Close()
		return do(context.Background(), New(k, NewStore(n.state)))
	}))
}

func (n *lan) up(t *testing.T, texts ...string) (r Result) {
	t.Helper()
	n.on(t, func(ctx context.Context, s *Server) (err error) {
		r, err = s.Up(ctx, specsOf(t, texts...), false)
		return err
	})
	return r
}

// snapshot is everything that may be changed: each setting of IPv4 and IPv6 on
// each interface, addresses, interfaces.
func (n *lan) snapshot(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, n.web.Do(func() error {
		for _, family := range []string{"ipv4", "ipv6"} {
			err := filepath.WalkDir("/proc/sys/net/"+family+"/conf", func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				if b, err := os.ReadFile(path); err == nil { // some cannot be read before they are set
					out[path] = string(b)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	h := n.web.Netlink()
	links, err := h.LinkList()
	must(t, err)
	for _, l := range links {
		a := l.Attrs()
		out["link "+a.Name] = fmt.Sprint(l.Type(), a.Flags, a.MTU, a.Alias)
	}
	addresses, err := h.AddrList(nil, netlink.FAMILY_ALL)
	must(t, err)
	for _, a := range addresses {
		out[fmt.Sprint("address ", a.IPNet, " ", a.LinkIndex)] = fmt.Sprint(a.Label, a.Scope, a.Flags, a.Protocol, a.PreferedLft)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		// Of all tables; those of the local one among them.
		routes, err := h.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		must(t, err)
		for _, r := range routes {
			out["route "+r.String()] = ""
		}
	}
	return out
}

// ask makes a host look for the hardware address of another one. Nobody has to
// answer.
func ask(t *testing.T, from *lab.Host, source, target netip.Addr) {
	t.Helper()
	must(t, from.Do(func() error {
		d := net.Dialer{}
		if source.IsValid() {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		}
		conn, err := d.Dial("udp", netip.AddrPortFrom(target, 9).String())
		if err != nil {
			return err
		}
		_, err = conn.Write([]byte("x"))
		return errors.Join(err, conn.Close())
	}))
}

// resolution is an ARP packet or a neighbour solicitation or advertisement.
type resolution struct {
	answer bool
	from   string     // hardware address of the frame
	sender netip.Addr // who speaks: by ARP's field, or the source of the IPv6 packet
	target netip.Addr // who is asked for, or answers
}

func parse(p lab.Packet) (r resolution, ok bool) {
	b := p.Data
	if len(b) < 42 {
		return r, false
	}
	r.from = net.HardwareAddr(b[6:12]).String()
	switch binary.BigEndian.Uint16(b[12:]) {
	case 0x0806:
		r.answer = b[21] == 2
		r.sender = netip.AddrFrom4([4]byte(b[28:32]))
		r.target = netip.AddrFrom4([4]byte(b[38:42]))
		if r.answer {
			r.target = r.sender
		}
		return r, true
	case 0x86dd:
		const solicitation, advertisement = 135, 136
		if len(b) < 78 || b[20] != 58 || (b[54] != solicitation && b[54] != advertisement) {
			return r, false
		}
		r.answer = b[54] == advertisement
		r.sender, r.target = netip.AddrFrom16([16]byte(b[22:38])), netip.AddrFrom16([16]byte(b[62:78]))
		return r, true
	}
	return r, false
}

// answered waits until someone says where an address is.
func answered(t *testing.T, c *lab.Capture, target netip.Addr) {
	t.Helper()
	_, err := c.Await(5*time.Second, func(p lab.Packet) bool {
		r, ok := parse(p)
		return ok && r.answer && r.target == target
	})
	if err != nil {
		t.Fatalf("nobody answered for %s: %v", target, err)
	}
}

// answers are the hosts that answered for an address.
func (n *lan) answers(c *lab.Capture, target netip.Addr) (out []string) {
	names := map[string]string{}
	for _, h := range []*lab.Host{n.client, n.director, n.web} {
		names[h.Link("eth0").MAC().String()] = h.Name()
	}
	for _, p := range c.Packets() {
		if r, ok := parse(p); ok && r.answer && r.target == target {
			out = append(out, names[r.from])
		}
	}
	return out
}

func (n *lan) forget(t *testing.T, h *lab.Host) {
	t.Helper()
	_, err := h.Run(context.Background(), "ip", "neigh", "flush", "all")
	must(t, err)
}

// The director has the VIPs, and so has the real server: who asks on the network
// hears of the director only, and the real server itself never speaks of the VIP.
func TestOnlyTheDirectorAnswers(t *testing.T) {
	n := newLAN(t)
	n.director.Address("eth0", "10.0.0.100/32", "fd00::100/128")
	before := n.snapshot(t)

	// That the test would see it: an address on lo, as many have it.
	careless := netip.MustParseAddr("10.0.0.77")
	n.web.Address("lo", careless.String()+"/32")
	c := n.l.CaptureBridge(n.bridge, "arp or icmp6")
	ask(t, n.client, netip.Addr{}, careless)
	answered(t, c, careless)

	n.up(t, "10.0.0.100 dr", "fd00::100 dr")
	// The hardest case: a real server that routes IPv6 and is a proxy for neighbours.
	n.web.Sysctl("net.ipv6.conf.all.forwarding", "1")
	n.web.Sysctl("net.ipv6.conf.all.proxy_ndp", "1")
	n.forget(t, n.client)
	n.forget(t, n.web)
	must(t, c.Stop())
	c = n.l.CaptureBridge(n.bridge, "arp or icmp6")
	for _, target := range []netip.Addr{careless, vip, own, vip6, own6} {
		ask(t, n.client, netip.Addr{}, target)
	}
	// The real server has heard the questions before those for its own addresses.
	for _, target := range []netip.Addr{vip, own, vip6, own6} {
		answered(t, c, target)
	}
	for target, want := range map[netip.Addr]string{careless: "", vip: "director", vip6: "director", own: "web", own6: "web"} {
		if got := strings.Join(n.answers(c, target), " "); got != want {
			t.Errorf("%s: answered by %q, want %q", target, got, want)
		}
	}

	// It answers a client with the VIP as the source, and has to ask for it first.
	n.forget(t, n.web)
	ask(t, n.web, vip, netip.MustParseAddr("10.0.0.99"))
	ask(t, n.web, vip6, netip.MustParseAddr("fd00::99"))
	asked := map[bool]bool{}
	_, err := c.Await(5*time.Second, func(p lab.Packet) bool {
		if r, ok := parse(p); ok && !r.answer && r.from == n.web.Link("eth0").MAC().String() {
			asked[r.target.Is6()] = true
			if r.sender == vip || r.sender == vip6 {
				t.Errorf("the real server named a VIP in a question for %s", r.target)
			}
		}
		return asked[false] && asked[true]
	})
	must(t, err)

	n.web.Sysctl("net.ipv6.conf.all.forwarding", "0")
	n.web.Sysctl("net.ipv6.conf.all.proxy_ndp", "0")
	n.on(t, func(ctx context.Context, s *Server) error { _, err := s.Down(ctx, nil, true, false); return err })
	_, err = n.web.Run(context.Background(), "ip", "address", "del", "10.0.0.77/32", "dev", "lo")
	must(t, err)
	if diff := cmp.Diff(before, n.snapshot(t)); diff != "" {
		t.Errorf("after down (-before +after):\n%s", diff)
	}
}

func TestUpAndDown(t *testing.T) {
	n := newLAN(t)
	n.web.Sysctl("net.ipv4.conf.all.arp_announce", "1") // to be restored, not set to 0
	before := n.snapshot(t)
	changed := func(when string, want bool) {
		t.Helper()
		if diff := cmp.Diff(before, n.snapshot(t)); (diff != "") != want {
			t.Errorf("%s: changed %v, want %v (-before +after):\n%s", when, diff != "", want, diff)
		}
	}

	n.on(t, func(ctx context.Context, s *Server) error {
		r, err := s.Up(ctx, specsOf(t, "10.0.0.100 dr"), true)
		if want := []string{ignore, "set net.ipv4.conf.all.arp_announce from 1 to 2", "add address 10.0.0.100/32 to lo"}; err == nil {
			if diff := cmp.Diff(want, lines(r.Steps, short)); diff != "" {
				t.Errorf("dry run (-want +got):\n%s", diff)
			}
		}
		return err
	})
	changed("dry run", false)
	if _, err := os.Stat(filepath.Dir(n.state)); !os.IsNotExist(err) {
		t.Errorf("a dry run left %s behind: %v", filepath.Dir(n.state), err)
	}

	if r := n.up(t, "10.0.0.100 dr"); !r.Changed {
		t.Errorf("up: %s", r.Text())
	}
	first := n.snapshot(t)
	if r := n.up(t, "10.0.0.100 dr"); r.Changed || r.Text() != "nothing to change\n" {
		t.Errorf("up again: %s", r.Text())
	}
	if diff := cmp.Diff(first, n.snapshot(t)); diff != "" {
		t.Errorf("up again (-first +second):\n%s", diff)
	}
	if r := n.up(t, "10.0.0.101 dr", "fd00::100 dr"); len(r.Steps) != 2 {
		t.Errorf("two more: %s", r.Text())
	}
	if text, err := n.web.Run(context.Background(), "ip", "address", "show", "lo"); err != nil ||
		!strings.Contains(text, "inet 10.0.0.100/32 scope host lo:baton") || !strings.Contains(text, "inet6 fd00::100/128 scope global nodad deprecated") {
		t.Errorf("%v\n%s", err, text)
	}
	n.on(t, func(_ context.Context, s *Server) error {
		st, err := s.Status(nil)
		if err == nil && (!st.OK || len(st.VIPs) != 3) {
			t.Errorf("status: %s", st.Text())
		}
		return err
	})

	n.on(t, func(ctx context.Context, s *Server) error {
		_, err := s.Down(ctx, []netip.Addr{vip, netip.MustParseAddr("10.0.0.101")}, false, false)
		return err
	})
	changed("one is left", true)
	n.on(t, func(ctx context.Context, s *Server) error {
		_, err := s.Down(ctx, []netip.Addr{vip6}, false, false)
		return err
	})
	changed("none is left", false)

	// The state of another network is not believed.
	n.up(t, "10.0.0.100 dr")
	err := n.client.Do(func() error {
		_, err := NewStore(n.state).Load()
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "belongs to another network namespace") {
		t.Errorf("the state in another network: %v", err)
	}
	// What it describes ended with the boot.
	b, err := os.ReadFile(n.state)
	must(t, err)
	here, err := place()
	must(t, err)
	must(t, os.WriteFile(n.state, bytes.ReplaceAll(b, []byte(here.Boot), []byte("another")), 0o600))
	n.on(t, func(_ context.Context, s *Server) error {
		r, err := s.store.Load()
		if err == nil && !r.empty() {
			t.Errorf("the state of another boot: %+v", r)
		}
		return err
	})
	must(t, os.WriteFile(n.state, b[:len(b)/2], 0o600))
	n.on(t, func(ctx context.Context, s *Server) error {
		if _, err := s.Down(ctx, nil, true, false); err == nil || !strings.Contains(err.Error(), "restore them by hand") {
			t.Errorf("half a state: %v", err)
		}
		return nil
	})
}
