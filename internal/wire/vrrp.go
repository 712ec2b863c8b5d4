package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	protocolVRRP = 112
	ttlVRRP      = 255 // RFC 9568 sections 5.1.1.3 and 5.1.2.3
	// classVRRP is DSCP CS6, internetwork control: queues on the way favour it.
	classVRRP = 0xc0
	// priorityVRRP is TC_PRIO_CONTROL, the first band of the default queueing
	// discipline: a full transmit queue does not hold adverts up.
	priorityVRRP = 7
	// receiveQueue is room for about a thousand adverts, so that a stall of some
	// seconds loses none.
	receiveQueue = 1 << 20
	// checkEvery is how soon a conn that only listens notices that its interface
	// was removed. A raw socket is not told.
	checkEvery = time.Second
)

var (
	groupIPv4 = netip.AddrFrom4([4]byte{224, 0, 0, 18}) // RFC 9568 section 5.1.1.2
	groupIPv6 = netip.MustParseAddr("ff02::12")         // RFC 9568 section 5.1.2.2
)

// Group returns the address that VRRP adverts of a family are sent to.
func Group(f Family) netip.Addr {
	if f == IPv6 {
		return groupIPv6
	}
	return groupIPv4
}

// VRRPConn sends and receives VRRP packets of one family on one interface. It is
// shared by all virtual routers of that interface. All methods are safe for
// concurrent use, and neither Poll nor Send waits for a Receive that is under
// way.
//
// A macvlan with the virtual router's hardware address on the interface must be
// in bridge or vepa mode: in private mode the kernel gives it, and not this
// socket, what the peer sends from that hardware address, and in passthru mode
// everything (drivers/net/macvlan.c, macvlan_handle_frame).
type VRRPConn struct {
	ifname string
	index  int
	family Family
	conn   net.PacketConn
	raw    syscall.RawConn

	opened time.Time
	// empty is when the queue was last seen empty, as time since opened. No packet
	// that is read afterwards can be older.
	empty atomic.Int64

	receiving sync.Mutex
	in        message
	read      func(fd uintptr) bool // made once: a closure per call would be garbage

	polling sync.Mutex
	peeked  message
	peek    func(fd uintptr)

	sending sync.Mutex
	out     outgoing
	write   func(fd uintptr)
}

// outgoing is the room that one sendmsg call needs, used again and again.
type outgoing struct {
	payload []byte
	control []byte // IP_PKTINFO or IPV6_PKTINFO
	to4     unix.SockaddrInet4
	to6     unix.SockaddrInet6
	err     error
}

// sawEmpty reports whether the queue is empty, and remembers when.
func (c *VRRPConn) sawEmpty(err error) bool {
	if err != unix.EAGAIN { //nolint:errorlint // a bare errno from the system call
		return false
	}
	c.empty.Store(int64(time.Since(c.opened)))
	return true
}

// Interface returns the name of the interface that the socket was opened on, and
// its index.
func (c *VRRPConn) Interface() (name string, index int) { return c.ifname, c.index }

// Receive waits for a packet, which must fit into buf. It returns
// [ErrInterfaceGone] within about a second after the interface was removed, and
// an error that matches [net.ErrClosed] after Close. An interface that is down
// is waited for.
func (c *VRRPConn) Receive(buf []byte) (Packet, error) {
	if len(buf) == 0 {
		return Packet{}, fmt.Errorf("receive VRRP on %s: the buffer is empty", c.ifname)
	}
	c.receiving.Lock()
	defer c.receiving.Unlock()
	c.in.buf = buf
	defer func() { c.in.buf = nil }()
	for {
		err := c.raw.Read(c.read)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = c.stillThere()
			if err == nil {
				continue
			}
		}
		if err == nil {
			err = c.in.errn
		}
		if err != nil {
			return Packet{}, c.explain("receive VRRP", err)
		}
		if p, ok := c.packet(&c.in); ok {
			return p, nil
		}
	}
}

// stillThere returns an error when the interface is gone, and otherwise sets the
// time of the next look.
func (c *VRRPConn) stillThere() error {
	if err := check(c.raw, c.ifname, c.index); err != nil && !errors.Is(err, ErrInterfaceDown) {
		return err
	}
	return c.conn.SetReadDeadline(time.Now().Add(checkEvery))
}

