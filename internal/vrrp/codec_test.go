package vrrp

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCodecRoundTrip(t *testing.T) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			a := v.advert()
			var got Advert
			if err := v.codec(t).Parse(&got, v.packet(t), v.src, v.dst, wall.Add(time.Second/64)); err != nil {
				t.Fatal(err)
			}
			if !sameAdvert(&got, &a) {
				t.Errorf("got %+v, want %+v", got, a)
			}
			late := time.Duration(0)
			if len(v.options.Auth.Keys) > 0 {
				late = -time.Second / 64 // what 1/65536 s can tell
			}
			if got.Skew != late {
				t.Errorf("skew %v, want %v", got.Skew, late)
			}
		})
	}
}

// The octets are computed with Python from the RFCs' text, with no part of this
// package: version 3 is that of TestPacketOctets; version 2 is 0x21, VRID,
// priority, count, authentication type, seconds, checksum, addresses, eight octets
// of authentication data, with the one's complement sum over all of that.
func TestCodecOctets(t *testing.T) {
	tests := map[string]struct {
		options CodecOptions
		dst     netip.Addr
		want    string
	}{
		"version 3":           {CodecOptions{Version: 3}, GroupIPv4, "31339601006443730a000064"},
		"without the pseudo":  {CodecOptions{Version: 3, Checksum: NoPseudoHeader}, GroupIPv4, "3133960100642e030a000064"},
		"unicast":             {CodecOptions{Version: 3, Peers: []netip.Addr{a1, a2}}, a2, "31339601006419840a000064"},
		"version 2":           {CodecOptions{Version: 2}, GroupIPv4, "2133960100013e660a0000640000000000000000"},
		"version 2, password": {CodecOptions{Version: 2, Interval: 255 * time.Second, Auth: Auth{Password: secretP}}, GroupIPv4, "2133960101ffce0b0a00006468756e7465723200"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.options.VRID = 51
			if tt.options.Interval == 0 {
				tt.options.Interval = time.Second
			}
			a := Advert{VRID: 51, Priority: 150, Interval: tt.options.Interval, Addresses: []netip.Addr{vip1}}
			c := mustCodec(t, tt.options)
			if got := hex.EncodeToString(c.Append(nil, &a, a1, tt.dst, wall)); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			raw, _ := hex.DecodeString(tt.want)
			var back Advert
			if err := c.Parse(&back, raw, a1, tt.dst, wall); err != nil || !sameAdvert(&back, &a) {
				t.Errorf("parsed %+v, %v", back, err)
			}
		})
	}
}

// These were captured from keepalived 2.2.7. They are believed, and we send the
// same.
func TestKeepalivedPackets(t *testing.T) {
	addr := netip.MustParseAddr
	src, src6 := addr("10.9.0.1"), addr("fe80::ff:fe00:1")
	tests := map[string]struct {
		options  CodecOptions
		src, dst netip.Addr
		want     Advert
		octets   string
	}{
		"version 3": {
			CodecOptions{VRID: 53, Version: 3, Interval: 500 * time.Millisecond},
			src, GroupIPv4,
			Advert{VRID: 53, Priority: 150, Interval: 500 * time.Millisecond, Addresses: []netip.Addr{addr("10.9.0.102"), addr("10.9.0.103")}},
			"313596020032391a0a0900660a090067",
		},
		"version 3, unicast": {
			CodecOptions{VRID: 54, Version: 3, Interval: time.Second, Peers: []netip.Addr{src}},
			src, addr("10.9.0.2"),
			Advert{VRID: 54, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{addr("10.9.0.104")}},
			"31369601006419620a090068",
		},
		"version 3, IPv6": {
			CodecOptions{VRID: 55, Version: 3, Interval: time.Second},
			src6, GroupIPv6,
			Advert{VRID: 55, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{addr("fe80::64"), addr("2001:db8::64")}},
			"3137960200640e31fe80000000000000000000000000006420010db8000000000000000000000064",
		},
		"version 2, auth_type PASS": {
			CodecOptions{VRID: 51, Version: 2, Interval: time.Second, Auth: Auth{Password: secretP}},
			src, GroupIPv4,
			Advert{VRID: 51, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{addr("10.9.0.100")}},
			"213396010101cf000a09006468756e7465723200",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := mustCodec(t, tt.options)
			raw, _ := hex.DecodeString(tt.octets)
			var a Advert
			if err := c.Parse(&a, raw, tt.src, tt.dst, wall); err != nil || !sameAdvert(&a, &tt.want) {
				t.Errorf("parsed %+v, %v", a, err)
			}
			if got := hex.EncodeToString(c.Append(nil, &a, tt.src, tt.dst, wall)); got != tt.octets {
				t.Errorf("sent %s, want %s", got, tt.octets)
			}
		})
	}
}

