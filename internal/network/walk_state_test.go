package network

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
)

// walker is a random walk over whole states of three owners.
type walker struct {
	t       *testing.T
	random  *rand.Rand
	h       *lab.Host
	m       *Manager
	wants   map[string]State
	history []string
}

var walkOwners = []string{"a", "b", "c"}

// The routes with a source need the address of the same line.
var walkRoutes = []struct{ route, with string }{
	{"10.9.0.0/16 via 10.0.0.254 dev eth0", ""},
	{"10.9.0.0/16 via 10.0.0.253 dev eth0", ""},
	{"10.9.0.0/16 via 10.0.0.254 dev eth0 metric 5", ""},
	{"0.0.0.0/0 via 10.0.0.254 dev eth0 src 10.0.0.1 table 100", "10.0.0.1/24"},
	{"10.8.0.0/16 dev eth1", ""},
	{"fd09::/64 via fd00::254 dev eth0", ""},
	{"fd09::/64 dev eth1", ""},
	{"::/0 via fd00::254 dev eth0 src fd00::1 table 1000 metric 7", "fd00::1/64"},
	{"fd08::/64 dev eth1 metric 5", ""},
}

var walkRules = []string{
	"priority 500 from 10.0.0.0/24 table 100", "priority 500 from 10.0.0.0/24 iif eth0 table 100",
	"priority 500 from all table 100", "priority 501 from all to 10.8.0.0/16 fwmark 0x7 table 1000",
	"-6 priority 500 from fd00::/64 table 100", "-6 priority 500 from all table 100",
}

// TestRandomWalkOfStates: whatever owners want one after another, and whatever
// others do meanwhile, the kernel has what is wanted after each Set, and nothing
// else that is marked. ip(8) is the judge.
func TestRandomWalkOfStates(t *testing.T) {
	seed := walkSeed(t)
	h, m := host(t)
	h.Address("eth0", "10.0.0.250/24", "fd00::250/64")
	h.Sysctl("net.ipv4.conf.all.promote_secondaries", "1")
	w := &walker{t: t, random: rand.New(rand.NewPCG(seed, 1)), h: h, m: m, wants: map[string]State{}} //nolint:gosec // not a secret
	theirs := "10.66.0.0/16 via 10.0.0.254 dev eth0"
	ip(t, h, "route add "+theirs)
	ip(t, h, "rule add priority 700 from all table 100")
	for step := range 150 {
		w.disturb(step)
		owner := walkOwners[w.random.IntN(3)]
		w.wants[owner] = w.choose(owner)
		w.note("%d: %s wants %s", step, owner, stateText(w.wants[owner]))
		for _, o := range append([]string{owner}, walkOwners...) {
			if err := w.m.Set(t.Context(), o, w.wants[o]); err != nil {
				w.fatalf("%v", err)
			}
		}
		w.compare()
	}
	for _, o := range walkOwners {
		must(t, w.m.Set(t.Context(), o, State{}))
	}
	w.wants = map[string]State{}
	w.compare()
	wantList(t, "routes", routesOf(t, h, false), theirs)
	wantList(t, "rules", rulesOf(t, h, false), "priority 700 from all table 100")
}

// walkSeed is BATON_NETWORK_SEED, to repeat a walk, or any.
func walkSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any
	if s := os.Getenv("BATON_NETWORK_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	t.Logf("BATON_NETWORK_SEED=%d", seed)
	return seed
}

func (w *walker) note(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

func (w *walker) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", strings.Join(w.history[max(0, len(w.history)-6):], "\n"), fmt.Sprintf(format, args...))
}

// disturb does what someone else may do.
func (w *walker) disturb(step int) {
	pick := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return list[w.random.IntN(len(list))]
	}
	do := func(args string) {
		w.note("%d: ip %s", step, args)
		ip(w.t, w.h, args)
	}
	switch w.random.IntN(8) {
	case 0:
		if r := pick(routesOf(w.t, w.h, true)); r != "" {
			do(family(r) + " route del " + r)
		}
	case 1:
		if r := pick(rulesOf(w.t, w.h, true)); r != "" {
			do(family(r) + " rule del " + strings.TrimPrefix(r, "-6 ") + " protocol 66")
		}
	case 2:
		if a := pick(strings.Fields(onHost(w.t, w.h, true))); a != "" {
			p, ifname, found := strings.Cut(a, "@")
			if !found {
				ifname = "eth0"
			}
			do("addr del " + p + " dev " + ifname)
		}
	case 3:
		if l := pick(w.virtualLinks()); l != "" {
			do("link " + pick([]string{"del " + l, "set " + l + " down", "set " + l + " up"}))
		}
	case 4:
		w.note("%d: a restart", step)
		w.m = manager(w.t, w.h)
		if w.random.IntN(2) == 0 {
			_, err := w.m.Sweep(w.t.Context())
			must(w.t, err)
			return
		}
		for _, o := range walkOwners {
			if err := w.m.Set(w.t.Context(), o, w.wants[o]); err != nil {
				w.fatalf("%v", err)
			}
		}
		_, err := w.m.Sweep(w.t.Context())
		must(w.t, err)
	}
}

