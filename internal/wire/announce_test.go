package wire

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
)

var (
	vip4 = netip.MustParseAddr("10.0.0.100")
	vip6 = netip.MustParseAddr("fd00::100")
)

func announcerOn(t *testing.T, h *lab.Host, options ...AnnouncerOption) *Announcer {
	t.Helper()
	var a *Announcer
	must(t, h.Do(func() (err error) {
		a, err = OpenAnnouncer("eth0", options...)
		return err
	}))
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// unhex reads hexadecimal digits in groups.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	must(t, err)
	return b
}

func digits(mac net.HardwareAddr) string { return strings.ReplaceAll(mac.String(), ":", "") }

func TestAnnounceIPv4(t *testing.T) {
	l, a, b := pair(t)
	wire := l.Capture(b, "eth0", "arp")
	must(t, announcerOn(t, a).Announce(vip4))
	mac := digits(a.Link("eth0").MAC())
	// RFC 5227 section 2.3 and RFC 9568 section 8.1.2; RFC 5944 section 4.6.
	head := "ffffffffffff" + mac + " 0806  0001 0800 06 04 "
	want := [][]byte{
		unhex(t, head+"0001 "+mac+" 0a000064 000000000000 0a000064"),
		unhex(t, head+"0002 "+mac+" 0a000064 "+mac+" 0a000064"),
	}
	for _, w := range want {
		if _, err := wire.Await(time.Second, func(p lab.Packet) bool { return bytes.HasPrefix(p.Data, w) }); err != nil {
			t.Errorf("%v: want the frame %x; seen: %s", err, w, frames(wire))
		}
	}
	if p := wire.Packets(); len(p) != 2 {
		t.Errorf("%d frames for one announcement: %s", len(p), frames(wire))
	}
}

func frames(c *lab.Capture) string {
	var out []string
	for _, p := range c.Packets() {
		out = append(out, hex.EncodeToString(p.Data))
	}
	return strings.Join(out, "\n\t")
}

func TestAnnounceIPv6(t *testing.T) {
	for _, router := range []bool{false, true} {
		l, a, b := pair(t)
		flags := "20" // override (RFC 4861 section 4.4)
		if router {
			flags = "a0" // and router
			a.Sysctl("net.ipv6.conf.eth0.forwarding", "1")
		}
		wire := l.Capture(b, "eth0", "icmp6 and ip6[40] == 136")
		an := announcerOn(t, a)
		must(t, a.Do(func() error { return an.Announce(vip6) })) // /proc/sys is the thread's
		mac := digits(a.Link("eth0").MAC())
		vip := "fd00 0000 0000 0000 0000 0000 0000 0100"
		before := unhex(t, "333300000001 "+mac+" 86dd 60000000 0020 3a ff "+vip+" ff02 0000 0000 0000 0000 0000 0000 0001 8800")
		after := unhex(t, flags+"000000 "+vip+" 0201"+mac)
		p, err := wire.Await(time.Second, func(p lab.Packet) bool {
			return bytes.HasPrefix(p.Data, before) && bytes.HasSuffix(p.Data, after)
		})
		if err != nil {
			t.Fatalf("%v: want %x ???? %x; seen: %s", err, before, after, frames(wire))
		}
		if len(p.Data) != 14+40+32 {
			t.Errorf("%d bytes", len(p.Data))
		}
		// With its checksum in it, the sum over the message is zero.
		if sum := checksumICMPv6([16]byte(p.Data[22:]), [16]byte(p.Data[38:]), p.Data[54:]); sum != 0 {
			t.Errorf("the checksum is off by %#x", sum)
		}
	}
}

