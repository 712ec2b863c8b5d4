package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"baton/test/lab"
)

var (
	mac4 = [6]byte{0, 0, 0x5e, 0, 1, 51}
	mac6 = [6]byte{0, 0, 0x5e, 0, 2, 51}
)

// web is the state of a router with a virtual hardware address, in one family;
// held: it owns the addresses.
func web(v6, held bool) State {
	s := State{Link: &VirtualLink{Name: "v4.51.eth0", Parent: "eth0", MAC: mac4}}
	list := "10.0.0.100/24@v4.51.eth0 10.0.0.101/32@v4.51.eth0"
	if v6 {
		s.Link = &VirtualLink{Name: "v6.51.eth0", Parent: "eth0", MAC: mac6}
		list = "fe80::100/64@v6.51.eth0 fd00::100/64@v6.51.eth0"
	}
	if held {
		s.Addresses = state(0, list).Addresses
		s.Lease = 10 * time.Minute
	}
	return s
}

// lan is two directors and a client on one segment.
type lan struct {
	l            *lab.Lab
	a, b, client *lab.Host
	m, other     *Manager
}

func newLAN(t testing.TB) *lan {
	t.Helper()
	l := lab.New(t)
	n := &lan{l: l, a: l.Host("a"), b: l.Host("b"), client: l.Host("client")}
	bridge := l.Bridge("lan")
	for i, h := range []*lab.Host{n.a, n.b, n.client} {
		h.Connect(bridge, "eth0", fmt.Sprintf("10.0.0.%d/24", i+1), fmt.Sprintf("fd00::%d/64", i+1))
	}
	n.m, n.other = manager(t, n.a), manager(t, n.b)
	lab.Eventually(t, 5*time.Second, func() error {
		for _, m := range []*Manager{n.m, n.other} {
			if l, err := m.Link("eth0"); err != nil || !l.Up || len(l.Addresses) != 3 {
				return fmt.Errorf("%+v, %w", l, err)
			}
		}
		return nil
	})
	return n
}

func (n *lan) sets(t testing.TB, m *Manager, held bool) {
	t.Helper()
	must(t, m.Set(t.Context(), "web4", web(false, held)))
	must(t, m.Set(t.Context(), "web6", web(true, held)))
}

// neighbour returns the hardware address that the client finds for an address.
func (n *lan) neighbour(t testing.TB, addr string) string {
	t.Helper()
	ip(t, n.client, "neigh flush all")
	n.pings(t, addr)
	list, err := n.client.Netlink().NeighList(linkOf(t, n.client, "eth0").Attrs().Index, netlink.FAMILY_ALL)
	must(t, err)
	for _, e := range list {
		if e.IP.String() == addr && e.HardwareAddr != nil {
			return e.HardwareAddr.String()
		}
	}
	return ""
}

func (n *lan) pings(t testing.TB, addr string) {
	t.Helper()
	if strings.HasPrefix(addr, "fe80") {
		addr += "%eth0"
	}
	if out, err := n.client.Run(context.Background(), "ping", "-n", "-c", "3", "-i", "0.1", "-W", "2", addr); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// from returns the packets that have a source address.
func from(c *lab.Capture, mac [6]byte) []lab.Packet {
	var out []lab.Packet
	for _, p := range c.Packets() {
		if bytes.Equal(p.Data[6:12], mac[:]) {
			out = append(out, p)
		}
	}
	return out
}

func describe(list []lab.Packet) string {
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "\n%s %x", p.Time.Format("05.000000"), p.Data)
	}
	return b.String()
}

func up(t testing.TB, h *lab.Host, ifname string) bool {
	t.Helper()
	return linkOf(t, h, ifname).Attrs().Flags&net.FlagUp != 0
}

// announce sends a frame from a virtual address, as gratuitous ARP does, so that
// the switch learns where it is now.
func announce(t *testing.T, h *lab.Host, mac [6]byte) {
	t.Helper()
	transmit(t, h, slices.Concat(bytes.Repeat([]byte{0xff}, 6), mac[:], []byte{0x88, 0xb5}, make([]byte, 46)))
}

// transmit sends a frame from a host's eth0.
func transmit(t *testing.T, h *lab.Host, frame []byte) {
	t.Helper()
	must(t, h.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: linkOf(t, h, "eth0").Attrs().Index, Halen: 6})
		return errors.Join(err, unix.Close(fd))
	}))
}

// multicastDatagram is a UDP datagram with its IPv4 header.
func multicastDatagram(from, to netip.Addr, port uint16, text string) []byte {
	b := []byte{0x45, 0, 0, byte(28 + len(text)), 0, 0, 0, 0, 255, unix.IPPROTO_UDP, 0, 0}
	b = slices.Concat(b, from.AsSlice(), to.AsSlice())
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum%0xffff)) //nolint:gosec // ones' complement
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(text))) //nolint:gosec // short
	return append(append(b, 0, 0), text...)
}

// routerAdvertisement is a frame with RFC 4861's message, for a default route and
// addresses of a network.
func routerAdvertisement(mac net.HardwareAddr, network netip.Prefix) []byte {
	source, all := netip.MustParseAddr("fe80::3"), netip.MustParseAddr("ff02::1")
	icmp := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
	icmp = append(icmp, 3, 4, byte(network.Bits()), 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0)
	icmp = append(icmp, network.Addr().AsSlice()...)
	var sum uint32
	pseudo := slices.Concat(source.AsSlice(), all.AsSlice(), []byte{0, 0, 0, byte(len(icmp)), 0, 0, 0, unix.IPPROTO_ICMPV6}, icmp)
	for i := 0; i < len(pseudo); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(pseudo[i:]))
	}
	binary.BigEndian.PutUint16(icmp[2:], ^uint16(sum%0xffff)) //nolint:gosec // ones' complement
	head := []byte{0x60, 0, 0, 0, 0, byte(len(icmp)), unix.IPPROTO_ICMPV6, 255}
	return slices.Concat([]byte{0x33, 0x33, 0, 0, 0, 1}, mac, []byte{0x86, 0xdd}, head, source.AsSlice(), all.AsSlice(), icmp)
}

func sysctl(t testing.TB, h *lab.Host, key string) (v string) {
	t.Helper()
	must(t, h.Do(func() (err error) {
		v, err = ReadSysctl(key)
		return err
	}))
	return v
}

// joinGroup makes a socket receive what is sent to a multicast group.
func joinGroup(conn net.PacketConn, group, ifname string) error {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return err
	}
	return ipv4.NewPacketConn(conn).JoinGroup(ifi, &net.UDPAddr{IP: net.ParseIP(group)})
}
