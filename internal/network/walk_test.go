package network

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// Whatever owners want one after another, and whatever others do meanwhile, the
// kernel has what is wanted after each Set, and nothing else that is marked.
func TestRandomWalk(t *testing.T) {
	random := rand.New(rand.NewPCG(walkSeed(t), 1)) //nolint:gosec // not a secret
	h, m := host(t)
	pool := strings.Fields("10.0.0.1/24 10.0.0.2/24 10.0.0.3/32 10.0.0.2/24@eth1 10.0.1.1/24 10.0.1.2/16 10.0.0.1/32 " +
		"fd00::1/64 fd00::2/64 fd00::3/128 fd00::1/128 fd00::1/64@eth1 fd01::1/64@eth1")
	theirs := []string{"192.0.2.1/24", "192.0.2.1/24@eth1", "2001:db8::1/64", "10.0.0.250/24", "fd00::250/64"}
	for _, a := range theirs {
		prefix, ifname, found := strings.Cut(a, "@")
		if !found {
			ifname = "eth0"
		}
		h.Address(ifname, prefix)
	}
	h.Sysctl("net.ipv4.conf.all.promote_secondaries", "1") // or the kernel removes theirs with ours

	wants := map[string][]string{}
	var history []string
	for step := range 400 {
		what := ""
		switch random.IntN(8) {
		case 0: // someone removes something of ours
			if marked := strings.Fields(onHost(t, h, true)); len(marked) > 0 {
				victim := marked[random.IntN(len(marked))]
				what = "lost " + victim
				a := state(0, victim).Addresses[0]
				must(t, h.Netlink().AddrDel(linkOf(t, h, a.Interface), &netlink.Addr{IPNet: ipNet(a.Prefix)}))
			}
		case 1: // a restart
			what = "restart"
			m = manager(t, h)
			for _, owner := range []string{"a", "b", "c"} {
				must(t, m.Set(t.Context(), owner, state(0, strings.Join(wants[owner], " "))))
			}
			_, err := m.Sweep(t.Context())
			must(t, err)
		}
		owner := []string{"a", "b", "c"}[random.IntN(3)]
		// One prefix length of an IPv6 address on an interface at a time: the kernel
		// cannot have two.
		taken := map[string]bool{}
		for other, list := range wants {
			if other != owner {
				for _, a := range list {
					taken[identity(a)] = true
				}
			}
		}
		var want []string
		for _, i := range random.Perm(len(pool))[:random.IntN(6)] {
			if id := identity(pool[i]); !taken[id] {
				taken[id] = true
				want = append(want, pool[i])
			}
		}
		wants[owner] = want
		lease := time.Duration(random.IntN(2)) * time.Hour
		history = append(history, fmt.Sprintf("%d: %s; %s wants %q for %v", step, what, owner, want, lease))
		err := m.Set(t.Context(), owner, state(lease, strings.Join(want, " ")))
		// What was lost by others' hands comes back when its owner sets it again.
		for other, list := range wants {
			if other != owner {
				err = errors.Join(err, m.Set(t.Context(), other, state(lease, strings.Join(list, " "))))
			}
		}
		must(t, err)
		var all []string
		for _, list := range wants {
			all = append(all, list...)
		}
		slices.Sort(all)
		if got := onHost(t, h, true); got != strings.Join(all, " ") {
			t.Fatalf("%s\nthe kernel has %q of ours, want %q", strings.Join(history[max(0, len(history)-6):], "\n"), got, all)
		}
		all = append(all, theirs...)
		slices.Sort(all)
		if got := onHost(t, h, false); got != strings.Join(all, " ") {
			t.Fatalf("%s\nthe kernel has %q, want %q", strings.Join(history[max(0, len(history)-6):], "\n"), got, all)
		}
	}
}

// identity is what the kernel knows an address by.
func identity(s string) string {
	a := state(0, s).Addresses[0]
	if a.Prefix.Addr().Is6() {
		return a.Prefix.Addr().String() + "@" + a.Interface
	}
	return a.Prefix.String() + "@" + a.Interface
}
