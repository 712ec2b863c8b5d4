//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"baton/test/scene"
)

// scheduled are services over TCP and NAT, one for each scheduler of the kernel
// and more for some of their flags.
var scheduled = []struct {
	name, scheduler string
	weights         [3]int
	extra           string
}{
	{"rr", "rr", [3]int{1, 1, 1}, ""},
	{"wrr", "wrr", [3]int{3, 2, 1}, ""},
	{"lc", "lc", [3]int{1, 1, 1}, ""},
	{"wlc", "wlc", [3]int{2, 1, 1}, ""},
	{"lblc", "lblc", [3]int{1, 1, 1}, ""},
	{"lblcr", "lblcr", [3]int{1, 1, 1}, ""},
	{"dh", "dh", [3]int{1, 1, 1}, ""},
	{"sh", "sh", [3]int{1, 1, 1}, ""},
	{"mh", "mh", [3]int{1, 1, 1}, ""},
	{"sed", "sed", [3]int{2, 1, 1}, ""},
	{"nq", "nq", [3]int{5, 1, 1}, ""},
	{"fo", "fo", [3]int{1, 3, 2}, ""},
	{"ovf", "ovf", [3]int{1, 3, 2}, ""},
	{"twos", "twos", [3]int{1, 1, 1}, ""},
	{"sh-port", "sh", [3]int{1, 1, 1}, "scheduler_flags: [sh-port]"},
	{"sh-fallback", "sh", [3]int{1, 0, 1}, "scheduler_flags: [sh-fallback]"},
	{"mh-fallback", "mh", [3]int{1, 1, 1}, "scheduler_flags: [mh-fallback]"},
	{"mh-port", "mh", [3]int{1, 1, 1}, "scheduler_flags: [mh-port, mh-fallback]"},
}

const firstScheduled = 6000

func schedulersConfig() string {
	var b strings.Builder
	for i, s := range scheduled {
		fmt.Fprintf(&b, "  - name: by-%s\n    address: 10.0.0.100:%d\n    scheduler: %s\n", s.name, firstScheduled+i, s.scheduler)
		if s.extra != "" {
			fmt.Fprintf(&b, "    %s\n", s.extra)
		}
		b.WriteString("    servers:\n")
		for j, weight := range s.weights {
			fmt.Fprintf(&b, "      - {address: 10.0.1.%d, weight: %d} # %s\n", 11+j, weight, s.name)
		}
	}
	return b.String()
}

// by is where the service of a scheduler is.
func by(name string) netip.AddrPort {
	for i, s := range scheduled {
		if s.name == name {
			return netip.AddrPortFrom(scene.FrontVIP[0], uint16(firstScheduled+i))
		}
	}
	panic("there is no service by " + name)
}

func testSchedulers(t *testing.T, f *scene.Farm) {
	t.Run("Accepted", func(t *testing.T) {
		seen := admTable(t, f.Director)
		for _, s := range scheduled {
			v := seen.find("tcp " + by(s.name).String())
			if v == nil || v.Scheduler != s.scheduler || len(v.Servers) != len(s.weights) {
				t.Errorf("ipvsadm shows %+v, not the service by %s", v, s.name)
				continue
			}
			ask(t, f, 0, by(s.name))
		}
	})
	t.Run("rr", func(t *testing.T) {
		order := turns(t, f, by("rr"), 9)
		for i := range order {
			if i >= 3 && order[i] != order[i-3] || i > 0 && order[i] == order[i-1] {
				t.Fatalf("no strict turn: %q", order)
			}
		}
	})
	t.Run("wrr", func(t *testing.T) {
		assertCounts(t, "wrr with 3, 2, 1", count(turns(t, f, by("wrr"), 12)), 6, 4, 2)
	})
	t.Run("fo", func(t *testing.T) {
		assertCounts(t, "fo with 1, 3, 2", count(turns(t, f, by("fo"), 4)), 0, 4, 0)
	})
	t.Run("sh", func(t *testing.T) {
		testSource(t, f, "sh")
		if one := count(turns(t, f, by("sh-port"), 12)); len(one) < 2 {
			t.Errorf("with sh-port all connections of a client went to %v", one)
		}
		for client := range 12 {
			if s := ask(t, f, client, by("sh-fallback")).Server; s == "s2" {
				t.Errorf("with sh-fallback client %d went to %s, which has weight 0", client, s)
			}
		}
	})
	t.Run("mh", func(t *testing.T) {
		testSource(t, f, "mh")
		if one := count(turns(t, f, by("mh-port"), 12)); len(one) < 2 {
			t.Errorf("with mh-port all connections of a client went to %v", one)
		}
	})
	t.Run("lc", func(t *testing.T) { testLeast(t, f) })
	t.Run("ovf", func(t *testing.T) {
		// One more than the weight, for the kernel compares with what was there before.
		held := hold(t, f, by("ovf"), 6)
		assertCounts(t, "ovf with 1, 3, 2", held.count(), 0, 4, 2)
	})
}

