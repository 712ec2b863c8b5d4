package check

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// errPingRights is why there is no socket for pings.
var errPingRights = errors.New("this host does not let this process ping; it needs the capability CAP_NET_RAW or a group in the sysctl net.ipv4.ping_group_range")

// icmpFilter is ICMP_FILTER of linux/icmp.h: a set of types that a raw socket
// does not want.
const icmpFilter = 1

// open makes the socket: an ICMP datagram socket where this process may have
// one (the kernel then hands over nothing but our own answers), otherwise a raw
// one.
func (h *pingHub) open(s Spec) error {
	fd, err := h.socket()
	if err != nil {
		return err
	}
	if err := h.prepare(fd, s); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	f := os.NewFile(uintptr(fd), "ping")
	h.conn, err = net.FilePacketConn(f) // has a copy of the descriptor
	return errors.Join(err, f.Close())
}

func (h *pingHub) socket() (fd int, err error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if h.path.v6 {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	const flags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|flags, protocol)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPROTONOSUPPORT) {
		h.raw = true
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, protocol)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return -1, errPingRights
	}
	return fd, err
}

// prepare sets the options that have to be there before the first packet.
func (h *pingHub) prepare(fd int, s Spec) error {
	if err := s.setOptions(fd); err != nil {
		return err
	}
	// A packet to a host that is down waits some seconds for its hardware address,
	// in the account of this socket. With the usual 208 KiB, some 200 such hosts
	// would keep the pings to all others from being sent.
	const room = 8 << 20
	for _, option := range []struct{ force, plain int }{
		{unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}, {unix.SO_RCVBUFFORCE, unix.SO_RCVBUF},
	} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, option.force, room) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option.plain, room) // as far as net.core allows
		}
	}
	if h.raw {
		if err := h.filter(fd); err != nil {
			return fmt.Errorf("filter ICMP: %w", err)
		}
	}
	if !s.Source.IsValid() {
		return nil
	}
	return unix.Bind(fd, sockaddr(s.Source))
}

// filter has the kernel withhold all that is no answer to a ping, and chooses the
// identifier that tells our answers from those of others.
func (h *pingHub) filter(fd int) error {
	var id [2]byte
	_, _ = rand.Read(id[:])
	h.id = binary.BigEndian.Uint16(id[:])
	if h.path.v6 {
		var unwanted unix.ICMPv6Filter // a bit for each type
		for i := range unwanted.Data {
			unwanted.Data[i] = ^uint32(0)
		}
		const wanted = uint(ipv6.ICMPTypeEchoReply)
		unwanted.Data[wanted/32] &^= 1 << (wanted % 32)
		return unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &unwanted)
	}
	return unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1 << int(ipv4.ICMPTypeEchoReply)))
}

// encode encodes an echo request. The kernel fills in the checksum of ICMPv6,
// and both checksum and identifier for a datagram socket.
func (h *pingHub) encode(e *ping) ([]byte, error) {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(h.id), Seq: int(e.seq), Data: e.payload[:]}}
	if h.path.v6 {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	return m.Marshal(nil)
}

// decode decodes an answer to one of our requests.
func (h *pingHub) decode(packet []byte) (seq uint16, payload []byte, ok bool) {
	const header = 8 // type, code, checksum, identifier, sequence number
	kind := byte(ipv4.ICMPTypeEchoReply)
	if h.path.v6 {
		kind = byte(ipv6.ICMPTypeEchoReply)
	}
	if len(packet) < header || packet[0] != kind || packet[1] != 0 {
		return 0, nil, false
	}
	if h.raw && binary.BigEndian.Uint16(packet[4:]) != h.id {
		return 0, nil, false
	}
	return binary.BigEndian.Uint16(packet[6:]), packet[header:], true
}

// address is where a request goes to, in the form that the socket takes.
func (h *pingHub) address(a netip.Addr) net.Addr {
	if h.raw {
		return &net.IPAddr{IP: a.AsSlice(), Zone: a.Zone()}
	}
	return &net.UDPAddr{IP: a.AsSlice(), Zone: a.Zone()}
}

// addrOf is where an answer came from, without a zone.
func addrOf(from net.Addr) netip.Addr {
	var ip net.IP
	switch a := from.(type) {
	case *net.UDPAddr:
		ip = a.IP
	case *net.IPAddr:
		ip = a.IP
	}
	out, _ := netip.AddrFromSlice(ip)
	return out.Unmap()
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}