func family(s string) string {
	if strings.Contains(s, ":") || strings.HasPrefix(s, "-6") {
		return "-6"
	}
	return "-4"
}

// choose makes a state that does not clash with the others'.
func (w *walker) choose(owner string) State {
	places := map[routeKey]Route{}
	for o, s := range w.wants {
		if o != owner {
			for _, r := range s.Routes {
				places[r.key()] = r
			}
		}
	}
	s := State{Lease: time.Duration(w.random.IntN(2)) * time.Hour}
	addresses := map[string]bool{}
	for _, i := range w.random.Perm(len(walkRoutes))[:w.random.IntN(5)] {
		r := route(walkRoutes[i].route)
		if there, taken := places[r.key()]; taken && there != r {
			continue
		}
		places[r.key()] = r
		s.Routes = append(s.Routes, r)
		if a := walkRoutes[i].with; a != "" {
			addresses[a] = true
		}
	}
	for _, i := range w.random.Perm(len(walkRules))[:w.random.IntN(4)] {
		s.Rules = append(s.Rules, rule(walkRules[i]))
	}
	for _, a := range []string{"10.0.0.2/24", "fd00::2/64", "10.0.0.3/32@eth1"} {
		addresses[a] = addresses[a] || w.random.IntN(3) == 0
	}
	for _, a := range slices.Sorted(maps.Keys(addresses)) {
		if addresses[a] {
			s.Addresses = append(s.Addresses, state(0, a).Addresses...)
		}
	}
	if w.random.IntN(2) == 0 {
		// The owners' links differ, b and c may share one.
		link := web(owner == "a", w.random.IntN(2) == 0)
		s.Link = link.Link
		s.Addresses = append(s.Addresses, link.Addresses...)
	}
	return s
}

func stateText(s State) string {
	link := ""
	if s.Link != nil {
		link = s.Link.Name
	}
	return fmt.Sprintf("link %q, addresses %v, routes %v, rules %v", link, s.Addresses, s.Routes, s.Rules)
}

func (w *walker) virtualLinks() []string {
	var out []string
	for _, name := range []string{"v4.51.eth0", "v6.51.eth0"} {
		if _, err := w.h.Netlink().LinkByName(name); err == nil {
			out = append(out, name)
		}
	}
	return out
}

// compare holds the kernel against all owners' wants.
func (w *walker) compare() {
	w.t.Helper()
	routes, rules, addresses, isUp := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range w.wants {
		for _, r := range s.Routes {
			routes[r.String()] = true
		}
		for _, r := range s.Rules {
			rules[r.String()] = true
		}
		if s.Link != nil {
			isUp[s.Link.Name] = isUp[s.Link.Name] || slices.ContainsFunc(s.Addresses, func(a Address) bool { return a.Interface == s.Link.Name })
		}
		for _, a := range s.Addresses {
			addresses[a.Prefix.String()+"@"+a.Interface] = true
		}
	}
	check := func(what string, got []string, want map[string]bool) {
		w.t.Helper()
		if wanted := slices.Sorted(maps.Keys(want)); !slices.Equal(got, wanted) {
			w.fatalf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(wanted, "\n"))
		}
	}
	check("routes", routesOf(w.t, w.h, true), routes)
	check("rules", rulesOf(w.t, w.h, true), rules)
	check("addresses", w.addresses(), addresses)
	if got, want := w.virtualLinks(), slices.Sorted(maps.Keys(isUp)); !slices.Equal(got, want) {
		w.fatalf("links %q, want %q", got, want)
	}
	for name, want := range isUp {
		l, err := w.h.Netlink().LinkByName(name)
		if err != nil || (l.Attrs().Flags&net.FlagUp != 0) != want {
			w.fatalf("%s: up should be %v; %v", name, want, err)
		}
	}
	ignore := map[bool]string{true: "1", false: "0"}[len(isUp) > 0]
	if got := sysctl(w.t, w.h, "net.ipv4.conf.eth0.arp_ignore"); got != ignore {
		w.fatalf("arp_ignore of the parent is %s, want %s", got, ignore)
	}
}

// addresses lists those that are not the host's own, by ip(8).
func (w *walker) addresses() []string {
	var out []string
	for line := range strings.Lines(ip(w.t, w.h, "-o addr show")) {
		f := strings.Fields(line)
		p := netip.MustParsePrefix(f[3])
		own := f[1] == "lo" || strings.HasSuffix(p.Addr().String(), "250") || strings.Contains(f[3], "ff:fe")
		if !own {
			out = append(out, f[3]+"@"+f[1])
		}
	}
	slices.Sort(out)
	return out
}
