package vrrp

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// at returns the moment of a sequence number whose counter is 0.
func at(number uint64) time.Time {
	return time.Unix(int64(number>>32), int64(number>>16&0xffff)*int64(time.Second)>>16+1)
}

// The first two packets are the examples in the draft's appendix. The others, and
// these again, come out of the following Python, which has no part of this package:
//
//	pseudo = bytes([family, version, vrid, 0]) + src.packed.ljust(16, b'\0')
//	prefix = bytes([1, key_id, 0, 0]) + struct.pack('>Q', number)
//	trailer = prefix + hmac.new(key, pseudo + header_with_checksum_0 + rest + prefix + bytes(16), sha256).digest()[:16]
//	checksum = ~ones_complement_sum(pdu)                                     # IPv4, version 2 or no pseudo-header
//	checksum = ~ones_complement_sum(src + dst + (112, len(pdu)) + pdu)       # IPv4
//	checksum = ~ones_complement_sum(src + dst + (112, len(all)) + all)       # IPv6, all = pdu + trailer
//
// Keys are octets that count up from 0.
func TestHMACVectors(t *testing.T) {
	doc, docVIP := netip.MustParseAddr("198.51.100.10"), netip.MustParseAddr("192.0.2.100")
	link10, link20, link100 := netip.MustParseAddr("fe80::10"), netip.MustParseAddr("fe80::20"), netip.MustParseAddr("fe80::100")
	tests := map[string]struct {
		version  uint8
		form     Checksum
		keyID    uint8
		keyLen   int
		number   uint64
		advert   Advert
		src, dst netip.Addr
		want     string
	}{
		"draft, IPv4": {
			3, NoPseudoHeader, 1, 32, 0x6800000080000000,
			Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{docVIP}},
			doc, GroupIPv4,
			"3133c80100644402c0000264" + "010100006800000080000000" + "1b84bc4e8e43892dc6d98448f8ee2265",
		},
		"draft, IPv6 unicast": {
			3, NoPseudoHeader, 1, 32, 0x6800000080000000,
			Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{link100}},
			link10, link20,
			"3133c8010064a2e9fe800000000000000000000000000100" + "010100006800000080000000" + "c8c56146ebfd66ee10ec4d8186461b78",
		},
		"pseudo-header, longest key, fourth packet of a moment": {
			3, PseudoHeader, 7, 64, 0x6800000140000003,
			Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{vip1, vip1.Next()}},
			a1, GroupIPv4,
			"3133c802006407090a0000640a000065" + "010700006800000140000003" + "eea5f5c837dd31ff6e3e7030ef87aa62",
		},
		"IPv6 multicast, priority 0, end of the seconds": {
			3, PseudoHeader, 255, 48, 0xfffffffffffe0001,
			Advert{VRID: 52, Priority: 0, Interval: 10 * time.Millisecond, Addresses: []netip.Addr{vip6}},
			link1, GroupIPv6,
			"313400010001d21c20010db8000000000000000000000100" + "01ff0000fffffffffffe0001" + "e0da3d34225c3ff074d5eb83532999db",
		},
		"version 2": {
			2, PseudoHeader, 1, 32, 0x6800000080000000,
			Advert{VRID: 51, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{vip1}},
			a1, GroupIPv4,
			"2133960100013e660a0000640000000000000000" + "010100006800000080000000" + "613ed4fceccc986f34053a3b8c9ba4f8",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := CodecOptions{
				VRID: tt.advert.VRID, Version: tt.version, Interval: tt.advert.Interval, Checksum: tt.form,
				Auth: Auth{Keys: []Key{{ID: tt.keyID, Secret: count(0, tt.keyLen)}}},
			}
			if !tt.dst.IsMulticast() {
				o.Peers = []netip.Addr{tt.src, tt.dst}
			}
			from := mustCodec(t, o)
			var b []byte
			for range tt.number&0xffff + 1 {
				b = from.Append(b[:0], &tt.advert, tt.src, tt.dst, at(tt.number))
			}
			if got := hex.EncodeToString(b); got != tt.want {
				t.Errorf("sent\n%s, want\n%s", got, tt.want)
			}
			raw, _ := hex.DecodeString(tt.want)
			var a Advert
			if err := mustCodec(t, o).Parse(&a, raw, tt.src, tt.dst, at(tt.number)); err != nil || !sameAdvert(&a, &tt.advert) {
				t.Errorf("parsed %+v, %v", a, err)
			}
		})
	}
}

func TestEveryBitCounts(t *testing.T) {
	for _, v := range variants() {
		if len(v.options.Auth.Keys) == 0 {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			c := v.codec(t)
			b := v.packet(t)
			for bit := range len(b) * 8 {
				b[bit/8] ^= 1 << (bit % 8)
				if err := c.Parse(new(Advert), b, v.src, v.dst, wall); err == nil {
					t.Errorf("bit %d of octet %d does not count", bit%8, bit/8)
				}
				b[bit/8] ^= 1 << (bit % 8)
			}
			if err := c.Parse(new(Advert), b, v.src, v.dst, wall); err != nil {
				t.Errorf("the packet itself: %v", err)
			}
		})
	}
}

// Keys are replaced one director at a time: first the new one is added on both
// sides, then it is put first on both, then the old one is removed.
func TestKeyRotation(t *testing.T) {
	steps := [][2][]Key{
		{{key1}, {key1, key2}},
		{{key1, key2}, {key1, key2}},
		{{key1, key2}, {key2, key1}},
		{{key2, key1}, {key2, key1}},
		{{key2}, {key2, key1}},
		{{key2}, {key2}},
	}
	options := func(keys []Key) CodecOptions {
		return CodecOptions{VRID: 51, Version: 3, Interval: time.Second, Auth: Auth{Keys: keys}}
	}
	a := Advert{Priority: 100, Interval: time.Second, Addresses: []netip.Addr{vip1}}
	for i, step := range steps {
		one, other := mustCodec(t, options(step[0])), mustCodec(t, options(step[1]))
		b := one.Append(nil, &a, a1, GroupIPv4, wall)
		if err := other.Parse(new(Advert), b, a1, GroupIPv4, wall); err != nil {
			t.Errorf("step %d, one way: %v", i, err)
		}
		if id := b[len(b)-trailerLen+1]; id != step[0][0].ID {
			t.Errorf("step %d: signed with key %d", i, id)
		}
		if err := one.Parse(new(Advert), other.Append(nil, &a, a2, GroupIPv4, wall), a2, GroupIPv4, wall); err != nil {
			t.Errorf("step %d, other way: %v", i, err)
		}
	}
	// Too fast: one side has the new key alone.
	b := mustCodec(t, options([]Key{key2})).Append(nil, &a, a1, GroupIPv4, wall)
	if err := mustCodec(t, options([]Key{key1})).Parse(new(Advert), b, a1, GroupIPv4, wall); !errors.Is(err, RejectAuthKey) {
		t.Errorf("Parse: %v, want %v", err, RejectAuthKey)
	}
}
