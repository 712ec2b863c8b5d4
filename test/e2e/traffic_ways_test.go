//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"baton/test/scene"
)

// way is a way for packets to reach a real server.
type way struct {
	forward  scene.Forward
	ipv6     bool   // of the service
	outer6   bool   // of the servers' addresses
	tunnel   string // type, with TUN
	checksum string // none, csum, remcsum
	overhead int    // what the tunnel adds to each packet, in bytes
	port     uint16
}

// ways are all that the kernel has.
var ways = func() []way {
	var out []way
	add := func(w way) {
		w.port = uint16(8000 + len(out))
		out = append(out, w)
	}
	for _, ipv6 := range []bool{false, true} {
		add(way{forward: scene.NAT, ipv6: ipv6, outer6: ipv6})
		add(way{forward: scene.DR, ipv6: ipv6, outer6: ipv6})
	}
	for _, tunnel := range []struct {
		kind, checksum string
		size           int // of what stands between the two IP headers
	}{
		{"ipip", "none", 0},
		{"gue", "none", 8 + 4},            // UDP, GUE
		{"gue", "csum", 8 + 4},            // the checksum is UDP's own
		{"gue", "remcsum", 8 + 4 + 4 + 4}, // GUE's private flags and the place of the checksum
		{"gre", "none", 4},
		{"gre", "csum", 8},
	} {
		for _, outer6 := range []bool{false, true} {
			for _, ipv6 := range []bool{false, true} {
				size := tunnel.size + 20
				if outer6 {
					size += 20
				}
				add(way{scene.TUN, ipv6, outer6, tunnel.kind, tunnel.checksum, size, 0})
			}
		}
	}
	return out
}()

func (w way) String() string {
	family := map[bool]string{false: "v4", true: "v6"}
	if w.forward != scene.TUN {
		return string(w.forward) + "-" + family[w.ipv6]
	}
	name := w.tunnel
	if w.checksum != "none" {
		name += "-" + w.checksum
	}
	return name + "-" + family[w.ipv6] + "-in-" + family[w.outer6]
}

func index(ipv6 bool) int {
	if ipv6 {
		return 1
	}
	return 0
}

// service is the address of the service.
func (w way) service() netip.AddrPort {
	vip := scene.BackVIP
	if w.forward == scene.NAT {
		vip = scene.FrontVIP
	}
	return netip.AddrPortFrom(vip[index(w.ipv6)], w.port)
}

// server is the address of a server that packets are sent to.
func (w way) server(i int) netip.Addr {
	if w.tunnel == "gre" && w.checksum == "csum" {
		return scene.CheckedAddress(i, w.outer6)
	}
	return scene.ServerAddress(i, w.outer6)
}

// client is where requests come from.
func (w way) client() netip.Addr {
	if w.forward == scene.NAT {
		return scene.FrontClient(w.ipv6, 0)
	}
	return scene.BackClient(w.ipv6)
}

// arrives is the address that a packet has when a server's program gets it.
func (w way) arrives(server int) netip.AddrPort {
	if w.forward == scene.NAT {
		return netip.AddrPortFrom(scene.ServerAddress(server, w.ipv6), w.port)
	}
	return w.service()
}

var protocols = []string{"tcp", "udp", "sctp"}

// waysConfig has one service for each way and protocol: over TCP with shares of
// 3, 2 and 1, over the others in turn.
func waysConfig() string {
	var b strings.Builder
	for _, w := range ways {
		for _, protocol := range protocols {
			scheduler, weights := "rr", []int{1, 1, 1}
			if protocol == "tcp" {
				scheduler, weights = "wrr", scene.Weights
			}
			fmt.Fprintf(&b, "  - name: %s-%s\n    address: %q\n    protocol: %s\n    scheduler: %s\n    forward: %s\n    servers:\n",
				protocol, w, w.service(), protocol, scheduler, w.forward)
			for i, weight := range weights {
				fmt.Fprintf(&b, "      - {address: %q, weight: %d", w.server(i), weight)
				if w.forward == scene.TUN {
					fmt.Fprintf(&b, ", tunnel: {type: %s, checksum: %s", w.tunnel, w.checksum)
					if w.tunnel == "gue" {
						fmt.Fprintf(&b, ", port: %d", scene.GUEPort)
					}
					b.WriteString("}")
				}
				b.WriteString("}\n")
			}
		}
	}
	return b.String()
}

func listenWays(t *testing.T, f *scene.Farm) {
	t.Helper()
	for i, s := range f.Servers {
		for _, w := range ways {
			for _, protocol := range protocols {
				must(t, s.Listen(protocol, w.arrives(i)))
			}
		}
	}
}

// upload asks after it has sent so much that packets are as large as they may be.
func upload(t *testing.T, f *scene.Farm, w way) func(string, netip.Addr, netip.AddrPort) (scene.Answer, error) {
	return func(protocol string, from netip.Addr, to netip.AddrPort) (scene.Answer, error) {
		v, err := f.Visit(protocol, from, to)
		if err != nil {
			return scene.Answer{}, err
		}
		answer, err := v.Upload(20_000)
		// The director has told the client how much less goes through the tunnel: no
		// packet has to be sent in fragments. What TCP adds is 20 bytes and 12 of
		// timestamps; what this client has learnt of the address before counts, too.
		header := 20
		if w.ipv6 {
			header = 40
		}
		mss, err2 := v.MSS()
		if limit := 1500 - w.overhead - header - 20 - 12; mss > limit {
			t.Errorf("after an upload packets have %d bytes, more than the tunnel takes, %d", mss, limit)
		}
		return answer, errors.Join(err, err2, v.Close())
	}
}

func testWays(t *testing.T, f *scene.Farm) {
	capture := f.Lab.CaptureBridge(f.Back, "")
	for _, w := range ways {
		for _, protocol := range protocols {
			t.Run(w.String()+"/"+protocol, func(t *testing.T) {
				want := map[string]int{"s1": 1, "s2": 1, "s3": 1}
				if protocol == "tcp" {
					want = map[string]int{"s1": 3, "s2": 2, "s3": 1}
				}
				got := map[string]int{}
				for i := range sum(want) {
					ask := f.Ask
					if protocol == "tcp" && i == 0 {
						ask = upload(t, f, w)
					}
					answer, err := ask(protocol, w.client(), w.service())
					if err != nil {
						t.Error(err)
						break
					}
					got[answer.Server]++
					if answer.From.Addr() != w.client() {
						t.Errorf("%s got it from %s, not from the client %s", answer.Server, answer.From, w.client())
					}
				}
				if !maps.Equal(got, want) {
					t.Errorf("answers came from %v, not %v", got, want)
				}
			})
		}
	}
	assertWrapped(t, capture)
	// And by the judge that people know.
	for _, w := range ways {
		if w.forward != scene.TUN || w.String() == "ipip-v4-in-v4" || w.String() == "gue-v6-in-v6" {
			got, err := f.Curl(w.service(), 6)
			must(t, err)
			assertCounts(t, "curl, "+w.String(), got, 3, 2, 1)
		}
	}
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
