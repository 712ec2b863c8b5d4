package wire

import "encoding/binary"

// sum adds the 16-bit words of b to s (RFC 1071). The length of b must be even.
// It has room for what fits into a packet.
func sum(s uint32, b []byte) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return s
}

// fold makes the ones' complement sum of the carries.
func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// checksumICMPv6 is RFC 4443 section 2.3 for a message of even length. Over a
// message with its checksum in it, the result is zero; else that field must be.
func checksumICMPv6(src, dst [16]byte, msg []byte) uint16 {
	s := uint32(len(msg)) + protocolICMPv6 //nolint:gosec // a packet
	return ^fold(sum(sum(sum(s, src[:]), dst[:]), msg))
}
