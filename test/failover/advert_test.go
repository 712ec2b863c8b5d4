package failover

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"baton/test/lab"
)

// vrrpFilter is what captures of adverts match.
const vrrpFilter = "ip proto 112"

// advert is a VRRP packet on the wire, as little of it as tests need; it is read
// by other code than that under test.
type advert struct {
	at       time.Time
	outgoing bool
	from, to netip.Addr
	ttl      uint8
	vrid     uint8
	priority uint8
}

func parse(p lab.Packet) (advert, bool) {
	const ethernet = 14
	if len(p.Data) < ethernet+20 || binary.BigEndian.Uint16(p.Data[12:]) != 0x0800 {
		return advert{}, false
	}
	ip := p.Data[ethernet:]
	header := int(ip[0]&0x0f) * 4
	if ip[9] != 112 || len(ip) < header+8 {
		return advert{}, false
	}
	return advert{
		at: p.Time, outgoing: p.Outgoing,
		from: netip.AddrFrom4([4]byte(ip[12:16])), to: netip.AddrFrom4([4]byte(ip[16:20])),
		ttl: ip[8], vrid: ip[header+1], priority: ip[header+2],
	}, true
}

// adverts returns what a capture has so far, from one sender where it is given.
func adverts(c *lab.Capture, from netip.Addr) []advert {
	var out []advert
	for _, p := range c.Packets() {
		if a, ok := parse(p); ok && (!from.IsValid() || a.from == from) {
			out = append(out, a)
		}
	}
	return out
}

// awaitAdvert waits for an advert from a sender after a time.
func awaitAdvert(t testing.TB, c *lab.Capture, from netip.Addr, after time.Time, within time.Duration) advert {
	t.Helper()
	p, err := c.Await(within, func(p lab.Packet) bool {
		a, ok := parse(p)
		return ok && a.from == from && a.at.After(after)
	})
	must(t, err)
	a, _ := parse(p)
	return a
}

// rhythm fails the test when the adverts of a sender for a virtual router ever
// paused for longer than an advert and a half.
func rhythm(t testing.TB, c *lab.Capture, from netip.Addr, vrid uint8, interval time.Duration) {
	t.Helper()
	var last time.Time
	n := 0
	for _, a := range adverts(c, from) {
		if a.vrid != vrid {
			continue
		}
		if gap := a.at.Sub(last); n > 0 && gap > interval*3/2 {
			t.Errorf("%v between two adverts of %v for id %d; the interval is %v", gap, from, vrid, interval)
		}
		last = a.at
		n++
	}
	if n < 3 {
		t.Errorf("%d adverts of %v for id %d were captured: they prove nothing", n, from, vrid)
	}
}
