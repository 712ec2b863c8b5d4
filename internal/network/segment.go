package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// IPv4Addresses returns the IPv4 addresses of all interfaces of the calling
// thread's network namespace, with the lengths of their networks' prefixes.
func IPv4Addresses() ([]Address, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the IPv4 addresses of this host: %w", err)
	}
	names := map[int]string{}
	out := make([]Address, 0, len(list))
	for _, a := range list {
		name, known := names[a.LinkIndex]
		if !known {
			if i, err := net.InterfaceByIndex(a.LinkIndex); err == nil { // else it is gone by now
				name = i.Name
			}
			names[a.LinkIndex] = name
		}
		ip, ok := netip.AddrFromSlice(a.IP.To4())
		bits, _ := a.Mask.Size()
		if ok && name != "" {
			out = append(out, Address{Prefix: netip.PrefixFrom(ip, bits), Interface: name})
		}
	}
	return out, nil
}

// AdvertisedInterfaces returns the names of the interfaces, sorted, on which this
// host has learnt an IPv6 default route from router advertisements. The kernel
// drops these routes when it begins to forward, and listens to no more
// advertisements, unless accept_ra of the interface is 2 (rt6_purge_dflt_routers,
// ipv6_accept_ra). It works in the network namespace of the calling thread.
func AdvertisedInterfaces() ([]string, error) {
	c, err := openConn()
	if err != nil {
		return nil, fmt.Errorf("list the IPv6 routes of this host: %w", err)
	}
	defer c.close()
	head := &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET6, Protocol: unix.RTPROT_RA}}
	messages, err := c.dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, head)
	if err := noFamily(err); err != nil {
		return nil, fmt.Errorf("list the IPv6 routes of this host: %w", err)
	}
	var out []string
	for _, data := range messages {
		k, ok := parseRoute(data)
		if !ok || k.protocol != unix.RTPROT_RA || k.to.Bits() != 0 {
			continue
		}
		if i, err := net.InterfaceByIndex(k.oif); err == nil && !slices.Contains(out, i.Name) {
			out = append(out, i.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// InterfaceTo returns the name of the interface by which packets to an address
// leave, by the routes of the calling thread's network namespace.
func InterfaceTo(a netip.Addr) (string, error) {
	routes, err := netlink.RouteGet(a.AsSlice())
	if err != nil {
		return "", fmt.Errorf("look up the route to %s: %w", a, err)
	}
	if len(routes) == 0 {
		return "", fmt.Errorf("look up the route to %s: there is none", a)
	}
	i, err := net.InterfaceByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", fmt.Errorf("look up the route to %s: %w", a, err)
	}
	return i.Name, nil
}
