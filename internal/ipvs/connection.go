package ipvs

import (
	"net/netip"
	"strconv"
	"time"

	"baton/internal/pool"
)

// Connection is one entry of the kernel's connection table.
type Connection struct {
	Protocol Protocol
	Client   netip.AddrPort
	// Virtual is what the client speaks to. For the persistence entry of a service
	// by firewall mark it is the mark, as the kernel writes it into an address: 7 is
	// 0.0.0.7, or 0:7:: for IPv6.
	Virtual netip.AddrPort
	// Server is the real server. It is of another family than the rest with a
	// tunnel between families.
	Server  netip.AddrPort
	State   string        // the kernel's word, such as ESTABLISHED, UDP or NONE
	Expires time.Duration // until it is forgotten, in whole seconds, unless a packet comes
	// Origin says whether the connection came from another director; it is known
	// where [WithOrigin] was read.
	Origin Origin
	// Engine and EngineData are what a persistence engine knows of the entry, such
	// as "sip" and a call's identity; known where [WithEngine] was read.
	Engine, EngineData string
}

// Template reports whether the entry is no connection, but what binds a client to
// its server: the persistence template. The kernel does not mark it in what it
// lists. It has no client port, and a state that only connections without a
// packet share.
func (c Connection) Template() bool {
	return c.Client.Port() == 0 && (c.State == "NONE" || c.State == "ASSURED")
}

// Protocol is an IP protocol number in the connection table. Zero is that of the
// persistence entries of a service by firewall mark.
type Protocol uint16

// String returns the kernel's name of the protocol (ip_vs_proto_name).
func (p Protocol) String() string {
	for _, n := range protocolNames {
		if n.number == p {
			return n.name
		}
	}
	return "IP_" + strconv.Itoa(int(p))
}

var protocolNames = [...]struct {
	name   string
	number Protocol
}{
	{"TCP", Protocol(pool.TCP)},
	{"UDP", Protocol(pool.UDP)},
	{"SCTP", Protocol(pool.SCTP)},
	{"IP", 0},
	{"ICMP", 1},
	{"ICMPv6", 58},
}

// Origin is where a connection was seen first.
type Origin uint8

// The origins. Unknown is that of a table that was read without them.
const (
	Unknown Origin = iota
	Local          // on this host
	Synced         // on another one, whose sync daemon told of it
)

// String returns the kernel's word, or nothing.
func (o Origin) String() string {
	switch o {
	case Local:
		return "LOCAL"
	case Synced:
		return "SYNC"
	}
	return ""
}
