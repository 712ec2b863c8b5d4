package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/test/lab"
)

// ip runs ip(8) on a host.
func (p *pair) ip(h *lab.Host, args ...string) string {
	p.t.Helper()
	out, err := h.Run(context.Background(), "ip", args...)
	must(p.t, err)
	return out
}

// everything is a router with all that can move with one.
const everything = `, extra_addresses: ["2001:db8::100/64", 10.9.0.100/24],
     routes: [{to: 192.0.2.0/24, via: 10.0.0.9, source: 10.0.0.100}, {to: "2001:db8:9::/48", interface: eth0}, {to: default, via: 10.0.0.9, table: 99}],
     rules: [{from: 10.0.0.100, table: 99, priority: 99}, {to: "2001:db8:9::/48", table: 99, priority: 98}]`

// owns reports what a host lacks, or has, of all that moves with the router.
func (p *pair) owns(d *director, want bool) error {
	for _, look := range []struct{ what, args string }{
		{"10.0.0.100/24", "-4 addr show dev eth0"},
		{"2001:db8::100/64", "-6 addr show dev eth0"},
		{"10.9.0.100/24", "-4 addr show dev eth0"},
		{"192.0.2.0/24 via 10.0.0.9", "-4 route"},
		{"src 10.0.0.100", "-4 route show 192.0.2.0/24"},
		{"2001:db8:9::/48", "-6 route"},
		{"default via 10.0.0.9", "-4 route show table 99"},
		{"from 10.0.0.100 lookup 99", "-4 rule"},
		{"to 2001:db8:9::/48 lookup 99", "-6 rule"},
	} {
		out, _ := d.host.Run(context.Background(), "ip", strings.Fields(look.args)...) // an empty table is an error
		if strings.Contains(out, look.what) != want {
			return fmt.Errorf("%s: ip %s: %q is there: %v\n%s", d.name, look.args, look.what, !want, out)
		}
	}
	return nil
}

// Addresses of both families, routes and rules move together, and come back
// within a second when somebody takes them away.
func TestEverythingMoves(t *testing.T) {
	p := build(t)
	p.begin(fast, everything, everything)
	lab.Eventually(t, 2*time.Second, func() error { return p.owns(p.a, true) })
	must(t, p.owns(p.b, false))
	before, err := p.a.status()
	must(t, err)
	wire := p.lab.Capture(p.b.host, "eth0", vrrpFilter)

	for _, args := range []string{
		"addr del 10.0.0.100/24 dev eth0", // and with it the route that has it as its source
		"-6 addr del 2001:db8::100/64 dev eth0",
		"route del 192.0.2.0/24",
		"-6 route del 2001:db8:9::/48",
		"route flush table 99",
		"rule del priority 99",
		"-6 rule del priority 98",
	} {
		p.ip(p.a.host, strings.Fields(args)...)
		lab.Eventually(t, lab.Patience(time.Second), func() error { return p.owns(p.a, true) })
	}
	after, err := p.a.status()
	must(t, err)
	if after.Transitions != before.Transitions || after.State != "master" {
		t.Errorf("the router changed: %+v, then %+v", before, after)
	}
	time.Sleep(5 * fast)
	rhythm(t, wire, addrA, 51, fast)

	_, err = p.a.command("failover", "web")
	must(t, err)
	lab.Eventually(t, 3*time.Second, func() error { return p.owns(p.b, true) })
	lab.Eventually(t, 3*time.Second, func() error { return p.owns(p.a, false) })
}

// What a killed owner leaves is taken away when it starts again as a backup.
func TestLeftoversAreSwept(t *testing.T) {
	p := build(t)
	p.begin(fast, everything, everything)
	lab.Eventually(t, 2*time.Second, func() error { return p.owns(p.a, true) })
	p.a.proc.Kill()
	p.settledOn(p.b)
	p.a.start()
	lab.Eventually(t, 5*time.Second, func() error { return p.a.is("master") })
	lab.Eventually(t, 5*time.Second, func() error { return p.owns(p.b, false) })
	lab.Eventually(t, 5*time.Second, func() error { return p.owns(p.a, true) })
}

func (p *pair) settledOn(d *director) {
	p.t.Helper()
	lab.Eventually(p.t, 5*time.Second, func() error { return p.owns(d, true) })
}