// All forms of the checksum over IPv4 are believed, whichever one is sent. The last
// one is keepalived's up to 1.3.6, which computed that of unicast as if it went to
// the group.
func TestCodecBelievesAllChecksums(t *testing.T) {
	for _, form := range []Checksum{PseudoHeader, NoPseudoHeader} {
		c := mustCodec(t, CodecOptions{VRID: 51, Version: 3, Interval: time.Second, Checksum: form, Peers: []netip.Addr{a1}})
		for _, packet := range []string{"31339601006419840a000064", "3133960100642e030a000064", "31339601006443730a000064"} {
			raw, _ := hex.DecodeString(packet)
			var a Advert
			if err := c.Parse(&a, raw, a1, a2, wall); err != nil {
				t.Errorf("sending form %d: %s: %v", form, packet, err)
			}
		}
	}
	// To the group the unicast form is simply wrong.
	c := mustCodec(t, CodecOptions{VRID: 51, Version: 3, Interval: time.Second})
	raw, _ := hex.DecodeString("31339601006419840a000064")
	if err := c.Parse(new(Advert), raw, a1, GroupIPv4, wall); !errors.Is(err, RejectChecksum) {
		t.Errorf("Parse: %v, want %v", err, RejectChecksum)
	}
}

// Version 3 tells the master's interval, whatever ours is; of version 2 data that
// is not a password is not looked at (RFC 3768 section 5.3.10).
func TestCodecBelievesDifferences(t *testing.T) {
	v := newVariant("", 3, PseudoHeader, Auth{}, false, a1, a2, GroupIPv4, vip1)
	var a Advert
	b := v.packet(t)
	b[4], b[5] = 0xff, 0xff // and reserved bits, RFC 9568 section 5.2.6
	if err := v.codec(t).Parse(&a, v.complete(t, b), v.src, v.dst, wall); err != nil || a.Interval != MaxInterval {
		t.Errorf("version 3: %v, %v", a.Interval, err)
	}
	v = newVariant("", 2, PseudoHeader, Auth{}, false, a1, a2, GroupIPv4, vip1)
	b = v.packet(t)
	b[len(b)-1] = 0xff
	if err := v.codec(t).Parse(&a, v.complete(t, b), v.src, v.dst, wall); err != nil {
		t.Errorf("version 2: %v", err)
	}
}

// TestCodecAddressForms: a host is the same one however its address was read.
func TestCodecAddressForms(t *testing.T) {
	v := newVariant("", 3, PseudoHeader, Auth{Keys: []Key{key1}}, true, a1, a2, GroupIPv4, vip1)
	v.options.Peers = []netip.Addr{netip.AddrFrom16(a1.As16())}
	if err := v.codec(t).Parse(new(Advert), v.packet(t), netip.AddrFrom16(v.src.As16()), v.dst, wall); err != nil {
		t.Errorf("mapped: %v", err)
	}
	v = newVariant("", 3, PseudoHeader, Auth{Keys: []Key{key1}}, true, link1, link2, GroupIPv6, vip6)
	v.options.Peers = []netip.Addr{link1.WithZone("eth0")}
	if err := v.codec(t).Parse(new(Advert), v.packet(t), v.src, v.dst.WithZone("eth1"), wall); err != nil {
		t.Errorf("zone: %v", err)
	}
}

