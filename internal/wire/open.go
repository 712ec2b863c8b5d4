package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// OpenVRRP opens a raw socket for VRRP that is bound to the interface and has
// joined the group there. A socket is for one family. It needs CAP_NET_RAW.
func OpenVRRP(ifname string, family Family) (*VRRPConn, error) {
	c := &VRRPConn{ifname: ifname, family: family, opened: time.Now()}
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("open an %s socket for VRRP on %s: %w%s", family, ifname, err, remedy(err))
	}
	return c, nil
}

// remedy says what to do about an error.
func remedy(err error) string {
	switch {
	case errors.Is(err, os.ErrPermission):
		return ": run baton as root, or give it CAP_NET_RAW and CAP_NET_ADMIN"
	case errors.Is(err, unix.ENODEV):
		return ": there is no such interface here (ip link)"
	case errors.Is(err, unix.EAFNOSUPPORT):
		return ": this kernel was started without IPv6"
	}
	return ""
}

func (c *VRRPConn) open() error {
	listen := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) { err = c.prepare(int(fd)) }), err)
	}}
	network, address := fmt.Sprintf("ip4:%d", protocolVRRP), "0.0.0.0"
	if c.family == IPv6 {
		network, address = fmt.Sprintf("ip6:%d", protocolVRRP), "::"
	}
	conn, err := listen.ListenPacket(context.Background(), network, address)
	if err != nil {
		return err
	}
	c.conn = conn
	if err := c.configure(); err != nil {
		return errors.Join(err, conn.Close())
	}
	return nil
}

// prepare sets what needs the descriptor, before the socket is bound.
func (c *VRRPConn) prepare(fd int) error {
	var err error
	if c.index, err = indexOf(fd, c.ifname); err != nil {
		return err
	}
	// By index and not by name: then the socket, the memberships and c.index cannot
	// mean different interfaces, whoever renames them meanwhile.
	err = os.NewSyscallError("SO_BINDTOIFINDEX",
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, c.index))
	// Without this a socket gets the packets of every group that anybody on this
	// host has joined.
	if c.family == IPv6 {
		err = errors.Join(err, os.NewSyscallError("IPV6_MULTICAST_ALL",
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)))
	} else {
		err = errors.Join(err, os.NewSyscallError("IP_MULTICAST_ALL",
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)))
	}
	// The following only help; without CAP_NET_ADMIN the ordinary values must do.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveQueue) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveQueue)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
	return err
}

func (c *VRRPConn) configure() error {
	socket, ok := c.conn.(syscall.Conn)
	if !ok {
		return errors.New("the socket has no descriptor")
	}
	var err error
	if c.raw, err = socket.SyscallConn(); err != nil {
		return err
	}
	ifi := &net.Interface{Index: c.index, Name: c.ifname}
	group := &net.IPAddr{IP: Group(c.family).AsSlice()}
	if c.family == IPv6 {
		p := ipv6.NewPacketConn(c.conn)
		err = errors.Join(
			p.JoinGroup(ifi, group),
			p.SetMulticastInterface(ifi),
			p.SetMulticastLoopback(false),
			p.SetMulticastHopLimit(ttlVRRP),
			p.SetHopLimit(ttlVRRP),
			p.SetTrafficClass(classVRRP),
			// A raw IPv6 socket delivers no header; these come beside the packet.
			p.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst, true),
		)
		c.out.control = unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: uint32(c.index)}) //nolint:gosec // an index is positive
	} else {
		p := ipv4.NewPacketConn(c.conn)
		err = errors.Join(
			p.JoinGroup(ifi, group),
			p.SetMulticastInterface(ifi),
			p.SetMulticastLoopback(false),
			p.SetMulticastTTL(ttlVRRP),
			p.SetTTL(ttlVRRP),
			p.SetTOS(classVRRP),
		)
		c.out.control = unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(c.index)}) //nolint:gosec // an index fits
	}
	if err != nil {
		return err
	}
	c.read = func(fd uintptr) bool {
		c.in.receive(fd)
		return !c.sawEmpty(c.in.errn)
	}
	c.peek = func(fd uintptr) {
		c.peeked.receive(fd)
		c.sawEmpty(c.peeked.errn)
	}
	c.write = func(fd uintptr) {
		var to unix.Sockaddr = &c.out.to4
		if c.family == IPv6 {
			to = &c.out.to6
		}
		_, c.out.err = unix.SendmsgN(int(fd), c.out.payload, c.out.control, to, unix.MSG_DONTWAIT)
	}
	return c.ready()
}

// prioritize lets what the socket sends pass by other traffic in the transmit
// queue. 7 takes CAP_NET_ADMIN, 6 does not.
func prioritize(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, priorityVRRP)
	if err != nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, priorityVRRP-1)
	}
	return os.NewSyscallError("SO_PRIORITY", err)
}

// ready sets what must be set last, and empties the queue: between its creation
// and its binding the socket took packets of any interface.
func (c *VRRPConn) ready() error {
	var err error
	control := c.raw.Control(func(fd uintptr) {
		// The traffic class sets a priority, too; this must come after it.
		err = prioritize(int(fd))
	})
	if err := errors.Join(control, err); err != nil {
		return err
	}
	var scrap [1]byte
	for range 4096 { // bounded: the right interface may be flooded by now
		c.peeked.buf = scrap[:]
		if err := c.raw.Control(c.peek); err != nil {
			return err
		}
		if c.peeked.errn != nil {
			break
		}
	}
	c.peeked.buf = nil
	return c.conn.SetReadDeadline(time.Now().Add(checkEvery))
}
