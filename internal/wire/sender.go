package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"github.com/mdlayher/packet"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const sizeEthernet = 14

// Sender sends VRRP packets with another hardware address as their source than
// the interface's own: the virtual router's (RFC 9568 sections 7.2 and 7.3).
// Switches learn from it where the virtual router is. It sends to groups only,
// as complete frames past the host's IP stack: routes and packet filters for
// locally sent packets do not apply. It is safe for concurrent use.
type Sender struct {
	ifname string
	index  int
	family Family
	conn   *packet.Conn
	raw    syscall.RawConn

	mu      sync.Mutex
	head    [sizeEthernet + ipv6.HeaderLen]byte // the longer of the two
	id      uint16                              // of the last IPv4 packet
	to      unix.RawSockaddrLinklayer
	vectors [2]unix.Iovec // head and payload
	message unix.Msghdr
	errno   syscall.Errno
	write   func(fd uintptr) // made once: a closure per call would be garbage
}

// OpenSender opens a packet socket that sends on the interface, with mac as the
// source of its frames, and receives nothing. A sender is for one family. It
// needs CAP_NET_RAW.
func OpenSender(ifname string, family Family, mac [6]byte) (*Sender, error) {
	s := &Sender{ifname: ifname, family: family}
	if err := s.open(mac); err != nil {
		return nil, fmt.Errorf("open a socket to send VRRP on %s as %s: %w%s",
			ifname, net.HardwareAddr(mac[:]), err, remedy(err))
	}
	return s, nil
}

func (s *Sender) open(mac [6]byte) error {
	if mac[0]&1 != 0 || mac == [6]byte{} {
		return errors.New("this is not the hardware address of one host")
	}
	ifi, err := lookup(s.ifname)
	if err != nil {
		return err
	}
	s.index = ifi.Index
	const receiveNothing = 0
	if s.conn, err = packet.Listen(ifi, packet.Raw, receiveNothing, nil); err != nil {
		return err
	}
	if s.raw, err = s.conn.SyscallConn(); err == nil {
		control := s.raw.Control(func(fd uintptr) {
			if _, err = macOf(int(fd), s.ifname); err == nil {
				err = prioritize(int(fd))
			}
		})
		err = errors.Join(control, err)
	}
	if err != nil {
		return errors.Join(err, s.conn.Close())
	}
	s.prepare(mac)
	return nil
}

// prepare fills in what is the same in every frame.
func (s *Sender) prepare(mac [6]byte) {
	copy(s.head[6:], mac[:])
	etherType, ip, size := uint16(unix.ETH_P_IP), s.head[sizeEthernet:], ipv4.HeaderLen
	if s.family == IPv6 {
		etherType, size = unix.ETH_P_IPV6, ipv6.HeaderLen
		binary.BigEndian.PutUint32(ip, ipv6.Version<<28|classVRRP<<20)
		ip[6], ip[7] = protocolVRRP, ttlVRRP
	} else {
		ip[0], ip[1] = ipv4.Version<<4|ipv4.HeaderLen/4, classVRRP
		ip[8], ip[9] = ttlVRRP, protocolVRRP
	}
	binary.BigEndian.PutUint16(s.head[12:], etherType)

	s.to = unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Ifindex: int32(s.index), Halen: 6} //nolint:gosec // an index fits
	s.to.Protocol = networkOrder(etherType)
	s.vectors[0].Base = &s.head[0]
	s.vectors[0].SetLen(sizeEthernet + size)
	s.message = unix.Msghdr{
		Name: (*byte)(unsafe.Pointer(&s.to)), Namelen: unix.SizeofSockaddrLinklayer, //nolint:gosec // the kernel's own layout
		Iov: &s.vectors[0],
	}
	s.message.SetIovlen(len(s.vectors))
	s.write = func(fd uintptr) {
		for {
			_, _, s.errno = unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&s.message)), unix.MSG_DONTWAIT) //nolint:gosec // as above
			if s.errno != unix.EINTR {
				return
			}
		}
	}
}

