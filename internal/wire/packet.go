package wire

import (
	"errors"
	"net/netip"
	"time"
)

// Packet is a received packet without its IP header. Payload points into the
// buffer that was given to the call.
type Packet struct {
	// Source and Dest are the addresses of the IP header, without a zone: the
	// interface is in Interface.
	Source, Dest netip.Addr
	TTL          int // or hop limit
	Interface    int // index of the interface that it came in on
	// At is when the kernel received it, which may be well before it was read. It
	// has a monotonic clock reading: comparing it with [time.Now] is safe from
	// changes of the wall clock.
	At      time.Time
	Payload []byte
}

// Family is an IP version.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of an address; an IPv4 address mapped into IPv6 is
// an IPv4 address.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	if f == IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

var (
	// ErrInterfaceGone means that the interface was removed, or that another one
	// has its name now. The socket will never carry a packet again: close it, and
	// open one when the interface is back.
	ErrInterfaceGone = errors.New("the interface is gone; open a new socket when it is back")

	// ErrInterfaceDown means that the interface is there but administratively down.
	// The socket works again, with its group memberships, as soon as it is up.
	ErrInterfaceDown = errors.New("the interface is down; the socket works again when it is up (ip link set up)")
)
