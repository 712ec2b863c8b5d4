package network

import (
	"fmt"
	"testing"
	"time"

	"baton/test/lab"
)

// many are the states of 255 routers on one interface, each with two addresses;
// with routes: two routes and a rule; with links: a virtual hardware address.
func many(routes, links bool) []State {
	var out []State
	for i := range 255 {
		ifname := "eth0"
		s := State{Lease: time.Minute}
		if links {
			ifname = fmt.Sprintf("v4.%d", i+1)
			s.Link = &VirtualLink{Name: ifname, Parent: "eth0", MAC: [6]byte{0, 0, 0x5e, 0, 1, byte(i + 1)}}
		}
		s.Addresses = state(0, fmt.Sprintf("10.1.0.%d/32@%s fd01::%x/128@%s", i+1, ifname, i+1, ifname)).Addresses
		if routes {
			s = full(s, []string{
				fmt.Sprintf("10.2.%d.0/24 via 10.0.0.254 dev eth0 src 10.1.0.%d", i, i+1),
				fmt.Sprintf("fd02:%x::/64 via fd00::254 dev eth0", i),
			}, []string{fmt.Sprintf("priority %d from 10.1.0.%d/32 table 100", 1000+i, i+1)})
		}
		out = append(out, s)
	}
	return out
}

// BenchmarkRound is one renewal of one of 255 routers: what a lease costs.
func BenchmarkRound(b *testing.B) {
	for _, tt := range []struct {
		name          string
		routes, links bool
		others        int
	}{
		{"addresses", false, false, 0},
		{"routes and rules", true, false, 0},
		{"links", false, true, 0},
		{"all", true, true, 0},
		{"routes and rules beside 100000 routes", true, false, 100_000},
	} {
		b.Run(tt.name, func(b *testing.B) {
			h, m := host(b)
			watch(b, m, nil) // as in production: without it each Set looks anew
			h.Address("eth0", "10.0.0.1/24", "fd00::1/64")
			if tt.others > 0 {
				fill(b, h, "add", tt.others)
			}
			states := many(tt.routes, tt.links)
			for i, s := range states {
				must(b, m.Set(b.Context(), fmt.Sprint(i), s))
			}
			for i := 0; b.Loop(); i++ {
				must(b, m.Set(b.Context(), fmt.Sprint(i%255), states[i%255]))
			}
		})
	}
}

// A renewal round of many routers with everything must not write anything but
// leases.
func TestRoundOfManyWritesLeasesOnly(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24", "fd00::1/64")
	states := many(true, true)[:40]
	for i := range states {
		states[i].Lease = 0
		must(t, m.Set(t.Context(), fmt.Sprint(i), states[i]))
	}
	written := writes(t, h)
	for range 2 {
		for i, s := range states {
			must(t, m.Set(t.Context(), fmt.Sprint(i), s))
		}
	}
	if n := written(); n != 0 {
		t.Errorf("setting the same again made the kernel report %d changes", n)
	}
	lab.Eventually(t, 5*time.Second, func() error {
		for i := range states {
			if err := m.Set(t.Context(), fmt.Sprint(i), State{}); err != nil {
				return err
			}
		}
		return nil
	})
	wantList(t, "routes", routesOf(t, h, true))
	wantList(t, "rules", rulesOf(t, h, true))
	wantOnHost(t, h, "10.0.0.1/24 fd00::1/64")
	if v := sysctl(t, h, "net.ipv4.conf.eth0.arp_ignore"); v != "0" {
		t.Errorf("arp_ignore is %s", v)
	}
}
