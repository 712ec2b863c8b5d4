package network

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// String writes the route as ip(8) takes it.
func (r Route) String() string {
	var b strings.Builder
	b.WriteString(r.To.String())
	if r.Via.IsValid() {
		b.WriteString(" via " + r.Via.String())
	}
	if r.Interface != "" {
		b.WriteString(" dev " + r.Interface)
	}
	if r.Source.IsValid() {
		b.WriteString(" src " + r.Source.String())
	}
	if r.Table != 0 && r.Table != unix.RT_TABLE_MAIN {
		fmt.Fprintf(&b, " table %d", r.Table)
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	if r.Scope != "" {
		b.WriteString(" scope " + r.Scope)
	}
	return b.String()
}

// routeKey is what the kernel identifies a route by: with the same, there is one.
type routeKey struct {
	to            netip.Prefix // without host bits
	table, metric uint32
}

// kernelRoute is a route in the kernel's terms.
type kernelRoute struct {
	routeKey
	via    netip.Addr
	oif    int // 0, where we ask for it: the gateway's interface
	source netip.Addr
	scope  uint8

	// Of a route that is there:
	protocol uint8
	other    bool // has what we never set: several gateways, or another type
}

// ipv6Metric is what an IPv6 route without a metric gets (IP6_RT_PRIO_USER).
const ipv6Metric = 1024

var errRoute = errors.New("it cannot be a route")

// kernelTerms returns the route as the kernel would return it, but for its
// interface.
func (r Route) kernelTerms() (kernelRoute, error) {
	k := kernelRoute{routeKey: r.key(), via: unmapped(r.Via), source: unmapped(r.Source)}
	switch {
	case !k.to.IsValid():
		return k, fmt.Errorf("%w: its destination is missing", errRoute)
	case !k.via.IsValid() && r.Interface == "":
		return k, fmt.Errorf("%w: name its gateway, its interface, or both", errRoute)
	case k.via.IsValid() && k.via.Is6() != k.v6(), k.source.IsValid() && k.source.Is6() != k.v6():
		return k, fmt.Errorf("%w: its addresses are of different families", errRoute)
	case k.v6():
		return k, nil // all IPv6 routes are global
	}
	switch r.Scope {
	case "":
		if !k.via.IsValid() {
			k.scope = unix.RT_SCOPE_LINK
		}
	case "global":
		k.scope = unix.RT_SCOPE_UNIVERSE
	case "link":
		k.scope = unix.RT_SCOPE_LINK
	case "host":
		k.scope = unix.RT_SCOPE_HOST
	default:
		return k, fmt.Errorf("%w: scope %q is none of global, link and host", errRoute, r.Scope)
	}
	return k, nil
}

// key returns what the kernel identifies the route by.
func (r Route) key() routeKey {
	k := routeKey{table: r.Table, metric: r.Metric}
	if r.To.IsValid() {
		k.to = netip.PrefixFrom(unmapped(r.To.Addr()), r.To.Bits()).Masked()
	}
	if k.table == 0 {
		k.table = unix.RT_TABLE_MAIN
	}
	if k.metric == 0 && k.v6() {
		k.metric = ipv6Metric
	}
	return k
}

func unmapped(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func (k routeKey) v6() bool { return k.to.Addr().Is6() }

// same reports whether a route that is there is the wanted one.
func (k kernelRoute) same(there kernelRoute) bool {
	return !there.other && k.routeKey == there.routeKey && k.via == there.via && k.source == there.source &&
		k.scope == there.scope && (k.oif == 0 || k.oif == there.oif)
}

// ourTerms returns a route that is there as one that could be asked for.
func (k kernelRoute) ourTerms(ifname string) Route {
	r := Route{To: k.to, Via: k.via, Interface: ifname, Source: k.source, Table: k.table, Metric: k.metric}
	if r.Table == unix.RT_TABLE_MAIN {
		r.Table = 0
	}
	if k.v6() && r.Metric == ipv6Metric {
		r.Metric = 0
	}
	return r
}

// message returns the route as a request.
func (k kernelRoute) message() (*nl.RtMsg, []*nl.RtAttr) {
	head := &nl.RtMsg{RtMsg: unix.RtMsg{
		Family: familyOf(k.v6()), Dst_len: uint8(k.to.Bits()), //nolint:gosec // at most 128
		Protocol: Protocol, Scope: k.scope, Type: unix.RTN_UNICAST,
	}}
	attrs := []*nl.RtAttr{nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(k.table))}
	if k.to.Bits() > 0 {
		attrs = append(attrs, nl.NewRtAttr(unix.RTA_DST, k.to.Addr().AsSlice()))
	}
	if k.via.IsValid() {
		attrs = append(attrs, nl.NewRtAttr(unix.RTA_GATEWAY, k.via.AsSlice()))
	}
	if k.oif != 0 {
		attrs = append(attrs, nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(k.oif)))) //nolint:gosec // the kernel's own, positive
	}
	if k.source.IsValid() {
		attrs = append(attrs, nl.NewRtAttr(unix.RTA_PREFSRC, k.source.AsSlice()))
	}
	if k.metric != 0 {
		attrs = append(attrs, nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(k.metric)))
	}
	return head, attrs
}

// parseRoute reads the body of a RTM_NEWROUTE or RTM_DELROUTE. ok is false for
// what can never be ours: cached routes, other families, types of service.
func parseRoute(data []byte) (k kernelRoute, ok bool) {
	if len(data) < unix.SizeofRtMsg {
		return k, false
	}
	head := nl.DeserializeRtMsg(data)
	if head.Flags&unix.RTM_F_CLONED != 0 || head.Tos != 0 ||
		(head.Family != unix.AF_INET && head.Family != unix.AF_INET6) {
		return k, false
	}
	k = kernelRoute{
		routeKey: routeKey{table: uint32(head.Table)}, scope: head.Scope, protocol: head.Protocol,
		other: head.Type != unix.RTN_UNICAST,
	}
	to := netip.IPv4Unspecified()
	if head.Family == unix.AF_INET6 {
		to, k.scope = netip.IPv6Unspecified(), 0
	}
	for kind, value := range attributes(data[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			to, _ = netip.AddrFromSlice(value)
		case unix.RTA_GATEWAY:
			k.via, _ = netip.AddrFromSlice(value)
		case unix.RTA_PREFSRC:
			k.source, _ = netip.AddrFromSlice(value)
		case unix.RTA_OIF:
			k.oif = int(number(value))
		case unix.RTA_TABLE:
			k.table = number(value)
		case unix.RTA_PRIORITY:
			k.metric = number(value)
		case unix.RTA_MULTIPATH, unix.RTA_VIA, netlink.RTA_NH_ID, unix.RTA_ENCAP:
			k.other = true
		}
	}
	k.to = netip.PrefixFrom(to, int(head.Dst_len))
	return k, k.to.IsValid()
}
