package vrrp

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

// FuzzParse holds that no packet whatsoever breaks the parser, of no variant, and
// that what is believed says the same when it is sent again. With complete the
// checksum and the HMAC of the packet are made right, so that what comes after
// those checks is reached, too.
func FuzzParse(f *testing.F) {
	all := variants()
	for i, v := range all {
		f.Add(v.packet(f), uint8(i), false)
		f.Add(v.packet(f), uint8(i), true)
	}
	f.Add([]byte{0x31, 51, 100, 255, 0, 100, 0, 0}, uint8(0), true)
	f.Fuzz(func(t *testing.T, b []byte, which uint8, complete bool) {
		v := all[int(which)%len(all)]
		least := headerLen
		if len(v.options.Auth.Keys) > 0 {
			least += trailerLen
		}
		if complete && len(b) >= least {
			b = v.complete(t, b)
		}
		var got, again Advert
		c := v.codec(t)
		if err := c.Parse(&got, b, v.src, v.dst, wall); err != nil {
			var why Reject
			if !errors.As(err, &why) || why == "" {
				t.Fatalf("%s: rejected without a reason: %v", v.name, err)
			}
			return
		}
		if err := c.Parse(&again, b, v.src, v.dst, wall); len(v.options.Auth.Keys) > 0 && !errors.Is(err, RejectReplay) {
			t.Fatalf("%s: the same packet again: %v", v.name, err)
		}
		if err := v.codec(t).Parse(&again, v.codec(t).Append(nil, &got, v.src, v.dst, wall), v.src, v.dst, wall); err != nil {
			t.Fatalf("%s: what was believed is rejected when sent again: %v", v.name, err)
		}
		if !sameAdvert(&got, &again) {
			t.Fatalf("%s: %+v became %+v", v.name, got, again)
		}
	})
}

// FuzzFlip holds that no bit of a packet with an HMAC can be changed, and that it
// cannot be made another router's.
func FuzzFlip(f *testing.F) {
	var all []variant
	for _, v := range variants() {
		if len(v.options.Auth.Keys) > 0 {
			all = append(all, v)
		}
	}
	for i := range all {
		f.Add(uint8(i), uint8(100), []byte("any four bytes or sixteen, again and again"), uint16(i*37), int64(i)<<20)
	}
	f.Fuzz(func(t *testing.T, which, priority uint8, octets []byte, bit uint16, second int64) {
		v := all[int(which)%len(all)]
		a := v.advert()
		a.Priority = priority
		for size := v.src.BitLen() / 8; len(octets) >= size && len(a.Addresses) < MaxAddresses; octets = octets[size:] {
			addr, _ := netip.AddrFromSlice(octets[:size])
			a.Addresses = append(a.Addresses, addr)
		}
		at := time.Unix(int64(uint32(second)), 0)
		b := v.codec(t).Append(nil, &a, v.src, v.dst, at)
		octet := int(bit) / 8 % len(b)
		b[octet] ^= 1 << (bit % 8)
		c := v.codec(t)
		var got Advert
		if err := c.Parse(&got, b, v.src, v.dst, at); err == nil {
			// The HMAC does not cover the checksum: a flip there may make another one
			// of its forms, of the same advert.
			if octet != 6 && octet != 7 || !sameAdvert(&got, &a) {
				t.Fatalf("%s: believed with bit %d of octet %d flipped: %+v", v.name, bit%8, octet, got)
			}
		}
		b[octet] ^= 1 << (bit % 8)
		if err := v.codec(t).Parse(&got, b, v.src, v.dst, at); err != nil || !sameAdvert(&got, &a) {
			t.Fatalf("%s: the packet itself: %v", v.name, err)
		}
		o := v.options
		o.VRID++
		other := mustCodec(t, o)
		b[1]++
		other.putChecksum(b[:len(b)-trailerLen], b, v.src, v.dst)
		if err := other.Parse(&got, b, v.src, v.dst, at); err == nil {
			t.Fatalf("%s: believed by another router", v.name)
		}
	})
}