// networkOrder returns what has to be in a field of the kernel that is big
// endian on every machine.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// Send sends a VRRP packet, its checksum included, from src, which need not be
// an address of this host, to a group. It does not wait: a full transmit queue
// is an error. Errors match [ErrInterfaceGone] and [ErrInterfaceDown] as those of
// [VRRPConn.Send] do.
func (s *Sender) Send(payload []byte, src, dst netip.Addr) error {
	src, dst = src.Unmap().WithZone(""), dst.Unmap().WithZone("")
	if err := s.refuses(payload, src, dst); err != nil {
		return fmt.Errorf("send VRRP from %s to %s on %s: %w", src, dst, s.ifname, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.family == IPv6 {
		s.address6(src, dst, len(payload))
	} else {
		s.address4(src, dst, len(payload))
	}
	copy(s.to.Addr[:6], s.head[:6])
	s.vectors[1].Base = &payload[0]
	s.vectors[1].SetLen(len(payload))
	err := s.raw.Control(s.write)
	s.vectors[1].Base = nil
	switch {
	case err != nil:
		err = fmt.Errorf("%w (%w)", net.ErrClosed, err) // the library reports its own
	case s.errno != 0:
		err = s.explain(s.errno, len(payload))
	default:
		return nil
	}
	return fmt.Errorf("send VRRP from %s to %s on %s: %w", src, dst, s.ifname, err)
}

// refuses says what is wrong with the arguments of Send.
func (s *Sender) refuses(payload []byte, src, dst netip.Addr) error {
	switch {
	case !dst.IsValid() || !src.IsValid() || FamilyOf(dst) != s.family || FamilyOf(src) != s.family:
		return fmt.Errorf("the socket is for %s, and needs both addresses", s.family)
	case !dst.IsMulticast():
		return errors.New("only a group's hardware address follows from its IP address; " +
			"a single host's has to be asked for, and maybe a router's: send to it through an ordinary VRRP socket")
	case src.IsMulticast() || src.IsUnspecified():
		return errors.New("the source is not the address of a host")
	case len(payload) == 0:
		return errors.New("there is nothing to send")
	case len(payload) > math.MaxUint16-ipv4.HeaderLen:
		return tooLong(len(payload))
	}
	return nil
}

// address4 completes the headers for IPv4.
func (s *Sender) address4(src, dst netip.Addr, size int) {
	from, to := src.As4(), dst.As4()
	copy(s.head[:], []byte{0x01, 0x00, 0x5e, to[1] & 0x7f, to[2], to[3]}) // RFC 1112 section 6.4
	ip := s.head[sizeEthernet : sizeEthernet+ipv4.HeaderLen]
	binary.BigEndian.PutUint16(ip[2:], uint16(ipv4.HeaderLen+size)) //nolint:gosec // refuses has looked
	// Packets that may be fragmented need different ones (RFC 6864 section 4.1).
	s.id++
	binary.BigEndian.PutUint16(ip[4:], s.id)
	copy(ip[12:], from[:])
	copy(ip[16:], to[:])
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum(0, ip)))
}

// address6 completes the headers for IPv6.
func (s *Sender) address6(src, dst netip.Addr, size int) {
	from, to := src.As16(), dst.As16()
	copy(s.head[:], []byte{0x33, 0x33, to[12], to[13], to[14], to[15]}) // RFC 2464 section 7
	ip := s.head[sizeEthernet:]
	binary.BigEndian.PutUint16(ip[4:], uint16(size)) //nolint:gosec // refuses has looked
	copy(ip[8:], from[:])
	copy(ip[24:], to[:])
}

func tooLong(size int) error {
	return fmt.Errorf("%w: with its IP header a payload of %d bytes is longer than the interface's MTU; "+
		"advertise fewer addresses, or raise the MTU (ip link set mtu)", unix.EMSGSIZE, size)
}

func (s *Sender) explain(err error, size int) error {
	switch state := check(s.raw, s.ifname, s.index); {
	case state != nil:
		return fmt.Errorf("%w (%w)", state, err)
	case errors.Is(err, unix.EMSGSIZE):
		return tooLong(size)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: a filter at the interface's egress drops it", err)
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w: the transmit queue is full", err)
	}
	return err
}

// Close closes the socket.
func (s *Sender) Close() error {
	if err := s.conn.Close(); err != nil {
		return fmt.Errorf("close the socket that sends VRRP on %s: %w", s.ifname, err)
	}
	return nil
}
