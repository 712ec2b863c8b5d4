package vrrp

import (
	"testing"
)

// The forms that are most in use: two addresses, IPv4.
func benchmarked() []variant {
	return []variant{
		newVariant("v3", 3, PseudoHeader, Auth{}, false, a1, a2, GroupIPv4, vip1),
		newVariant("v2 password", 2, PseudoHeader, Auth{Password: secretP}, false, a1, a2, GroupIPv4, vip1),
		newVariant("v3 IPv6", 3, PseudoHeader, Auth{}, false, link1, link2, GroupIPv6, vip6),
		newVariant("v3 HMAC", 3, PseudoHeader, Auth{Keys: []Key{key1}}, false, a1, a2, GroupIPv4, vip1),
		newVariant("v3 IPv6 HMAC", 3, PseudoHeader, Auth{Keys: []Key{key1}}, false, link1, link2, GroupIPv6, vip6),
	}
}

func BenchmarkParse(b *testing.B) {
	for _, v := range benchmarked() {
		b.Run(v.name, func(b *testing.B) {
			c, packet := v.codec(b), v.packet(b)
			var a Advert
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Parse(&a, packet, v.src, v.dst, wall); err != nil {
					b.Fatal(err)
				}
				clear(c.senders) // else the packet would be a replay
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, v := range benchmarked() {
		b.Run(v.name, func(b *testing.B) {
			c, a := v.codec(b), v.advert()
			out := make([]byte, 0, 256)
			b.ReportAllocs()
			for b.Loop() {
				out = c.Append(out[:0], &a, v.src, v.dst, wall)
			}
		})
	}
}

// BenchmarkForged is the cost of a packet that whoever is on the link can send.
func BenchmarkForged(b *testing.B) {
	v := newVariant("", 3, PseudoHeader, Auth{Keys: []Key{key1}}, false, a1, a2, GroupIPv4, vip1)
	c, packet := v.codec(b), v.packet(b)
	packet[len(packet)-1] ^= 1
	var a Advert
	b.ReportAllocs()
	for b.Loop() {
		if c.Parse(&a, packet, v.src, v.dst, wall) == nil {
			b.Fatal("believed")
		}
	}
}
