package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// announceTimeout bounds the wait for a full transmit queue.
const announceTimeout = time.Second

// Announcer tells the neighbours on one interface which hardware address an IP
// address is at. It is safe for concurrent use.
type Announcer struct {
	ifname string
	source net.HardwareAddr // nil: the interface's own

	mu    sync.Mutex
	conn  *packet.Conn
	raw   syscall.RawConn
	index int
}

// AnnouncerOption changes an [Announcer].
type AnnouncerOption func(*Announcer)

// WithSource announces another hardware address than the interface's own: a
// virtual router's.
func WithSource(mac [6]byte) AnnouncerOption {
	return func(a *Announcer) { a.source = mac[:] }
}

// OpenAnnouncer opens a packet socket that sends on the interface and receives
// nothing. It needs CAP_NET_RAW.
func OpenAnnouncer(ifname string, options ...AnnouncerOption) (*Announcer, error) {
	a := &Announcer{ifname: ifname}
	for _, o := range options {
		o(a)
	}
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("open a socket to announce addresses on %s: %w%s", ifname, err, remedy(err))
	}
	// An interface without neighbours is better refused now than at a takeover.
	if _, err := a.mac(); err != nil {
		return nil, errors.Join(fmt.Errorf("open a socket to announce addresses on %s: %w", ifname, err), a.conn.Close())
	}
	return a, nil
}

func (a *Announcer) open() error {
	ifi, err := lookup(a.ifname)
	if err != nil {
		return err
	}
	// Protocol 0: no frame is ever queued for this socket, which nobody reads.
	const receiveNothing = 0
	conn, err := packet.Listen(ifi, packet.Raw, receiveNothing, nil)
	if err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if a.conn != nil {
		_ = a.conn.Close() // of an interface that is no more
	}
	a.conn, a.raw, a.index = conn, raw, ifi.Index
	return nil
}

// Announce tells all neighbours that addr is at our hardware address.
//
// For IPv4 it sends an ARP announcement (RFC 5227 section 2.3), which is the
// gratuitous ARP request of RFC 9568 section 8.1.2, and the same as a reply:
// some neighbours learn from only one of them (RFC 5227 section 3, RFC 5944
// section 4.6). For IPv6 it sends an unsolicited neighbour advertisement with
// the override flag (RFC 4861 section 7.2.6, RFC 9568 section 8.2.2); the kernel
// need not know the address yet.
func (a *Announcer) Announce(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.announce(addr); err != nil {
		return fmt.Errorf("announce %s on %s: %w", addr, a.ifname, err)
	}
	return nil
}

func (a *Announcer) announce(addr netip.Addr) error {
	// Asked for each time, at the price of two system calls: a bond takes another
	// hardware address when its first port leaves, and an old one in the
	// neighbours' tables would be an outage.
	mac, err := a.mac()
	if err != nil {
		return err
	}
	var frames [][]byte
	if addr.Is6() {
		frames = [][]byte{neighbourAdvertisement(mac, addr, a.forwards())}
	} else if frames, err = gratuitousARP(mac, addr); err != nil {
		return err
	}
	if err := a.conn.SetWriteDeadline(time.Now().Add(announceTimeout)); err != nil {
		return err
	}
	for _, f := range frames {
		if _, err := a.conn.WriteTo(f, &packet.Addr{HardwareAddr: net.HardwareAddr(f[:6])}); err != nil {
			return a.explain(err)
		}
	}
	return nil
}

// mac returns the hardware address to announce. When another interface has the
// name now, it changes over to it.
func (a *Announcer) mac() (net.HardwareAddr, error) {
	index, mac, err := a.look()
	if err == nil && index != a.index {
		if err = a.open(); err == nil {
			index, mac, err = a.look()
		}
	}
	switch {
	case errors.Is(err, net.ErrClosed):
		return nil, err
	case errors.Is(err, unix.ENODEV), err == nil && index != a.index:
		return nil, fmt.Errorf("%w (%w)", ErrInterfaceGone, unix.ENODEV)
	case err != nil:
		return nil, err
	case a.source != nil:
		return a.source, nil
	}
	return mac, nil
}

func (a *Announcer) look() (index int, mac net.HardwareAddr, err error) {
	closed := a.raw.Control(func(fd uintptr) {
		if index, err = indexOf(int(fd), a.ifname); err == nil {
			mac, err = macOf(int(fd), a.ifname)
		}
	})
	if closed != nil {
		// The library reports its own "file closed".
		return 0, nil, fmt.Errorf("%w (%w)", net.ErrClosed, closed)
	}
	return index, mac, err
}

func (a *Announcer) explain(err error) error {
	switch state := check(a.raw, a.ifname, a.index); {
	case state != nil:
		return fmt.Errorf("%w (%w)", state, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: a firewall of this host drops it", err)
	}
	return err
}

// forwards reports whether the kernel regards itself as an IPv6 router on the
// interface. The kernel's own advertisements carry the router flag by this rule;
// ours must not contradict them, because a host that sees the flag cleared
// forgets its default route through us (RFC 4861 section 7.2.5).
func (a *Announcer) forwards() bool {
	b, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv6/conf", a.ifname, "forwarding"))
	return err == nil && len(b) > 0 && b[0] != '0'
}

// Close closes the socket.
func (a *Announcer) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.conn.Close(); err != nil {
		return fmt.Errorf("close the socket that announces addresses on %s: %w", a.ifname, err)
	}
	return nil
}
