package network

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRoutesAndRules(t *testing.T) {
	h, m := host(t)
	want := full(state(10*time.Minute, vips), someRoutes, someRules)
	must(t, m.Set(t.Context(), "web", want))
	wantList(t, "routes", routesOf(t, h, true), slices.Clone(someRoutes)...)
	wantList(t, "rules", rulesOf(t, h, true), slices.Clone(someRules)...)

	t.Run("again changes nothing", func(t *testing.T) {
		forever := full(state(0, vips), someRoutes, someRules)
		must(t, m.Set(t.Context(), "web", forever))
		written := writes(t, h)
		for range 3 {
			must(t, m.Set(t.Context(), "web", forever))
		}
		if n := written(); n != 0 {
			t.Errorf("setting the same again made the kernel report %d changes", n)
		}
	})
	t.Run("lost ones come back", func(t *testing.T) {
		for _, r := range someRoutes {
			family := "-4"
			if strings.Contains(r, "::") {
				family = "-6"
			}
			ip(t, h, family+" route del "+r)
			must(t, m.Set(t.Context(), "web", want))
			wantList(t, "routes", routesOf(t, h, true), slices.Clone(someRoutes)...)
		}
		for _, r := range someRules {
			family := "-4"
			if rest, v6 := strings.CutPrefix(r, "-6 "); v6 {
				family, r = "-6", rest
			}
			ip(t, h, family+" rule del "+r)
			must(t, m.Set(t.Context(), "web", want))
			wantList(t, "rules", rulesOf(t, h, true), slices.Clone(someRules)...)
		}
	})
	t.Run("with the address they come back", func(t *testing.T) {
		ip(t, h, "addr del 10.0.0.100/24 dev eth0")
		ip(t, h, "addr del fd00::100/64 dev eth0")
		if got := routesOf(t, h, true); len(got) == len(someRoutes) {
			t.Fatalf("no route went with its source: %q", got)
		}
		must(t, m.Set(t.Context(), "web", want))
		wantList(t, "routes", routesOf(t, h, true), slices.Clone(someRoutes)...)
	})
	t.Run("fewer, and others", func(t *testing.T) {
		// Another gateway replaces the route; a second owner keeps one.
		must(t, m.Set(t.Context(), "other", full(State{}, someRoutes[2:3], someRules[2:3])))
		changed := "10.9.0.0/16 via 10.0.0.7 dev eth0"
		must(t, m.Set(t.Context(), "web", full(state(10*time.Minute, vips), []string{changed, someRoutes[5]}, someRules[1:2])))
		wantList(t, "routes", routesOf(t, h, true), changed, someRoutes[5], someRoutes[2])
		wantList(t, "rules", rulesOf(t, h, true), someRules[1], someRules[2])
		must(t, m.Set(t.Context(), "web", State{}))
		wantList(t, "routes", routesOf(t, h, true), someRoutes[2])
		wantList(t, "rules", rulesOf(t, h, true), someRules[2])
		must(t, m.Set(t.Context(), "other", State{}))
		wantList(t, "routes", routesOf(t, h, true))
		wantList(t, "rules", rulesOf(t, h, true))
		wantOnHost(t, h, "")
	})
}

