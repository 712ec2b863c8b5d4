//go:build vm

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"

	"baton/internal/api"
	"baton/test/lab"
)

// natScene is one director between a client and real servers that tell who asks
// them. Of the servers behind it, lost has no way to the client, as if another
// host were its gateway, and led has the director; arm is on the client's segment.
type natScene struct {
	*testing.T
	lab                    *lab.Lab
	client, lb, lost, arm  *lab.Host
	config, socket, folder string
	process                *lab.Process
}

// Each service has its own port; %s is what the services of lost have besides.
const natConfig = `state_dir: %[1]s/state
api: {socket: %[1]s/sock}
metrics: {listen: 127.0.0.1:9165}
defaults: {check: {interval: 500ms, rise: 1}}
routers:
  - {name: web, interface: eth0, id: 51, advert_interval: 100ms, addresses: [10.0.0.100/24]}
services:
  - {name: tcp4, address: 10.0.0.100:80, servers: [10.0.1.11:8080]%[2]s}
  - {name: ports, address: 10.0.0.100:5000-5001, servers: [10.0.1.11]%[2]s}
  - {name: udp4, address: 10.0.0.100:53, protocol: udp, servers: [10.0.1.11:8080]%[2]s}
  - {name: tcp6, address: "[fd00:a::100]:80", servers: ["[fd00:b::11]:8080"]%[2]s}
  - {name: udp6, address: "[fd00:a::100]:53", protocol: udp, servers: ["[fd00:b::11]:8080"]%[2]s}
  - {name: mark, fwmark: 7, servers: [10.0.1.11:8080]%[2]s}
  - {name: led, address: 10.0.0.100:81, servers: [10.0.1.12:8080]}
  - {name: arm, address: 10.0.0.100:82, servers: [10.0.0.31:8080]}
`

func newNATScene(t *testing.T) *natScene {
	t.Helper()
	l := lab.New(t)
	s := &natScene{T: t, lab: l, client: l.Host("client"), lb: l.Host("lb"), lost: l.Host("lost"), arm: l.Host("arm"), folder: l.Dir()}
	front, back, led := l.Bridge("front"), l.Bridge("back"), l.Host("led")
	s.client.Connect(front, "eth0", "10.0.0.9/24", "fd00:a::9/64")
	s.lb.Connect(front, "eth0", "10.0.0.1/24", "fd00:a::1/64", "fd00:a::100/64")
	s.lb.Connect(back, "eth1", "10.0.1.1/24", "fd00:b::1/64")
	s.lost.Connect(back, "eth0", "10.0.1.11/24", "fd00:b::11/64")
	led.Connect(back, "eth0", "10.0.1.12/24")
	led.Route("default", "10.0.1.1")
	s.arm.Connect(front, "eth0", "10.0.0.31/24")
	s.arm.Route("10.0.0.9/32", "10.0.0.1")
	for _, h := range []*lab.Host{s.lost, led, s.arm} {
		s.tell(h, 8080)
	}
	s.tell(s.lost, 5000)
	s.tell(s.lost, 5001)
	run(t, s.lb, "nft", "table ip theirs { chain before { type filter hook prerouting priority -150; tcp dport 90 meta mark set 7; }; }")
	s.config, s.socket = filepath.Join(s.folder, "baton.yaml"), filepath.Join(s.folder, "sock")
	return s
}

// tell answers on a host's port, over TCP and UDP, with the address of who asks.
func (s *natScene) tell(h *lab.Host, port int) {
	s.Helper()
	at := fmt.Sprintf(":%d", port)
	l, err := h.Listen("tcp", at)
	must(s.T, err)
	s.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = io.WriteString(conn, hostOf(conn.RemoteAddr())) // what is lost the client misses
				_ = conn.Close()
			}
		}
	}()
	packets, err := h.ListenPacket("udp", at)
	must(s.T, err)
	s.Cleanup(func() { packets.Close() })
	go func() {
		for {
			_, from, err := packets.ReadFrom(make([]byte, 64))
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = packets.WriteTo([]byte(hostOf(from)), from)
			}
		}
	}()
}

func hostOf(a net.Addr) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(a.String(), "["), "]")
	if strings.Count(host, ":") == 1 {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.TrimPrefix(host, "::ffff:")
}

// write writes the configuration.
func (s *natScene) write(more string) {
	s.Helper()
	must(s.T, os.WriteFile(s.config, fmt.Appendf(nil, natConfig, s.folder, more), 0o644))
}

func (s *natScene) baton(args ...string) string {
	s.Helper()
	return run(s.T, s.lb, batonPath, append(args, "--socket", s.socket)...)
}

func (s *natScene) status() (api.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client := api.Dial(s.socket)
	defer client.Close()
	return client.Status(ctx)
}

// ready waits until all servers are in service at the VIP.
func (s *natScene) ready() {
	s.Helper()
	eventually(s.T, func() error {
		st, err := s.status()
		if err != nil {
			return err
		}
		for _, svc := range st.Services {
			if !svc.Servers[0].InKernel {
				return fmt.Errorf("%s has no server: %s", svc.Name, svc.Servers[0].Reason)
			}
		}
		if len(st.Services) == 0 || !s.lb.Has("10.0.0.100") {
			return errors.New("not started")
		}
		return nil
	})
}

