package wire

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// claim is what a received packet says: this address is at that hardware
// address.
type claim struct {
	addr netip.Addr
	mac  [6]byte
	kind ConflictKind
}

const (
	sizeARP          = 28 // RFC 826, for Ethernet and IPv4
	offsetARPSender  = 14 // its sender protocol address
	sizeNA           = 24 // RFC 4861 section 4.4, without options
	offsetNATarget   = 8
	flagSolicited    = 0x40
	unitOption       = 8 // RFC 4861 section 4.6: options count their length in these
	hardwareEthernet = unix.ARPHRD_ETHER
	hardwareIEEE802  = unix.ARPHRD_IEEE802
)

// parseARP reads an ARP packet without its Ethernet header; padding may follow.
// Requests and replies claim the sender's address alike (RFC 5227 section 2.4).
// A probe claims none, because its sender address is zero.
func parseARP(b []byte) (claim, bool) {
	if len(b) < sizeARP {
		return claim{}, false
	}
	// Linux and others believe the hardware type of IEEE 802 networks, too.
	hardware := binary.BigEndian.Uint16(b)
	if hardware != hardwareEthernet && hardware != hardwareIEEE802 {
		return claim{}, false
	}
	if binary.BigEndian.Uint16(b[2:]) != unix.ETH_P_IP || b[4] != 6 || b[5] != 4 {
		return claim{}, false
	}
	var kind ConflictKind
	switch binary.BigEndian.Uint16(b[6:]) {
	case 1:
		kind = ARPRequest
	case 2:
		kind = ARPReply
	default:
		return claim{}, false
	}
	addr := netip.AddrFrom4([4]byte(b[offsetARPSender:]))
	if addr.IsUnspecified() {
		return claim{}, false
	}
	return claim{addr: addr, mac: [6]byte(b[8:14]), kind: kind}, true
}

// parseAdvertisement reads a neighbour advertisement (an ICMPv6 message with
// what its IPv6 header said) by the rules of RFC 4861 section 7.1.2. One without
// a target link-layer address changes no neighbour's mind about where the
// address is (section 7.2.5), so it claims nothing.
func parseAdvertisement(p *Packet) (claim, bool) {
	b := p.Payload
	if p.TTL != hopLimit || len(b) < sizeNA || (len(b)-sizeNA)%unitOption != 0 || len(b) > maxAdvertisement {
		return claim{}, false
	}
	if b[0] != typeAdvertisement || b[1] != 0 || !p.Source.Is6() || !p.Dest.Is6() {
		return claim{}, false
	}
	// With its checksum in it, the sum over a message comes out as zero.
	if checksumICMPv6(p.Source.As16(), p.Dest.As16(), b) != 0 {
		return claim{}, false
	}
	target := netip.AddrFrom16([16]byte(b[offsetNATarget:]))
	if target.IsMulticast() || (p.Dest.IsMulticast() && b[4]&flagSolicited != 0) {
		return claim{}, false
	}
	mac, ok := targetLinkAddress(b[sizeNA:])
	if !ok {
		return claim{}, false
	}
	return claim{addr: target, mac: mac, kind: NeighbourAdvertisement}, true
}

// targetLinkAddress finds the first target link-layer address among options. It
// returns false as well when any of them is broken.
func targetLinkAddress(options []byte) (mac [6]byte, ok bool) {
	for len(options) > 0 {
		if len(options) < unitOption {
			return mac, false
		}
		size := int(options[1]) * unitOption
		if size == 0 || size > len(options) {
			return mac, false
		}
		if options[0] == optionTargetLink && size == unitOption && !ok {
			mac, ok = [6]byte(options[2:8]), true
		}
		options = options[size:]
	}
	return mac, ok
}
