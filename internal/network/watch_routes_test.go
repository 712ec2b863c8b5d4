package network

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"baton/test/lab"
)

func TestWatchRoutesAndRules(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24", "fd00::1/64")
	routes := []string{
		"10.9.0.0/16 via 10.0.0.254 dev eth0", "0.0.0.0/0 via 10.0.0.254 dev eth0 table 100 metric 7",
		"fd09::/64 via fd00::254 dev eth0", "::/0 via fd00::254 dev eth0 table 1000 metric 7",
	}
	rules := []string{"priority 500 from 10.0.0.0/24 table 100", "-6 priority 500 from all iif eth0 table 1000"}
	want := full(State{}, routes, rules)
	must(t, m.Set(t.Context(), "web", full(State{}, routes[:1], rules[:1]))) // before the watch begins
	changes := watch(t, m, nil)
	must(t, m.Set(t.Context(), "web", want))
	must(t, m.Set(t.Context(), "web", want))
	// Others' are nobody's concern, nor is what we remove ourselves.
	ip(t, h, "route add 10.66.0.0/16 via 10.0.0.254")
	ip(t, h, "rule add priority 700 from 10.66.0.0/16 table 100")
	ip(t, h, "route del 10.66.0.0/16 via 10.0.0.254")
	ip(t, h, "rule del priority 700 from 10.66.0.0/16 table 100")
	must(t, m.Set(t.Context(), "other", full(State{}, []string{"10.7.0.0/16 dev eth1", "fd07::/64 dev eth1"}, []string{"from all iif eth1 table 7"})))
	must(t, m.Set(t.Context(), "other", State{}))
	expect(t, changes)

	for i, r := range routes {
		ip(t, h, []string{"-4", "-6"}[i/2]+" route del "+r)
		expect(t, changes, "route removed "+r)
	}
	ip(t, h, "rule del "+rules[0])
	expect(t, changes, "rule removed "+rules[0])
	ip(t, h, "-6 rule del "+strings.TrimPrefix(rules[1], "-6 "))
	expect(t, changes, "rule removed "+rules[1])

	must(t, m.Set(t.Context(), "web", want))
	expect(t, changes)
	// Another process of ours is someone else, too.
	must(t, manager(t, h).Remove(t.Context(), full(State{}, routes[:1], rules[:1])))
	expect(t, changes, "rule removed "+rules[0], "route removed "+routes[0])
}

func TestLost(t *testing.T) {
	s := full(state(0, "10.0.0.100/24 fd00::100/64@eth1"),
		[]string{"10.9.0.0/16 via 10.0.0.254", "::/0 via fd00::254"}, []string{"from 10.0.0.7/24 table 100", "-6 priority 5 from all iif eth0"})
	s.Link = &VirtualLink{Name: "v4.51.eth0"}
	address := func(p, ifname string) Change {
		return Change{Kind: AddressRemoved, Interface: ifname, Prefix: netip.MustParsePrefix(p)}
	}
	for _, tt := range []struct {
		c    Change
		want bool
	}{
		{address("10.0.0.100/24", "eth0"), true},
		{address("10.0.0.100/24", "eth1"), false},
		{address("10.0.0.101/24", "eth0"), false},
		{Change{Kind: AddressAdded, Interface: "eth0", Prefix: netip.MustParsePrefix("10.0.0.100/24")}, false},
		{Change{Kind: RouteRemoved, Route: route("10.9.0.0/16 via 10.0.0.254 dev eth0")}, true},
		{Change{Kind: RouteRemoved, Route: route("10.9.0.0/16 via 10.0.0.254 dev eth0 metric 5")}, false},
		{Change{Kind: RouteRemoved, Route: route("::/0 via fd00::254 dev eth0 metric 1024 table 254")}, true},
		{Change{Kind: RouteRemoved, Route: route("0.0.0.0/0 via 10.0.0.254 dev eth0")}, false},
		{Change{Kind: RuleRemoved, Rule: rule("priority 32765 from 10.0.0.0/24 table 100")}, true},
		{Change{Kind: RuleRemoved, Rule: rule("priority 32765 from 10.0.0.0/24 table 101")}, false},
		{Change{Kind: RuleRemoved, Rule: rule("-6 priority 5 from all iif eth0 table 254")}, true},
		{Change{Kind: RuleRemoved, Rule: rule("-6 priority 6 from all iif eth0 table 254")}, false},
		{Change{Kind: LinkGone, Interface: "v4.51.eth0"}, true},
		{Change{Kind: LinkDown, Interface: "v4.51.eth0"}, false}, // as it should be: there are no addresses on it
		{Change{Kind: LinkGone, Interface: "eth0"}, false},
		{Change{Kind: Resync}, false},
	} {
		if got := s.Lost(tt.c); got != tt.want {
			t.Errorf("%s: %v", tt.c, got)
		}
	}
	s.Addresses[0].Interface = "v4.51.eth0"
	if !s.Lost(Change{Kind: LinkDown, Interface: "v4.51.eth0"}) {
		t.Error("a link that is down is not missed by the addresses on it")
	}
}

// fill adds many routes that are not ours, at one go.
func fill(t testing.TB, h *lab.Host, do string, n int) {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "route %s 10.%d.%d.%d/32 via 10.0.0.254 proto bird\n", do, 128+i>>16&63, i>>8&255, i&255)
	}
	path := filepath.Join(t.TempDir(), do)
	must(t, os.WriteFile(path, []byte(b.String()), 0o600))
	ip(t, h, "-batch "+path)
}