// ask asks a service and returns whom its server takes for the client.
func (s *natScene) ask(network, at string, patience time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := s.client.Dial(ctx, network, at)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if network == "udp" {
		if _, err := conn.Write([]byte("who?")); err != nil {
			return "", err
		}
	}
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

// expect fails the test if a service's server takes the client for somebody else.
func (s *natScene) expect(network, at, client string) {
	s.Helper()
	got, err := s.ask(network, at, lab.Patience(time.Second))
	if err != nil || got != client {
		s.Errorf("%s %s: its server sees %q, not %q: %v", network, at, got, client, err)
	}
}

// silent asks a service several times, all at once, and nobody must answer.
func (s *natScene) silent(network, at string) {
	s.Helper()
	const times = 6 // enough for explain to suspect something
	var asking sync.WaitGroup
	for range times {
		asking.Go(func() {
			if got, err := s.ask(network, at, time.Second); err == nil {
				s.Errorf("%s %s answers %q although the reply has no way back", network, at, got)
			}
		})
	}
	asking.Wait()
}

// hasTable reports whether the kernel has our table, without a program, which takes
// long to start where the processor is emulated.
func (s *natScene) hasTable() (has bool) {
	s.Helper()
	must(s.T, s.lb.Do(func() error {
		tables, err := new(nftables.Conn).ListTablesOfFamily(nftables.TableFamilyINet)
		has = slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == "baton" })
		return err
	}))
	return has
}

func (s *natScene) sysctl(key string) string {
	s.Helper()
	return strings.TrimSpace(run(s.T, s.lb, "sysctl", "-n", key))
}

func TestSourceNAT(t *testing.T) {
	s := newNATScene(t)
	redirects := s.lab.Capture(s.arm, "eth0", "icmp[icmptype] == icmp-redirect")
	s.write("")
	s.process = s.lb.Start(lab.Proc{Args: []string{batonPath, "run", "-c", s.config}, Log: filepath.Join(s.folder, "log")})
	s.ready()

	// Without: the failure, and its explanation.
	if s.hasTable() {
		t.Error("there is a table although no service has source_nat")
	}
	s.silent("tcp", "10.0.0.100:80")
	eventually(t, func() error {
		if text := s.baton("explain", "server", "tcp4", "10.0.1.11:8080"); !strings.Contains(text, "set source_nat: true") {
			return fmt.Errorf("explained as\n%s", text)
		}
		return nil
	})
	s.expect("tcp", "10.0.0.100:81", "10.0.0.9")
	for range 3 { // one-armed, and nobody tells the server of the shorter way
		s.expect("tcp", "10.0.0.100:82", "10.0.0.9")
	}
	must(t, redirects.Stop())
	if n := len(redirects.Packets()); n > 0 {
		t.Errorf("the director sent the one-armed server %d redirects", n)
	}
	if c := s.sysctl("net.ipv4.vs.conntrack"); c != "0" {
		t.Errorf("net.ipv4.vs.conntrack is %s although nothing needs it", c)
	}

	// With.
	s.write(", source_nat: true")
	s.baton("reload")
	// What somebody changes now is to be right again at the end.
	run(t, s.lb, "sysctl", "-qw", "net.ipv4.conf.all.send_redirects=1", "net.ipv4.conf.eth0.send_redirects=1")
	s.expect("tcp", "10.0.0.100:80", "10.0.1.1")
	s.expect("tcp", "10.0.0.100:5001", "10.0.1.1")
	s.expect("udp", "10.0.0.100:53", "10.0.1.1")
	s.expect("tcp", "[fd00:a::100]:80", "fd00:b::1")
	s.expect("udp", "[fd00:a::100]:53", "fd00:b::1")
	s.expect("tcp", "10.0.0.100:90", "10.0.1.1")
	s.expect("tcp", "10.0.0.100:81", "10.0.0.9") // the services beside it
	s.expect("tcp", "10.0.0.100:82", "10.0.0.9")

	// A firewall's reload.
	run(t, s.lb, "nft", "flush ruleset")
	began := time.Now()
	for !s.hasTable() && time.Since(began) < lab.Patience(patience) {
		time.Sleep(5 * time.Millisecond)
	}
	within(t, "repair of the flushed table", time.Since(began), resync+time.Second+slack)
	s.expect("tcp", "10.0.0.100:80", "10.0.1.1")
	if events := s.baton("events"); !strings.Contains(events, "nft flush ruleset") {
		t.Errorf("no event tells of the repair:\n%s", events)
	}

	lab.Eventually(t, time.Minute, func() error {
		if a, b := s.sysctl("net.ipv4.conf.all.send_redirects"), s.sysctl("net.ipv4.conf.eth0.send_redirects"); a != "0" || b != "0" {
			return fmt.Errorf("send_redirects is %s for all and %s for eth0", a, b)
		}
		return nil
	})
	must(t, s.process.Signal(syscall.SIGTERM))
	eventually(t, func() error {
		if s.hasTable() {
			return errors.New("the table outlives the planned stop")
		}
		return nil
	})
}
