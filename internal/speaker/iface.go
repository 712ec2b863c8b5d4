package speaker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"baton/internal/network"
	"baton/internal/wire"
)

// maxPacket is more than the longest advert: 8 bytes, 255 IPv6 addresses and a
// trailer.
const maxPacket = 4608

// inbound is one packet on its way from a reader to the speaker. They are
// recycled, so that nothing is allocated for a packet.
type inbound struct {
	iface *iface
	conn  Conn
	buf   [maxPacket]byte
	pkt   wire.Packet
	err   error // the end of conn
}

// iface is an interface that routers live on, with the socket they share.
type iface struct {
	s       *Speaker
	name    string
	conn    Conn   // nil: not open
	problem string // why adverts cannot be exchanged; empty: they can
	link    network.Link
	retryAt time.Time // when to try again by ourselves; zero: not needed
}

// reopenAfter is how often a broken interface is tried again without a sign from
// the kernel.
const reopenAfter = time.Second

// refresh looks at the interface, opens or closes its socket, and tells its
// routers.
func (i *iface) refresh() {
	i.retryAt = time.Time{}
	i.problem = i.probe()
	if i.problem != "" {
		i.closeConn()
		i.retryAt = time.Now().Add(reopenAfter)
	}
	for _, r := range i.s.routers {
		if r.iface == i {
			r.interfaceChanged()
		}
	}
}

// probe returns what is wrong with the interface, after an attempt to mend it.
func (i *iface) probe() string {
	link, err := i.s.edges.Network.Link(i.name)
	if err != nil {
		i.link = network.Link{}
		return fmt.Sprintf("interface %s: %v", i.name, err)
	}
	if i.conn != nil && link.Index != i.link.Index {
		i.closeConn() // another interface took the name
	}
	i.link = link
	if !link.Up {
		return fmt.Sprintf("interface %s is down or has no carrier", i.name)
	}
	if i.conn == nil {
		if err := i.open(); err != nil {
			return err.Error()
		}
	}
	return ""
}

func (i *iface) open() error {
	conn, err := i.s.edges.OpenConn(i.name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", i.name, err)
	}
	i.conn = conn
	go i.s.read(i, conn)
	return nil
}

func (i *iface) closeConn() {
	if i.conn == nil {
		return
	}
	if err := i.conn.Close(); err != nil {
		i.s.log.Warn("closing the VRRP socket failed", "interface", i.name, "error", err)
	}
	i.conn = nil
}

func (i *iface) tick(now time.Time) {
	if !i.retryAt.IsZero() && !now.Before(i.retryAt) {
		i.refresh()
	}
}

// primary returns the address that adverts come from when the configuration
// names none: the interface's first address of the family that is not a VIP.
func (i *iface) primary(vip func(netip.Addr) bool) (netip.Addr, bool) {
	for _, p := range i.link.Addresses {
		if a := p.Addr(); a.Is4() && !vip(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (i *iface) has(addr netip.Addr) bool {
	return slices.ContainsFunc(i.link.Addresses, func(p netip.Prefix) bool { return p.Addr() == addr })
}

// read hands packets to the speaker until the socket ends. When the speaker is
// behind, packets stay in the socket's buffer.
func (s *Speaker) read(i *iface, conn Conn) {
	for {
		var in *inbound
		select {
		case in = <-s.free:
		case <-s.done:
			return
		}
		in.iface, in.conn = i, conn
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

// receive takes one packet off the queue.
func (s *Speaker) receive(in *inbound) {
	if in.conn == in.iface.conn { // else: a socket closed meanwhile
		if in.err == nil {
			s.dispatch(in.iface, &in.pkt)
		} else {
			s.connEnded(in.iface, in.err)
		}
	}
	in.pkt, in.err = wire.Packet{}, nil
	s.free <- in
}

// connEnded is called when a socket could not be read any more.
func (s *Speaker) connEnded(i *iface, err error) {
	if !errors.Is(err, net.ErrClosed) {
		s.log.Warn("VRRP socket failed; it is opened again", "interface", i.name, "error", err)
	}
	i.closeConn()
	i.refresh()
}

// pollAll reads what waits in the sockets without waiting for more.
func (s *Speaker) pollAll() {
	buf := make([]byte, maxPacket)
	for _, i := range s.ifaces {
		for range 1024 { // a flood must not hold up the clock
			if i.conn == nil {
				break
			}
			pkt, ok, err := i.conn.Poll(buf)
			if err != nil || !ok {
				break // the reader will report the error
			}
			s.dispatch(i, &pkt)
		}
	}
}

// linkChanged is called by the network when the kernel reports a change.
func (s *Speaker) linkChanged(c network.Change) {
	s.post(func() { s.applyChange(c) })
}

func (s *Speaker) closeIfaces() {
	for _, i := range s.ifaces {
		i.closeConn()
	}
}
