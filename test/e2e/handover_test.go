//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/api"
	"baton/test/scene"
	"baton/test/stream"
)

// echoPort is where the real servers answer datagrams.
const echoPort = 7000

const echoService = `  - name: echo
    address: 10.0.0.100:7000
    protocol: udp
    scheduler: wrr
    forward: %s
    servers: [%s.11, %[2]s.12, %[2]s.13]
`

// echo answers datagrams on a real server.
func echo(t *testing.T, r *scene.RealServer) {
	t.Helper()
	var conn *net.UDPConn
	must(t, r.Host.Do(func() (err error) {
		conn, err = stream.Listen(echoPort)
		return err
	}))
	t.Cleanup(func() { conn.Close() })
	go func() {
		if err := stream.Echo(conn); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}()
}

// streamed begins to send datagrams through the VIP.
func streamed(t *testing.T, s *scene.Scene) *stream.Stream {
	t.Helper()
	var conn *net.UDPConn
	must(t, s.Client.Do(func() (err error) {
		conn, err = stream.Dial(netip.AddrPortFrom(scene.VIP, echoPort))
		return err
	}))
	return stream.Start(conn, datagramEvery)
}

const datagramEvery = 5 * time.Millisecond

// TestHandOver plays the three planned changes of director. No datagram gets
// lost with DR. With NAT, the answer to what came in through the one director may
// find the other one at the servers' gateway, until both networks have heard who
// is in charge: 100 ms on this machine.
func TestHandOver(t *testing.T) {
	t.Run("NAT", func(t *testing.T) { handOver(t, scene.NAT, "10.0.1", int(100*time.Millisecond/datagramEvery)) })
	t.Run("DR", func(t *testing.T) { handOver(t, scene.DR, "10.0.0", 0) })
}

func handOver(t *testing.T, forward scene.Forward, network string, lost int) {
	s := build(t, scene.Options{Forward: forward, More: fmt.Sprintf(echoService, forward, network)})
	for _, r := range s.Real {
		echo(t, r)
	}
	must(t, s.Start())
	must(t, s.Ready(patience))
	a, b := s.Directors[0], s.Directors[1]
	foreign := addForeign(t, a)

	for _, change := range []struct {
		what string
		act  func()
		to   *scene.Director
	}{
		{"baton failover", func() { baton(t, a, "failover", "web") }, b},
		{"baton resume", func() { baton(t, a, "resume", "web") }, a},
		{"SIGTERM", func() { must(t, a.Stop()) }, b},
	} {
		load, datagrams := s.Load(workers, pause), streamed(t, s)
		time.Sleep(500 * time.Millisecond)
		began := time.Now()
		change.act()
		eventually(t, func() error { return owner(s, change.to) })
		t.Logf("%s: %s has the VIP after %s", change.what, change.to.Name, time.Since(began).Round(time.Millisecond))
		time.Sleep(1500 * time.Millisecond)
		must(t, owner(s, change.to))
		all, seen := load.Stop(), datagrams.Stop()
		// What is open at that moment breaks: the other director does not know it.
		atMost(t, change.what, all.Failed(time.Time{}), all, workers)
		t.Logf("%s: datagrams: %s", change.what, seen)
		if seen.Sent < 100 || seen.Lost > lost {
			t.Errorf("%s: datagrams: %s, not %d at most", change.what, seen, lost)
		}
	}

	if a.Process().Running() {
		t.Error("baton still runs after SIGTERM")
	}
	if err := a.Process().Wait(); err != nil {
		t.Errorf("baton ended with %v after SIGTERM", err)
	}
	if diff := cmp.Diff(table{foreign}, admTable(t, a)); diff != "" {
		t.Errorf("after a planned stop only the service of others is left (-want +got):\n%s", diff)
	}
	if _, err := a.Status(); err == nil || !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("the API after a planned stop: %v", err)
	}
}