// What is not said is what the kernel chooses; it must be recognised.
func TestRoutesAndRulesWithDefaults(t *testing.T) {
	h, m := host(t)
	want := full(state(0, vips), []string{
		"10.9.1.7/16 via 10.0.0.254", "0.0.0.0/0 via 10.0.0.254 table 254", "10.7.0.0/16 dev eth0 scope global",
		"10.6.0.0/16 dev eth0 scope host table 7", "fd09::7/64 via fd00::254", "::/0 via fe80::1 dev eth1 metric 1024",
	}, []string{"from 10.0.0.7/24 table 100", "from 0.0.0.0/0 iif eth0", "-6 from all fwmark 3 table 100", "-6 from all iif eth1"})
	must(t, m.Set(t.Context(), "web", want))
	before := rulesOf(t, h, true)
	if len(before) != 4 {
		t.Fatalf("rules %q", before)
	}
	written := writes(t, h)
	for range 3 {
		must(t, m.Set(t.Context(), "web", want))
	}
	next := manager(t, h)
	must(t, next.Set(t.Context(), "web", want))
	if n := written(); n != 0 {
		t.Errorf("setting the same again made the kernel report %d changes", n)
	}
	wantList(t, "routes", routesOf(t, h, true), "10.9.0.0/16 via 10.0.0.254 dev eth0", "0.0.0.0/0 via 10.0.0.254 dev eth0",
		"10.7.0.0/16 dev eth0", "10.6.0.0/16 dev eth0 table 7", "fd09::/64 via fd00::254 dev eth0", "::/0 via fe80::1 dev eth1")
	wantList(t, "rules", rulesOf(t, h, true), before...)
	must(t, next.Set(t.Context(), "web", State{}))
	wantList(t, "routes", routesOf(t, h, true))
	wantList(t, "rules", rulesOf(t, h, true))
}

func TestForeignRouteAndRuleAreLeftAlone(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24", "fd00::1/64")
	theirs := []string{
		"0.0.0.0/0 via 10.0.0.254 dev eth0", "10.9.0.0/16 via 10.0.0.3 dev eth0 metric 5",
		"::/0 via fd00::254 dev eth0", "fd09::/64 via fd00::3 dev eth0 metric 5",
	}
	for i, r := range theirs {
		ip(t, h, []string{"-4", "-6"}[i/2]+" route add "+r+" proto static")
	}
	theirRules := []string{"priority 500 from 10.0.0.0/24 table 100", "-6 priority 500 from fd00::/64 table 100"}
	ip(t, h, "-4 rule add priority 500 from 10.0.0.0/24 table 100")
	ip(t, h, "-6 rule add priority 500 from fd00::/64 table 100")

	mine := []string{"10.8.0.0/16 via 10.0.0.254 dev eth0", "fd08::/64 via fd00::254 dev eth0"}
	for name, wanted := range map[string][]string{
		"the same": theirs,
		"in their place": {
			"0.0.0.0/0 via 10.0.0.5", "10.9.0.0/16 dev eth1 metric 5", "::/0 via fd00::5", "fd09::/64 dev eth1 metric 5",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				err := m.Set(t.Context(), "web", full(State{}, slices.Concat(wanted, mine),
					append(slices.Clone(theirRules), "from 10.0.0.0/24 table 100", "priority 600 from all iif eth0 table 5")))
				var foreignRoute *ForeignRouteError
				var foreignRule *ForeignRuleError
				if !errors.As(err, &foreignRoute) || !errors.As(err, &foreignRule) || !errors.Is(err, ErrForeign) {
					t.Fatalf("error %v", err)
				}
				if n := strings.Count(err.Error(), ErrForeign.Error()); n != 7 {
					t.Errorf("%d of 7 are reported as foreign: %v", n, err)
				}
				wantList(t, "routes", routesOf(t, h, true), slices.Clone(mine)...)
				wantList(t, "rules", rulesOf(t, h, true), "priority 600 from all iif eth0 table 5")
			}
			must(t, m.Remove(t.Context(), full(State{}, slices.Concat(wanted, theirs), theirRules)))
			must(t, m.Set(t.Context(), "web", State{}))
			_, err := m.Sweep(t.Context())
			must(t, err)
			wantList(t, "routes", routesOf(t, h, false), slices.Clone(theirs)...)
			wantList(t, "rules", rulesOf(t, h, false), slices.Clone(theirRules)...)
		})
	}
	// An administrator who puts a route of his own in the place of ours keeps it.
	must(t, m.Set(t.Context(), "web", full(State{}, mine, nil)))
	ip(t, h, "route replace 10.8.0.0/16 via 10.0.0.9")
	ip(t, h, "-6 route replace fd08::/64 via fd00::9 dev eth0")
	if err := m.Set(t.Context(), "web", full(State{}, mine, nil)); !errors.Is(err, ErrForeign) {
		t.Errorf("renewing: %v", err)
	}
	must(t, m.Set(t.Context(), "web", State{}))
	wantList(t, "routes", routesOf(t, h, false), slices.Concat(theirs,
		[]string{"10.8.0.0/16 via 10.0.0.9 dev eth0", "fd08::/64 via fd00::9 dev eth0"})...)
}