// What counts is that a neighbour that knew the address elsewhere sends to us.
func TestNeighboursLearn(t *testing.T) {
	l, a, b := pair(t)
	c := l.Host("c")
	c.Connect(l.Bridge("lan"), "eth0", "10.0.0.3/24", "fd00::3/64")
	for _, vip := range []netip.Addr{vip4, vip6} {
		ctx, cancel := context.WithTimeout(t.Context(), lab.Patience(10*time.Second))
		defer cancel()
		owner := func() string {
			out, err := b.Run(ctx, "ip", "neigh", "show", vip.String(), "dev", "eth0")
			must(t, err)
			if f := strings.Fields(out); len(f) > 2 && f[0] == vip.String() && f[1] == "lladdr" {
				return f[2]
			}
			return strings.TrimSpace(out)
		}
		// b learns the address of a in the ordinary way.
		bits := "/24"
		if vip.Is6() {
			bits = "/64"
		}
		a.Address("eth0", vip.String()+bits)
		_, err := b.Run(ctx, "ping", "-c1", "-W2", vip.String())
		must(t, err)
		lab.Eventually(t, time.Second, func() error {
			if o := owner(); o != a.Link("eth0").MAC().String() {
				return errors.New("b knows " + o)
			}
			return nil
		})
		time.Sleep(1100 * time.Millisecond) // arp_process: locktime, within which no other answer counts
		must(t, announcerOn(t, c).Announce(vip))
		lab.Eventually(t, 2*time.Second, func() error {
			if o := owner(); o != c.Link("eth0").MAC().String() {
				return errors.New("b still knows " + o)
			}
			return nil
		})
	}
}

func TestAnnouncerFollowsTheInterface(t *testing.T) {
	l, a, b := pair(t)
	wire := l.Capture(b, "eth0", "arp[6:2] == 1 and arp")
	an := announcerOn(t, a)
	seen := func(mac net.HardwareAddr) {
		t.Helper()
		_, err := wire.Await(time.Second, func(p lab.Packet) bool {
			return bytes.Equal(p.Data[6:12], mac) && bytes.Equal(p.Data[22:28], mac)
		})
		must(t, err)
	}
	must(t, an.Announce(vip4))
	seen(a.Link("eth0").MAC())

	other := net.HardwareAddr{0x02, 0, 0, 0, 0, 0x99}
	must(t, a.Netlink().LinkSetHardwareAddr(linkOf(t, a, "eth0"), other))
	must(t, an.Announce(vip4))
	seen(other)

	must(t, a.Netlink().LinkSetDown(linkOf(t, a, "eth0")))
	if err := an.Announce(vip4); !errors.Is(err, ErrInterfaceDown) || !strings.Contains(err.Error(), "10.0.0.100") {
		t.Errorf("announcing while it is down: %v", err)
	}
	must(t, a.Netlink().LinkDel(linkOf(t, a, "eth0")))
	if err := an.Announce(vip4); !errors.Is(err, ErrInterfaceGone) {
		t.Errorf("announcing on a removed interface: %v", err)
	}
	again := a.Connect(l.Bridge("lan"), "eth0", "10.0.0.1/24")
	must(t, a.Do(func() error { return an.Announce(vip4) }))
	seen(again.MAC())

	must(t, an.Close())
	if err := an.Announce(vip4); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAnnounceVirtualMAC(t *testing.T) {
	l, a, b := pair(t)
	wire := l.Capture(b, "eth0", "arp")
	mac := [6]byte{0, 0, 0x5e, 0, 1, 51}
	must(t, announcerOn(t, a, WithSource(mac)).Announce(vip4))
	_, err := wire.Await(time.Second, func(p lab.Packet) bool {
		return bytes.Equal(p.Data[6:12], mac[:]) && bytes.Equal(p.Data[22:28], mac[:])
	})
	must(t, err)
}

func TestAnnouncerRefusesInterfacesWithoutNeighbours(t *testing.T) {
	_, a, _ := pair(t)
	for ifname, why := range map[string]string{"lo": "no Ethernet", "eth7": "ip link"} {
		err := a.Do(func() error { _, err := OpenAnnouncer(ifname); return err })
		if err == nil || !strings.Contains(err.Error(), ifname) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", ifname, err)
		}
	}
}
