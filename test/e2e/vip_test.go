//go:build vm

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/internal/api"
	"baton/test/lab"
	"baton/test/scene"
)

// vipWay is a way to forward, with the VIP that is for it.
type vipWay struct {
	name, vip, server string // of the server without its last number
	config            string // of each server
	up                string // options of baton realserver
	check             string // through the VIP
	hint              string // what explain says of a server that is not prepared
}

var vipWays = []vipWay{
	{
		"dr", "10.0.0.100", "10.0.0.", "forward: dr", "--forward dr", `http: {expect_body: web}`,
		`10.0.0.100 is probably missing on its lo. On the server, "baton realserver up --vip 10.0.0.100 --forward dr"`,
	},
	{
		"dr6", "fd00:a::100", "fd00:a::", "forward: dr", "--forward dr", `http: {expect_body: web}`,
		`fd00:a::100 is probably missing on its lo. On the server, "baton realserver up --vip fd00:a::100 --forward dr"`,
	},
	{
		"ipip", "10.0.0.101", "10.0.0.", "forward: tun", "--forward tun", `tcp: {}`,
		`rp_filter drops what comes out of it; a firewall may drop the tunnel, too. On the server, "baton realserver up --vip 10.0.0.101 --forward tun"`,
	},
	{"ipip6", "fd00:a::101", "fd00:a::", "forward: tun", "--forward tun", `tcp: {}`, `--vip fd00:a::101 --forward tun"`},
	{
		"gue", "10.0.0.102", "10.0.0.", "forward: tun, tunnel: {type: gue, port: 6080}", "--forward tun --tunnel gue --port 6080", `tcp: {send: "GET / HTTP/1.0\r\n\r\n", expect: HTTP/}`,
		`--vip 10.0.0.102 --forward tun --tunnel gue --port 6080"`,
	},
	{"4in6", "10.0.0.104", "fd00:a::", "forward: tun", "--forward tun --outer inet6", `tcp: {}`, `--forward tun --outer inet6"`},
}

// TestChecksThroughTheVIP has servers that answer at their own address, of which
// one is prepared for the VIP and the other is not. It passes on what is not for
// it, as routers do: what goes past the check must not be answered by the other
// server.
func TestChecksThroughTheVIP(t *testing.T) {
	s := build(t, scene.Options{Forward: scene.DR})
	a, b := s.Directors[0], s.Directors[1]
	good, bad := s.Real[0], s.Real[1]
	for i, h := range []*lab.Host{a.Host, b.Host, good.Host, bad.Host} {
		h.Address("eth0", fmt.Sprintf("fd00:a::%d/64", []int{1, 2, 11, 12}[i]))
	}
	for i, d := range s.Directors {
		must(t, os.WriteFile(d.Config, []byte(vipConfig(i, filepath.Dir(d.Config))), 0o644))
		// As many distributions have it.
		d.Host.Sysctl("net.ipv4.conf.all.rp_filter", "1")
	}
	for _, r := range []*scene.RealServer{good, bad} {
		run(t, r.Host, "ip", "address", "del", "10.0.0.100/32", "dev", "lo")
		serve(t, r.Host)
	}
	bad.Host.Sysctl("net.ipv4.ip_forward", "1")
	bad.Host.Sysctl("net.ipv6.conf.all.forwarding", "1")
	settleHashes(t, a.Host, bad.Host)
	prepareForVIPs(t, good)
	answerEcho(t, good.Host, "10.0.0.100:7")
	for _, d := range s.Directors {
		d.Start()
	}
	must(t, s.Lab.Err())

	eventually(t, func() error { return owner(s, a) })
	for _, d := range s.Directors {
		eventually(t, func() error { return errors.Join(sorted(d, good, true), sorted(d, bad, false)) })
		for _, w := range vipWays[:map[*scene.Director]int{a: len(vipWays), b: 1}[d]] {
			text := baton(t, d, "explain", "server", w.name, w.address(bad))
			if !strings.Contains(text, "it answers at its own address and not through the VIP") || !strings.Contains(text, w.hint) {
				t.Errorf("%s: baton explain server %s:\n%s", d.Name, w.name, text)
			}
		}
		if st := status(t, d); len(st.Foreign) > 0 {
			t.Errorf("%s: foreign %v", d.Name, st.Foreign)
		}
	}

	if text := baton(t, a, "explain", "service", "dr"); !strings.Contains(text, vipWays[0].hint) {
		t.Errorf("baton explain service dr:\n%s", text)
	}

	// A crash leaves the marked services, and they are adopted.
	marked := vipMarks(t, b.Host)
	b.Crash()
	if now := vipMarks(t, b.Host); now != marked || strings.Count(now, "-A -f") != 12 {
		t.Errorf("after a crash, there were\n%s\nand now are\n%s", marked, now)
	}
	b.Start()
	prepareForVIPs(t, bad)
	answerEcho(t, bad.Host, "10.0.0.100:7")
	for _, d := range s.Directors {
		eventually(t, func() error { return errors.Join(sorted(d, good, true), sorted(d, bad, true)) })
	}
	if now := vipMarks(t, b.Host); now != marked {
		t.Errorf("before a restart, there were\n%s\nand now are\n%s", marked, now)
	}

	// The VIP goes to the other director, and no server suffers.
	before := time.Now()
	baton(t, a, "failover", "web")
	eventually(t, func() error { return owner(s, b) })
	time.Sleep(lab.Patience(time.Second)) // a failure would take half of it
	if text := baton(t, b, "events", "--since", time.Since(before).String(), "--json"); strings.Contains(text, `"server"`) {
		t.Errorf("the failover changed servers:\n%s", text)
	}
	run(t, bad.Host, "ip", "address", "del", "10.0.0.100/32", "dev", "lo")
	for _, d := range s.Directors {
		eventually(t, func() error { return vipState(d, vipWays[0], bad, false) })
	}
	for _, d := range s.Directors {
		must(t, d.Stop())
		if text := run(t, d.Host, "ipvsadm", "-Ln"); strings.Count(text, "->") != 1 {
			t.Errorf("%s has left:\n%s", d.Name, text)
		}
	}
}