func TestRouteErrors(t *testing.T) {
	h, m := host(t)
	ip(t, h, "link set eth1 down")
	for _, tt := range []struct{ route, want string }{
		{"10.9.0.0/16 via 192.0.2.1", "no interface has an address in a network of the gateway 192.0.2.1"},
		{"10.9.0.0/16 via 192.0.2.1 dev eth0", "no interface has an address in a network of the gateway 192.0.2.1"},
		{"fd09::/64 via fd77::1", "no interface has an address in a network of the gateway fd77::1"},
		{"10.9.0.0/16 via 10.0.0.254 src 192.0.2.1", "its source 192.0.2.1 must be an address of this host"},
		{"fd09::/64 via fd00::254 src fd00::9", "its source fd00::9 must be an address of this host"},
		{"10.9.0.0/16 dev eth9", "no interface of that name exists"},
		{"10.9.0.0/16 dev eth1", "its interface is down"},
		{"10.9.0.0/16", "name its gateway, its interface, or both"},
		{"10.9.0.0/16 via fd00::254", "different families"},
		{"fd09::/64 via fe80::1", "name the one that is meant"},
		{"10.9.0.0/16 dev eth0 scope nowhere", "is none of global, link and host"},
	} {
		err := m.Set(t.Context(), "web", full(state(0, vips), []string{tt.route, "10.8.0.0/16 dev eth0"}, nil))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "set route "+tt.route) {
			t.Errorf("%s: %v", tt.route, err)
		}
		wantList(t, "routes", routesOf(t, h, true), "10.8.0.0/16 dev eth0") // the others are set all the same
	}
	if err := m.Set(t.Context(), "web", State{Routes: make([]Route, 1)}); err == nil {
		t.Error("a route without a destination was accepted")
	}
	bad := Rule{From: netip.MustParsePrefix("10.0.0.0/8"), To: netip.MustParsePrefix("fd00::/8")}
	if err := m.Set(t.Context(), "web", State{Rules: []Rule{bad}}); err == nil || !strings.Contains(err.Error(), "different families") {
		t.Errorf("a rule of two families: %v", err)
	}
	// Two owners cannot have different routes in one place.
	must(t, m.Set(t.Context(), "web", full(state(0, vips), []string{"10.9.0.0/16 via 10.0.0.254"}, nil)))
	err := m.Set(t.Context(), "lan", full(State{}, []string{"10.9.0.0/16 via 10.0.0.253"}, nil))
	if err == nil || !strings.Contains(err.Error(), "another router has a different one") {
		t.Errorf("two routes in one place: %v", err)
	}
	wantList(t, "routes", routesOf(t, h, true), "10.9.0.0/16 via 10.0.0.254 dev eth0")
}

