package ipvsadm

import (
	"fmt"
	"net/netip"
	"strings"

	"baton/internal/pool"
)

// ParseKey reads the name of a service: "tcp 10.0.0.100:80", "udp [2001:db8::1]:53",
// "10.0.0.100:80", which is TCP, "fwmark 7" or "fwmark 7 inet6". A slash may stand
// for a blank.
func ParseKey(text string) (pool.Key, error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '/' })
	if len(words) == 1 {
		words = []string{"tcp", words[0]}
	}
	if len(words) >= 2 && words[0] == "fwmark" {
		n, ok := number(words[1], 1, 1<<32-1)
		if family := strings.Join(words[2:], " "); ok && (family == "" || family == "inet" || family == "inet6") {
			return pool.Key{FWMark: uint32(n), IPv6: family == "inet6"}, nil
		}
	}
	for _, protocol := range protocols {
		if len(words) == 2 && strings.ToLower(words[0]) == protocol.String() {
			if ap, err := netip.ParseAddrPort(words[1]); err == nil && ap.Addr().Zone() == "" {
				return pool.KeyOf(protocol, ap), nil
			}
		}
	}
	return pool.Key{}, fmt.Errorf("%q names no service; write it as \"tcp 10.0.0.100:80\", \"udp [2001:db8::1]:53\" or \"fwmark 7 inet6\"", text)
}

// ParseNetwork reads a network, or one address.
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is no network; write 192.0.2.0/24, 192.0.2.7 or 2001:db8::/64", text)
	}
	return p.Masked(), nil
}

// ParseServer reads the address of a server with a port or without (0).
func ParseServer(text string) (netip.Addr, uint16, error) {
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return a.Unmap(), 0, nil
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("%q is no address; write 10.0.0.11, 10.0.0.11:80 or [2001:db8::11]:80", text)
	}
	return ap.Addr().Unmap(), ap.Port(), nil
}
