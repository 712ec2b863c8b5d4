//go:build vm

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"baton/test/lab"
	"baton/test/scene"
)

// What a client can be told of by: marks, ranges of ports, lists of addresses,
// all ports.
const selectConfig = `  - name: marked
    fwmark: 7
    scheduler: rr
    persistence: {timeout: 60s}
    servers: [10.0.1.11, 10.0.1.12, 10.0.1.13]
  - name: marked6
    fwmark: 8
    family: inet6
    scheduler: rr
    persistence: {timeout: 60s}
    servers: ["fd00:b::11", "fd00:b::12", "fd00:b::13"]
  - name: many
    address: [10.0.0.100:5000-5002, 10.0.0.101:5000]
    scheduler: rr
    servers: [10.0.1.11, 10.0.1.12, 10.0.1.13]
  - name: all-ports
    address: 10.0.0.102:0
    scheduler: rr
    persistence: {timeout: 60s}
    servers: [10.0.1.11, 10.0.1.12, 10.0.1.13]
  - name: by-destination
    fwmark: 9
    scheduler: dh
    servers: [10.0.1.11, 10.0.1.12, 10.0.1.13]
`

// markRules mark packets as an operator would.
const markRules = `add table inet marks
add chain inet marks in { type filter hook prerouting priority mangle; }
add rule inet marks in ip daddr 10.0.0.100 tcp dport { 80, 443 } meta mark set 7
add rule inet marks in ip6 daddr fd00:a::100 tcp dport { 80, 443 } meta mark set 8
add rule inet marks in ip daddr 10.0.0.101-10.0.0.108 tcp dport 5002 meta mark set 9
`

func selectPorts() []uint16 { return []uint16{80, 443, 5000, 5001, 5002} }

func testSelect(t *testing.T, f *scene.Farm) {
	t.Run("Marks", func(t *testing.T) {
		// A client of its own for each address, over IPv6 there is one only.
		testSticky(t, f, scene.FrontVIP[0], false, 6, 80, 443)
		testSticky(t, f, scene.FrontVIP[1], true, 1, 80, 443)
	})
	t.Run("AllPorts", func(t *testing.T) {
		testSticky(t, f, netip.MustParseAddr("10.0.0.102"), false, 6, 5000, 443, 80)
	})
	t.Run("RangeAndList", func(t *testing.T) {
		for _, at := range []string{"10.0.0.100:5000", "10.0.0.100:5001", "10.0.0.100:5002", "10.0.0.101:5000"} {
			to := netip.MustParseAddrPort(at)
			got := map[string]int{}
			for range 6 {
				answer := ask(t, f, 0, to)
				got[answer.Server]++
				if answer.To.Port() != to.Port() {
					t.Errorf("%s was asked at port %d, the client asked %s", answer.Server, answer.To.Port(), to)
				}
			}
			assertCounts(t, at, got, 2, 2, 2)
		}
	})
	t.Run("ByDestination", func(t *testing.T) {
		used := map[string]int{}
		for n := 101; n <= 106; n++ {
			to := netip.MustParseAddrPort(fmt.Sprintf("10.0.0.%d:5002", n))
			first := ask(t, f, 0, to).Server
			used[first]++
			for client := 1; client < 4; client++ {
				if again := ask(t, f, client, to).Server; again != first {
					t.Errorf("dh sent one client of %s to %s and another to %s", to, first, again)
				}
			}
		}
		if len(used) < len(f.Servers) {
			t.Errorf("six addresses are served by %v, not by all", used)
		}
	})
}

// testSticky has clients ask at several ports, each of which is to find the same
// server at all of them, and all together every server.
func testSticky(t *testing.T, f *scene.Farm, vip netip.Addr, ipv6 bool, clients int, ports ...uint16) {
	t.Helper()
	got := map[string]int{}
	for client := range clients {
		var servers []string
		for _, port := range append(ports, ports...) {
			answer, err := f.Ask("tcp", scene.FrontClient(ipv6, client), netip.AddrPortFrom(vip, port))
			must(t, err)
			servers = append(servers, answer.Server)
			if answer.To.Port() != port {
				t.Errorf("%s was asked at port %d, the client asked %d", answer.Server, answer.To.Port(), port)
			}
		}
		got[servers[0]]++
		for _, s := range servers {
			if s != servers[0] {
				t.Errorf("client %d of %s was led from server to server: %q", client, vip, servers)
				break
			}
		}
	}
	if clients >= len(f.Servers) {
		each := clients / len(f.Servers)
		assertCounts(t, vip.String(), got, each, each, each)
	}
}

// ask is one connection over TCP from one of the clients.
func ask(t *testing.T, f *scene.Farm, client int, to netip.AddrPort) scene.Answer {
	t.Helper()
	answer, err := f.Ask("tcp", scene.FrontClient(false, client), to)
	must(t, err)
	return answer
}

// assertCounts holds the answers of s1, s2 and s3 against what is expected.
func assertCounts(t *testing.T, what string, got map[string]int, want ...int) {
	t.Helper()
	var text []string
	ok := true
	for i, n := range want {
		name := fmt.Sprintf("s%d", i+1)
		ok = ok && got[name] == n
		text = append(text, fmt.Sprintf("%s:%d", name, n))
	}
	if !ok {
		t.Errorf("%s: answers came from %v, not %s", what, got, strings.Join(text, " "))
	}
}

// mark loads the rules on the director.
func mark(t *testing.T, h *lab.Host) {
	t.Helper()
	run(t, h, "nft", markRules)
}
