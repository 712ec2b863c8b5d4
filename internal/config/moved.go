package config

import (
	"net/netip"
	"strings"

	"baton/internal/network"
	"baton/internal/vrrp"
)

// buildAddresses builds what moves with the router, advertised or not.
func (b *builder) buildAddresses(r *router) {
	if r.Addresses.set && !r.Addresses.bad && len(r.Addresses.items) == 0 {
		b.add(r.Addresses.at, "addresses: the list is empty; allowed: 1 to %d addresses", vrrp.MaxAddresses)
	}
	if items := r.Addresses.items; len(items) > 0 && !items[0].bad && items[0].v.Address.ok() {
		r.family = familyOf(items[0].v.Address.v.Addr())
	}
	for i := range r.Addresses.items {
		raw := &r.Addresses.items[i]
		if a := &raw.v.Address; !raw.bad && a.ok() && !r.family.has(a.v.Addr()) {
			b.add(a.at, "addresses: %s is %s, but the first address is %s, and adverts hold one family; write it under extra_addresses, or in a router of its own",
				a.v.Addr(), familyOf(a.v.Addr()), r.family)
			continue
		}
		out, ok := b.moved(r, "addresses", raw)
		if !ok {
			continue
		}
		if len(r.out.Addresses) == vrrp.MaxAddresses {
			b.add(raw.v.Address.at, "addresses: %s is one too many; a VRRP packet holds %d addresses; write it under extra_addresses", raw.v.Address.v, vrrp.MaxAddresses)
			break
		}
		r.out.Addresses = append(r.out.Addresses, out)
	}
	for i := range r.Extra.items {
		if out, ok := b.moved(r, "extra_addresses", &r.Extra.items[i]); ok {
			r.out.Extra = append(r.out.Extra, out)
		}
	}
	b.checkSize(r)
}

// What an advert over IPv6 consists of, and what an Ethernet frame holds.
const (
	usualMTU    = 1500
	ipv6Header  = 40
	vrrpHeader  = 8
	hmacTrailer = 28
)

// checkSize warns of adverts that do not fit a packet. IPv4 ones always do: 255
// addresses and the trailer make 1076 bytes.
func (b *builder) checkSize(r *router) {
	size := ipv6Header + vrrpHeader + 16*len(r.out.Addresses)
	if r.Auth.v.HMAC.set {
		size += hmacTrailer
	}
	if r.family == ipv6 && size > usualMTU {
		b.warn(r.Addresses.at, "addresses: an advert of these %d addresses has %d bytes and does not fit the usual MTU of %d, so it is sent in fragments; write some under extra_addresses",
			len(r.out.Addresses), size, usualMTU)
	}
}

// moved builds one address of a router.
func (b *builder) moved(r *router, key string, raw *block[rawAddress]) (network.Address, bool) {
	v := &raw.v.Address
	if raw.bad || !v.ok() {
		return network.Address{}, false
	}
	out := network.Address{Prefix: v.v.Prefix, Interface: string(r.Interface.v)}
	if d := &raw.v.Interface; d.ok() {
		out.Interface = string(d.v)
		if key == "addresses" && bool(r.VirtualMAC.v) && r.Interface.ok() && d.v != r.Interface.v {
			b.add(d.at, "interface: with virtual_mac: true the advertised addresses live on %s; write %s under extra_addresses", r.Interface.v, v.v)
		}
	}
	b.claim(r, key, v, out.Interface)
	if known := r.Interface.ok() && !raw.v.Interface.bad; known && raw.v.Label.ok() {
		out.Label = b.labelOf(r, raw, out)
	}
	return out, true
}

// labelOf checks a label by the rules of ip address: tools such as ifconfig take
// it for the name of an interface.
func (b *builder) labelOf(r *router, raw *block[rawAddress], a network.Address) string {
	l := &raw.v.Label
	switch start := a.Interface + ":"; {
	case a.Prefix.Addr().Is6():
		b.add(l.at, "label: %s is IPv6; only IPv4 addresses have labels", a.Prefix.Addr())
	case bool(r.VirtualMAC.v) && a.Interface == r.out.Interface:
		b.add(l.at, "label: with virtual_mac: true the address lives on an interface of its own, so %s does not fit; leave the key out", quote(string(l.v)))
	case !strings.HasPrefix(string(l.v), start) || string(l.v) == start:
		b.add(l.at, "label: %s does not begin with the interface; allowed: %s and a name, up to 15 characters in all", quote(string(l.v)), start)
	default:
		return string(l.v)
	}
	return ""
}

// claim records that a router has an address, and reports one that has an
// owner. A link-local address belongs to its link.
func (b *builder) claim(r *router, key string, v *value[vip], device string) {
	a := v.v.Addr()
	if a.IsLinkLocalUnicast() && a.Is6() {
		a = a.WithZone(device)
	}
	if first, twice := b.vips[a]; twice {
		b.add(v.at, "%s: %s already belongs to router %q at %s", key, a, first.name, first.at)
		return
	}
	b.vips[a] = owned{string(r.Name.v), v.at}
}

// owns reports whether an address is one of those that move.
func (r *router) owns(a netip.Addr) bool {
	for _, list := range [][]network.Address{r.out.Addresses, r.out.Extra} {
		for _, own := range list {
			if own.Prefix.Addr() == a {
				return true
			}
		}
	}
	return false
}