// vipConfig has each server checked in both ways. The standby has no services in
// the kernel but those of its checks, which foreign: remove must leave alone.
func vipConfig(i int, dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `node: %s
state_dir: %s/state
api: {socket: %s/baton.sock}
ipvs: {standby: cold, foreign: remove, resync: 500ms}
defaults:
  check: {interval: 1s, timeout: 900ms, rise: 1, fall: 2}
routers:
  - name: web
    interface: eth0
    id: 51
    priority: %d
    addresses: [10.0.0.100/24, 10.0.0.101/24, 10.0.0.102/24, 10.0.0.104/24]
    extra_addresses: ["fd00:a::100/64", "fd00:a::101/64"]
services:
  - name: echo
    address: 10.0.0.100:7
    protocol: udp
    forward: dr
    check: {udp: {send: "x", expect: "x"}, via: vip}
    servers: [10.0.0.11, 10.0.0.12]
`, filepath.Base(dir), dir, dir, 200-100*i)
	for _, w := range vipWays {
		fmt.Fprintf(&b, `  - name: %s
    address: "%s"
    check: [{tcp: {}}, {%s, via: vip}]
    servers: [{address: "%s11", %s}, {address: "%s12", %s}]
`, w.name, net.JoinHostPort(w.vip, "80"), w.check, w.server, w.config, w.server, w.config)
	}
	return b.String()
}

// address is a server as status and commands call it.
func (w vipWay) address(r *scene.RealServer) string {
	number := strings.TrimPrefix(r.Address.Addr().String(), "10.0.0.")
	return net.JoinHostPort(w.server+number, "80")
}

// prepareForVIPs does what the guides tell an administrator to do on a real server.
func prepareForVIPs(t *testing.T, r *scene.RealServer) {
	t.Helper()
	state := filepath.Join(t.TempDir(), r.Name)
	vips := map[string][]string{}
	for _, w := range vipWays {
		vips[w.up] = append(vips[w.up], w.vip)
	}
	for options, of := range vips {
		args := append([]string{"realserver", "up", "--state", state, "--vip", strings.Join(of, ",")}, strings.Fields(options)...)
		_, err := r.Host.Run(context.Background(), batonPath, args...)
		must(t, err)
	}
}

