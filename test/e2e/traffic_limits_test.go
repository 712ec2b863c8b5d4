//go:build vm

package e2e

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/test/lab"
	"baton/test/scene"
)

const limitsConfig = `  - name: limited
    address: 10.0.0.100:7000
    scheduler: rr
    servers:
      - {address: 10.0.1.11, upper: 2, lower: 1}
      - {address: 10.0.1.12, upper: 2, lower: 2}
      - {address: 10.0.1.13, upper: 2}
  - name: none-for-one
    address: 10.0.0.100:7001
    scheduler: rr
    servers: [10.0.1.11, {address: 10.0.1.12, weight: 0}, 10.0.1.13]
  - name: packets
    address: 10.0.1.100:7002
    protocol: udp
    scheduler: rr
    one_packet: true
    forward: dr
    servers: [10.0.1.11, 10.0.1.12, 10.0.1.13]
  - name: packets-nat
    address: 10.0.0.100:7003
    protocol: udp
    scheduler: rr
    one_packet: true
    servers: [10.0.1.11, 10.0.1.12, 10.0.1.13]
  - name: self-nat
    address: 10.0.0.100:7004
    servers: [10.0.0.1:7104]
  - name: self-dr
    address: 10.0.0.100:7005
    forward: dr
    servers: [10.0.0.1]
  - name: self-tun
    address: 10.0.0.100:7006
    forward: tun
    servers: [10.0.0.1]
  - name: self-loopback
    address: 10.0.0.100:7007
    forward: dr
    servers: [127.0.0.1]
  - name: self-nat6
    address: "[fd00:a::100]:7004"
    servers: ["[fd00:a::1]:7104"]
  - name: self-dr6
    address: "[fd00:a::100]:7005"
    forward: dr
    servers: ["fd00:a::1"]
  - name: web
    address: 10.0.0.100:8080
    scheduler: wrr
    check: {http: {path: /}, interval: 1s}
    servers:
      - {address: 10.0.1.11:7001, weight: 3}
      - {address: 10.0.1.12:7001, weight: 2}
      - {address: 10.0.1.13:7001, weight: 1}
`

// listenLimits has the director serve, too.
func listenLimits(t *testing.T, f *scene.Farm) *scene.Answerer {
	t.Helper()
	for i, s := range f.Servers {
		must(t, s.Listen("udp", netip.AddrPortFrom(scene.BackVIP[0], 7002)))
		must(t, s.Listen("udp", netip.AddrPortFrom(scene.ServerAddress(i, false), 7003)))
	}
	self := &scene.Answerer{Name: "lb", Host: f.Director.Host}
	for _, at := range []string{
		"10.0.0.1:7104", "[fd00:a::1]:7104",
		// The wildcard: the VIP is not there yet.
		"[::]:7005", "[::]:7006", "[::]:7007",
	} {
		must(t, self.Listen("tcp", netip.MustParseAddrPort(at)))
	}
	return self
}

// beginThresholds fills a service to its thresholds and takes some connections
// away again. The kernel remembers those for a while (a reset one for 10 s), so
// the rest is for later.
func beginThresholds(t *testing.T, f *scene.Farm) (finish func(*testing.T)) {
	t.Helper()
	to := netip.AddrPortFrom(scene.FrontVIP[0], 7000)
	held := hold(t, f, to, 6)
	assertCounts(t, "up to upper", held.count(), 2, 2, 2)
	if _, err := f.Ask("tcp", scene.FrontClient(false, 0), to); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("with all servers at upper a connection ends in %v, not refused", err)
	}
	for _, server := range []string{"s1", "s2", "s3"} {
		held.reset(t, server)
	}
	return func(t *testing.T) {
		// s2 is below its lower; s1 is not; s3 has none, which the kernel takes for
		// three quarters of upper.
		var more heldOpen
		eventually(t, func() error {
			v, err := f.Visit("tcp", scene.FrontClient(false, 0), to)
			if err != nil {
				return err
			}
			answer, err := v.Who()
			more = append(more, heldConnection{v, answer.Server})
			if err == nil && len(more) < 2 {
				err = errors.New("only one server has room")
			}
			return err
		})
		assertCounts(t, "after one connection to each has ended", more.count(), 0, 1, 1)
		if _, err := f.Ask("tcp", scene.FrontClient(false, 0), to); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a connection beyond ends in %v, not refused", err)
		}
		for _, c := range more {
			must(t, c.Close())
		}
	}
}

func testLimits(t *testing.T, f *scene.Farm) {
	t.Run("Weight0", func(t *testing.T) {
		to := netip.AddrPortFrom(scene.FrontVIP[0], 7001)
		assertCounts(t, "weights 1, 0, 1", count(turns(t, f, to, 6)), 3, 0, 3)
	})
	t.Run("OnePacket", func(t *testing.T) {
		v, err := f.Visit("udp", scene.BackClient(false), netip.AddrPortFrom(scene.BackVIP[0], 7002))
		must(t, err)
		defer v.Close()
		got := map[string]int{}
		for range 6 {
			answer, err := v.Who()
			must(t, err)
			got[answer.Server]++
		}
		assertCounts(t, "datagrams of one socket", got, 2, 2, 2)
	})
	t.Run("OnePacketNAT", func(t *testing.T) {
		// Such packets leave no entry in the table of connections, so nothing gives
		// the answers the address of the service. Whoever is not connected gets them.
		conn, err := f.Client.ListenPacket("udp", "10.0.0.30:0")
		must(t, err)
		defer conn.Close()
		_, err = conn.WriteTo([]byte("who"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(scene.FrontVIP[0], 7003)))
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(lab.Patience(patience))))
		_, from, err := conn.ReadFrom(make([]byte, 512))
		must(t, err)
		if host := from.(*net.UDPAddr).IP.String(); !strings.HasPrefix(host, "10.0.1.1") {
			t.Errorf("the answer came from %s, not from a server's own address", from)
		}
	})
	t.Run("Self", func(t *testing.T) {
		for _, at := range []string{"10.0.0.100:7004", "10.0.0.100:7005", "10.0.0.100:7006", "10.0.0.100:7007", "[fd00:a::100]:7004", "[fd00:a::100]:7005"} {
			to := netip.MustParseAddrPort(at)
			if answer, err := f.Ask("tcp", scene.FrontClient(to.Addr().Is6(), 0), to); err != nil || answer.Server != "lb" {
				t.Errorf("the director itself at %s: %+v, %v", at, answer, err)
			}
		}
	})
}

// reset ends one connection to a server with a reset.
func (h heldOpen) reset(t *testing.T, server string) {
	t.Helper()
	for _, c := range h {
		if c.server == server {
			must(t, c.Reset())
			return
		}
	}
}