// testLeast holds connections open: new ones go to who has fewest.
func testLeast(t *testing.T, f *scene.Farm) {
	held := hold(t, f, by("lc"), 6)
	assertCounts(t, "lc", held.count(), 2, 2, 2)
	held.close(t, "s2")
	more := hold(t, f, by("lc"), 2)
	assertCounts(t, "lc after s2 has lost its connections", more.count(), 0, 2, 0)
}

// testReload takes servers out of services. Of mh, which is consistent, only the
// clients of that server go elsewhere.
func testReload(t *testing.T, f *scene.Farm) {
	plain, before := bySource(t, f, by("mh")), bySource(t, f, by("mh-fallback"))
	edit(t, f.Director, "{address: 10.0.1.12, weight: 1} # mh\n", "{address: 10.0.1.12, weight: 0} # mh\n")
	edit(t, f.Director, "{address: 10.0.1.12, weight: 1} # mh-fallback\n", "{address: 10.0.1.12, weight: 0} # mh-fallback\n")
	edit(t, f.Director, "{address: 10.0.1.12, weight: 1} # rr\n", "{address: 10.0.1.12, weight: 0} # rr\n")
	edit(t, f.Director, "{address: 10.0.1.11, weight: 3} # wrr\n", "{address: 10.0.1.11, weight: 1} # wrr\n")
	if st := hangUp(t, f.Director, reloaded); st.LastError != "" {
		t.Fatal(st.LastError)
	}
	for client, server := range bySource(t, f, by("mh-fallback")) {
		if server == "s2" || before[client] != "s2" && server != before[client] {
			t.Errorf("mh: client %d went from %s to %s", client, before[client], server)
		}
	}
	// Without mh-fallback the kernel has no server for those clients.
	for client, server := range plain {
		answer, err := f.Ask("tcp", scene.FrontClient(false, client), by("mh"))
		if server == "s2" && !errors.Is(err, syscall.ECONNREFUSED) || server != "s2" && answer.Server != server {
			t.Errorf("mh without mh-fallback: client %d went from %s to %+v, %v", client, server, answer, err)
		}
	}
	assertCounts(t, "rr with 1, 0, 1", count(turns(t, f, by("rr"), 4)), 2, 0, 2)
	assertCounts(t, "wrr with 1, 2, 1", count(turns(t, f, by("wrr"), 8)), 2, 4, 2)
}

// turns asks n times from one client and returns who answered, in order.
func turns(t *testing.T, f *scene.Farm, to netip.AddrPort, n int) (order []string) {
	t.Helper()
	for range n {
		order = append(order, ask(t, f, 0, to).Server)
	}
	return order
}

func count(names []string) map[string]int {
	out := map[string]int{}
	for _, name := range names {
		out[name]++
	}
	return out
}

// bySource asks once from each client and returns who answered whom.
func bySource(t *testing.T, f *scene.Farm, to netip.AddrPort) (servers []string) {
	t.Helper()
	for client := range scene.ManyClients {
		servers = append(servers, ask(t, f, client, to).Server)
	}
	return servers
}

// testSource asserts that each client has its server and all servers have some.
func testSource(t *testing.T, f *scene.Farm, scheduler string) {
	t.Helper()
	first := bySource(t, f, by(scheduler))
	if again := bySource(t, f, by(scheduler)); !slices.Equal(first, again) {
		t.Errorf("the clients of %s changed their servers:\n%q\n%q", scheduler, first, again)
	}
	counts := count(first)
	t.Logf("%s: %d clients are spread as %v", scheduler, len(first), counts)
	if len(counts) != len(f.Servers) {
		t.Errorf("%d clients of %s use %v, not all servers", len(first), scheduler, counts)
	}
}

// heldOpen are connections that stay open.
type heldOpen []heldConnection

type heldConnection struct {
	*scene.Visitor
	server string
}

// hold opens connections, one after the other, until the end of the test.
func hold(t *testing.T, f *scene.Farm, to netip.AddrPort, n int) (h heldOpen) {
	t.Helper()
	for range n {
		v, err := f.Visit("tcp", scene.FrontClient(false, 0), to)
		must(t, err)
		t.Cleanup(func() { v.Close() })
		answer, err := v.Who()
		must(t, err)
		h = append(h, heldConnection{v, answer.Server})
	}
	return h
}

func (h heldOpen) count() map[string]int {
	var names []string
	for _, c := range h {
		names = append(names, c.server)
	}
	return count(names)
}

// close ends the connections to a server.
func (h heldOpen) close(t *testing.T, server string) {
	t.Helper()
	for _, c := range h {
		if c.server == server {
			must(t, c.Close())
		}
	}
}
