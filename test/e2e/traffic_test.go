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

// trafficHead is what the services of the farm stand under. The addresses come
// from a router, as an operator would have it.
func trafficHead() string {
	var more []string
	for n := 101; n <= 106; n++ {
		more = append(more, fmt.Sprintf("      - 10.0.0.%d/24\n", n))
	}
	return fmt.Sprintf(`routers:
  - name: vips
    interface: eth0
    id: 51
    priority: 255 # nobody else is there to wait for
    lease: 30s    # emulated processors stall
    addresses:
      - %s/24
      - {address: %s/24, interface: eth1}
      - {address: %s/24, interface: eth1}
%s    extra_addresses:
      - "%s/64"
      - {address: "%s/64", interface: eth1}
      - {address: "%s/64", interface: eth1}
defaults:
  service: {check: none}
services:
`, scene.FrontVIP[0], scene.Gateway, scene.BackVIP[0], strings.Join(more, ""),
		scene.FrontVIP[1], scene.Gateway6, scene.BackVIP[1])
}

// TestTraffic has one director carry services of every kind, and clients judge
// what becomes of their packets.
func TestTraffic(t *testing.T) {
	config := trafficHead() + selectConfig + schedulersConfig() + limitsConfig + waysConfig()
	f, err := scene.NewFarm(lab.New(t), batonPath, config)
	must(t, err)
	listenWays(t, f)
	listenTCP(t, f)
	self := listenLimits(t, f)
	t.Cleanup(func() {
		for _, s := range append(f.Servers, self) {
			s.Close()
		}
	})
	mark(t, f.Director.Host)
	f.Director.Start()
	must(t, f.Ready(patience))

	got, err := f.Curl(netip.AddrPortFrom(scene.FrontVIP[0], 8080), 6)
	must(t, err)
	assertCounts(t, "curl, with checks", got, 3, 2, 1)
	finish := beginThresholds(t, f)
	t.Run("Ways", func(t *testing.T) { testWays(t, f) })
	t.Run("Select", func(t *testing.T) { testSelect(t, f) })
	t.Run("Schedulers", func(t *testing.T) { testSchedulers(t, f) })
	t.Run("Limits", func(t *testing.T) { testLimits(t, f) })
	t.Run("Reload", func(t *testing.T) { testReload(t, f) })
	t.Run("Thresholds", finish)
}

// listenTCP has the servers answer at their own addresses, for NAT.
func listenTCP(t *testing.T, f *scene.Farm) {
	t.Helper()
	ports := append(selectPorts(), 7000, 7001)
	for i := range scheduled {
		ports = append(ports, uint16(firstScheduled+i))
	}
	for i, s := range f.Servers {
		for _, port := range ports {
			must(t, s.Listen("tcp", netip.AddrPortFrom(scene.ServerAddress(i, false), port)))
			if port == 80 || port == 443 {
				must(t, s.Listen("tcp", netip.AddrPortFrom(scene.ServerAddress(i, true), port)))
			}
		}
	}
}
