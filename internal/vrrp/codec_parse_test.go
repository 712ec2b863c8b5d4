package vrrp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestCodecRejects changes one thing of a packet that is believed. The checksum and
// the HMAC are made right again, except where they are what is changed.
func TestCodecRejects(t *testing.T) {
	plain3 := newVariant("", 3, PseudoHeader, Auth{}, false, a1, a2, GroupIPv4, vip1)
	unicast := newVariant("", 3, PseudoHeader, Auth{}, true, a1, a2, GroupIPv4, vip1)
	plain6 := newVariant("", 3, PseudoHeader, Auth{}, false, link1, link2, GroupIPv6, vip6)
	plain2 := newVariant("", 2, PseudoHeader, Auth{}, false, a1, a2, GroupIPv4, vip1)
	password := newVariant("", 2, PseudoHeader, Auth{Password: secretP}, false, a1, a2, GroupIPv4, vip1)
	signed := newVariant("", 3, PseudoHeader, Auth{Keys: []Key{key1, key2}}, false, a1, a2, GroupIPv4, vip1)
	signed6 := newVariant("", 3, PseudoHeader, Auth{Keys: []Key{key1, key2}}, true, link1, link2, GroupIPv6, vip6)
	signed2 := newVariant("", 2, PseudoHeader, Auth{Keys: []Key{key1, key2}}, false, a1, a2, GroupIPv4, vip1)

	type change struct {
		b        []byte
		src, dst netip.Addr
		at       time.Time
	}
	// put changes octets and completes the packet; spoil does not complete it.
	put := func(v variant, at int, octets ...byte) func(*change) {
		return func(c *change) { copy(c.b[(at+len(c.b))%len(c.b):], octets); v.complete(t, c.b) }
	}
	spoil := func(at int) func(*change) {
		return func(c *change) { c.b[(at+len(c.b))%len(c.b)] ^= 1 }
	}
	cut := func(n int) func(*change) { return func(c *change) { c.b = c.b[:len(c.b)+n] } }
	grow := func(n int) func(*change) { return func(c *change) { c.b = append(c.b, make([]byte, n)...) } }
	sequenceAtWall := func(v variant, d time.Duration) func(*change) {
		return func(c *change) {
			binary.BigEndian.PutUint64(c.b[len(c.b)-trailerLen+sequenceFrom:], uint64(sequenceAt(wall.Add(d))))
			v.complete(t, c.b)
		}
	}

	tests := []struct {
		name   string
		v      variant
		change func(*change)
		want   Reject
	}{
		{"unicast where multicast is meant", plain3, func(c *change) { c.dst = a2 }, RejectPeer},
		{"multicast where unicast is meant", unicast, func(c *change) { c.dst = GroupIPv4 }, RejectPeer},
		{"a stranger", unicast, func(c *change) { c.src = a3 }, RejectPeer},
		{"a stranger with the key", signed6, func(c *change) { c.src = netip.MustParseAddr("fe80::3") }, RejectPeer},
		{"two families", plain3, func(c *change) { c.dst = GroupIPv6 }, RejectPeer},
		{"no source", plain3, func(c *change) { c.src = netip.Addr{} }, RejectPeer},

		{"nothing", plain3, cut(-16), RejectLength},
		{"half a header", plain3, cut(-9), RejectLength},
		{"half an address", plain3, cut(-1), RejectLength},
		{"an octet too many", plain3, grow(1), RejectLength},
		{"an address too many", plain3, grow(4), RejectLength},
		{"a count too high", plain3, put(plain3, 3, 3), RejectLength},
		{"IPv6, half an address", plain6, cut(-8), RejectLength},
		{"version 2 without authentication data", plain2, cut(-8), RejectLength},
		{"half a trailer", signed, cut(-14), RejectLength},
		{"an octet after the trailer", signed, grow(1), RejectLength},

		{"version 2 here 3", plain3, put(plain3, 0, 0x21), RejectVersion},
		{"version 3 here 2", plain2, put(plain2, 0, 0x31), RejectVersion},
		{"version 4", plain3, put(plain3, 0, 0x41), RejectVersion},
		{"version 2 over IPv6", plain2, func(c *change) { c.src, c.dst = link1, GroupIPv6 }, RejectVersion},

		{"type 2", plain3, put(plain3, 0, 0x32), RejectType},
		{"version 2, type 2", plain2, put(plain2, 0, 0x22), RejectType},

		{"another router", plain3, put(plain3, 1, 52), RejectUnknown},
		{"another router with the key", signed, put(signed, 1, 52), RejectUnknown},

		{"checksum", plain3, spoil(6), RejectChecksum},
		{"IPv6 checksum", plain6, spoil(7), RejectChecksum},
		{"version 2 checksum", plain2, spoil(6), RejectChecksum},
		{"damaged address", plain3, spoil(-1), RejectChecksum},
		{"damaged priority", signed, spoil(2), RejectChecksum},
		{"damaged trailer over IPv6", signed6, spoil(-1), RejectChecksum},
		{"damaged authentication data", plain2, spoil(-1), RejectChecksum},

		{"no trailer", signed, func(c *change) { c.b = plain3.packet(t) }, RejectAuthMissing},
		{"no trailer over IPv6", signed6, func(c *change) {
			v := signed6
			v.options.Auth = Auth{}
			c.b = v.packet(t)
		}, RejectAuthMissing},
		{"no trailer in version 2", signed2, func(c *change) { c.b = plain2.packet(t) }, RejectAuthMissing},
		{"a password instead of a trailer", signed2, func(c *change) { c.b = password.packet(t) }, RejectAuthMissing},

		{"a trailer without a key", plain3, func(c *change) { c.b = signed.packet(t) }, RejectAuthType},
		{"a trailer where a password is meant", password, func(c *change) { c.b = signed2.packet(t) }, RejectAuthType},
		{"a password where none is meant", plain2, func(c *change) { c.b = password.packet(t) }, RejectAuthType},
		{"no password", password, func(c *change) { c.b = plain2.packet(t) }, RejectAuthType},
		{"Authentication Header", plain2, put(plain2, 4, 2), RejectAuthType},
		{"unknown authentication type", password, put(password, 4, 254), RejectAuthType},
		{"a password and a trailer", signed2, put(signed2, 4, 1), RejectAuthType},
		{"another trailer", signed, put(signed, -trailerLen, 2), RejectAuthType},
		{"reserved", signed, put(signed, -trailerLen+3, 1), RejectAuthType},

		{"unknown key", signed, put(signed, -trailerLen+1, 3), RejectAuthKey},
		{"key 0", signed, put(signed, -trailerLen+1, 0), RejectAuthKey},

		{"wrong password", password, put(password, -8, 'S'), RejectAuth},
		{"longer password", password, put(password, -1, 1), RejectAuth},
		{"another key's id", signed, put(signed, -trailerLen+1, 2), RejectAuth},
		{"damaged HMAC", signed, spoil(-1), RejectAuth},
		{"damaged time", signed, spoil(-20), RejectAuth},
		{"another sender", signed, func(c *change) {
			c.src = a2
			binary.BigEndian.PutUint16(c.b[6:], 0)
			signed.codec(t).putChecksum(c.b[:len(c.b)-trailerLen], c.b, c.src, c.dst)
		}, RejectAuth},
		{"forged priority", signed, func(c *change) {
			c.b[2] = 255
			binary.BigEndian.PutUint16(c.b[6:], 0)
			signed.codec(t).putChecksum(c.b[:len(c.b)-trailerLen], c.b, c.src, c.dst)
		}, RejectAuth},

		{"interval 0", plain3, put(plain3, 4, 0, 0), RejectInterval},
		{"reserved bits are no interval", signed, put(signed, 4, 0xf0, 0), RejectInterval},
		{"version 2, interval 0", plain2, put(plain2, 5, 0), RejectInterval},

		{"version 2, another interval", plain2, put(plain2, 5, 2), RejectIntervalMismatch},
		{"version 2 signed, another interval", signed2, put(signed2, 5, 2), RejectIntervalMismatch},

		{"no address", plain3, func(c *change) { c.b = c.b[:8]; c.b[3] = 0; plain3.complete(t, c.b) }, RejectCount},
		{"version 2, no address", plain2, func(c *change) {
			c.b = slices.Delete(c.b, 8, 16)
			c.b[3] = 0
			plain2.complete(t, c.b)
		}, RejectCount},

		{"too old", signed, sequenceAtWall(signed, -5001*time.Millisecond), RejectClock},
		{"from the future", signed6, sequenceAtWall(signed6, 5001*time.Millisecond), RejectClock},
		{"our clock was set", signed2, func(c *change) { c.at = wall.Add(time.Hour) }, RejectClock},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.v.codec(t)
			good := tt.v.packet(t)
			bad := change{slices.Clone(good), tt.v.src, tt.v.dst, wall}
			tt.change(&bad)
			var a Advert
			if err := c.Parse(&a, bad.b, bad.src, bad.dst, bad.at); !errors.Is(err, tt.want) {
				t.Errorf("Parse: %v, want %v", err, tt.want)
			}
			// It left no trace: the packet that it was made of is still new.
			if err := c.Parse(&a, good, tt.v.src, tt.v.dst, wall); err != nil {
				t.Errorf("the good packet after the bad one: %v", err)
			}
		})
	}
	reached := map[Reject]bool{RejectReplay: true} // TestReplay
	for _, tt := range tests {
		reached[tt.want] = true
	}
	for _, why := range []Reject{
		RejectPeer, RejectLength, RejectVersion, RejectType, RejectUnknown, RejectChecksum, RejectAuthMissing, RejectAuthType,
		RejectAuthKey, RejectAuth, RejectInterval, RejectIntervalMismatch, RejectCount, RejectClock, RejectReplay,
	} {
		if !reached[why] {
			t.Errorf("nothing is rejected for %q", string(why))
		}
	}
}

