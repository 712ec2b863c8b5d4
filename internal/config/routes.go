package config

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"baton/internal/network"
)

// routeKey is what the kernel tells routes by.
type routeKey struct {
	to            netip.Prefix
	table, metric uint32
}

func (b *builder) buildRoutes(r *router) {
	for i := range r.Routes.items {
		raw := &r.Routes.items[i]
		if raw.bad || !raw.v.To.ok() {
			continue
		}
		v := &raw.v
		to, f := b.destinationOf(r, v)
		out := network.Route{To: to, Via: v.Via.v.Addr, Interface: string(v.Interface.v), Source: v.Source.v.Addr, Metric: uint32(v.Metric.v), Scope: string(v.Scope.v)}
		if v.Table.v != unix.RT_TABLE_MAIN {
			out.Table = uint32(v.Table.v)
		}
		b.checkGateway(v, f)
		b.checkScope(v, f)
		if f == anyFamily || v.Table.bad || v.Metric.bad {
			continue
		}
		key := routeKey{to, out.Table, out.Metric}
		if first, twice := b.routes[key]; twice {
			b.add(v.To.at, "routes: %s is already set by router %q at %s; two routes to one destination differ in table or metric", v.To.v.text, first.name, first.at)
			continue
		}
		b.routes[key] = owned{string(r.Name.v), v.To.at}
		r.out.Routes = append(r.out.Routes, out)
	}
}

// destinationOf returns where a route leads, and its family. That of "default"
// follows from the gateway, else from the source, else from the router.
func (b *builder) destinationOf(r *router, v *rawRoute) (netip.Prefix, family) {
	if to := v.To.v.Prefix; to.IsValid() {
		return to, familyOf(to.Addr())
	}
	f := r.family
	switch {
	case v.Via.ok():
		f = familyOf(v.Via.v.Addr)
	case v.Source.ok():
		f = familyOf(v.Source.v.Addr)
	}
	if f == ipv6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0), f
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0), f
}

func (b *builder) checkGateway(v *rawRoute, f family) {
	fits := func(key string, a *value[address]) {
		if a.ok() && !f.has(a.v.Addr) {
			b.add(a.at, "%s: %s is %s, but the route to %s is %s", key, a.v, familyOf(a.v.Addr), v.To.v.text, f)
		}
	}
	fits("via", &v.Via)
	fits("source", &v.Source)
	switch {
	case v.Interface.set:
	case !v.Via.set:
		b.add(v.To.at, "routes: the way to %s is missing; allowed: via, interface or both", v.To.v.text)
	case v.Via.ok() && v.Via.v.Is6() && v.Via.v.IsLinkLocalUnicast():
		b.add(v.Via.at, "via: %s is link-local, so the route needs its interface, too", v.Via.v)
	}
}

// checkScope follows fib_check_nh_v4_gw of the kernel.
func (b *builder) checkScope(v *rawRoute, f family) {
	switch s := &v.Scope; {
	case !s.ok() || s.v == "global":
	case f == ipv6:
		b.add(s.at, "scope: %s has no meaning for IPv6, whose routes are all global", s.v)
	case v.Via.set:
		b.add(s.at, "scope: %s is for destinations without a gateway, but the route has via; leave the key out", s.v)
	}
}

func (b *builder) buildRules(r *router) {
	for i := range r.Rules.items {
		raw := &r.Rules.items[i]
		if raw.bad || raw.v.From.bad || raw.v.To.bad || raw.v.IIF.bad || raw.v.FWMark.bad {
			continue
		}
		v := &raw.v
		out := network.Rule{From: v.From.v.Prefix, To: v.To.v.Prefix, IIF: string(v.IIF.v), FWMark: uint32(v.FWMark.v), Table: uint32(v.Table.v), Priority: uint32(v.Priority.v)}
		f, ok := b.selected(r, raw)
		out.IPv6 = f == ipv6
		if !ok || v.Table.bad || v.Priority.bad {
			continue
		}
		if first, twice := b.rules[out]; twice {
			b.add(raw.at, "rules: the same rule is set by router %q at %s", first.name, first.at)
			continue
		}
		b.rules[out] = owned{string(r.Name.v), raw.at}
		r.out.Rules = append(r.out.Rules, out)
	}
}

// selected returns the family of the packets that a rule is for. A rule without
// from and to is for those of the router's family.
func (b *builder) selected(r *router, raw *block[rawRule]) (family, bool) {
	from, to := raw.v.From.v.Prefix, raw.v.To.v.Prefix
	switch {
	case from.IsValid() && to.IsValid() && from.Addr().Is6() != to.Addr().Is6():
		b.add(raw.v.To.at, "to: %s and %s, of from, are of different families; write two rules", to, from)
		return anyFamily, false
	case from.IsValid():
		return familyOf(from.Addr()), true
	case to.IsValid():
		return familyOf(to.Addr()), true
	case !raw.v.IIF.set && !raw.v.FWMark.set:
		b.add(raw.at, "rules: nothing says which packets are meant; allowed: from, to, iif, fwmark")
		return anyFamily, false
	}
	return r.family, r.family != anyFamily
}
