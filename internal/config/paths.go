package config

import (
	"net/netip"

	"baton/internal/speaker"
)

// vrid is what the adverts of a virtual router are told by.
type vrid struct {
	device string
	id     uint8
	family family
}

// vridOwner is the router that has a VRID, and where it says so.
type vridOwner struct {
	router *router
	at     pos
}

// way is an interface and how adverts are sent there.
type way struct {
	device  string
	unicast bool
}

func (w way) String() string {
	if w.unicast {
		return w.device + " by unicast"
	}
	return w.device + " by multicast"
}

// buildPaths builds the ways that adverts take: the router's own and its
// heartbeats.
func (b *builder) buildPaths(r *router) {
	r.out.Source = b.sourceOf(r, &r.Source)
	r.out.Peers = b.peersOf(r, &r.Peers, &r.Source)
	taken := make(map[way]pos)
	if r.Interface.ok() {
		taken[way{r.out.Interface, len(r.Peers.items) > 0}] = r.Interface.at
		if other, twice := b.claimVRID(r, r.out.Interface, r.ID.at); twice {
			b.add(r.ID.at, "id: %d is taken on %s by router %q at %s", r.ID.v, r.Interface.v, other.router.Name.v, other.at)
		}
	}
	for i := range r.Heartbeats.items {
		raw := &r.Heartbeats.items[i]
		if raw.bad {
			continue
		}
		h := &raw.v
		out := speaker.Heartbeat{Interface: string(h.Interface.v), Source: b.sourceOf(r, &h.Source), Peers: b.peersOf(r, &h.Peers, &h.Source)}
		if !h.Interface.ok() {
			continue
		}
		w := way{out.Interface, len(h.Peers.items) > 0}
		if first, twice := taken[w]; twice {
			b.add(h.Interface.at, "heartbeats: %s is a path of this router already, at %s", w, first)
			continue
		}
		taken[w] = h.Interface.at
		if other, twice := b.claimVRID(r, out.Interface, h.Interface.at); twice {
			b.add(h.Interface.at, "heartbeats: the id %d is taken on %s by router %q at %s", r.ID.v, out.Interface, other.router.Name.v, other.at)
		}
		r.out.Heartbeats = append(r.out.Heartbeats, out)
	}
}

// claimVRID records that a router's adverts are seen on an interface, and
// returns the other router that already has its VRID there.
func (b *builder) claimVRID(r *router, device string, at pos) (vridOwner, bool) {
	if !r.ID.ok() || r.family == anyFamily {
		return vridOwner{}, false
	}
	v := vrid{device, uint8(r.ID.v), r.family}
	first, taken := b.vrids[v]
	if !taken {
		b.vrids[v] = vridOwner{r, at}
	}
	return first, taken && first.router != r
}

func (b *builder) sourceOf(r *router, s *value[address]) netip.Addr {
	if !s.ok() || !b.ofFamily(r, "source", s) {
		return netip.Addr{}
	}
	if r.owns(s.v.Addr) && !r.isOwner() && !r.Priority.bad {
		b.add(s.at, "source: %s is one of the router's addresses, which a backup does not have; only priority 255 may send from it", s.v)
	}
	return s.v.Addr
}

func (b *builder) peersOf(r *router, list *list[value[address]], source *value[address]) []netip.Addr {
	var peers []netip.Addr
	seen := make(map[netip.Addr]pos)
	for i := range list.items {
		p := &list.items[i]
		if !p.ok() || !b.ofFamily(r, "peers", p) {
			continue
		}
		a := p.v.Addr
		if first, twice := seen[a]; twice {
			b.add(p.at, "peers: %s is given twice; first at %s", a, first)
			continue
		}
		if source.ok() && a == source.v.Addr {
			b.add(p.at, "peers: %s is this router's own source at %s", a, source.at)
		}
		seen[a] = p.at
		peers = append(peers, a)
	}
	return peers
}

// ofFamily refuses an address that adverts of the router cannot come from or go
// to.
func (b *builder) ofFamily(r *router, key string, a *value[address]) bool {
	if !r.family.has(a.v.Addr) {
		b.add(a.at, "%s: %s is %s, but the router's addresses are %s, and so are its adverts", key, a.v, familyOf(a.v.Addr), r.family)
		return false
	}
	return true
}

// checkVirtualMAC refuses it where it cannot work.
func (b *builder) checkVirtualMAC(r *router) {
	switch m := &r.VirtualMAC; {
	case !bool(m.v):
	case len(r.Peers.items) > 0:
		b.add(m.at, "virtual_mac: true does not go with peers, at %s: unicast crosses networks where nobody sees a hardware address; allowed with multicast only", r.Peers.at)
	case r.Interface.ok() && r.Interface.v == "lo":
		b.add(m.at, "virtual_mac: true does not go with the interface lo, which has no hardware addresses")
	}
}