// TestCodecOrderOfChecks takes away the faults of a packet that has all of them,
// one by one, in the order that Parse documents.
func TestCodecOrderOfChecks(t *testing.T) {
	v := newVariant("", 2, PseudoHeader, Auth{Keys: []Key{key1}}, true, a1, a2, GroupIPv4, vip1)
	c := v.codec(t)
	good := v.packet(t)
	if err := c.Parse(new(Advert), good, v.src, v.dst, wall); err != nil {
		t.Fatal(err)
	}
	old := uint64(sequenceAt(wall.Add(-time.Hour)))
	bad := append([]byte{0x42, 52, 150, 0, 0, 0, 0xff, 0xff}, make([]byte, authDataLen)...)
	bad = append(bad, make([]byte, trailerLen)...)
	n := len(bad) - trailerLen
	// remake makes the checksum right, but when it is what is wrong.
	remake := func() {
		bad[6], bad[7] = 0, 0
		c.putChecksum(bad[:n], bad, v.src, v.dst)
	}
	src := a3
	short := 4
	for _, step := range []struct {
		want Reject
		fix  func() // of this fault
	}{
		{RejectPeer, func() { src = v.src }},
		{RejectLength, func() { short = len(bad) }},
		{RejectVersion, func() { bad[0] = 0x22; short = len(bad) - 1 }},
		{RejectLength, func() { short = len(bad) }},
		{RejectType, func() { bad[0] = 0x21 }},
		{RejectUnknown, func() { bad[1] = 51 }},
		{RejectChecksum, func() { short = n; remake() }},
		{RejectAuthMissing, func() { short = len(bad) }},
		{RejectAuthType, func() { bad[n] = trailerType; binary.BigEndian.PutUint64(bad[n+sequenceFrom:], old) }},
		{RejectAuthKey, func() { bad[n+1] = 1 }},
		{RejectAuth, func() { v.complete(t, bad) }},
		{RejectInterval, func() { bad[5] = 9; v.complete(t, bad) }},
		{RejectIntervalMismatch, func() { bad[5] = 1; v.complete(t, bad) }},
		{RejectCount, func() {
			bad = slices.Insert(bad, headerLen, 10, 0, 0, 100)
			bad[3] = 1
			n, short = n+4, len(bad)
			v.complete(t, bad)
		}},
		{RejectClock, func() {
			binary.BigEndian.PutUint64(bad[n+sequenceFrom:], uint64(sequenceAt(wall)))
			v.complete(t, bad)
		}},
		{RejectReplay, func() {
			binary.BigEndian.PutUint64(bad[n+sequenceFrom:], uint64(sequenceAt(wall))+1)
			v.complete(t, bad)
		}},
		{"", func() {}},
	} {
		err := c.Parse(new(Advert), bad[:short], src, v.dst, wall)
		if step.want == "" && err == nil {
			return
		}
		if !errors.Is(err, step.want) {
			t.Fatalf("Parse: %v, want %v", err, step.want)
		}
		step.fix()
	}
	t.Error("the last packet was rejected")
}
