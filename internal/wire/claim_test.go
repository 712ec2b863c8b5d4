package wire

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
)

var (
	strangerMAC = [6]byte{0x02, 0, 0, 0, 0, 0x66}
	virtualMAC  = [6]byte{0, 0, 0x5e, 0, 1, 51}
)

// arpPacket is what a gratuitous request looks like without its Ethernet header.
func arpPacket(t testing.TB) []byte {
	t.Helper()
	frames, err := gratuitousARP(net.HardwareAddr(strangerMAC[:]), vip4)
	must(t, err)
	return frames[0][sizeEthernet:]
}

func TestParseARP(t *testing.T) {
	request := arpPacket(t)
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(request)
		copy(c[at:], b)
		return c
	}
	for _, tt := range []struct {
		name string
		b    []byte
		kind ConflictKind // 0: refused
	}{
		{"gratuitous request", request, ARPRequest},
		{"reply", change(7, 2), ARPReply},
		{"request for another address", change(24, 10, 0, 0, 9), ARPRequest},
		{"hardware type of IEEE 802", change(1, 6), ARPRequest},
		{"padding", append(bytes.Clone(request), make([]byte, 18)...), ARPRequest},
		{"probe", change(offsetARPSender, 0, 0, 0, 0), 0},
		{"nothing", nil, 0},
		{"one byte short", request[:sizeARP-1], 0},
		{"other hardware type", change(1, 24), 0},
		{"other protocol", change(2, 0x86, 0xdd), 0},
		{"long hardware addresses", change(4, 8), 0},
		{"long protocol addresses", change(5, 16), 0},
		{"reverse ARP", change(7, 3), 0},
		{"operation 257", change(6, 1, 1), 0},
	} {
		got, ok := parseARP(tt.b)
		if ok != (tt.kind != 0) {
			t.Errorf("%s: believed is %v", tt.name, ok)
			continue
		}
		if want := (claim{vip4, strangerMAC, tt.kind}); ok && got != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}

// advertisement is an unsolicited neighbour advertisement as it is received.
func advertisement() Packet {
	b := neighbourAdvertisement(net.HardwareAddr(strangerMAC[:]), vip6, false)[sizeEthernet:]
	return Packet{
		Source: netip.AddrFrom16([16]byte(b[8:])), Dest: netip.AddrFrom16([16]byte(b[24:])), TTL: int(b[7]), Payload: b[40:],
	}
}

// checksummed gives the payload its right checksum.
func checksummed(p Packet) Packet {
	p.Payload = bytes.Clone(p.Payload)
	binary.BigEndian.PutUint16(p.Payload[2:], 0)
	binary.BigEndian.PutUint16(p.Payload[2:], checksumICMPv6(p.Source.As16(), p.Dest.As16(), p.Payload))
	return p
}

