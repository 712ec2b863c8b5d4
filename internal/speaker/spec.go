package speaker

import (
	"net/netip"
	"time"

	"baton/internal/network"
	"baton/internal/vrrp"
)

// Router is the specification of one VRRP virtual router: what the
// configuration asks for.
type Router struct {
	Name      string        // unique
	Interface string        // that adverts are sent and received on
	ID        uint8         // VRID, 1–255; unique per interface and family
	Version   uint8         // 3, or 2 for old peers (IPv4)
	Priority  uint8         // 1–254, or 255 for the address owner
	Interval  time.Duration // between adverts; version 3: 10 ms–40.95 s in steps of 10 ms; version 2: 1–255 s

	Preempt      bool
	PreemptDelay time.Duration
	// PreemptAfterSync bounds how long a router that came back waits for its
	// connection table before it preempts; see [Speaker.Synced]. 0: it does not.
	PreemptAfterSync time.Duration

	Source     netip.Addr   // of adverts; invalid: the interface's primary or link-local address
	Peers      []netip.Addr // unicast; empty: multicast
	Heartbeats []Heartbeat  // further paths for the same adverts

	Addresses []network.Address // the VIPs, advertised, all of one family, in the order of the configuration
	Extra     []network.Address // moved with the router, not advertised; any family
	Routes    []network.Route
	Rules     []network.Rule
	Lease     time.Duration // see network.State

	// VirtualMAC makes the addresses live on a macvlan interface with the virtual
	// router's own hardware address (RFC 9568 section 7.3).
	VirtualMAC bool

	GARP     GARP
	Checksum vrrp.Checksum
	Auth     vrrp.Auth

	Track []Track
}

// Heartbeat is a further path for a router's adverts. A master is silent only
// when all paths are.
type Heartbeat struct {
	Interface string
	Source    netip.Addr   // invalid: the interface's primary or link-local address
	Peers     []netip.Addr // unicast; empty: multicast
}

// GARP says how often gratuitous ARP (IPv6: unsolicited neighbour
// advertisements) tells the neighbours who owns an address.
type GARP struct {
	Repeat   int           // announcements of each address in one burst, at least 1
	Delay    time.Duration // until the second burst; 0: none
	Refresh  time.Duration // between single announcements afterwards; 0: none
	Interval time.Duration // between two announcements; 0: at once
}

// TrackKind is what a [Track] looks at.
type TrackKind string

// The kinds. Interfaces are looked at by the speaker itself; of all others it is
// told by [Speaker.Tracked].
const (
	TrackInterface TrackKind = "interface"
	TrackScript    TrackKind = "script"
	TrackPing      TrackKind = "ping"
	TrackFile      TrackKind = "file"
	TrackProcess   TrackKind = "process"
	TrackService   TrackKind = "service"
)

// Track is something that a router's priority, or its taking part at all,
// depends on.
type Track struct {
	// Name is unique within the router: the kind and its object, such as
	// "script /usr/lib/baton/uplink.sh".
	Name string
	Kind TrackKind
	// Weight changes the priority: a positive one is added while the object is up,
	// a negative one while it is down. 0: while it is down the router is in fault.
	// For a file it is the factor of the number in it.
	Weight int

	// For TrackInterface alone.
	Interface string
	// Address: an address of the interface's own is needed beside its link.
	Address bool
	// UpDelay and DownDelay are how long the interface must be up, or down, before
	// it counts.
	UpDelay, DownDelay time.Duration
}

// TrackState is what is known of a tracked object.
type TrackState struct {
	Name  string // of the [Track]
	Known bool   // false: there is no result yet
	Up    bool
	// Weight is what the object adds to the priority just now.
	Weight int
	Detail string // one sentence: why it is up or down
	Since  time.Time
}

// SyncGroup is a group of routers that are master all together or not at all.
type SyncGroup struct {
	Name    string
	Routers []string // in the order of their transitions
}

// VIPs returns the advertised addresses without their prefix lengths.
func (r Router) VIPs() []netip.Addr {
	out := make([]netip.Addr, len(r.Addresses))
	for i, a := range r.Addresses {
		out[i] = a.Prefix.Addr()
	}
	return out
}

// IPv6 reports whether the adverts go over IPv6: the family of the addresses.
func (r Router) IPv6() bool {
	return len(r.Addresses) > 0 && r.Addresses[0].Prefix.Addr().Is6()
}
