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

var (
	a1   = netip.MustParseAddr("10.0.0.1")
	a2   = netip.MustParseAddr("10.0.0.2")
	a3   = netip.MustParseAddr("10.0.0.3")
	vip1 = netip.MustParseAddr("10.0.0.100")
)

// The octets are worked out by hand from RFC 9568 section 5.1: version 3, type 1,
// VRID 51, priority 150, one address, 100 centiseconds. Without the pseudo-header
// the words 3133 9601 0064 0a00 0064 add up to d1fc, whose complement is 2e03;
// with 0a00 0001 e000 0012 0070 000c they add up to 1bc8b, folded bc8c, whose
// complement is 4373.
func TestPacketOctets(t *testing.T) {
	a := Advert{VRID: 51, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{vip1}}
	for form, want := range map[Checksum]string{
		NoPseudoHeader: "3133960100642e030a000064",
		PseudoHeader:   "31339601006443730a000064",
	} {
		got := hex.EncodeToString(a.Append(nil, a1, GroupIPv4, form))
		if got != want {
			t.Errorf("form %d: %s, want %s", form, got, want)
		}
		raw, _ := hex.DecodeString(want)
		var back Advert
		if err := back.Parse(raw, a1, GroupIPv4); err != nil {
			t.Errorf("form %d is not accepted: %v", form, err)
		}
		if back.VRID != 51 || back.Priority != 150 || back.Interval != time.Second || !slices.Equal(back.Addresses, a.Addresses) {
			t.Errorf("form %d: parsed %+v", form, back)
		}
	}
}

func TestParseRejects(t *testing.T) {
	a := Advert{VRID: 51, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{vip1}}
	good := a.Append(nil, a1, GroupIPv4, PseudoHeader)
	// resum makes the checksum right again, so that only the wanted fault is left.
	resum := func(b []byte) []byte {
		b[6], b[7] = 0, 0
		sum := fold(sumPseudo(sumBytes(0, b), a1, GroupIPv4, len(b)))
		b[6], b[7] = byte(sum>>8), byte(sum)
		return b
	}
	tests := map[string]struct {
		mutate func([]byte) []byte
		want   Reject
	}{
		"empty":             {func([]byte) []byte { return nil }, RejectLength},
		"truncated header":  {func(b []byte) []byte { return b[:7] }, RejectLength},
		"truncated address": {func(b []byte) []byte { return b[:len(b)-1] }, RejectLength},
		"trailing byte":     {func(b []byte) []byte { return append(b, 0) }, RejectLength},
		"version 2":         {func(b []byte) []byte { b[0] = 0x21; return resum(b) }, RejectVersion},
		"version 4":         {func(b []byte) []byte { b[0] = 0x41; return resum(b) }, RejectVersion},
		"type 2":            {func(b []byte) []byte { b[0] = 0x32; return resum(b) }, RejectType},
		"checksum":          {func(b []byte) []byte { b[6] ^= 1; return b }, RejectChecksum},
		"one bit flipped":   {func(b []byte) []byte { b[11] ^= 0x80; return b }, RejectChecksum},
		"interval 0":        {func(b []byte) []byte { b[4], b[5] = 0, 0; return resum(b) }, RejectInterval},
		"reserved is not interval": {func(b []byte) []byte {
			b[4], b[5] = 0xf0, 0
			return resum(b)
		}, RejectInterval},
		"no address": {func(b []byte) []byte { b[3] = 0; return resum(b[:8]) }, RejectCount},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got Advert
			err := got.Parse(tt.mutate(slices.Clone(good)), a1, GroupIPv4)
			if !errors.Is(err, tt.want) {
				t.Errorf("Parse: %v, want %v", err, tt.want)
			}
		})
	}
}

// RFC 9568 section 5.2.6: "The Reserve field MUST be set to zero on transmission
// and ignored on reception."
func TestReservedBitsAreIgnored(t *testing.T) {
	a := Advert{VRID: 1, Priority: 1, Interval: 30 * time.Millisecond, Addresses: []netip.Addr{vip1}}
	b := a.Append(nil, a1, GroupIPv4, NoPseudoHeader)
	if b[4]>>4 != 0 {
		t.Error("reserved bits are sent")
	}
	b[4] |= 0xf0
	b[6], b[7] = 0, 0
	sum := fold(sumBytes(0, b))
	b[6], b[7] = byte(sum>>8), byte(sum)
	var got Advert
	if err := got.Parse(b, a1, GroupIPv4); err != nil || got.Interval != 30*time.Millisecond {
		t.Errorf("Parse: %v %v", got.Interval, err)
	}
}

func TestPacketRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v6 := rapid.Bool().Draw(t, "v6")
		addr := rapid.Custom(func(t *rapid.T) netip.Addr {
			if v6 {
				return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6")))
			}
			return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4")))
		})
		want := Advert{
			VRID: rapid.Byte().Draw(t, "vrid"), Priority: rapid.Byte().Draw(t, "priority"),
			Interval:  time.Duration(rapid.IntRange(1, 4095).Draw(t, "centiseconds")) * IntervalUnit,
			Addresses: rapid.SliceOfN(addr, 1, MaxAddresses).Draw(t, "addresses"),
		}
		src, dst := addr.Draw(t, "src"), addr.Draw(t, "dst")
		form := Checksum(rapid.IntRange(0, 1).Draw(t, "form"))
		var got Advert
		if err := got.Parse(want.Append(nil, src, dst, form), src, dst); err != nil {
			t.Fatal(err)
		}
		if got.VRID != want.VRID || got.Priority != want.Priority || got.Interval != want.Interval ||
			!slices.Equal(got.Addresses, want.Addresses) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestParseDoesNotAllocate(t *testing.T) {
	a := Advert{VRID: 51, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{vip1, a1}}
	b := a.Append(nil, a1, GroupIPv4, PseudoHeader)
	var got Advert
	if err := got.Parse(b, a1, GroupIPv4); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = got.Parse(b, a1, GroupIPv4) }); n != 0 {
		t.Errorf("Parse allocates %v times", n)
	}
	out := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { out = a.Append(out[:0], a1, GroupIPv4, PseudoHeader) }); n != 0 {
		t.Errorf("Append allocates %v times", n)
	}
}

// FuzzParse holds that no packet whatsoever breaks the parser, and that what it
// accepts says the same when it is sent again.
func FuzzParse(f *testing.F) {
	a := Advert{VRID: 51, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{vip1}}
	f.Add(a.Append(nil, a1, GroupIPv4, PseudoHeader), false)
	f.Add(a.Append(nil, a1, GroupIPv4, NoPseudoHeader), false)
	a.Addresses = []netip.Addr{GroupIPv6}
	f.Add(a.Append(nil, GroupIPv6, GroupIPv6, PseudoHeader), true)
	f.Add([]byte{0x31, 1, 100, 255, 0, 100, 0, 0}, false)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		src, dst := a1, GroupIPv4
		if v6 {
			src, dst = GroupIPv6, GroupIPv6
		}
		var got, again Advert
		if err := got.Parse(b, src, dst); err != nil {
			var why Reject
			if !errors.As(err, &why) || why == "" {
				t.Fatalf("rejected without a reason: %v", err)
			}
			return
		}
		if err := again.Parse(got.Append(nil, src, dst, PseudoHeader), src, dst); err != nil {
			t.Fatalf("what was accepted is refused when sent again: %v", err)
		}
		if got.VRID != again.VRID || got.Priority != again.Priority || got.Interval != again.Interval ||
			!slices.Equal(got.Addresses, again.Addresses) {
			t.Fatalf("%+v became %+v", got, again)
		}
	})
}
