//go:build vm

package e2e

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"baton/test/lab"
	"baton/test/scene"
)

// packet is an IP packet as far as a tunnel is concerned.
type packet struct {
	to       netip.Addr
	protocol uint8
	size     int    // of the headers
	payload  []byte // after them
}

func parsePacket(b []byte) (p packet, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		n := int(b[0]&15) * 4
		if len(b) < n {
			return p, false
		}
		return packet{netip.AddrFrom4([4]byte(b[16:20])), b[9], n, b[n:]}, true
	case len(b) >= 40 && b[0]>>4 == 6:
		return packet{netip.AddrFrom16([16]byte(b[24:40])), b[6], 40, b[40:]}, true
	}
	return p, false
}

// wrapped is what a captured frame shows of a tunnel.
type wrapped struct {
	tunnel, checksum string // as in the configuration
	overhead         int    // bytes before the inner packet
	outer            netip.Addr
	inner            netip.AddrPort
	ipv6             bool // the inner packet
}

// unwrap parses an Ethernet frame. It reports false for one without a tunnel.
func unwrap(frame []byte) (w wrapped, ok bool) {
	if len(frame) < 14 {
		return w, false
	}
	outer, ok := parsePacket(frame[14:])
	if !ok {
		return w, false
	}
	w = wrapped{checksum: "none", outer: outer.to}
	size := 0
	switch b := outer.payload; {
	case outer.protocol == unix.IPPROTO_IPIP, outer.protocol == unix.IPPROTO_IPV6:
		w.tunnel = "ipip"
	case outer.protocol == unix.IPPROTO_GRE && len(b) >= 4:
		w.tunnel, size = "gre", 4
		if b[0]&0x80 != 0 { // RFC 2784: checksum present
			w.checksum, size = "csum", 8
		}
	case outer.protocol == unix.IPPROTO_UDP && len(b) >= 12 && binary.BigEndian.Uint16(b[2:]) == scene.GUEPort:
		// UDP, then GUE (draft-ietf-intarea-gue): its length in words stands in the
		// lower five bits, the flag of private fields in the last of 16.
		w.tunnel, size = "gue", 8+4+int(b[8]&31)*4
		if binary.BigEndian.Uint16(b[6:]) != 0 {
			w.checksum = "csum"
		}
		if b[11]&1 != 0 {
			w.checksum = "remcsum"
		}
	default:
		return w, false
	}
	if len(outer.payload) < size {
		return w, false
	}
	inner, ok := parsePacket(outer.payload[size:])
	if !ok || len(inner.payload) < 4 {
		return w, false
	}
	w.overhead = outer.size + size
	w.inner, w.ipv6 = netip.AddrPortFrom(inner.to, binary.BigEndian.Uint16(inner.payload[2:])), inner.to.Is6()
	return w, true
}

// assertWrapped holds what passed at the back against how it was to be wrapped.
func assertWrapped(t *testing.T, capture *lab.Capture) {
	t.Helper()
	must(t, capture.Stop())
	seen := map[uint16]int{}
	for _, p := range capture.Packets() {
		got, ok := unwrap(p.Data)
		if !ok {
			continue
		}
		for _, w := range ways {
			if w.service() != got.inner {
				continue
			}
			seen[w.port]++
			if w.checksum == "remcsum" && got.checksum == "csum" {
				// What came with its checksum done has nothing left to offload.
				got.checksum, got.overhead = "remcsum", got.overhead+8
			}
			want := wrapped{w.tunnel, w.checksum, w.overhead, got.outer, w.service(), w.ipv6}
			if got != want || w.outer6 != got.outer.Is6() {
				t.Errorf("%s: a packet was wrapped as %+v, not %+v", w, got, want)
			}
		}
	}
	for _, w := range ways {
		if tunnelled := w.forward == scene.TUN; tunnelled != (seen[w.port] > 0) {
			t.Errorf("%s: %d packets were wrapped", w, seen[w.port])
		}
	}
}