func TestParseAdvertisement(t *testing.T) {
	nonce := []byte{14, 1, 1, 2, 3, 4, 5, 6}
	link := append([]byte{optionTargetLink, 1}, strangerMAC[:]...)
	other := []byte{optionTargetLink, 1, 2, 2, 2, 2, 2, 2}
	options := func(p *Packet, o ...[]byte) {
		p.Payload = bytes.Join(append([][]byte{p.Payload[:sizeNA]}, o...), nil)
	}
	for _, tt := range []struct {
		name   string
		ok     bool
		change func(p *Packet)
	}{
		{"unsolicited", true, func(*Packet) {}},
		{"solicited", true, func(p *Packet) { p.Dest, p.Payload[4] = netip.MustParseAddr("fd00::1"), 0x60 }},
		{"from another address of the host", true, func(p *Packet) { p.Source = netip.MustParseAddr("fe80::66") }},
		{"without override", true, func(p *Packet) { p.Payload[4] = 0 }},
		{"other options before it", true, func(p *Packet) { options(p, nonce, link) }},
		{"the first of two counts", true, func(p *Packet) { options(p, link, other) }},
		{"hop limit 254", false, func(p *Packet) { p.TTL = 254 }},
		{"hop limit unknown", false, func(p *Packet) { p.TTL = 0 }},
		{"solicited, to a group", false, func(p *Packet) { p.Payload[4] = 0x60 }},
		{"a solicitation", false, func(p *Packet) { p.Payload[0] = 135 }},
		{"code 1", false, func(p *Packet) { p.Payload[1] = 1 }},
		{"target is a group", false, func(p *Packet) { p.Payload[offsetNATarget] = 0xff }},
		{"no option", false, func(p *Packet) { options(p) }},
		{"source link-layer option only", false, func(p *Packet) { p.Payload[sizeNA] = 1 }},
		{"option of length 0", false, func(p *Packet) { p.Payload[sizeNA+1] = 0 }},
		{"option beyond the end", false, func(p *Packet) { p.Payload[sizeNA+1] = 2 }},
		{"broken option after it", false, func(p *Packet) { options(p, link, []byte{14, 9, 0, 0, 0, 0, 0, 0}) }},
		{"half an option", false, func(p *Packet) { options(p, link, []byte{14, 1, 0, 0}) }},
		{"address of 14 bytes", false, func(p *Packet) { options(p, []byte{2, 2}, make([]byte, 14)) }},
		{"too short", false, func(p *Packet) { p.Payload = p.Payload[:sizeNA-2] }},
		{"too long", false, func(p *Packet) { options(p, link, bytes.Repeat(nonce, 64)) }},
	} {
		p := advertisement()
		p.Payload = bytes.Clone(p.Payload)
		tt.change(&p)
		p = checksummed(p)
		got, ok := parseAdvertisement(&p)
		if ok != tt.ok {
			t.Errorf("%s: believed is %v", tt.name, ok)
			continue
		}
		if want := (claim{vip6, strangerMAC, NeighbourAdvertisement}); ok && got != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
	p := advertisement()
	p.Payload[2] ^= 1
	if _, ok := parseAdvertisement(&p); ok {
		t.Error("a wrong checksum is believed")
	}
	if _, ok := parseAdvertisement(&Packet{TTL: 255}); ok {
		t.Error("nothing is believed")
	}
}

// Whatever comes, what is claimed stands in the packet.
func FuzzParseARP(f *testing.F) {
	whole := arpPacket(f)
	f.Add(whole)
	f.Add(whole[:27])
	f.Add(append(bytes.Clone(whole), make([]byte, 18)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := parseARP(b)
		if !ok {
			if c != (claim{}) {
				t.Errorf("a refused packet gives %+v", c)
			}
			return
		}
		if len(b) < 28 || !bytes.Equal(b[2:6], []byte{8, 0, 6, 4}) || b[6] != 0 || b[7] < 1 || b[7] > 2 {
			t.Fatalf("believed: %x", b)
		}
		if !bytes.Equal(c.mac[:], b[8:14]) || !bytes.Equal(c.addr.AsSlice(), b[14:18]) || c.addr.IsUnspecified() ||
			(c.kind == ARPRequest) != (b[7] == 1) {
			t.Errorf("%x gives %+v", b, c)
		}
	})
}

func FuzzParseAdvertisement(f *testing.F) {
	whole := advertisement()
	from, to := whole.Source.As16(), whole.Dest.As16()
	f.Add(from[:], to[:], 255, whole.Payload)
	f.Add(from[:], to[:], 255, whole.Payload[:sizeNA])
	f.Add(from[:], from[:], 255, append(bytes.Clone(whole.Payload), 14, 1, 0, 0, 0, 0, 0, 0))
	f.Add(from[:4], to[:], 255, append(bytes.Clone(whole.Payload), 14, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, src, dst []byte, hops int, b []byte) {
		p := Packet{TTL: hops, Payload: b}
		p.Source, _ = netip.AddrFromSlice(src)
		p.Dest, _ = netip.AddrFromSlice(dst)
		// A mutated message hardly ever has its right checksum: try it with one.
		if len(b) >= sizeNA && p.Source.Is6() && p.Dest.Is6() {
			right := checksummed(p)
			examine(t, right)
		}
		examine(t, p)
	})
}

// examine checks the parser's answer against the rules, said in another way.
func examine(t *testing.T, p Packet) {
	t.Helper()
	c, ok := parseAdvertisement(&p)
	if !ok {
		if c != (claim{}) {
			t.Errorf("a refused packet gives %+v", c)
		}
		return
	}
	b := p.Payload
	if p.TTL != 255 || b[0] != 136 || b[1] != 0 || len(b)%8 != 0 {
		t.Fatalf("believed: %+v", p)
	}
	if !bytes.Equal(c.addr.AsSlice(), b[8:24]) || c.addr.IsMulticast() || c.kind != NeighbourAdvertisement {
		t.Errorf("%x gives %+v", b, c)
	}
	for at := sizeNA; ; at += int(b[at+1]) * 8 { // an index beyond the end is a failure, too
		if b[at] == 2 && b[at+1] == 1 {
			if !bytes.Equal(c.mac[:], b[at+2:at+8]) {
				t.Errorf("%x gives %+v", b, c)
			}
			return
		}
	}
}
