package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Limits of the protocol (RFC 9568 section 5.2).
const (
	Protocol      = 112 // IP protocol number
	TTL           = 255 // sent, and required of multicast (section 5.1.1.3)
	MaxAddresses  = 255
	OwnerPriority = 255 // the router that really has the addresses
	IntervalUnit  = 10 * time.Millisecond
	MaxInterval   = 4095 * IntervalUnit // 12 bits

	headerLen    = 8
	typeAdvert   = 1
	version3     = 3
	intervalMask = 0x0fff
)

// The groups that adverts are sent to (RFC 9568 sections 5.1.1.2 and 5.1.2.2).
var (
	GroupIPv4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	GroupIPv6 = netip.MustParseAddr("ff02::12")
)

// Reject is the reason why a packet was not believed. Its text is the value of
// a metric's label and never changes.
type Reject string

// The reasons in the order in which packets are checked.
const (
	RejectLength   Reject = "length"   // shorter or longer than its address count says
	RejectVersion  Reject = "version"  // not the version that is spoken here
	RejectType     Reject = "type"     // not an advertisement
	RejectChecksum Reject = "checksum" // wrong in both of its forms
	RejectInterval Reject = "interval" // an interval of zero
	RejectCount    Reject = "count"    // no address at all
	RejectTTL      Reject = "ttl"      // a multicast packet that crossed a router
	RejectPeer     Reject = "peer"     // unicast from a stranger, or multicast where unicast is configured
	RejectSelf     Reject = "self"     // from our own address: a loop, or the address is used twice
	RejectUnknown  Reject = "vrid"     // for a virtual router that is not configured here
)

// Error makes a reason an error.
func (r Reject) Error() string { return "VRRP packet rejected: " + string(r) }

// Advert is a VRRP advertisement.
type Advert struct {
	VRID      uint8
	Priority  uint8 // 0: the sender gives up being master
	Interval  time.Duration
	Addresses []netip.Addr // all of the family of the packet
}

// Checksum is the form of a checksum over IPv4.
type Checksum uint8

// Over IPv4, RFC 5798 and the implementations in use take the pseudo-header
// into the checksum, RFC 9568 section 5.2.8 leaves it out. Over IPv6 it is always
// in.
const (
	PseudoHeader Checksum = iota
	NoPseudoHeader
)

// PeekVRID returns the virtual router that a packet is for, before anything else
// of it is believed.
func PeekVRID(b []byte) (uint8, bool) {
	if len(b) < headerLen {
		return 0, false
	}
	return b[1], true
}

// Parse checks the packet b, which came from src to dst, and stores it in a,
// whose address slice is reused. Nothing of a may be used after an error. The
// order of the checks is fixed: length, version, type, checksum, interval, count.
// Padding to the minimum size of an Ethernet frame is not tolerated, because the
// kernel already cut it off by the IP header's length.
func (a *Advert) Parse(b []byte, src, dst netip.Addr) error {
	if len(b) < headerLen {
		return RejectLength
	}
	if b[0]>>4 != version3 {
		return RejectVersion
	}
	size := 4
	if src.Is6() {
		size = 16
	}
	count := int(b[3])
	if len(b) != headerLen+count*size {
		return RejectLength
	}
	if b[0]&0x0f != typeAdvert {
		return RejectType
	}
	if !checksumOK(b, src, dst) {
		return RejectChecksum
	}
	units := binary.BigEndian.Uint16(b[4:]) & intervalMask
	if units == 0 {
		return RejectInterval
	}
	if count == 0 {
		return RejectCount
	}
	a.VRID, a.Priority = b[1], b[2]
	a.Interval = time.Duration(units) * IntervalUnit
	a.Addresses = a.Addresses[:0]
	for rest := b[headerLen:]; len(rest) > 0; rest = rest[size:] {
		addr, _ := netip.AddrFromSlice(rest[:size]) // size is 4 or 16
		a.Addresses = append(a.Addresses, addr)
	}
	return nil
}

// Append appends the packet for sending from src to dst and returns the extended
// slice. The interval is rounded to the protocol's unit and held within 10 ms and
// 40.95 s.
func (a *Advert) Append(b []byte, src, dst netip.Addr, form Checksum) []byte {
	start := len(b)
	units := min(max(a.Interval/IntervalUnit, 1), intervalMask)
	b = append(b, version3<<4|typeAdvert, a.VRID, a.Priority, uint8(min(len(a.Addresses), MaxAddresses)))
	b = binary.BigEndian.AppendUint16(b, uint16(units))
	b = append(b, 0, 0) // checksum
	for _, addr := range a.Addresses[:min(len(a.Addresses), MaxAddresses)] {
		if addr.Is4() {
			v4 := addr.As4()
			b = append(b, v4[:]...)
		} else {
			v6 := addr.As16()
			b = append(b, v6[:]...)
		}
	}
	pdu := b[start:]
	sum := sumBytes(0, pdu)
	if form == PseudoHeader || src.Is6() {
		sum = sumPseudo(sum, src, dst, len(pdu))
	}
	binary.BigEndian.PutUint16(pdu[6:], fold(sum))
	return b
}
