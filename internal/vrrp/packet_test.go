package vrrp

import "net/netip"

// The addresses of the tests: a1 to a3 are routers, vip1 is what they share.
var (
	a1   = netip.MustParseAddr("10.0.0.1")
	a2   = netip.MustParseAddr("10.0.0.2")
	a3   = netip.MustParseAddr("10.0.0.3")
	vip1 = netip.MustParseAddr("10.0.0.100")
)
