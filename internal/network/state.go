package network

import (
	"net/netip"
	"time"
)

// Protocol marks addresses as ours (IFA_PROTO, since Linux 5.18), so that what a
// crash left behind is told apart from what the administrator set. Routes and
// rules carry the same number (RTA_PROTOCOL, FRA_PROTOCOL).
const Protocol = 0x42

// Address is one address on one interface.
type Address struct {
	Prefix    netip.Prefix // the address with its prefix length, host bits kept
	Interface string
	// Label is the name that ifconfig shows for an IPv4 address (eth0:web), at most
	// 15 characters; empty: the interface's. The kernel takes any, ip(8) and ifconfig
	// expect one that begins with the interface's name. It has no meaning for IPv6.
	Label string `json:",omitempty"`
}

// Route is one route.
type Route struct {
	To        netip.Prefix // 0.0.0.0/0 or ::/0: the default route
	Via       netip.Addr   // gateway; invalid: To is on the link
	Interface string       // empty: that of the gateway
	Source    netip.Addr   // preferred source; invalid: the kernel chooses
	Table     uint32       // 0: main
	Metric    uint32       // 0: the kernel's default
	Scope     string       // global, link, host or empty: by the gateway
}

// Rule is one policy routing rule.
type Rule struct {
	IPv6     bool         // the family, also where From and To do not tell
	From, To netip.Prefix // invalid: any
	IIF      string       // incoming interface
	FWMark   uint32       // 0: any
	Table    uint32
	Priority uint32 // 0: the kernel chooses
}

// VirtualLink is a macvlan interface with a virtual router's hardware address
// (RFC 9568 section 7.3). It exists as long as an owner wants it, and is up,
// and so able to send or answer anything, only while the owner wants addresses
// on it.
type VirtualLink struct {
	Name   string
	Parent string
	MAC    [6]byte
}

// State is what one owner wants the kernel to have.
type State struct {
	// Link is set up before the addresses that live on it, and taken down after
	// them.
	Link      *VirtualLink `json:",omitempty"`
	Addresses []Address
	Routes    []Route `json:",omitempty"`
	Rules     []Rule  `json:",omitempty"`

	// Lease is how long an address lives without being set again: the kernel
	// itself removes it then, whatever became of this process. Whole seconds, at
	// least 1 s; 0: for ever. Routes and rules have no lifetime; a route with a
	// leased address as its source goes with it.
	Lease time.Duration
}

// Link is what the kernel says of an interface.
type Link struct {
	Name  string
	Index int
	MAC   [6]byte
	// Up: administratively up and with a carrier (IFF_UP and IFF_RUNNING).
	Up        bool
	Addresses []netip.Prefix
}
