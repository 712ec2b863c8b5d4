package config

import (
	"fmt"
	"net/netip"
	"time"

	"baton/internal/network"
	"baton/internal/speaker"
)

// maxAdvertised is what the address count of an advertisement holds (RFC 9568
// section 5.2.5). 255 IPv4 addresses make a packet of 1048 bytes, which fits
// the usual MTU of 1500.
const maxAdvertised = 255

func (b *builder) buildRouters() {
	ids := make(map[string]owned) // by interface and ID
	for i := range b.raw.Routers.items {
		raw := &b.raw.Routers.items[i]
		if raw.bad {
			continue
		}
		r := &raw.v
		b.unique(b.routers, "router", r.Name)
		if r.ID.ok() && r.Interface.ok() {
			key := fmt.Sprintf("%s %d", r.Interface.v, r.ID.v)
			if first, twice := ids[key]; twice {
				b.add(r.ID.at, "id: %d is taken on %s by router %q at %s", r.ID.v, r.Interface.v, first.name, first.at)
			} else {
				ids[key] = owned{string(r.Name.v), r.ID.at}
			}
		}
		b.cfg.Routers = append(b.cfg.Routers, b.buildRouter(r))
	}
}

// unique reports a name that another one of its kind already has.
func (b *builder) unique(taken map[string]pos, kind string, n value[name]) {
	if !n.ok() {
		return
	}
	if first, twice := taken[string(n.v)]; twice {
		b.add(n.at, "name: %q is taken by another %s at %s", n.v, kind, first)
		return
	}
	taken[string(n.v)] = n.at
}

func (b *builder) buildRouter(r *rawRouter) speaker.Router {
	b.checkElection(r)
	out := speaker.Router{
		Name:         string(r.Name.v),
		Interface:    string(r.Interface.v),
		ID:           uint8(r.ID.v),
		Version:      3,
		Priority:     uint8(r.Priority.v),
		Interval:     time.Duration(r.Interval.v),
		Preempt:      bool(r.Preempt.v),
		PreemptDelay: time.Duration(r.PreemptDelay.v),
		Source:       b.sourceOf(r),
		Peers:        b.peersOf(r),
		Addresses:    b.addressesOf(r),
		Lease:        time.Duration(r.Lease.v),
		GARP: speaker.GARP{
			Repeat:   int(r.GARP.v.Repeat.v),
			Delay:    time.Duration(r.GARP.v.Delay.v),
			Refresh:  time.Duration(r.GARP.v.Refresh.v),
			Interval: time.Duration(r.GARP.v.Interval.v),
		},
	}
	if r.Checksum.v == "rfc9568-none" {
		out.Checksum = speaker.NoPseudoHeader
	}
	return out
}

// checkElection refuses keys that the protocol gives no effect.
func (b *builder) checkElection(r *rawRouter) {
	if r.Priority.ok() && r.Priority.v == 255 && r.Preempt.ok() && !bool(r.Preempt.v) {
		b.add(r.Preempt.at, "preempt: false has no effect with priority 255: the owner of the addresses always preempts")
	}
	if r.Preempt.ok() && !bool(r.Preempt.v) && r.PreemptDelay.ok() && r.PreemptDelay.own && r.PreemptDelay.v > 0 {
		b.add(r.PreemptDelay.at, "preempt_delay: %s has no effect with preempt: false", time.Duration(r.PreemptDelay.v))
	}
}

func (b *builder) sourceOf(r *rawRouter) netip.Addr {
	if !r.Source.ok() || b.isIPv6(r.Source.at, "source", r.Source.v.Addr) {
		return netip.Addr{}
	}
	return r.Source.v.Addr
}

func (b *builder) peersOf(r *rawRouter) []netip.Addr {
	var peers []netip.Addr
	seen := make(map[netip.Addr]pos)
	for i := range r.Peers.items {
		p := &r.Peers.items[i]
		if !p.ok() || b.isIPv6(p.at, "peers", p.v.Addr) {
			continue
		}
		a := p.v.Addr
		if first, twice := seen[a]; twice {
			b.add(p.at, "peers: %s is given twice; first at %s", a, first)
			continue
		}
		if r.Source.ok() && a == r.Source.v.Addr {
			b.add(p.at, "peers: %s is this router's own source at %s", a, r.Source.at)
		}
		seen[a] = p.at
		peers = append(peers, a)
	}
	return peers
}

// isIPv6 refuses an address of the family that routers do not have yet.
func (b *builder) isIPv6(at pos, key string, a netip.Addr) bool {
	if a.Is6() {
		b.add(at, "%s: %s: IPv6 routers are not supported by this version of baton; allowed: IPv4", key, a)
	}
	return a.Is6()
}

func (b *builder) addressesOf(r *rawRouter) []network.Address {
	if r.Addresses.set && !r.Addresses.bad && len(r.Addresses.items) == 0 {
		b.add(r.Addresses.at, "addresses: the list is empty; allowed: 1 to %d addresses", maxAdvertised)
	}
	var out []network.Address
	for i := range r.Addresses.items {
		raw := &r.Addresses.items[i]
		v := &raw.v.Address
		if raw.bad || !v.ok() || b.isIPv6(v.at, "addresses", v.v.Addr()) {
			continue
		}
		b.claim(r, v)
		if len(out) == maxAdvertised {
			b.add(v.at, "addresses: %s is one too many; a VRRP packet holds %d addresses", v.v, maxAdvertised)
			break
		}
		device := string(r.Interface.v)
		if raw.v.Interface.ok() {
			device = string(raw.v.Interface.v)
		}
		out = append(out, network.Address{Prefix: v.v.Prefix, Interface: device})
	}
	return out
}

// claim records that a router has a VIP, and reports one that has an owner.
func (b *builder) claim(r *rawRouter, v *value[vip]) {
	a := v.v.Addr()
	if first, twice := b.vips[a]; twice {
		b.add(v.at, "addresses: %s already belongs to router %q at %s", a, first.name, first.at)
		return
	}
	b.vips[a] = owned{string(r.Name.v), v.at}
	if r.Source.ok() && r.Source.v.Addr == a && r.Priority.v != 255 {
		b.add(r.Source.at, "source: %s is one of the router's addresses, which a backup does not have; only priority 255 may send from it", a)
	}
}
