package check

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"baton/internal/pool"
)

// Via says that a probe is addressed to the VIP, the spec's target, and that the
// kernel's table sends it to one real server: as a client's packets, by the same
// means, but always to this one. Its FWMark selects the virtual service that does
// so; whoever makes the spec sees to it that the kernel has that.
type Via struct {
	Server  netip.Addr // where the packets go
	Forward pool.Forward
	Tunnel  pool.Tunnel
}

// viaHops is the TTL of probes to a server on the same network. IPVS takes one off
// (decrement_ttl), so that the packet arrives with 1: a server that has the VIP
// takes it, and one that does not cannot pass it on. A server that forwards would
// send it back to the owner of the VIP, which would have it answered by any other
// server.
const viaHops = 2

// viaMemory is how long a route to a server is remembered.
const viaMemory = 10 * time.Second

// viaRoute is how this host reaches a server.
type viaRoute struct {
	source netip.Addr // of the family of the VIP, and no VIP
	onLink bool
	until  time.Time
}

// viaRoutes are those asked for lately, by server and VIP.
var viaRoutes sync.Map

type viaKey struct{ server, vip netip.Addr }

// prepareVia completes a spec with what depends on the routes of this host: the
// source address, which on the owner of the VIP would otherwise be the VIP itself,
// and the TTL.
func (s *Spec) prepareVia() error {
	if s.Via == nil {
		return nil
	}
	r, err := viaRouteOf(s.Via.Server, s.Target.Addr())
	if err != nil {
		return failf(L4CON, "this host cannot probe %s: %s", s.Via.Server, err)
	}
	if !s.Source.IsValid() {
		if !r.source.IsValid() {
			return failf(L4CON, "this host has no address of its own beside the VIP to probe %s from; "+
				"give it one, or write connect: {source: …}", s.Via.Server)
		}
		s.Source = r.source
	}
	if s.Via.Forward == pool.DR || r.onLink {
		s.Hops = viaHops
	}
	return nil
}

// viaRouteOf asks the kernel, at most every few seconds for the same server.
func viaRouteOf(server, vip netip.Addr) (viaRoute, error) {
	key, now := viaKey{server, vip}, time.Now()
	if r, ok := viaRoutes.Load(key); ok && now.Before(r.(viaRoute).until) {
		return r.(viaRoute), nil
	}
	viaRoutes.Delete(key)
	routes, err := netlink.RouteGet(server.AsSlice())
	if err != nil || len(routes) == 0 {
		return viaRoute{}, fmt.Errorf("no route to it: %w", errors.Join(err))
	}
	out := viaRoute{onLink: routes[0].Gw == nil && routes[0].Via == nil, until: now.Add(viaMemory)}
	source, _ := netip.AddrFromSlice(routes[0].Src)
	source = source.Unmap()
	if source.Is6() != vip.Is6() || source == vip || !source.IsValid() {
		if source, err = viaSource(routes[0].LinkIndex, vip); err != nil {
			return viaRoute{}, err
		}
	}
	out.source = source
	viaRoutes.Store(key, out)
	return out, nil
}

// viaSource finds an address of this host that is none of the VIPs, as far as can
// be seen: on the interface towards the server if there is one. The VIPs of IPv6
// are deprecated (see the network room); of IPv4 the first address of each network
// is no VIP, unless a VIP is all there is.
func viaSource(link int, vip netip.Addr) (out netip.Addr, err error) {
	family := netlink.FAMILY_V4
	if vip.Is6() {
		family = netlink.FAMILY_V6
	}
	list, err := netlink.AddrList(nil, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return out, fmt.Errorf("list the addresses of this host: %w", err)
	}
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		ip = ip.Unmap()
		usable := ok && ip != vip && a.Scope == unix.RT_SCOPE_UNIVERSE && !ip.IsLoopback() &&
			a.Flags&(unix.IFA_F_DEPRECATED|unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_SECONDARY) == 0
		switch {
		case !usable:
		case a.LinkIndex == link:
			return ip, nil
		case !out.IsValid():
			out = ip
		}
	}
	return out, nil
}

// forgetVia forgets the route that a failed probe took: an address may have gone.
func (s *Spec) forgetVia() {
	if s.Via != nil {
		viaRoutes.Delete(viaKey{s.Via.Server, s.Target.Addr()})
	}
}

// setHops sets the TTL of a socket.
func (s *Spec) setHops(fd int) error {
	level, option := unix.IPPROTO_IP, unix.IP_TTL
	if s.Target.Addr().Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
	}
	if err := unix.SetsockoptInt(fd, level, option, s.Hops); err != nil {
		return &optionError{"set the TTL", err}
	}
	return nil
}

// told adds to a result which way the probe took.
func (s *Spec) told(r Result) Result {
	if s.Via != nil {
		r.Detail += s.throughVIP()
		if !r.Code.OK() {
			s.forgetVia()
		}
	}
	return r
}

func (s *Spec) throughVIP() string {
	return ", through the VIP to the server " + s.Via.Server.String()
}
