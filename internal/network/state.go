package network

import (
	"net/netip"
	"time"
)

// Protocol marks addresses as ours (IFA_PROTO, since Linux 5.18), so that what a
// crash left behind is told apart from what the administrator set.
const Protocol = 0x42

// Address is one address on one interface.
type Address struct {
	Prefix    netip.Prefix // the address with its prefix length, host bits kept
	Interface string
}

// State is what one owner wants the kernel to have.
type State struct {
	Addresses []Address

	// Lease is how long an address lives without being set again: the kernel
	// itself removes it then, whatever became of this process. Whole seconds, at
	// least 1 s; 0: for ever.
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
