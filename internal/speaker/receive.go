package speaker

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"baton/internal/vrrp"
	"baton/internal/wire"
)

// dispatch brings a packet to its router. All packets are hostile until checked.
func (s *Speaker) dispatch(i *iface, pkt *wire.Packet) {
	vrid, ok := vrrp.PeekVRID(pkt.Payload)
	if !ok {
		return
	}
	for _, r := range s.routers {
		if r.iface == i && r.spec.ID == vrid {
			r.receive(pkt)
			return
		}
	}
}

// receive checks a packet and lets the election know.
func (r *router) receive(pkt *wire.Packet) {
	if !r.election.State().Listens() {
		return
	}
	if err := r.heard.Parse(pkt.Payload, pkt.Source, pkt.Dest); err != nil {
		var why vrrp.Reject
		if !errors.As(err, &why) {
			why = vrrp.RejectLength
		}
		r.reject(why, pkt)
		return
	}
	if why := r.refuses(pkt); why != "" {
		r.reject(why, pkt)
		return
	}
	r.received++
	r.compareAddresses(pkt.Source)
	r.step(vrrp.Event{Kind: vrrp.Received, Advert: &r.heard, Source: pkt.Source})
}

// refuses applies the rules about where an advert may come from.
func (r *router) refuses(pkt *wire.Packet) vrrp.Reject {
	multicast := pkt.Dest.IsMulticast()
	switch {
	case pkt.Source == r.source:
		return vrrp.RejectSelf
	case multicast && pkt.TTL != vrrp.TTL:
		// RFC 9568 section 5.1.1.3: it was routed, so its sender is not on this link.
		// Unicast peers may be a few hops away; for them the list is the rule.
		return vrrp.RejectTTL
	case len(r.spec.Peers) == 0 && !multicast,
		len(r.spec.Peers) > 0 && (multicast || !slices.Contains(r.spec.Peers, pkt.Source)):
		return vrrp.RejectPeer
	}
	return ""
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
func (r *router) compareAddresses(from netip.Addr) {
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
