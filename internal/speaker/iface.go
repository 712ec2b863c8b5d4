package speaker

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"baton/internal/network"
	"baton/internal/wire"
)

// iface is an interface that routers send on or track, with the sockets and the
// conflict watch that they share.
type iface struct {
	s       *Speaker
	name    string
	link    network.Link
	problem string    // of the link; empty: it is up, if it was looked at
	since   time.Time // when problem, or its absence, was first seen
	retryAt time.Time // when to try again by ourselves; zero: not needed
	sockets [2]socket // IPv4, IPv6
	senders map[senderKey]sender
	watch   *conflictWatch

	looked  bool // what is known of it was seen, not assumed
	looking bool // somebody is looking at it
	again   bool // and shall do it once more
}

// socket is for the adverts of one family.
type socket struct {
	conn    Conn   // nil: not open
	problem string // why it is not open
	users   int
	routers [256]*router // by id
}

// sender sends adverts with a virtual hardware address.
type sender struct {
	Sender
	problem string // why it is not open
}

// ifaceOf returns the interface of that name, which need not exist in the kernel.
func (s *Speaker) ifaceOf(name string) *iface {
	i := s.ifaces[name]
	if i == nil {
		i = &iface{
			s: s, name: name, since: time.Now(), senders: map[senderKey]sender{},
		}
		s.ifaces[name] = i
	}
	return i
}

func (i *iface) socket(f wire.Family) *socket {
	if f == wire.IPv6 {
		return &i.sockets[1]
	}
	return &i.sockets[0]
}

var families = [...]wire.Family{wire.IPv4, wire.IPv6}

// reopenAfter is how often a broken interface is tried again without a sign from
// the kernel.
const reopenAfter = time.Second

func (i *iface) tick(now time.Time) {
	if !i.retryAt.IsZero() && !now.Before(i.retryAt) {
		i.refresh()
	}
}

// primary returns the address that adverts come from when the configuration
// names none: the interface's first address of the family that is not a VIP. For
// IPv6 it is a link-local one (RFC 9568 section 5.1.2.1), unless the peers'
// addresses are not.
func (i *iface) primary(f wire.Family, peers []netip.Addr, vips map[netip.Addr]bool) (netip.Addr, bool) {
	global := len(peers) > 0 && !peers[0].IsLinkLocalUnicast()
	for _, p := range i.link.Addresses {
		a := p.Addr()
		if wire.FamilyOf(a) != f || vips[a] {
			continue
		}
		if f == wire.IPv4 || a.IsLinkLocalUnicast() != global {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (i *iface) has(addr netip.Addr) bool {
	return slices.ContainsFunc(i.link.Addresses, func(p netip.Prefix) bool { return p.Addr() == addr })
}

// ownAddress reports whether the interface has an address that is not a VIP,
// beside the link-local one that it has by itself.
func (i *iface) ownAddress() bool {
	return slices.ContainsFunc(i.link.Addresses, func(p netip.Prefix) bool {
		return !i.s.vips[p.Addr()] && !p.Addr().IsLinkLocalUnicast()
	})
}

// attach makes packets for an id come to the router.
func (i *iface) attach(r *router) {
	k := i.socket(r.family())
	if k.routers[r.spec.ID] == nil {
		k.users++
	}
	k.routers[r.spec.ID] = r
}

func (i *iface) detach(r *router) {
	k := i.socket(r.family())
	if k.routers[r.spec.ID] == r {
		k.routers[r.spec.ID] = nil
		k.users--
	}
}

// read hands packets to the speaker until the socket ends. When the speaker is
// behind, packets stay in the socket's buffer.
func (s *Speaker) read(i *iface, f wire.Family, conn Conn) {
	for {
		var in *inbound
		select {
		case in = <-s.free:
		case <-s.done:
			return
		}
		in.iface, in.family, in.conn = i, f, conn
		in.pkt, in.err = conn.Receive(in.buf[:])
		ended := in.err != nil
		select {
		case s.packets <- in:
		case <-s.done:
			return
		}
		if ended {
			return
		}
	}
}

// connEnded is called when a socket could not be read any more.
func (s *Speaker) connEnded(i *iface, f wire.Family, err error) {
	if !errors.Is(err, net.ErrClosed) {
		s.log.Warn("VRRP socket failed; it is opened again", "interface", i.name, "error", err)
	}
	i.closeConn(f)
	i.refresh()
}

func (s *Speaker) closeIfaces() {
	for _, i := range s.ifaces {
		i.closeConns()
	}
}
