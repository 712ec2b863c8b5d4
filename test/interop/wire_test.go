package interop

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"time"

	"baton/test/lab"
)

// advert is a VRRP packet on the wire, as little of it as tests need; it is read
// by other code than that under test.
type advert struct {
	at       time.Time
	mac      string // of the sender
	to       netip.Addr
	priority uint8
}

// parse reads an advert of either version and family.
func parse(p lab.Packet) (advert, bool) {
	etherType, ip := network(p)
	var header int
	var protocol byte
	a := advert{at: p.Time}
	switch {
	case etherType == etherIPv4 && len(ip) >= 20:
		header, protocol = int(ip[0]&0x0f)*4, ip[9]
		a.to = netip.AddrFrom4([4]byte(ip[16:20]))
	case etherType == etherIPv6 && len(ip) >= ipv6Header:
		header, protocol = ipv6Header, ip[6]
		a.to = netip.AddrFrom16([16]byte(ip[24:40]))
	}
	if protocol != 112 || len(ip) < header+8 {
		return advert{}, false
	}
	a.mac, a.priority = sender(p), ip[header+2]
	return a, true
}

const (
	etherIPv4  = 0x0800
	etherARP   = 0x0806
	etherIPv6  = 0x86dd
	ipv6Header = 40
)

// network returns what a frame carries, and its type.
func network(p lab.Packet) (uint16, []byte) {
	const ethernet = 14
	if len(p.Data) < ethernet {
		return 0, nil
	}
	return binary.BigEndian.Uint16(p.Data[12:]), p.Data[ethernet:]
}

// sender is the hardware address that a frame comes from.
func sender(p lab.Packet) string { return net.HardwareAddr(p.Data[6:12]).String() }

// announces reports whether a frame tells the neighbours who has an address: a
// gratuitous ARP, or an unsolicited neighbour advertisement (RFC 4861 section
// 7.2.6). Nothing but the announcement reaches a client that does not ask.
func announces(p lab.Packet, vip netip.Addr) bool {
	const icmpv6, neighbourAdvert = 58, 136
	etherType, b := network(p)
	switch {
	case etherType == etherARP && len(b) >= 28:
		from, target := netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
		return from == vip && target == vip
	case etherType == etherIPv6 && len(b) >= ipv6Header+24:
		to, target := netip.AddrFrom16([16]byte(b[24:40])), netip.AddrFrom16([16]byte(b[48:64]))
		return b[6] == icmpv6 && b[ipv6Header] == neighbourAdvert && to.IsMulticast() && target == vip
	}
	return false
}

// adverts returns what has crossed the wire so far after a time, of one member
// where it is given.
func (p *pair) adverts(m *member, after time.Time) []advert {
	var out []advert
	for _, f := range p.wire.Packets() {
		if a, ok := parse(f); ok && a.at.After(after) && (m == nil || a.mac == m.mac()) {
			out = append(out, a)
		}
	}
	return out
}

// lastAdvert is the time of a member's last one so far.
func (p *pair) lastAdvert(m *member) time.Time {
	p.t.Helper()
	all := p.adverts(m, time.Time{})
	if len(all) == 0 {
		p.t.Fatalf("%s has sent no advert", m)
	}
	return all[len(all)-1].at
}

// awaitAdverts waits until a member has sent some adverts after a time; nil is
// whoever is master.
func (p *pair) awaitAdverts(m *member, n int, after time.Time) {
	p.t.Helper()
	longest := max(p.baton.interval, p.keepalived.interval)
	for range n {
		f, err := p.wire.Await(3*longest+time.Second, func(f lab.Packet) bool {
			a, ok := parse(f)
			return ok && (m == nil || a.mac == m.mac()) && a.at.After(after)
		})
		must(p.t, err)
		after = f.Time
	}
}

// announced waits until a member tells the client that it has the VIP, after a
// time, and returns when that was.
func (p *pair) announced(m *member, after time.Time) time.Time {
	p.t.Helper()
	f, err := p.wire.Await(m.takesOver()+5*time.Second, func(f lab.Packet) bool {
		return f.Time.After(after) && sender(f) == m.mac() && announces(f, p.mode.vip().Addr())
	})
	must(p.t, err)
	return f.Time
}

// saidGoodbye fails the test when a member has sent no advert with priority 0 since
// a time.
func (p *pair) saidGoodbye(m *member, since time.Time) {
	p.t.Helper()
	if !slices.ContainsFunc(p.adverts(m, since), func(a advert) bool { return a.priority == 0 }) {
		p.t.Errorf("%s has not given up with priority 0", m)
	}
}

// silent fails the test when a member has sent an advert since a time.
func (p *pair) silent(m *member, since time.Time) {
	p.t.Helper()
	for _, a := range p.adverts(m, since) {
		p.t.Errorf("%s sent an advert with priority %d, %v after nothing had happened", m, a.priority, a.at.Sub(since))
	}
}

// within fails the test when something took longer than allowed, and tells the
// figure.
func (p *pair) within(took, most time.Duration, what string) {
	p.t.Helper()
	p.t.Logf("%s: after %v (at most %v)", what, took.Round(time.Millisecond), most.Round(time.Millisecond))
	if took > most {
		p.t.Errorf("%s: after %v; want at most %v", what, took, most)
	}
}