// The IPv6 router: link-local sources, neighbour advertisements, hand-over.
func TestIPv6Pair(t *testing.T) {
	p := build(t)
	p.ip(p.client, "addr", "add", "2001:db8::9/64", "dev", "eth0", "nodad")
	text := func(priority int) string {
		return fmt.Sprintf("  - {name: web, interface: eth0, id: 51, priority: %d, advert_interval: 100ms, addresses: [\"2001:db8::100/64\"]}\n", priority)
	}
	p.a.configure(text(priorityA))
	p.b.configure(text(priorityB))
	p.a.start()
	lab.Eventually(t, 8*time.Second, func() error { return p.a.is("master") })
	p.b.start()
	lab.Eventually(t, 5*time.Second, func() error { return p.b.is("backup") })
	lab.Eventually(t, 2*time.Second, func() error {
		r, err := p.b.status()
		if owner, _ := netip.ParseAddr(r.Owner); err == nil && !owner.IsLinkLocalUnicast() {
			err = fmt.Errorf("b follows %q, want the link-local address of a", r.Owner)
		}
		return err
	})
	reaches := func(d *director) {
		t.Helper()
		lab.Eventually(t, 3*time.Second, func() error {
			if _, err := p.client.Run(context.Background(), "ping", "-c", "1", "-W", "1", "2001:db8::100"); err != nil {
				return err
			}
			return p.neighbour("2001:db8::100", d.mac())
		})
	}
	reaches(p.a)
	_, err := p.a.command("failover", "web")
	must(t, err)
	must(t, p.b.is("master"))
	reaches(p.b)
	_, err = p.a.command("resume", "web")
	must(t, err)
	lab.Eventually(t, 5*time.Second, func() error { return p.a.is("master") })
	reaches(p.a)
	p.a.signal(9)
	lab.Eventually(t, 5*time.Second, func() error { return p.b.is("master") })
	reaches(p.b)
}

// neighbour reports whether the client's neighbour table leads elsewhere.
func (p *pair) neighbour(addr, mac string) error {
	out, err := p.client.Run(context.Background(), "ip", "-j", "neigh", "show", "to", addr)
	if err != nil {
		return err
	}
	var list []struct{ LLAddr string }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(n struct{ LLAddr string }) bool { return n.LLAddr == mac }) {
		return fmt.Errorf("the client has %v for %s, not %s", list, addr, mac)
	}
	return nil
}

// With a virtual hardware address the client's entry never changes, and nothing
// with that address leaves a backup.
func TestVirtualMAC(t *testing.T) {
	p := build(t)
	p.begin(fast, ", virtual_mac: true", ", virtual_mac: true")
	const mac = "00:00:5e:00:01:33"
	must(t, p.neighbour(vip.String(), mac))
	leak := p.lab.Capture(p.b.host, "eth0", "ether src "+mac)
	s := p.stream()
	time.Sleep(500 * time.Millisecond)
	_, err := p.a.command("failover", "web")
	must(t, err)
	handedOver := time.Now()
	time.Sleep(500 * time.Millisecond)
	lossless(t, s, "failover with a virtual MAC")
	must(t, p.neighbour(vip.String(), mac))
	for _, packet := range leak.Packets() {
		if packet.Outgoing && packet.Time.Before(handedOver.Add(-2*time.Second)) {
			t.Errorf("the backup sent a frame from the virtual hardware address: % x", packet.Data)
		}
	}
	// The directors' own addresses are still at their own hardware addresses.
	_, err = p.client.Run(context.Background(), "ping", "-c", "1", "-W", "1", addrB.String())
	must(t, err)
	must(t, p.neighbour(addrB.String(), p.b.mac()))
	must(t, p.dial().Close())

	// A backup's link that somebody sets up is set down again.
	link := strings.Split(strings.TrimSpace(p.ip(p.a.host, "-br", "link", "show", "type", "macvlan")), "@")[0]
	p.ip(p.a.host, "link", "set", link, "up")
	lab.Eventually(t, 2*time.Second, func() error {
		if text := p.ip(p.a.host, "-br", "link", "show", link); strings.Contains(text, "UP") && !strings.Contains(text, "DOWN") {
			return errors.New(text)
		}
		return nil
	})

	// The will knows the virtual address, too.
	p.b.signal(syscall.SIGKILL)
	lab.Eventually(t, 3*time.Second, func() error {
		if left := p.ip(p.b.host, "-br", "link", "show", "type", "macvlan"); left != "" {
			return errors.New("left behind: " + left)
		}
		return p.a.is("master")
	})
	must(t, p.dial().Close())
}
