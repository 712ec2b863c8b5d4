package interop

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

const (
	second = time.Second
	fast   = 100 * time.Millisecond

	// margin is what a busy machine may take on top of the protocol's times.
	margin = 400 * time.Millisecond

	high, low = 150, 100 // priorities
)

// mode is a way in which two routers talk to each other.
type mode struct {
	name     string
	version  int
	ipv6     bool
	unicast  bool
	interval time.Duration
	password string
	// Further configuration, one line each: keys of the router, words of the
	// global_defs block; nil there is what docs/operating.md recommends for a pair
	// with baton.
	baton, keepalived []string
}

// recommended has a keepalived that yields say so by a last advert: to a master
// that never noticed its rival, that is the sign to lead the clients back.
var recommended = []string{"vrrp_higher_prio_send_advert"}

// The modes of the tests that are not about modes.
var (
	multicast4 = mode{name: "v3-ipv4-multicast", version: 3, interval: fast}
	multicast6 = mode{name: "v3-ipv6-multicast", version: 3, interval: fast, ipv6: true}
)

// modes are all of them. Version 2 counts in whole seconds.
var modes = []mode{
	multicast4,
	{name: "v3-ipv4-unicast", version: 3, interval: fast, unicast: true},
	multicast6,
	{name: "v3-ipv6-unicast", version: 3, interval: fast, ipv6: true, unicast: true},
	{name: "v2", version: 2, interval: second},
	{name: "v2-unicast", version: 2, interval: second, unicast: true},
	{name: "v2-password", version: 2, interval: second, password: "swordfis"},
}

// vip is the address that the routers share.
func (m mode) vip() netip.Prefix {
	if m.ipv6 {
		return netip.MustParsePrefix("fd00:a::100/64")
	}
	return netip.MustParsePrefix("10.0.0.100/24")
}

// address is the one of a host's own, by its number.
func (m mode) address(number int) netip.Addr {
	if m.ipv6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:a::%d", number))
	}
	return netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", number))
}

// prefixes are the addresses that a host gets, in both families.
func prefixes(number int) []string {
	return []string{fmt.Sprintf("10.0.0.%d/24", number), fmt.Sprintf("fd00:a::%d/64", number)}
}

// skew is how much longer than three adverts a router waits. RFC 9568 section
// 6.1 counts it in the master's intervals, RFC 3768 section 6.1 in seconds.
func (m mode) skew(priority int, interval time.Duration) time.Duration {
	if m.version == 2 {
		interval = time.Second
	}
	return time.Duration(256-priority) * interval / 256
}

// down is the silence after which a router takes over.
func (m mode) down(priority int, interval time.Duration) time.Duration {
	return 3*interval + m.skew(priority, interval)
}

// lines joins lines with an indentation, each ended.
func lines(indent string, list []string) string {
	var b strings.Builder
	for _, line := range list {
		b.WriteString(indent + line + "\n")
	}
	return b.String()
}
