package main

import (
	"net/netip"
	"time"

	"baton/test/lab"
)

// advert is one advert on the wire. The wire is the judge: it treats all programs
// alike and knows nothing of what they say of themselves.
type advert struct {
	at       time.Time // by the kernel
	source   netip.Addr
	vrid     uint8
	priority uint8
}

var sources = [2]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}

// parseAdvert reads an Ethernet frame with a VRRP packet over IPv4.
func parseAdvert(p lab.Packet) (a advert, ok bool) {
	const ethernet = 14
	if len(p.Data) < ethernet+20 {
		return a, false
	}
	header := int(p.Data[ethernet]&0xf) * 4
	if len(p.Data) < ethernet+header+8 || p.Data[ethernet]>>4 != 4 {
		return a, false
	}
	body := p.Data[ethernet+header:]
	source, _ := netip.AddrFromSlice(p.Data[ethernet+12 : ethernet+16])
	return advert{at: p.Time, source: source, vrid: body[1], priority: body[2]}, true
}

// adverts are those of a capture from the n-th packet on.
func adverts(c *lab.Capture, n int) []advert {
	var all []advert
	for _, p := range c.Packets()[n:] {
		if a, ok := parseAdvert(p); ok {
			all = append(all, a)
		}
	}
	return all
}

// deviations are the differences between an interval and the times between a
// master's adverts.
func deviations(all []advert, source netip.Addr, interval time.Duration) []time.Duration {
	var out []time.Duration
	var last time.Time
	for _, a := range all {
		if a.source != source || a.priority == 0 {
			continue
		}
		if !last.IsZero() {
			out = append(out, (a.at.Sub(last) - interval).Abs())
		}
		last = a.at
	}
	return out
}

// takeovers counts how often the wire's master became another one. Whoever gives
// up by priority 0 is no master.
func takeovers(all []advert) int {
	n := 0
	var master netip.Addr
	for _, a := range all {
		if a.priority == 0 {
			continue
		}
		if master.IsValid() && a.source != master {
			n++
		}
		master = a.source
	}
	return n
}

// silence is the time between the last advert of a and the first of b: what the
// election took, whatever the phase of the fault was.
func silence(all []advert) (time.Duration, bool) {
	var last time.Time
	for _, a := range all {
		switch a.source {
		case sources[0]:
			last = a.at
		case sources[1]:
			if last.IsZero() || a.priority == 0 {
				return 0, false
			}
			return a.at.Sub(last), true
		}
	}
	return 0, false
}
