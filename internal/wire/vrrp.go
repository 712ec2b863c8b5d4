package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Packet is a received packet without its IP header. Payload points into the
// buffer that was given to the call.
type Packet struct {
	Source, Dest netip.Addr
	TTL          int
	At           time.Time // when it was read
	Payload      []byte
}

const (
	protocolVRRP = 112
	ttlVRRP      = 255
	// tosVRRP is DSCP CS6, internetwork control, which routers and queues favour.
	tosVRRP = 0xc0
	// priorityVRRP is the highest that an unprivileged queueing class may have.
	priorityVRRP = 6
	receiveQueue = 1 << 20
)

// groupIPv4 is the multicast group of VRRP over IPv4 (RFC 9568 section 5.1.1.2).
var groupIPv4 = net.IPv4(224, 0, 0, 18)

// VRRPConn sends and receives VRRP packets over IPv4 on one interface. It is
// shared by all virtual routers of that interface. Receive may be used by one
// goroutine while others use Poll and Send.
type VRRPConn struct {
	ifname string
	index  int
	conn   net.PacketConn
	raw    syscall.RawConn
	ip     *ipv4.PacketConn
}

// OpenVRRP opens a raw socket for VRRP that is bound to the interface and has
// joined the group there. It needs CAP_NET_RAW.
func OpenVRRP(ifname string) (*VRRPConn, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("open a VRRP socket: interface %s: %w", ifname, err)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return prepare(c, ifname) }}
	conn, err := lc.ListenPacket(context.Background(), fmt.Sprintf("ip4:%d", protocolVRRP), "0.0.0.0")
	if err != nil {
		return nil, explainOpen(ifname, err)
	}
	v := &VRRPConn{ifname: ifname, index: ifi.Index, conn: conn, ip: ipv4.NewPacketConn(conn)}
	if err := v.configure(ifi); err != nil {
		return nil, errors.Join(fmt.Errorf("open a VRRP socket on %s: %w", ifname, err), conn.Close())
	}
	return v, nil
}

// prepare sets what must be set before the socket is bound, so that not one
// packet of another interface comes in.
func prepare(c syscall.RawConn, ifname string) error {
	var err error
	control := c.Control(func(fd uintptr) {
		s := int(fd)
		err = errors.Join(
			os.NewSyscallError("SO_BINDTODEVICE", unix.BindToDevice(s, ifname)),
			// Only groups that this very socket joined, not any that others joined.
			os.NewSyscallError("IP_MULTICAST_ALL", unix.SetsockoptInt(s, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)),
			os.NewSyscallError("SO_PRIORITY", unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_PRIORITY, priorityVRRP)),
		)
		// A larger queue outlasts a stall; the ordinary size works, too.
		if unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveQueue) != nil {
			_ = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveQueue)
		}
	})
	return errors.Join(control, err)
}

func explainOpen(ifname string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("open a VRRP socket on %s: %w: run baton as root, or give it CAP_NET_RAW and CAP_NET_ADMIN", ifname, err)
	}
	return fmt.Errorf("open a VRRP socket on %s: %w", ifname, err)
}

func (v *VRRPConn) configure(ifi *net.Interface) error {
	sc, ok := v.conn.(syscall.Conn)
	if !ok {
		return errors.New("the socket has no descriptor")
	}
	var err error
	if v.raw, err = sc.SyscallConn(); err != nil {
		return err
	}
	return errors.Join(
		v.ip.JoinGroup(ifi, &net.IPAddr{IP: groupIPv4}),
		v.ip.SetMulticastInterface(ifi),
		v.ip.SetMulticastLoopback(false),
		v.ip.SetMulticastTTL(ttlVRRP),
		v.ip.SetTTL(ttlVRRP),
		v.ip.SetTOS(tosVRRP),
	)
}

// Receive waits for a packet. After Close it returns an error that matches
// net.ErrClosed.
func (v *VRRPConn) Receive(buf []byte) (Packet, error) {
	for {
		var n int
		var err error
		waited := v.raw.Read(func(fd uintptr) bool {
			n, err = readPacket(int(fd), buf)
			return !errors.Is(err, unix.EAGAIN)
		})
		if err := errors.Join(waited, err); err != nil {
			return Packet{}, fmt.Errorf("read the VRRP socket of %s: %w", v.ifname, err)
		}
		if p, ok := parseIPv4(buf[:n]); ok {
			return p, nil
		}
	}
}

// Poll returns a packet that is there already, or false. It never waits.
func (v *VRRPConn) Poll(buf []byte) (Packet, bool, error) {
	for {
		var n int
		var err error
		control := v.raw.Control(func(fd uintptr) { n, err = readPacket(int(fd), buf) })
		if errors.Is(err, unix.EAGAIN) {
			return Packet{}, false, nil
		}
		if err := errors.Join(control, err); err != nil {
			return Packet{}, false, fmt.Errorf("read the VRRP socket of %s: %w", v.ifname, err)
		}
		if p, ok := parseIPv4(buf[:n]); ok {
			return p, true, nil
		}
	}
}

// readPacket reads a packet with its IP header, as raw sockets give it. It
// allocates nothing.
func readPacket(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR { //nolint:errorlint // a bare errno from the system call
			return max(n, 0), err
		}
	}
}

// parseIPv4 takes the IP header off. The kernel has checked its checksum and put
// fragments together.
func parseIPv4(b []byte) (Packet, bool) {
	if len(b) < ipv4.HeaderLen || b[0]>>4 != ipv4.Version {
		return Packet{}, false
	}
	header := int(b[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if header < ipv4.HeaderLen || total < header || total > len(b) || b[9] != protocolVRRP {
		return Packet{}, false
	}
	return Packet{
		TTL:     int(b[8]),
		Source:  netip.AddrFrom4([4]byte(b[12:16])),
		Dest:    netip.AddrFrom4([4]byte(b[16:20])),
		At:      time.Now(),
		Payload: b[header:total],
	}, true
}

// Send sends a packet from src, an address of the interface, to the group or to
// a peer.
func (v *VRRPConn) Send(payload []byte, src, dst netip.Addr) error {
	cm := ipv4.ControlMessage{Src: src.AsSlice(), IfIndex: v.index}
	if _, err := v.ip.WriteTo(payload, &cm, &net.IPAddr{IP: dst.AsSlice()}); err != nil {
		return fmt.Errorf("send an advert from %s to %s on %s: %w", src, dst, v.ifname, err)
	}
	return nil
}

// Close ends a waiting Receive.
func (v *VRRPConn) Close() error { return v.conn.Close() }
