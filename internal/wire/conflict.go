package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
)

const (
	// reportEvery is the least time between two reports of one address at one
	// hardware address.
	reportEvery = 100 * time.Millisecond
	// claimants is how many hardware addresses are told apart for one address
	// within that time. More than one or two are a forger's.
	claimants = 4
	// reportQueue is how many reports wait for a Receive.
	reportQueue = 64
)

// ConflictKind says what claimed the address.
type ConflictKind uint8

// The kinds of packets that claim an address.
const (
	ARPRequest ConflictKind = iota + 1
	ARPReply
	NeighbourAdvertisement
)

// String returns the name of the kind of packet.
func (k ConflictKind) String() string {
	switch k {
	case ARPRequest:
		return "arp request"
	case ARPReply:
		return "arp reply"
	case NeighbourAdvertisement:
		return "neighbour advertisement"
	}
	return fmt.Sprintf("packet of kind %d", uint8(k))
}

// Conflict is another host's claim to an address of ours.
type Conflict struct {
	Addr netip.Addr
	MAC  [6]byte // where the other host says that the address is
	At   time.Time
	Kind ConflictKind
	// Count is how many packets have said so since the last report of the same Addr
	// and MAC, this one included. It is at least 1.
	Count int
}

// ConflictWatch notices when another host on the link uses an address of ours
// (RFC 5227 section 2.4; for IPv6, advertisements as in RFC 4861 section 7.2).
// All methods are safe for concurrent use.
//
// ARP is read from a packet socket that only ARP is given to, and neighbour
// advertisements from a raw ICMPv6 socket: a packet socket for IPv6 would have
// the kernel clone every IPv6 packet that this host receives and forwards.
// Filters in the kernel keep other hosts' ordinary ARP and advertisements away.
//
// Not seen: a host with the same hardware address as ours, such as a rival
// master of the same virtual router with its virtual MAC, and tagged frames of
// a VLAN, which has an interface of its own.
type ConflictWatch struct {
	ifname string
	index  int

	arp    *packet.Conn
	arpRaw syscall.RawConn
	nd     net.PacketConn // nil: this kernel has no IPv6
	ndRaw  syscall.RawConn

	reports chan Conflict
	readers sync.WaitGroup
	ending  sync.Once
	ended   chan struct{}
	why     error // valid once ended is closed

	mu      sync.Mutex
	watched map[netip.Addr]*reported
	own     map[[6]byte]bool
	mac     [6]byte // the interface's own when last looked at
}

// OpenConflictWatch opens the sockets on an interface. Nothing is reported until
// Watch names addresses. It needs CAP_NET_RAW. The interface is not made
// promiscuous.
func OpenConflictWatch(ifname string) (*ConflictWatch, error) {
	w := &ConflictWatch{
		ifname: ifname, reports: make(chan Conflict, reportQueue), ended: make(chan struct{}),
	}
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("open sockets to watch for address conflicts on %s: %w%s", ifname, err, remedy(err))
	}
	w.readers.Go(func() { w.end(w.readARP()) })
	if w.nd != nil {
		w.readers.Go(func() { w.end(w.readAdvertisements()) })
	}
	return w, nil
}

// Watch replaces the addresses that are watched, and the hardware addresses that
// are ours besides the interface's own, such as a virtual router's. After an
// error some of the new addresses may not be watched; it may be called again.
func (w *ConflictWatch) Watch(addrs []netip.Addr, own [][6]byte) error {
	plain := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("watch for conflicts on %s: %s is not the address of a host", w.ifname, a)
		}
		plain = append(plain, a)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	watched := make(map[netip.Addr]*reported, len(plain))
	for _, a := range plain {
		if watched[a] = w.watched[a]; watched[a] == nil {
			watched[a] = new(reported)
		}
	}
	w.watched, w.own = watched, make(map[[6]byte]bool, len(own))
	for _, mac := range own {
		w.own[mac] = true
	}
	if err := w.setFilters(plain); err != nil {
		return fmt.Errorf("watch for conflicts on %s: %w", w.ifname, err)
	}
	return nil
}

// Receive waits for a conflict. Every ARP request and reply whose sender has a
// watched address, gratuitous ones included, and every valid neighbour
// advertisement for one, is a conflict, unless the hardware address in it is
// ours. Each pair of an address and a hardware address is reported at most every
// 100 ms; the packets in between are counted in the next report, and forgotten
// when there is none. Of one address no more than four hardware addresses are
// reported within that time.
//
// An ARP probe for a watched address, which has no sender address, is no
// conflict: who probes has not taken the address, our host's answer keeps it
// from doing so (RFC 5227 section 2.1.1), and switches that track their hosts
// send such probes all day.
//
// Receive returns [ErrInterfaceGone] within about a second after the interface
// was removed, and an error that matches [net.ErrClosed] after Close. An
// interface that is down is waited for.
func (w *ConflictWatch) Receive() (Conflict, error) {
	select { // what was seen before the end is reported before it
	case c := <-w.reports:
		return c, nil
	default:
	}
	select {
	case c := <-w.reports:
		return c, nil
	case <-w.ended:
		return Conflict{}, fmt.Errorf("watch for conflicts on %s: %w", w.ifname, w.why)
	}
}

// Close closes the sockets and ends a waiting Receive.
func (w *ConflictWatch) Close() error {
	w.end(net.ErrClosed)
	err := w.arp.Close()
	if w.nd != nil {
		err = errors.Join(err, w.nd.Close())
	}
	w.readers.Wait()
	if err != nil {
		return fmt.Errorf("close the sockets that watch for address conflicts on %s: %w", w.ifname, err)
	}
	return nil
}

// end makes Receive return an error; the first one counts.
func (w *ConflictWatch) end(err error) {
	w.ending.Do(func() {
		w.why = err
		close(w.ended)
	})
}
