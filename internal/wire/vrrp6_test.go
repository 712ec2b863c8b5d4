package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"baton/test/lab"
)

func linkLocal(t testing.TB, h *lab.Host) netip.Addr {
	t.Helper()
	list, err := h.Netlink().AddrList(linkOf(t, h, "eth0"), netlink.FAMILY_V6)
	must(t, err)
	for _, k := range list {
		if ip, ok := netip.AddrFromSlice(k.IP); ok && ip.IsLinkLocalUnicast() {
			return ip
		}
	}
	t.Fatal("no link-local address")
	return netip.Addr{}
}

// On the wire, to the group and to peers with global and link-local addresses:
// the traffic class and hop limit of adverts, and the checksum as the election
// computed it. A raw socket of another protocol might have the kernel write one
// (IPV6_CHECKSUM, which is on for ICMPv6 only).
func TestIPv6OnTheWire(t *testing.T) {
	l, a, b := pair(t)
	from, in := openOn(t, a, "eth0", IPv6), listen(openOn(t, b, "eth0", IPv6))
	must(t, from.raw.Control(func(fd uintptr) {
		if at, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM); at != -1 || err != nil {
			t.Errorf("the kernel computes a checksum at %d, %v", at, err)
		}
	}))
	wire := l.Capture(b, "eth0", "ip6 proto 112")
	global, local := families[1], linkLocal(t, a)
	for i, tt := range []struct{ src, dst netip.Addr }{
		{local, groupIPv6},
		{global.a, groupIPv6},
		{global.a, global.b},
		{local, linkLocal(t, b)},
		{local, global.b},
		{global.a, linkLocal(t, b)},
	} {
		payload := bytes.Clone(advert) // with a checksum that is wrong: to be left alone
		payload[1] = byte(i)
		must(t, from.Send(payload, tt.src, tt.dst))
		p := await(t, in)
		must(t, p.err)
		if p.Source != tt.src || p.Dest != tt.dst || p.TTL != 255 || !bytes.Equal(p.Payload, payload) {
			t.Errorf("%v to %v: received %+v", tt.src, tt.dst, p.Packet)
		}
		head := binary.BigEndian.AppendUint16([]byte{0x6c, 0, 0, 0}, uint16(len(payload))) //nolint:gosec // a few bytes
		head = append(head, 112, 255)
		head = append(append(head, tt.src.AsSlice()...), tt.dst.AsSlice()...)
		_, err := wire.Await(time.Second, func(p lab.Packet) bool {
			ip := bytes.Clone(p.Data[14:])
			ip[1], ip[2], ip[3] = ip[1]&0xf0, 0, 0 // the flow label is the kernel's choice
			return bytes.Equal(ip, append(head, payload...))
		})
		if err != nil {
			t.Errorf("%v: want %x %x; seen: %s", err, head, payload, frames(wire))
		}
	}
}

// Unicast peers some hops away see, and report, a smaller hop limit.
func TestReceivedHopLimitOfAPeerIsReported(t *testing.T) {
	for _, f := range families {
		_, a, b := pair(t)
		from, in := openOn(t, a, "eth0", f.of), listen(openOn(t, b, "eth0", f.of))
		level, option := unix.IPPROTO_IP, unix.IP_TTL
		if f.of == IPv6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
		}
		must(t, from.raw.Control(func(fd uintptr) { must(t, unix.SetsockoptInt(int(fd), level, option, 61)) }))
		must(t, from.Send(advert, f.a, f.b))
		if p := await(t, in); p.TTL != 61 {
			t.Errorf("%v: sent with 61, reported %d", f.of, p.TTL)
		}
	}
}

// Routers of both families share an interface, with the same ids: each family's
// packets come to its own socket, once and in order.
func TestBothFamiliesOnOneInterface(t *testing.T) {
	_, a, b := pair(t)
	var in [2]<-chan heard
	var from [2]*VRRPConn
	for i, f := range families {
		in[i], from[i] = listen(openOn(t, b, "eth0", f.of)), openOn(t, a, "eth0", f.of)
	}
	const ids = 20
	for id := range byte(ids) {
		for i, f := range families {
			dst := f.b
			if id%2 == 0 {
				dst = Group(f.of)
			}
			must(t, from[i].Send([]byte{0x31, id, 100, 0, 0, 100, 0, 0}, f.a, dst))
		}
	}
	for i, f := range families {
		for id := range byte(ids) {
			if p := await(t, in[i]); p.err != nil || p.Source != f.a || p.Payload[1] != id {
				t.Fatalf("%v: received %+v instead of id %d", f.of, p, id)
			}
		}
		silent(t, "the "+f.of.String()+" socket", in[i])
	}
}

// The kernel sends nothing from an address that it is still making sure of. The
// error says what to look for, and it passes.
func TestTentativeSource(t *testing.T) {
	_, a, _ := pair(t)
	c := openOn(t, a, "eth0", IPv6)
	a.Sysctl("net.ipv6.conf.eth0.accept_dad", "1")
	a.Sysctl("net.ipv6.conf.eth0.dad_transmits", "1")
	_, err := a.Run(t.Context(), "ip", "address", "add", "fd00::7/64", "dev", "eth0")
	must(t, err)
	own := netip.MustParseAddr("fd00::7")
	err = c.Send(advert, own, groupIPv6)
	if err == nil || !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "tentative") {
		t.Errorf("from a tentative address: %v", err)
	}
	lab.Eventually(t, 10*time.Second, func() error {
		if err := c.Send(advert, own, groupIPv6); err != nil {
			return fmt.Errorf("the address is never ready: %w", err)
		}
		return nil
	})
}
