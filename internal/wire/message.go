package wire

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// message is the room that one recvmsg call needs. It is kept and used again, so
// that receiving allocates nothing: unix.Recvmsg and x/net allocate an address
// and control messages for each packet, and the process that keeps the adverts'
// time shall give the garbage collector nothing to do.
type message struct {
	header  unix.Msghdr
	vector  unix.Iovec
	from    unix.RawSockaddrInet6 // the longer of the two
	control [128]byte

	buf  []byte
	n    int
	errn error
}

// receive reads one packet into m.buf without waiting for it. The results are
// m.n and m.errn.
func (m *message) receive(fd uintptr) {
	m.vector.Base = &m.buf[0]
	m.vector.SetLen(len(m.buf))
	m.header = unix.Msghdr{
		Name: (*byte)(unsafe.Pointer(&m.from)), Namelen: unix.SizeofSockaddrInet6, //nolint:gosec // the kernel's own layout
		Iov: &m.vector, Control: &m.control[0],
	}
	m.header.SetIovlen(1)
	m.header.SetControllen(len(m.control))
	for {
		n, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&m.header)), unix.MSG_DONTWAIT) //nolint:gosec // as above
		switch errno {
		case 0:
			m.n, m.errn = int(n), nil //nolint:gosec // at most len(m.buf)
			return
		case unix.EINTR:
		default:
			m.n, m.errn = 0, errno
			return
		}
	}
}

// parse makes a packet of what was received. It returns false for what is not a
// whole packet: a truncated one, or one with a broken header.
func (m *message) parse(family Family) (p Packet, stamp int64, ok bool) {
	if m.header.Flags&unix.MSG_TRUNC != 0 {
		return Packet{}, 0, false
	}
	if family == IPv4 {
		p, ok = parseIPv4(m.buf[:m.n])
	} else {
		p = Packet{Source: netip.AddrFrom16(m.from.Addr), Payload: m.buf[:m.n]}
		ok = true
	}
	rest := m.control[:m.header.Controllen]
	for len(rest) >= unix.SizeofCmsghdr {
		h, data, next, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		rest = next
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS_NEW && len(data) >= 16:
			seconds := int64(binary.NativeEndian.Uint64(data))   //nolint:gosec // signed in the kernel
			nanos := int64(binary.NativeEndian.Uint64(data[8:])) //nolint:gosec // as above
			stamp = seconds*int64(time.Second) + nanos
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			p.TTL = int(int32(binary.NativeEndian.Uint32(data))) //nolint:gosec // signed in the kernel
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= 16:
			p.Dest = netip.AddrFrom16([16]byte(data[:16]))
		}
	}
	return p, stamp, ok
}

// parseIPv4 takes the IP header off, which raw IPv4 sockets deliver. The kernel
// has checked its checksum and put fragments together.
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
		Payload: b[header:total],
	}, true
}
