package interop

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"
)

// datagrams is how many a client sends in a time.
func datagrams(d time.Duration) int { return int(d / every) }

// yielding is what a preempted keepalived may cost: it lets go when it hears the
// advert, and the client needs the announcement that follows. That takes less
// than a millisecond, unless the machine is busy.
const yielding = 250 * time.Millisecond

// What a client loses when the VIP changes hands as planned. What baton hands
// over costs nothing, whoever takes it: it serves on until the new master has
// told the neighbours. keepalived lets go at once, so that its planned stop costs
// the peer's skew.
func TestLoss(t *testing.T) {
	slow := multicast4
	slow.name, slow.interval = "v3-ipv4-multicast-1s", second
	for _, m := range []mode{multicast4, multicast6, slow} {
		// In parallel with each other only: all else waits until TestLoss has ended.
		t.Run(m.name+"/baton-master", func(t *testing.T) {
			t.Parallel()
			p := build(t, m)
			p.echo()
			p.begin(p.baton)
			p.measure("baton-stops", p.keepalived, 0, func() { p.baton.stop(); p.settledAlone(p.keepalived) })
			p.measure("baton-returns", p.baton, yielding, func() { p.baton.start(); p.settled(p.baton) })
			p.measure("baton-failover", p.keepalived, 0, func() { p.command("failover", "web"); p.settled(p.keepalived) })
			p.measure("baton-resume", p.baton, yielding, func() { p.command("resume", "web"); p.settled(p.baton) })
		})
		t.Run(m.name+"/keepalived-master", func(t *testing.T) {
			t.Parallel()
			p := build(t, m)
			p.echo()
			p.begin(p.keepalived)
			skew := m.skew(low, m.interval) + margin
			p.measure("keepalived-stops", p.baton, skew, func() { p.keepalived.stop(); p.settledAlone(p.baton) })
			p.measure("keepalived-returns", p.keepalived, 0, func() { p.keepalived.start(); p.settled(p.keepalived) })
		})
	}
}

// measure runs a step after which to has the VIP, and fails it when a client
// loses more than it sends in a time.
func (p *pair) measure(name string, to *member, most time.Duration, f func()) {
	p.t.Helper()
	p.step(name, func() {
		s, before, allowed := p.stream(), p.refused(), datagrams(most)
		p.awaitAdverts(nil, 2, time.Now()) // something to compare with
		f()
		r := s.Stop()
		if to == p.keepalived {
			allowed += p.refused() - before
		}
		p.loss(r, allowed, name)
	})
}

// refused is how many packets for addresses that it does not have came to
// keepalived's host by IPv6. The kernel finishes an IPv6 address in the
// background (net/ipv6/addrconf.c: addrconf_dad_work), and keepalived announces it
// without waiting for that. Over IPv4 there is no such time.
func (p *pair) refused() int {
	p.t.Helper()
	if !p.mode.ipv6 {
		return 0
	}
	text, err := p.keepalived.host.Run(context.Background(), "cat", "/proc/net/snmp6")
	must(p.t, err)
	for line := range strings.Lines(text) {
		if name, value, _ := strings.Cut(line, " "); name == "Ip6InAddrErrors" {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			must(p.t, err)
			return n
		}
	}
	p.t.Fatalf("the kernel does not count Ip6InAddrErrors:\n%s", text)
	return 0
}