// settleHashes has the kernel learn of a smaller path MTU, in both families, before
// anything else does so. At the first one it draws the key of a hash and rewrites the
// function that did (net_get_random_once), and an emulated processor that runs the
// function at that moment dies of it. Tunnels have several learn at the same time.
func settleHashes(t *testing.T, from, router *lab.Host) {
	t.Helper()
	for _, route := range [][4]string{{"-4", "10.9.0.0/24", "10.0.0.12", "10.0.0.11"}, {"-6", "fd00:9::/64", "fd00:a::12", "fd00:a::11"}} {
		target := strings.Replace(strings.Replace(route[1], "0/24", "1", 1), "::/64", "::1", 1)
		run(t, router, "ip", route[0], "route", "add", route[1], "via", route[3], "mtu", "1280")
		run(t, from, "ip", route[0], "route", "add", route[1], "via", route[2])
		eventually(t, func() error {
			_, _ = from.Run(context.Background(), "ping", route[0], "-c1", "-W1", "-s1400", "-Mdo", target) // which nobody answers
			if text := run(t, from, "ip", route[0], "route", "get", target); !strings.Contains(text, "mtu 1280") {
				return fmt.Errorf("the path to %s is still: %s", target, text)
			}
			return nil
		})
		run(t, from, "ip", route[0], "route", "del", route[1])
	}
	time.Sleep(lab.Patience(20 * time.Millisecond)) // the rewriting is done later (once_deferred)
}

// answerEcho answers datagrams at one address.
func answerEcho(t *testing.T, h *lab.Host, address string) {
	t.Helper()
	conn, err := h.ListenPacket("udp", address)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buf[:n], from) // one that cannot be sent is missed by the check
		}
	}()
}

// sorted returns nil if a director says of a server what it should in all services.
func sorted(d *scene.Director, r *scene.RealServer, up bool) error {
	errs := []error{vipServer(d, "echo", strings.Replace(r.Address.String(), ":80", ":7", 1), func(s api.RealServer) error {
		if want := map[bool]string{true: "up", false: "down"}[up]; s.State != want {
			return fmt.Errorf("is %s: %s", s.State, s.Reason)
		}
		return nil
	})}
	for _, w := range vipWays {
		errs = append(errs, vipState(d, w, r, up))
	}
	return errors.Join(errs...)
}

// vipState returns nil if the plain check of a server says up and those through the
// VIP say what they should.
func vipState(d *scene.Director, w vipWay, r *scene.RealServer, up bool) error {
	return vipServer(d, w.name, w.address(r), func(s api.RealServer) error {
		if len(s.Checks) != 2 {
			return fmt.Errorf("has %d results: %s", len(s.Checks), s.Reason)
		}
		for _, c := range s.Checks {
			if want := up || c.Via == ""; c.Up != want {
				return fmt.Errorf("%s %q is up: %v: %s", c.Kind, c.Via, c.Up, c.Detail)
			}
			if through := strings.Contains(c.Detail, ", through the VIP to the server "); through != (c.Via == "vip") {
				return fmt.Errorf("%s %q: %s", c.Kind, c.Via, c.Detail)
			}
		}
		if want := map[bool]string{true: "up", false: "down"}[up]; s.State != want {
			return fmt.Errorf("is %s: %s", s.State, s.Reason)
		}
		return nil
	})
}

func vipServer(d *scene.Director, service, address string, check func(api.RealServer) error) error {
	st, err := d.Status()
	if err != nil {
		return err
	}
	for _, svc := range st.Services {
		for _, s := range svc.Servers {
			if svc.Name == service && s.Address == address {
				if err := check(s); err != nil {
					return fmt.Errorf("%s: %s of %s %w", d.Name, address, service, err)
				}
				return nil
			}
		}
	}
	return fmt.Errorf("%s: there is no %s of %s", d.Name, address, service)
}

// vipMarks are the services by mark in the kernel, without counters.
func vipMarks(t *testing.T, h *lab.Host) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(run(t, h, "ipvsadm", "-Sn")) {
		if strings.Contains(line, "-f ") {
			out.WriteString(line)
		}
	}
	return out.String()
}
