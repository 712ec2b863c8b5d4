package pool

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// Protocol is the transport protocol of a virtual service, as its IANA protocol
// number. It is zero for a service that is selected by firewall mark.
type Protocol uint16

// The protocols that the kernel's IPVS balances.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String returns the name as the configuration writes it: tcp, udp or sctp.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	case 0:
		return "fwmark"
	}
	return "protocol-" + strconv.Itoa(int(p))
}

// Forward is a packet forwarding method.
type Forward uint8

// The forwarding methods. Local is never configured: the kernel itself uses it
// for a real server whose address is one of the director's own.
const (
	NAT   Forward = iota // masquerading: the reply passes the director
	DR                   // direct routing: only the destination MAC changes
	TUN                  // the packet is wrapped in an outer IP header
	Local                // delivered to the director itself
)

// String returns the name as the configuration writes it.
func (f Forward) String() string {
	switch f {
	case NAT:
		return "nat"
	case DR:
		return "dr"
	case TUN:
		return "tun"
	case Local:
		return "local"
	}
	return "forward-" + strconv.Itoa(int(f))
}

// TunnelType is the encapsulation of a server with [TUN] forwarding
// (linux/ip_vs.h, IP_VS_CONN_F_TUNNEL_TYPE_*).
type TunnelType uint8

// The encapsulations, with the kernel's numbers.
const (
	IPIP TunnelType = 0
	GUE  TunnelType = 1
	GRE  TunnelType = 2
)

// Tunnel says how packets to a server with [TUN] forwarding are wrapped. The
// zero value is plain IP in IP.
type Tunnel struct {
	Type  TunnelType
	Port  uint16 // GUE only: the UDP port, 1–65535
	Flags uint16 // checksum mode: 0 none, 1 checksum, 2 remote checksum
}

// Flags are the flags of a virtual service that an administrator may set
// (linux/ip_vs.h, IP_VS_SVC_F_*).
type Flags uint32

// The service flags, with the kernel's values. IP_VS_SVC_F_HASHED (2) belongs
// to the kernel alone and never appears here.
const (
	Persistent Flags = 1 << 0
	OnePacket  Flags = 1 << 2
	Sched1     Flags = 1 << 3 // sh-fallback, mh-fallback
	Sched2     Flags = 1 << 4 // sh-port, mh-port
	Sched3     Flags = 1 << 5
)

// Key identifies a virtual service in the kernel: by protocol, address and
// port, or by firewall mark and family. It is comparable.
type Key struct {
	Protocol Protocol
	Address  netip.Addr // invalid for a firewall mark
	Port     uint16     // 0: all ports (persistent services only)
	FWMark   uint32     // 0: selected by address
	IPv6     bool       // the family; for an address it follows from the address
}

// KeyOf returns the key of the service at a protocol, address and port.
func KeyOf(p Protocol, ap netip.AddrPort) Key {
	a := ap.Addr().Unmap()
	return Key{Protocol: p, Address: a, Port: ap.Port(), IPv6: a.Is6()}
}

// String returns the key in words that an operator knows from ipvsadm, such as
// "tcp 10.0.0.100:80" or "fwmark 7 inet6".
func (k Key) String() string {
	if k.FWMark != 0 {
		if k.IPv6 {
			return fmt.Sprintf("fwmark %d inet6", k.FWMark)
		}
		return fmt.Sprintf("fwmark %d", k.FWMark)
	}
	return k.Protocol.String() + " " + netip.AddrPortFrom(k.Address, k.Port).String()
}

// Compare orders keys for printing and for a stable [Table].
func (k Key) Compare(o Key) int {
	family := func(k Key) int {
		if k.IPv6 {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(k.FWMark, o.FWMark),
		cmp.Compare(family(k), family(o)),
		cmp.Compare(k.Protocol, o.Protocol),
		k.Address.Compare(o.Address),
		cmp.Compare(k.Port, o.Port),
	)
}

// VirtualService is one service of the kernel's table with its real servers, as
// wanted or as found. It holds no counters, so that equal means equal.
type VirtualService struct {
	Key
	Scheduler string // the kernel's name: rr, wrr, lc, wlc, …
	Flags     Flags

	// PersistenceSeconds is how long a client stays on its server after its last
	// connection; meaningful with [Persistent] only, and then at least 1.
	PersistenceSeconds uint32
	// PersistencePrefix is the prefix length that clients are grouped by: 1–32
	// for IPv4, 1–128 for IPv6. The full length is the kernel's default and is
	// what a service without persistence has.
	PersistencePrefix uint8
	// PersistenceEngine is empty or "sip".
	PersistenceEngine string

	Servers []RealServer // sorted by address and port; no address:port twice
}

// RealServer is one destination of a virtual service.
type RealServer struct {
	Address netip.Addr
	Port    uint16
	Weight  uint32 // 0: no new connections; at most 1<<31-1
	Forward Forward
	Tunnel  Tunnel
	Upper   uint32 // connections at which no new ones are sent; 0: no limit
	Lower   uint32 // connections below which new ones are sent again
}

// AddrPort returns the server's address and port.
func (s RealServer) AddrPort() netip.AddrPort { return netip.AddrPortFrom(s.Address, s.Port) }

// Compare orders servers by address and port.
func (s RealServer) Compare(o RealServer) int { return s.AddrPort().Compare(o.AddrPort()) }

// Equal reports whether both are the same service with the same settings and
// the same servers.
func (v VirtualService) Equal(o VirtualService) bool {
	return v.EqualSettings(o) && slices.Equal(v.Servers, o.Servers)
}

// EqualSettings is [VirtualService.Equal] without the servers.
func (v VirtualService) EqualSettings(o VirtualService) bool {
	return v.Key == o.Key && v.Scheduler == o.Scheduler && v.Flags == o.Flags &&
		v.PersistenceSeconds == o.PersistenceSeconds && v.PersistencePrefix == o.PersistencePrefix &&
		v.PersistenceEngine == o.PersistenceEngine
}

// Table is a set of virtual services, sorted by key.
type Table []VirtualService

// Sort brings the table and the servers of each service into the order that
// makes two equal tables the same slice.
func (t Table) Sort() {
	slices.SortFunc(t, func(a, b VirtualService) int { return a.Key.Compare(b.Key) })
	for i := range t {
		slices.SortFunc(t[i].Servers, RealServer.Compare)
	}
}

// Equal reports whether two sorted tables are the same.
func (t Table) Equal(o Table) bool { return slices.EqualFunc(t, o, VirtualService.Equal) }

// Find returns the service with that key, or nil.
func (t Table) Find(k Key) *VirtualService {
	i, ok := slices.BinarySearchFunc(t, k, func(v VirtualService, k Key) int { return v.Key.Compare(k) })
	if !ok {
		return nil
	}
	return &t[i]
}