// On a router with many routes, what becomes of them must not wake us: the
// smallest queue there is takes nothing of it, and what is ours still comes.
func TestWatchIsNotDrownedByOthersRoutes(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24")
	must(t, m.events.raw.Control(func(fd uintptr) { m.events.queue(int(fd), 2048) }))
	ours := full(State{}, []string{"10.9.0.0/16 via 10.0.0.254 dev eth0"}, nil)
	must(t, m.Set(t.Context(), "web", ours))
	blocked, proceed := false, make(chan struct{})
	changes := watch(t, m, func(c Change) {
		if c.Kind != Resync && !blocked {
			blocked = true
			<-proceed // whoever reads slowly shows whether anything is queued
		}
	})
	h.Address("eth1", "192.0.2.1/24")
	fill(t, h, "add", 5000)
	fill(t, h, "del", 5000)
	ip(t, h, "route del 10.9.0.0/16")
	close(proceed)
	expect(t, changes, "address added eth1 192.0.2.1/24", "route removed 10.9.0.0/16 via 10.0.0.254 dev eth0")
}

// What was removed while reports were lost is found by comparing.
func TestWatchOverflowWithRoutesAndRules(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24", "fd00::1/64")
	must(t, m.events.raw.Control(func(fd uintptr) { m.events.queue(int(fd), 4096) }))
	want := full(State{}, []string{"10.9.0.0/16 via 10.0.0.254 dev eth0", "fd09::/64 via fd00::254 dev eth0"},
		[]string{"priority 500 from 10.0.0.0/24 table 100"})
	must(t, m.Set(t.Context(), "web", want))
	blocked, proceed := false, make(chan struct{})
	changes := watch(t, m, func(c Change) {
		if c.Kind != Resync && !blocked {
			blocked = true
			<-proceed
		}
	})
	for i := range 200 {
		h.Address("eth1", fmt.Sprintf("192.0.2.%d/24", i+1))
	}
	ip(t, h, "route del 10.9.0.0/16")
	ip(t, h, "-6 route del fd09::/64 via fd00::254")
	ip(t, h, "rule del priority 500 from 10.0.0.0/24 table 100")
	close(proceed)
	lost := map[string]bool{}
	resynced := false
	deadline := time.After(lab.Patience(5 * time.Second))
	for len(lost) < 3 || !resynced {
		select {
		case c := <-changes:
			resynced = resynced || c.Kind == Resync
			if want.Lost(c) {
				lost[c.String()] = true
			}
		case <-deadline:
			t.Fatalf("resynced %v, lost %v", resynced, lost)
		}
	}
}

// Where there are many routes of others a look is rare, and what Watch tells
// makes the next one come at once.
func TestCostlyLook(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24")
	var list []string
	for i := range crowded + 20 {
		list = append(list, fmt.Sprintf("10.9.%d.0/24 via 10.0.0.254 dev eth0", i))
	}
	want := full(State{}, list, nil)
	must(t, m.Set(t.Context(), "web", want))
	wantList(t, "routes", routesOf(t, h, true), append([]string(nil), list...)...)
	changes := watch(t, m, nil)
	must(t, m.Set(t.Context(), "web", want))
	seen := m.seenRoutes
	seen[0].at = time.Now() // however slow this machine is
	if seen.refresh(); !seen.has(false) {
		t.Fatal("a look at many serves for no moment: this test shows nothing")
	}
	must(t, m.Set(t.Context(), "web", want))
	ip(t, h, "route del 10.9.5.0/24")
	expect(t, changes, "route removed 10.9.5.0/24 via 10.0.0.254 dev eth0")
	must(t, m.Set(t.Context(), "web", want))
	wantList(t, "routes", routesOf(t, h, true), append([]string(nil), list...)...)
	// An administrator's route in the place of ours is found when the moment is over.
	ip(t, h, "route replace 10.9.5.0/24 via 10.0.0.253")
	lab.Eventually(t, 5*time.Second, func() error {
		if err := m.Set(t.Context(), "web", want); err == nil {
			return fmt.Errorf("the foreign route is not noticed")
		}
		return nil
	})
	must(t, m.Set(t.Context(), "web", State{}))
	wantList(t, "routes", routesOf(t, h, false), "10.9.5.0/24 via 10.0.0.253 dev eth0")
}

// A manager works in the namespace that it was opened in, sysctls included, and
// leaves the thread where it was.
func TestManagerStaysInItsNamespace(t *testing.T) {
	n := newLAN(t)
	before := links(t)
	done := make(chan error)
	for _, m := range []*Manager{n.m, n.other} {
		go func() {
			var err error
			for i := range 20 {
				if e := m.Set(t.Context(), "web4", web(false, i%2 == 0)); e != nil {
					err = e
				}
			}
			done <- err
		}()
	}
	must(t, <-done)
	must(t, <-done)
	for _, h := range []*lab.Host{n.a, n.b} {
		if v := sysctl(t, h, "net/ipv4/conf/v4.51.eth0/rp_filter"); v != "2" {
			t.Errorf("rp_filter on %s is %s", h, v)
		}
	}
	if after := links(t); after != before {
		t.Errorf("this program's own namespace had %s and has %s", before, after)
	}
}

func links(t *testing.T) string {
	t.Helper()
	list, err := netlink.LinkList()
	must(t, err)
	var names []string
	for _, l := range list {
		names = append(names, l.Attrs().Name)
	}
	return strings.Join(names, " ")
}
