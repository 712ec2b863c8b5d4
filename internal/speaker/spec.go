package speaker

import (
	"net/netip"
	"time"

	"baton/internal/network"
)

// Router is the specification of one VRRP virtual router: what the
// configuration asks for.
type Router struct {
	Name      string        // unique
	Interface string        // that adverts are sent and received on
	ID        uint8         // VRID, 1–255; unique per interface
	Version   uint8         // 3
	Priority  uint8         // 1–254, or 255 for the address owner
	Interval  time.Duration // between adverts, 10 ms–40.95 s in steps of 10 ms

	Preempt      bool
	PreemptDelay time.Duration

	Source netip.Addr   // of adverts; invalid: the interface's primary address
	Peers  []netip.Addr // unicast; empty: multicast

	Addresses []network.Address // the VIPs, advertised, in the order of the configuration
	Lease     time.Duration     // see network.State

	GARP     GARP
	Checksum Checksum
}

// GARP says how often gratuitous ARP (IPv6: unsolicited neighbour
// advertisements) tells the neighbours who owns an address.
type GARP struct {
	Repeat   int           // announcements of each address in one burst, at least 1
	Delay    time.Duration // until the second burst; 0: none
	Refresh  time.Duration // between single announcements afterwards; 0: none
	Interval time.Duration // between two announcements; 0: at once
}

// Checksum is the form of the checksum of adverts sent by version 3 over IPv4.
// Both forms are accepted.
type Checksum uint8

// PseudoHeader includes the IPv4 pseudo-header, as RFC 5798 and keepalived do;
// NoPseudoHeader leaves it out, as RFC 9568 section 5.2.8 has it for IPv4.
const (
	PseudoHeader Checksum = iota
	NoPseudoHeader
)

// VIPs returns the advertised addresses without their prefix lengths.
func (r Router) VIPs() []netip.Addr {
	out := make([]netip.Addr, len(r.Addresses))
	for i, a := range r.Addresses {
		out[i] = a.Prefix.Addr()
	}
	return out
}
