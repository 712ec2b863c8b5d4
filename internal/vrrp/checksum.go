package vrrp

import (
	"encoding/binary"
	"net/netip"
)

// Checksum is the form of a checksum over IPv4.
type Checksum uint8

// Over IPv4, RFC 5798 and the implementations in use take the pseudo-header
// into the checksum, RFC 9568 section 5.2.8 leaves it out. Over IPv6 it is always
// in, in version 2 never.
const (
	PseudoHeader Checksum = iota
	NoPseudoHeader
)

// sumBytes adds b to a one's complement sum (RFC 1071).
func sumBytes(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// sumPseudo adds the pseudo-header of RFC 793 or RFC 8200 section 8.1.
func sumPseudo(sum uint32, src, dst netip.Addr, length int) uint32 {
	if src.Is4() {
		s, d := src.As4(), dst.As4()
		sum = sumBytes(sumBytes(sum, s[:]), d[:])
	} else {
		s, d := src.As16(), dst.As16()
		sum = sumBytes(sumBytes(sum, s[:]), d[:])
	}
	return sum + Protocol + uint32(length)
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// checksumOK accepts both forms over IPv4: a peer that follows RFC 9568 to the
// letter leaves the pseudo-header out, all others have it in. keepalived up to
// 1.3.6 has it in with the multicast group as the destination of unicast, too.
func checksumOK(b []byte, src, dst netip.Addr) bool {
	sum := sumBytes(0, b)
	if fold(sumPseudo(sum, src, dst, len(b))) == 0 {
		return true
	}
	if src.Is6() {
		return false
	}
	return fold(sum) == 0 || !dst.IsMulticast() && fold(sumPseudo(sum, src, GroupIPv4, len(b))) == 0
}
