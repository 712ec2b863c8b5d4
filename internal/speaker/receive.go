package speaker

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"baton/internal/vrrp"
	"baton/internal/wire"
)

// maxPacket is more than the longest advert: 8 bytes, 255 IPv6 addresses and a
// trailer.
const maxPacket = 4608

// inbound is one packet on its way from a reader to the speaker. They are
// recycled, so that nothing is allocated for a packet.
type inbound struct {
	iface  *iface
	family wire.Family
	conn   Conn
	buf    [maxPacket]byte
	pkt    wire.Packet
	err    error // the end of conn
}

// receive takes one packet off the queue.
func (s *Speaker) receive(in *inbound) {
	if in.conn == in.iface.socket(in.family).conn { // else: a socket closed meanwhile
		if in.err == nil {
			s.dispatch(in.iface, in.family, &in.pkt)
		} else {
			s.connEnded(in.iface, in.family, in.err)
		}
	}
	in.pkt, in.err = wire.Packet{}, nil
	s.free <- in
}

// pollAll reads what waits in the sockets without waiting for more.
func (s *Speaker) pollAll() {
	for _, i := range s.ifaces {
		for _, f := range families {
			s.poll(i, f)
		}
	}
}

func (s *Speaker) poll(i *iface, f wire.Family) {
	for range 1024 { // a flood must not hold up the clock
		k := i.socket(f)
		if k.conn == nil {
			return
		}
		pkt, ok, err := k.conn.Poll(s.scrap[:])
		if err != nil || !ok {
			return // the reader will report the error
		}
		s.dispatch(i, f, &pkt)
	}
}

// dispatch brings a packet to its router. All packets are hostile until checked.
func (s *Speaker) dispatch(i *iface, f wire.Family, pkt *wire.Packet) {
	vrid, ok := vrrp.PeekVRID(pkt.Payload)
	if !ok {
		return
	}
	if r := i.socket(f).routers[vrid]; r != nil {
		r.receive(i, pkt)
	}
}

// receive checks a packet and lets the election know. The order is fixed: where
// it came from, then what [vrrp.Codec.Parse] checks.
func (r *router) receive(i *iface, pkt *wire.Packet) {
	if !r.election.State().Listens() {
		return
	}
	n, why := r.origin(i, pkt)
	if why != "" {
		r.reject(why, pkt)
		return
	}
	err := r.paths[n].codec.Parse(&r.heard, pkt.Payload, pkt.Source, pkt.Dest, pkt.At)
	if err == nil || errors.Is(err, vrrp.RejectClock) {
		r.clockSkew(pkt, r.heard.Skew)
	}
	if err != nil {
		if !errors.As(err, &why) {
			why = vrrp.RejectLength
		}
		r.reject(why, pkt)
		return
	}
	r.received++
	r.lastFrom[n] = time.Now()
	r.compareAddresses(pkt)
	r.step(vrrp.Event{
		Kind: vrrp.Received, Advert: &r.heard, Source: pkt.Source, Path: n, Own: r.paths[n].source,
	})
}

// origin applies the rules about where an advert may come from, and returns the
// path that it came by.
func (r *router) origin(i *iface, pkt *wire.Packet) (n int, why vrrp.Reject) {
	n = r.pathOf(i, pkt)
	if n < 0 {
		return n, vrrp.RejectPeer
	}
	p := r.paths[n]
	switch {
	case pkt.Source == p.source:
		return n, vrrp.RejectSelf
	case len(p.peers) == 0 && pkt.TTL != vrrp.TTL:
		// RFC 9568 section 5.1.1.3: it was routed, so its sender is not on this link.
		// Unicast peers may be a few hops away; for them the list is the rule.
		return n, vrrp.RejectTTL
	case len(p.peers) > 0 && !slices.Contains(p.peers, pkt.Source):
		return n, vrrp.RejectPeer
	}
	return n, ""
}

// warnSkew is how far apart two clocks may be before it is told of: half of what
// the HMAC trailer tolerates at least.
const warnSkew = 2500 * time.Millisecond

// clockSkew notes by how much the sender's clock is ahead of ours.
func (r *router) clockSkew(pkt *wire.Packet, skew time.Duration) {
	r.skew = skew
	if skew.Abs() >= warnSkew && r.s.limit.allow(r.spec.Name+"/skew") {
		r.log.Warn("the clocks of two directors differ; beyond the tolerance they will not believe each other: check NTP on both",
			"peer", pkt.Source, "ahead", skew.Round(time.Millisecond).String())
	}
}

func (r *router) reject(why vrrp.Reject, pkt *wire.Packet) {
	r.rejected[string(why)]++
	if r.s.limit.allow(r.spec.Name + "/" + string(why)) {
		r.log.Warn("advert not believed", "reason", string(why), "from", pkt.Source, "to", pkt.Dest,
			"ttl", pkt.TTL, "length", len(pkt.Payload), "rejected", r.rejected[string(why)])
	}
}

// compareAddresses notes when another router uses our VRID for other addresses:
// either a peer's configuration differs, or a stranger chose the same number.
// RFC 9568 section 7.1 lets such adverts count all the same.
func (r *router) compareAddresses(pkt *wire.Packet) {
	from := pkt.Source
	if r.sameAddresses() {
		if r.stranger != "" && r.strangerFrom == from {
			r.stranger = ""
		}
		return
	}
	if r.stranger == "" || r.strangerFrom != from {
		r.strangerFrom = from
		r.stranger = fmt.Sprintf("%s uses virtual router id %d on %s for %v, this router has %v: "+
			"make the configurations equal, or give one of them another id",
			from, r.spec.ID, r.spec.Interface, r.heard.Addresses, r.vips)
	}
	if r.s.limit.allow(r.spec.Name + "/stranger") {
		r.log.Warn("another router uses this id for other addresses", "detail", r.stranger)
	}
}

func (r *router) sameAddresses() bool {
	if len(r.heard.Addresses) != len(r.vips) {
		return false
	}
	if slices.Equal(r.heard.Addresses, r.vips) {
		return true
	}
	for _, a := range r.heard.Addresses {
		if !slices.Contains(r.vips, a) {
			return false
		}
	}
	return true
}

// limiter lets one line a minute through for each subject.
type limiter map[string]time.Time

func (l limiter) allow(subject string) bool {
	now := time.Now()
	if last, ok := l[subject]; ok && now.Sub(last) < time.Minute {
		return false
	}
	l[subject] = now
	return true
}
