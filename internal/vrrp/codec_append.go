package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Append appends the packet for sending a from src to dst and returns the extended
// slice; it allocates nothing when b has room. wall is the time by the wall clock.
//
// The version and the virtual router are those of the codec. The interval is
// rounded down to the version's unit and held within its bounds. Addresses of
// another family than src's, and those after the 255th, are left out. When src and
// dst are not of one family that the version has, b is returned as it is: there is
// no such packet.
//
// With HMAC keys each packet gets a number of its own: write one for each peer.
func (c *Codec) Append(b []byte, a *Advert, src, dst netip.Addr, wall time.Time) []byte {
	src, dst = plain(src), plain(dst)
	if !src.IsValid() || !dst.IsValid() || src.Is4() != dst.Is4() || c.version == version2 && src.Is6() {
		return b
	}
	start := len(b)
	b = append(b, c.version<<4|typeAdvert, c.vrid, a.Priority, 0)
	b = c.appendInterval(b, a.Interval)
	b = append(b, 0, 0) // checksum
	b, n := appendAddresses(b, a.Addresses, src.Is4())
	b[start+3] = n
	if c.version == version2 {
		b = append(b, c.password[:]...)
	}
	end := len(b)
	if len(c.keys) > 0 {
		b = c.appendTrailer(b, start, src, wall)
	}
	c.putChecksum(b[start:end], b[start:], src, dst)
	return b
}

func (c *Codec) appendInterval(b []byte, interval time.Duration) []byte {
	if c.version == version2 {
		return append(b, c.authType, uint8(min(max(interval/IntervalUnitV2, 1), MaxIntervalV2/IntervalUnitV2)))
	}
	return binary.BigEndian.AppendUint16(b, uint16(min(max(interval/IntervalUnit, 1), intervalMask)))
}

// appendAddresses returns the extended slice and how many addresses were added.
func appendAddresses(b []byte, addrs []netip.Addr, v4 bool) ([]byte, uint8) {
	n := 0
	for _, addr := range addrs {
		if n == MaxAddresses {
			break
		}
		if addr.Is4() != v4 {
			continue
		}
		if v4 {
			octets := addr.As4()
			b = append(b, octets[:]...)
		} else {
			octets := addr.As16()
			b = append(b, octets[:]...)
		}
		n++
	}
	return b, uint8(n)
}

// putChecksum completes a packet. Over IPv4 the checksum is over the PDU, and the
// trailer is not in it. Over IPv6 it is over all that follows the IP header (RFC
// 8200 section 8.1): a peer may leave that to its kernel, which knows no trailer.
func (c *Codec) putChecksum(pdu, whole []byte, src, dst netip.Addr) {
	var sum uint32
	switch {
	case src.Is6():
		sum = sumPseudo(sumBytes(0, whole), src, dst, len(whole))
	case c.version == version3 && c.checksum == PseudoHeader:
		sum = sumPseudo(sumBytes(0, pdu), src, dst, len(pdu))
	default:
		sum = sumBytes(0, pdu)
	}
	binary.BigEndian.PutUint16(pdu[6:], fold(sum))
}
