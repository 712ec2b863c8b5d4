package vrrp

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"net/netip"
	"time"
)

// The trailer of draft-cassen-vrrp-auth-hmac, as keepalived 2.4.2 and later have it
// on the wire. It follows the PDU:
//
//	0  type, 1: HMAC with SHA-256, truncated
//	1  key id
//	2  reserved, 0
//	4  sequence number: seconds since 1970 (4 bytes), 1/65536 s (2), counter (2)
//	12 the first 16 bytes of the HMAC
//
// The HMAC is over a pseudo-header, the PDU with a checksum of 0, and the trailer
// with an HMAC of 0. The pseudo-header is 4 or 6 for the IP version, the VRRP
// version, the VRID, 0, and the source address, filled up with zeros to 16 bytes.
// The destination is not in it.
const (
	trailerLen   = 28
	trailerType  = 1
	sequenceFrom = 4
	hmacFrom     = 12
	hmacLen      = trailerLen - hmacFrom
	pseudoLen    = 20
	checksumFrom = 6
)

// zeros stands in for the checksum and the HMAC. It is only read.
var zeros [hmacLen]byte

type hmacKey struct {
	id  uint8
	mac hash.Hash
}

func newHMACKey(k Key) hmacKey {
	mac := hmac.New(sha256.New, k.Secret)
	mac.Reset() // the first Reset allocates: it keeps the state after the key
	return hmacKey{k.ID, mac}
}

// appendTrailer signs the packet that begins at start.
func (c *Codec) appendTrailer(b []byte, start int, src netip.Addr, wall time.Time) []byte {
	key := c.keys[0]
	b = append(b, trailerType, key.id, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(c.next(wall)))
	b = append(b, zeros[:]...)
	packet := b[start:]
	copy(packet[len(packet)-hmacLen:], c.hmac(key.mac, packet, src))
	return b
}

// verify checks that a packet with a trailer was written by a holder of one of the
// keys. Its time has not been looked at then.
func (c *Codec) verify(f frame, src netip.Addr) error {
	if f.trailer[0] != trailerType || f.trailer[2] != 0 || f.trailer[3] != 0 {
		return RejectAuthType
	}
	for _, key := range c.keys {
		if key.id != f.trailer[1] {
			continue
		}
		if subtle.ConstantTimeCompare(f.trailer[hmacFrom:], c.hmac(key.mac, f.whole, src)) != 1 {
			return RejectAuth
		}
		return nil
	}
	return RejectAuthKey
}

// hmac computes what belongs at the end of a packet. The result is valid until the
// next call.
func (c *Codec) hmac(mac hash.Hash, packet []byte, src netip.Addr) []byte {
	c.pseudo = [pseudoLen]byte{0: 4, 1: c.version, 2: c.vrid}
	if src.Is4() {
		octets := src.As4()
		copy(c.pseudo[4:], octets[:])
	} else {
		c.pseudo[0] = 6
		octets := src.As16()
		copy(c.pseudo[4:], octets[:])
	}
	mac.Reset()
	mac.Write(c.pseudo[:])
	mac.Write(packet[:checksumFrom])
	mac.Write(zeros[:2])
	mac.Write(packet[checksumFrom+2 : len(packet)-hmacLen])
	mac.Write(zeros[:])
	return mac.Sum(c.sum[:0])[:hmacLen]
}