func TestAppendHoldsTheLimits(t *testing.T) {
	many := make([]netip.Addr, 300)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
	}
	v3 := mustCodec(t, CodecOptions{VRID: 51, Version: 3, Interval: time.Second})
	v2 := mustCodec(t, CodecOptions{VRID: 51, Version: 2, Interval: time.Second})
	prefix := []byte{1, 2, 3}

	b := v3.Append(prefix, &Advert{Addresses: many, Interval: time.Hour}, a1, GroupIPv4, wall)
	if len(b) != 3+8+255*4 || b[3+3] != 255 || b[3+4] != 0x0f || b[3+5] != 0xff {
		t.Errorf("300 addresses, one hour: %d octets, header %x", len(b), b[3:11])
	}
	b = v3.Append(nil, &Advert{Addresses: []netip.Addr{vip6, vip1}}, a1, GroupIPv4, wall)
	if len(b) != 12 || b[3] != 1 || b[5] != 1 {
		t.Errorf("an address of the other family, no interval: %x", b)
	}
	if b = v2.Append(nil, &Advert{Addresses: many[:1], Interval: time.Hour}, a1, GroupIPv4, wall); b[5] != 255 {
		t.Errorf("version 2, one hour: %d s", b[5])
	}
	if b = v2.Append(nil, &Advert{Addresses: many[:1]}, a1, GroupIPv4, wall); b[5] != 1 {
		t.Errorf("version 2, no interval: %d s", b[5])
	}
	for name, b := range map[string][]byte{
		"version 2 over IPv6": v2.Append(prefix, &Advert{Addresses: []netip.Addr{vip6}}, link1, GroupIPv6, wall),
		"two families":        v3.Append(prefix, &Advert{Addresses: many[:1]}, a1, GroupIPv6, wall),
		"no source":           v3.Append(prefix, &Advert{Addresses: many[:1]}, netip.Addr{}, GroupIPv4, wall),
	} {
		if !slices.Equal(b, prefix) {
			t.Errorf("%s: there is no such packet, got %x", name, b)
		}
	}
}

func TestCodecDoesNotAllocate(t *testing.T) {
	const runs = 100
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			a, from, to := v.advert(), v.codec(t), v.codec(t)
			packets := make([][]byte, 0, runs+2)
			for range cap(packets) {
				packets = append(packets, from.Append(nil, &a, v.src, v.dst, wall))
			}
			var got Advert
			next := 0
			parse := func() {
				if err := to.Parse(&got, packets[next], v.src, v.dst, wall); err != nil {
					t.Fatal(err)
				}
				next++
			}
			parse() // makes room for the addresses
			if n := testing.AllocsPerRun(runs, parse); n != 0 {
				t.Errorf("Parse allocates %v times", n)
			}
			out := make([]byte, 0, 128)
			if n := testing.AllocsPerRun(runs, func() { out = from.Append(out[:0], &a, v.src, v.dst, wall) }); n != 0 {
				t.Errorf("Append allocates %v times", n)
			}
			out[1]++
			if n := testing.AllocsPerRun(runs, func() { _ = to.Parse(&got, out, v.src, v.dst, wall) }); n != 0 {
				t.Errorf("a rejected packet allocates %v times", n)
			}
		})
	}
}

func TestCodecRoundTripOfAnything(t *testing.T) {
	all := variants()
	rapid.Check(t, func(rt *rapid.T) {
		v := rapid.SampledFrom(all).Draw(rt, "variant")
		octets := rapid.SliceOfN(rapid.Byte(), v.src.BitLen()/8, v.src.BitLen()/8)
		addr := rapid.Custom(func(rt *rapid.T) netip.Addr {
			a, _ := netip.AddrFromSlice(octets.Draw(rt, "octets"))
			return a
		})
		want := Advert{
			VRID: v.options.VRID, Priority: rapid.Byte().Draw(rt, "priority"),
			Interval:  time.Duration(rapid.IntRange(1, 4095).Draw(rt, "centiseconds")) * IntervalUnit,
			Addresses: rapid.SliceOfN(addr, 1, MaxAddresses).Draw(rt, "addresses"),
		}
		if v.options.Version == version2 {
			want.Interval = time.Duration(rapid.IntRange(1, 255).Draw(rt, "seconds")) * time.Second
			v.options.Interval = want.Interval
		}
		at := time.Unix(rapid.Int64Range(0, 1<<33).Draw(rt, "second"), rapid.Int64Range(0, 1e9-1).Draw(rt, "nanosecond"))
		var got Advert
		if err := v.codec(t).Parse(&got, v.codec(t).Append(nil, &want, v.src, v.dst, at), v.src, v.dst, at); err != nil {
			rt.Fatal(err)
		}
		if !sameAdvert(&got, &want) {
			rt.Fatalf("got %+v, want %+v", got, want)
		}
	})
}
