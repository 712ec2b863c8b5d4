package vrrp

import (
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"time"
)

// RFC 2338 section 5.3.6. RFC 3768 keeps type 0 alone, keepalived has both. Type 2,
// the IP Authentication Header, is another IP protocol and never comes here.
const (
	authTypeNone     = 0
	authTypePassword = 1
)

// frame is a packet, taken apart.
type frame struct {
	whole   []byte
	pdu     []byte // without the trailer
	size    int    // of an address
	trailer []byte // of the HMAC; nil: there is none
}

// Parse checks the packet b, which came from src to dst, and stores it in a, whose
// address slice is used again. Nothing of a may be used after an error, but for
// a.Skew after RejectClock. Without an error it allocates nothing, except to make
// that slice longer. wall is the time at which the packet arrived, by the wall
// clock as it is set now.
//
// An error is a [Reject]. The order of the checks is fixed: peer, length (of the
// header), version, length, type, vrid, checksum, auth-missing, auth-type, auth-key,
// auth, interval, interval-mismatch, count, clock, replay. So the times in a
// trailer are looked at when everything else of the packet has been found right,
// and no packet that is rejected changes what is remembered of its sender. Check
// the hop limit and whether the packet is our own before.
//
// A trailer where no key is configured is rejected, as keepalived does, which
// calls it a wrong length; here the reason is auth-type. Padding to the minimum
// size of an Ethernet frame is not tolerated, because the kernel already cut it off
// by the IP header's length.
func (c *Codec) Parse(a *Advert, b []byte, src, dst netip.Addr, wall time.Time) error {
	src, dst = plain(src), plain(dst)
	if !c.knows(src, dst) {
		return RejectPeer
	}
	f, err := c.split(b, src)
	if err != nil {
		return err
	}
	if f.pdu[0]&0x0f != typeAdvert {
		return RejectType
	}
	if f.pdu[1] != c.vrid {
		return RejectUnknown
	}
	if !c.checksumOK(f, src, dst) {
		return RejectChecksum
	}
	if err := c.authenticate(f, src); err != nil {
		return err
	}
	interval, err := c.interval(f.pdu)
	if err != nil {
		return err
	}
	if f.pdu[3] == 0 {
		return RejectCount
	}
	a.set(f.pdu[:headerLen+int(f.pdu[3])*f.size], interval, f.size)
	if f.trailer == nil {
		return nil
	}
	return c.believe(a, sequenceOf(f.trailer), src, wall)
}

// split finds the parts of a packet by its version and its address count.
func (c *Codec) split(b []byte, src netip.Addr) (frame, error) {
	if len(b) < headerLen {
		return frame{}, RejectLength
	}
	if b[0]>>4 != c.version || c.version == version2 && src.Is6() {
		return frame{}, RejectVersion
	}
	f := frame{whole: b, size: src.BitLen() / 8}
	n := headerLen + int(b[3])*f.size
	if c.version == version2 {
		n += authDataLen
	}
	switch len(b) {
	case n:
	case n + trailerLen:
		f.trailer = b[n:]
	default:
		return frame{}, RejectLength
	}
	f.pdu = b[:n]
	return f, nil
}

func (c *Codec) checksumOK(f frame, src, dst netip.Addr) bool {
	switch {
	case c.version == version2:
		return fold(sumBytes(0, f.pdu)) == 0
	case src.Is6():
		return checksumOK(f.whole, src, dst) // as for any protocol: all that follows the IP header
	default:
		return checksumOK(f.pdu, src, dst)
	}
}

// authenticate checks who wrote the packet, not when.
func (c *Codec) authenticate(f frame, src netip.Addr) error {
	if len(c.keys) > 0 && f.trailer == nil {
		return RejectAuthMissing
	}
	if len(c.keys) == 0 && f.trailer != nil {
		return RejectAuthType
	}
	if c.version == version2 {
		if f.pdu[4] != c.authType {
			return RejectAuthType
		}
		data := f.pdu[len(f.pdu)-authDataLen:]
		if c.authType == authTypePassword && subtle.ConstantTimeCompare(data, c.password[:]) != 1 {
			return RejectAuth
		}
	}
	if f.trailer == nil {
		return nil
	}
	return c.verify(f, src)
}

func (c *Codec) interval(pdu []byte) (time.Duration, error) {
	if c.version == version3 {
		units := binary.BigEndian.Uint16(pdu[4:]) & intervalMask
		if units == 0 {
			return 0, RejectInterval
		}
		return time.Duration(units) * IntervalUnit, nil
	}
	switch uint16(pdu[5]) {
	case 0:
		return 0, RejectInterval
	case c.units:
		return time.Duration(c.units) * IntervalUnitV2, nil
	default:
		// RFC 3768 section 7.1: it must be the same. Each side waits three of its own.
		return 0, RejectIntervalMismatch
	}
}
