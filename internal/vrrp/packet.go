package vrrp

import (
	"net/netip"
	"time"
)

// Limits of the protocol (RFC 9568 section 5.2; RFC 3768 section 5.3 for version 2).
const (
	Protocol       = 112 // IP protocol number
	TTL            = 255 // sent, and required of multicast (section 5.1.1.3)
	MaxAddresses   = 255
	OwnerPriority  = 255 // the router that really has the addresses
	IntervalUnit   = 10 * time.Millisecond
	MaxInterval    = 4095 * IntervalUnit // 12 bits
	IntervalUnitV2 = time.Second
	MaxIntervalV2  = 255 * IntervalUnitV2 // 8 bits

	headerLen    = 8
	typeAdvert   = 1
	version2     = 2
	version3     = 3
	intervalMask = 0x0fff
	authDataLen  = 8 // the end of every packet of version 2
)

// The groups that adverts are sent to (RFC 9568 sections 5.1.1.2 and 5.1.2.2).
var (
	GroupIPv4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	GroupIPv6 = netip.MustParseAddr("ff02::12")
)

// Reject is the reason why a packet was not believed. Its text is the value of
// a metric's label and never changes.
type Reject string

// The reasons of [Codec.Parse], in the order of its checks.
const (
	RejectPeer     Reject = "peer"     // unicast from a stranger, or multicast where unicast is configured
	RejectLength   Reject = "length"   // shorter or longer than its address count says
	RejectVersion  Reject = "version"  // not the version that is spoken here, or version 2 over IPv6
	RejectType     Reject = "type"     // not an advertisement
	RejectUnknown  Reject = "vrid"     // for a virtual router that is not configured here
	RejectChecksum Reject = "checksum" // wrong in all of its forms

	RejectAuthMissing Reject = "auth-missing" // no HMAC trailer, but one is required here
	RejectAuthType    Reject = "auth-type"    // authenticated in another way than is configured here
	RejectAuthKey     Reject = "auth-key"     // an HMAC with a key id that is not configured here
	RejectAuth        Reject = "auth"         // a wrong password or HMAC

	RejectInterval         Reject = "interval"          // an interval of zero
	RejectIntervalMismatch Reject = "interval-mismatch" // version 2: not our interval
	RejectCount            Reject = "count"             // no address at all

	RejectClock  Reject = "clock"  // authentic, but its time differs from ours by more than the window
	RejectReplay Reject = "replay" // authentic, but not newer than what its sender sent before
)

// The reasons that need more than the packet, for those who receive it. They come
// before Parse, so that no such packet counts as the latest of its sender.
const (
	RejectTTL  Reject = "ttl"  // a multicast packet that crossed a router
	RejectSelf Reject = "self" // from our own address: a loop, or the address is used twice
)

// Error makes a reason an error.
func (r Reject) Error() string { return "VRRP packet rejected: " + string(r) }

// Advert is a VRRP advertisement.
type Advert struct {
	VRID      uint8
	Priority  uint8 // 0: the sender gives up being master
	Interval  time.Duration
	Addresses []netip.Addr // all of the family of the packet

	// Skew is by how much the sender's clock is ahead of ours, as the HMAC trailer
	// tells; negative: behind. It includes the time on the way, and is 0 without a
	// trailer. It is not sent.
	Skew time.Duration
}

// PeekVRID returns the virtual router that a packet is for, before anything else
// of it is believed.
func PeekVRID(b []byte) (uint8, bool) {
	if len(b) < headerLen {
		return 0, false
	}
	return b[1], true
}

// set stores b, the header and the addresses of a packet that has been checked.
func (a *Advert) set(b []byte, interval time.Duration, size int) {
	a.VRID, a.Priority, a.Interval, a.Skew = b[1], b[2], interval, 0
	a.Addresses = a.Addresses[:0]
	for rest := b[headerLen:]; len(rest) > 0; rest = rest[size:] {
		addr, _ := netip.AddrFromSlice(rest[:size]) // size is 4 or 16
		a.Addresses = append(a.Addresses, addr)
	}
}