func TestRoutesAndRulesOfAPredecessor(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24", "fd00::1/64")
	must(t, m.Set(t.Context(), "web", full(state(0, vips), someRoutes, someRules)))

	next := manager(t, h)
	must(t, next.Set(t.Context(), "web", full(state(0, vips), someRoutes[:1], someRules[:1])))
	removed, err := next.Sweep(t.Context())
	must(t, err)
	want := []string{}
	for _, r := range someRoutes[1:] {
		want = append(want, "route "+r)
	}
	for _, r := range someRules[1:] {
		want = append(want, "rule "+r)
	}
	slices.Sort(removed)
	for i := range removed { // the scope is told where it is not the usual one
		removed[i] = strings.TrimSuffix(removed[i], " scope link")
	}
	wantList(t, "swept", removed, want...)
	wantList(t, "routes", routesOf(t, h, true), someRoutes[0])
	wantList(t, "rules", rulesOf(t, h, true), someRules[0])

	// The executor of a will knows what it was told.
	must(t, next.Set(t.Context(), "web", full(state(0, vips), someRoutes, someRules)))
	ip(t, h, "route add 10.77.0.0/16 via 10.0.0.254 proto static")
	executor := manager(t, h)
	for range 2 {
		must(t, executor.Remove(t.Context(),
			full(state(0, "10.0.0.100/24"), someRoutes[:4], someRules[:2]),
			full(state(0, "fd00::100/64"), append([]string{"10.77.0.0/16 via 10.0.0.254", "10.78.0.0/16 dev eth9"}, someRoutes[4:]...), someRules[2:])))
		wantList(t, "rules", rulesOf(t, h, true))
		wantList(t, "routes", routesOf(t, h, false), "10.77.0.0/16 via 10.0.0.254 dev eth0")
		wantOnHost(t, h, "10.0.0.1/24 fd00::1/64")
	}
}

// The kernel deletes the first rule that fits, and takes what a request does not
// mention for "any".
func TestNarrowerRuleOfTheSamePriorityStays(t *testing.T) {
	h, m := host(t)
	rules := []string{
		"priority 500 from 10.0.0.0/24 table 100", "priority 500 from all iif eth0 table 100", "priority 500 from all table 100",
	}
	for _, gone := range []int{2, 1, 0} {
		must(t, m.Set(t.Context(), "web", full(State{}, nil, rules)))
		var rest []string
		for i, r := range rules {
			if i != gone {
				rest = append(rest, r)
			}
		}
		must(t, m.Set(t.Context(), "web", full(State{}, nil, rest)))
		wantList(t, "rules", rulesOf(t, h, true), rest...)
	}
	must(t, m.Set(t.Context(), "web", full(State{}, nil, rules)))
	next := manager(t, h)
	_, err := next.Sweep(t.Context())
	must(t, err)
	wantList(t, "rules", rulesOf(t, h, true))
}

func TestLabels(t *testing.T) {
	h, m := host(t)
	labelled := func(label string) State {
		s := state(time.Minute, "10.0.0.100/24 fd00::100/64")
		for i := range s.Addresses {
			s.Addresses[i].Label = label
		}
		return s
	}
	for _, label := range []string{"eth0:web", "", "eth0:1234567890", "eth0"[:4], "eth0:web"} {
		must(t, m.Set(t.Context(), "web", labelled(label)))
		want := label
		if label == "" {
			want = "eth0"
		}
		if got := find(t, h, "10.0.0.100/24").Label; got != want {
			t.Errorf("the label is %q, want %q", got, want)
		}
		wantOnHost(t, h, "10.0.0.100/24 fd00::100/64")
	}
	// Of an address that two owners have, the first one's label stays.
	must(t, m.Set(t.Context(), "other", labelled("eth0:lan")))
	must(t, m.Set(t.Context(), "web", labelled("eth0:web")))
	if got := find(t, h, "10.0.0.100/24").Label; got != "eth0:web" {
		t.Errorf("the label is %q", got)
	}
	// It comes back with the address.
	must(t, m.Set(t.Context(), "other", State{}))
	h.Sysctl("net.ipv4.conf.all.promote_secondaries", "0")
	h.Sysctl("net.ipv4.conf.eth0.promote_secondaries", "0")
	must(t, m.Set(t.Context(), "first", state(time.Minute, "10.0.0.100/24")))
	must(t, m.Set(t.Context(), "second", State{Lease: time.Minute, Addresses: []Address{
		{Prefix: netip.MustParsePrefix("10.0.0.102/24"), Interface: "eth0", Label: "eth0:two"},
	}}))
	must(t, m.Set(t.Context(), "web", State{}))
	must(t, m.Set(t.Context(), "first", State{}))
	if got := find(t, h, "10.0.0.102/24").Label; got != "eth0:two" {
		t.Errorf("put back with the label %q", got)
	}
}
