package config

import "net/netip"

// family is IPv4, IPv6 or not known.
type family uint8

const (
	anyFamily family = iota
	ipv4
	ipv6
)

func familyOf(a netip.Addr) family {
	if a.Is6() {
		return ipv6
	}
	return ipv4
}

func (f family) String() string {
	if f == ipv6 {
		return "IPv6"
	}
	return "IPv4"
}

// has reports whether an address is of the family, as far as that is known.
func (f family) has(a netip.Addr) bool { return f == anyFamily || f == familyOf(a) }