// Poll returns a packet that is there already, or false. It never waits, and
// does not need to: it looks past a Receive that is waiting.
func (c *VRRPConn) Poll(buf []byte) (p Packet, ok bool, err error) {
	if len(buf) == 0 {
		return Packet{}, false, fmt.Errorf("receive VRRP on %s: the buffer is empty", c.ifname)
	}
	c.polling.Lock()
	defer c.polling.Unlock()
	c.peeked.buf = buf
	defer func() { c.peeked.buf = nil }()
	for {
		// Control, not Read: Read waits for the lock that a waiting Receive holds.
		if err := c.raw.Control(c.peek); err != nil {
			return Packet{}, false, c.explain("receive VRRP", err)
		}
		if c.peeked.errn == unix.EAGAIN { //nolint:errorlint // a bare errno from the system call
			return Packet{}, false, nil
		}
		if c.peeked.errn != nil {
			return Packet{}, false, c.explain("receive VRRP", c.peeked.errn)
		}
		if p, ok := c.packet(&c.peeked); ok {
			return p, true, nil
		}
	}
}

// packet makes a packet of a message.
func (c *VRRPConn) packet(m *message) (Packet, bool) {
	p, stamp, ok := m.parse(c.family)
	if !ok {
		return Packet{}, false
	}
	p.Interface = c.index
	p.At = c.arrival(stamp)
	return p, true
}

// arrival turns the kernel's time stamp, which is of the wall clock, into a time
// with a monotonic reading. The clock may have been set between the stamp and
// now; so the age is held between zero and the time since the queue was last
// seen empty, which are certain.
func (c *VRRPConn) arrival(stamp int64) time.Time {
	now := time.Now()
	if stamp == 0 {
		return now
	}
	age := time.Duration(now.UnixNano() - stamp)
	oldest := now.Sub(c.opened) - time.Duration(c.empty.Load())
	return now.Add(-max(0, min(age, oldest)))
}

// Send sends a packet from src, an address of this host, to the group or to a
// peer. An invalid src leaves the choice to the kernel. It does not wait: a full
// transmit queue is an error.
func (c *VRRPConn) Send(payload []byte, src, dst netip.Addr) error {
	src, dst = src.Unmap(), dst.Unmap()
	if FamilyOf(dst) != c.family || (src.IsValid() && FamilyOf(src) != c.family) {
		return fmt.Errorf("send VRRP from %s to %s on %s: the socket is for %s", src, dst, c.ifname, c.family)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	data := c.out.control[unix.CmsgLen(0):]
	if c.family == IPv6 {
		// struct in6_pktinfo: address, index
		from, to := addr16(src), dst.As16()
		copy(data[:16], from[:])
		c.out.to6.Addr = to
		c.out.to6.ZoneId = uint32(c.index) //nolint:gosec // an index is positive
	} else {
		// struct in_pktinfo: index, source, (ignored)
		from, to := addr4(src), dst.As4()
		copy(data[4:8], from[:])
		c.out.to4.Addr = to
	}
	c.out.payload = payload
	err := c.raw.Control(c.write)
	c.out.payload = nil
	if err == nil {
		err = c.out.err
	}
	if err != nil {
		return c.explain(fmt.Sprintf("send VRRP from %s to %s", src, dst), err)
	}
	return nil
}

func addr4(a netip.Addr) (b [4]byte) {
	if a.IsValid() {
		b = a.As4()
	}
	return b
}

func addr16(a netip.Addr) (b [16]byte) {
	if a.IsValid() {
		b = a.As16()
	}
	return b
}

// explain says what failed on which interface, and why: the kernel reports a
// missing interface, one that is down and a missing route by the same few
// numbers.
func (c *VRRPConn) explain(doing string, err error) error {
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, ErrInterfaceGone):
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s on %s: %w: a firewall of this host drops it; let IP protocol 112 through", doing, c.ifname, err)
	default:
		if state := check(c.raw, c.ifname, c.index); state != nil {
			return fmt.Errorf("%s on %s: %w (%w)", doing, c.ifname, state, err)
		}
		if unreachable(err) {
			return fmt.Errorf("%s on %s: %w: is the source an address of this host%s, and does it have a route to there?",
				doing, c.ifname, err, c.tentative())
		}
	}
	return fmt.Errorf("%s on %s: %w", doing, c.ifname, err)
}

// tentative completes a question: the kernel lets nothing be sent from an IPv6
// address for a second or two after it was added or the link came up, nor ever
// from one that another host has (RFC 4862 section 5.4).
func (c *VRRPConn) tentative() string {
	if c.family == IPv6 {
		return " (and neither tentative nor dadfailed, see ip -6 address)"
	}
	return ""
}

// unreachable reports an error that the kernel gives for a source that is not an
// address of this host (IPv4: no network, IPv6: invalid) and for want of a route.
func unreachable(err error) bool {
	for _, e := range []error{unix.EINVAL, unix.EADDRNOTAVAIL, unix.ENETUNREACH, unix.EHOSTUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Close closes the socket and ends a waiting Receive.
func (c *VRRPConn) Close() error { return c.conn.Close() }
