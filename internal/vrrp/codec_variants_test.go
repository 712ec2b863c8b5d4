package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	link1   = netip.MustParseAddr("fe80::1")
	link2   = netip.MustParseAddr("fe80::2")
	vip6    = netip.MustParseAddr("2001:db8::100")
	key1    = Key{ID: 1, Secret: count(0, 32)}
	key2    = Key{ID: 2, Secret: count(100, 64)}
	wall    = time.Date(2026, 7, 14, 3, 0, 0, 0, time.UTC)
	secretP = Secret("hunter2")
)

// count returns n bytes that count up from first.
func count(first byte, n int) Secret {
	s := make(Secret, n)
	for i := range s {
		s[i] = first + byte(i)
	}
	return s
}

// variant is one form that packets can have.
type variant struct {
	name     string
	options  CodecOptions
	src, dst netip.Addr
	vip      netip.Addr
}

// variants are all combinations of version, family, way and authentication.
func variants() []variant {
	var all []variant
	auths := map[string]Auth{"": {}, " password": {Password: secretP}, " HMAC": {Keys: []Key{key1, key2}}}
	for _, auth := range []string{"", " password", " HMAC"} {
		for _, form := range []Checksum{PseudoHeader, NoPseudoHeader} {
			for _, unicast := range []bool{false, true} {
				if auth != " password" {
					all = append(all,
						newVariant(fmt.Sprintf("v3 IPv4 form %d unicast %v%s", form, unicast, auth), 3, form, auths[auth], unicast, a1, a2, GroupIPv4, vip1),
						newVariant(fmt.Sprintf("v3 IPv6 form %d unicast %v%s", form, unicast, auth), 3, form, auths[auth], unicast, link1, link2, GroupIPv6, vip6))
				}
				all = append(all,
					newVariant(fmt.Sprintf("v2 form %d unicast %v%s", form, unicast, auth), 2, form, auths[auth], unicast, a1, a2, GroupIPv4, vip1))
			}
		}
	}
	return all
}

func newVariant(name string, version uint8, form Checksum, auth Auth, unicast bool, src, dst, group, vip netip.Addr) variant {
	v := variant{name, CodecOptions{VRID: 51, Version: version, Interval: time.Second, Checksum: form, Auth: auth}, src, group, vip}
	if unicast {
		// Each side names the other; both are named here, so that one set of options
		// does for both.
		v.dst, v.options.Peers = dst, []netip.Addr{src, dst}
	}
	return v
}

func (v variant) codec(t testing.TB) *Codec {
	t.Helper()
	return mustCodec(t, v.options)
}

func mustCodec(t testing.TB, o CodecOptions) *Codec {
	t.Helper()
	c, err := NewCodec(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (v variant) advert() Advert {
	return Advert{VRID: 51, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{v.vip, v.vip.Next()}}
}

// packet returns a packet that another codec with the same options believes.
func (v variant) packet(t testing.TB) []byte {
	a := v.advert()
	return v.codec(t).Append(nil, &a, v.src, v.dst, wall)
}

// complete makes the HMAC and the checksum of b right again after a change, so
// that the change alone is what is wrong with it.
func (v variant) complete(t testing.TB, b []byte) []byte {
	c := v.codec(t)
	pdu := b
	if len(c.keys) > 0 && len(b) >= trailerLen {
		pdu = b[:len(b)-trailerLen]
		copy(b[len(b)-hmacLen:], c.hmac(c.keys[0].mac, b, v.src))
	}
	b[6], b[7] = 0, 0
	c.putChecksum(pdu, b, v.src, v.dst)
	return b
}

func sameAdvert(a, b *Advert) bool {
	return a.VRID == b.VRID && a.Priority == b.Priority && a.Interval == b.Interval && slices.Equal(a.Addresses, b.Addresses)
}
