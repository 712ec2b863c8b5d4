//go:build vm

package e2e

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"baton/test/scene"
)

const service6 = `  - name: http6
    address: "[fd00:a::100]:80"
    scheduler: wrr
    forward: nat
    check: {http: {path: /}}
    servers:
      - {address: "[fd00:b::11]:80", weight: 3}
      - {address: "[fd00:b::12]:80", weight: 2}
      - {address: "[fd00:b::13]:80", weight: 1}
`

// TestIPv6 has a service over IPv6 beside one over IPv4. Its VIP is set by hand:
// routers are IPv4 only.
func TestIPv6(t *testing.T) {
	s := build(t, scene.Options{IPv6: true, More: service6})
	a := s.Directors[0]
	a.Host.Address("eth0", scene.VIP6.String()+"/64")
	a.Host.Address("eth1", scene.Gateway6.String()+"/64")
	must(t, s.Start())
	must(t, s.Ready(patience))

	const n = 60
	counts, err := s.CurlAt(netip.AddrPortFrom(scene.VIP6, 80), n)
	must(t, err)
	assertSpread(t, s, counts, n)
	counts, err = s.Curl(n)
	must(t, err)
	assertSpread(t, s, counts, n)

	six := virtual{Key: "tcp [fd00:a::100]:80", Scheduler: "wrr"}
	for i, address := range []string{"[fd00:b::11]:80", "[fd00:b::12]:80", "[fd00:b::13]:80"} {
		six.Servers = append(six.Servers, server{Address: address, Forward: scene.NAT, Weight: uint32(scene.Weights[i])})
	}
	if diff := cmp.Diff(append(expected(s), six).sort(), agree(t, a).idle()); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
}
