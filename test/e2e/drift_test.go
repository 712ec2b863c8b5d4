//go:build vm

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/api"
	"baton/test/scene"
)

// driftConfig has every setting that somebody could change. The address
// 10.0.0.255 is a broadcast one, which the kernel takes for no server.
const driftConfig = `node: lb-a
state_dir: %[1]s/state
api: {socket: %[1]s/baton.sock}
metrics: {listen: 127.0.0.1:9165}
ipvs: {timeouts: {tcp: 15m, tcp_fin: 2m, udp: 5m}}
defaults: {service: {check: {none: {}}}}
routers:
  - name: web
    interface: eth0
    id: 51
    advert_interval: 500ms
    addresses: [10.0.0.100/24, {address: 10.0.1.254/24, interface: eth1}]
    connection_sync: {interface: eth0, id: 51}
services:
  - name: http
    address: 10.0.0.100:80
    scheduler: wrr
    persistence: {timeout: 300s, netmask: 24}
    servers: [{address: 10.0.1.11:80, weight: 3, upper: 1000, lower: 800}, {address: 10.0.1.12:80, weight: 2}]
  - name: tunnels
    address: 10.0.0.100:81
    forward: tun
    servers:
      - {address: 10.0.1.11, tunnel: {type: gue, port: 6080}}
      - {address: 10.0.1.12, tunnel: {type: gue, port: 6080}}
      - {address: 10.0.1.13, tunnel: {type: gue, port: 6080}}
  - {name: plain, address: "10.0.0.100:82", servers: [10.0.1.11:80, 10.0.1.12:80]}
  - {name: hash, address: "10.0.0.100:83", scheduler: mh, scheduler_flags: [mh-port, mh-fallback], servers: [10.0.1.11:80]}
  - {name: dns, address: "10.0.0.100:53", protocol: udp, scheduler: rr, one_packet: true, servers: [10.0.1.11:53]}
  - name: sip
    address: 10.0.0.100:5060
    protocol: udp
    scheduler: rr
    persistence: {timeout: 300s}
    persistence_engine: sip
    servers: [10.0.1.11:5060]
  - name: six
    address: "[fd00:a::100]:80"
    persistence: {timeout: 300s, netmask: 64}
    servers: ["[fd00:b::11]:80"]
  - {name: ftp, address: "10.0.0.100:21", servers: [10.0.1.11:21]}
  - {name: odd, address: "10.0.0.100:84", servers: [10.0.0.255:80, 10.0.1.11:80]}
  - name: local
    address: 10.0.0.100:85
    scheduler: rr
    servers: [10.0.0.1:85, {address: 127.0.0.1, forward: dr}, {address: 10.0.1.1, forward: tun}]
  - name: local6
    address: "[fd00:a::100]:85"
    scheduler: rr
    servers: ["[fd00:a::1]:8585", {address: "::1", forward: dr}, {address: "fd00:b::1", forward: tun}]
`

// driftServices is how many services that are.
const driftServices = 11

// startDrift starts one director with that configuration.
func startDrift(t *testing.T) (*scene.Scene, *scene.Director) {
	t.Helper()
	s := build(t, scene.Options{IPv6: true})
	d := s.Directors[0]
	must(t, os.WriteFile(d.Config, fmt.Appendf(nil, driftConfig, filepath.Dir(d.Config)), 0o644))
	d.Start()
	eventually(t, func() error {
		st, err := d.Status()
		if err == nil && (len(st.Services) != driftServices || !st.Services[0].Servers[0].InKernel || !d.HasVIP()) {
			err = fmt.Errorf("not yet: %+v", st.Problems)
		}
		return err
	})
	return s, d
}

// wholeTable is all that ipvsadm knows of a director's table but counters: the
// services, the thresholds and the timeouts.
func wholeTable(t *testing.T, d *scene.Director) []string {
	t.Helper()
	lines := strings.Split(ipvsadm(t, d, "-Sn"), "\n")
	service := ""
	for line := range strings.Lines(ipvsadm(t, d, "-Ln --thresholds")) {
		switch f := strings.Fields(line); {
		case f[0] == "TCP", f[0] == "UDP":
			service = line
		case f[0] == "->" && len(f) == 6: // long addresses have a line of their own
			lines = append(lines, fmt.Sprint(service, f[:4])) // not the connections
		}
	}
	slices.Sort(lines)
	return append(lines, ipvsadm(t, d, "-L --timeout"))
}

// foreignChange is something that an administrator or another program does.
type foreignChange struct {
	command string // arguments of ipvsadm
	told    string // in the history, once; empty: that is no drift
}

// foreignChanges come in rounds, each between two comparisons with the kernel or
// so.
var foreignChanges = []struct {
	changes []foreignChange
	within  time.Duration
}{
	{[]foreignChange{
		{"-d -t 10.0.0.100:80 -r 10.0.1.12:80", "tcp 10.0.0.100:80: server 10.0.1.12:80 missing"},
		{"-a -t 10.0.0.100:80 -r 10.0.1.99:80 -m -w 5", "tcp 10.0.0.100:80: server 10.0.1.99:80 unexpected"},
		{"-e -t 10.0.0.100:80 -r 10.0.1.11:80 -m -w 42 -x 1000 -y 800", "server 10.0.1.11:80 changed: weight 42, not 3"},
		{"-e -u 10.0.0.100:53 -r 10.0.1.11:53 -g -w 1", "server 10.0.1.11:53 changed: forward dr, not nat"},
	}, driftSoon},
	{[]foreignChange{
		{"-D -u 10.0.0.100:5060", "udp 10.0.0.100:5060: service missing"},
		{"-E -t 10.0.0.100:80 -s rr -p 300 -M 255.255.255.0", "service changed: scheduler rr, not wrr"},
		{"-E -t 10.0.0.100:83 -s mh -b mh-port", "service changed: flags mh-port, not mh-fallback,mh-port"},
		{"-E -u 10.0.0.100:53 -s rr", "service changed: flags none, not one-packet"},
	}, driftSoon},
	{[]foreignChange{
		{"-E -t 10.0.0.100:80 -s wrr -p 60 -M 255.255.255.0", "service changed: persistence timeout 60, not 300"},
		{"-E -u 10.0.0.100:5060 -s rr -p 300", "service changed: persistence engine none, not sip"},
		{"-E -t [fd00:a::100]:80 -s wlc -p 300 -M 48", "service changed: persistence netmask 48, not 64"},
		{"--set 60 0 0", "connection timeouts changed: tcp 1m0s, not 15m0s"},
	}, driftSoon},
	{[]foreignChange{
		{"-Z", ""},
		{"-E -t 10.0.0.100:80 -s wrr -p 300 -M 255.0.255.0", "service changed: persistence netmask 0, not 24"},
		{"-E -t 10.0.0.100:82 -s wlc -p 300", "service changed: flags persistent, not none; persistence timeout 300, not 0"},
		{"--stop-daemon master", "somebody had stopped the connection sync daemon"},
	}, driftSoon},
	// What /proc/net/ip_vs does not show is seen when it is its turn to be read.
	{[]foreignChange{
		{"-e -t 10.0.0.100:80 -r 10.0.1.12:80 -m -w 2 -x 7 -y 5", "server 10.0.1.12:80 changed: upper 7, not 0; lower 5, not 0"},
		{"-e -t 10.0.0.100:81 -r 10.0.1.11:81 -i -w 1 --tun-type gue --tun-port 6081 --tun-nocsum", "server 10.0.1.11:81 changed: tunnel gue port 6081, not gue port 6080"},
		{"-e -t 10.0.0.100:81 -r 10.0.1.12:81 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum", "server 10.0.1.12:81 changed: tunnel gue port 6080 csum, not gue port 6080"},
		{"-e -t 10.0.0.100:81 -r 10.0.1.13:81 -i -w 1 --tun-type ipip", "server 10.0.1.13:81 changed: tunnel ipip, not gue port 6080"},
	}, 30*resync + driftSoon},
}

// driftSoon is a second and the time between two comparisons.
const driftSoon = resync + time.Second + 2*slack

// TestDrift: what others do to our services is undone in time, counted, and told;
// what they have beside them is theirs.
func TestDrift(t *testing.T) {
	s, d := startDrift(t)
	addForeign(t, d)
	time.Sleep(2 * resync) // a daemon of a new owner starts in two steps
	drift := func() float64 { return scrape(t, d).one(t, "baton_ipvs_drift_total") }
	want := wholeTable(t, d)
	n := drift()
	if n != 0 {
		t.Errorf("before anybody has touched the table, the drift is %v", n)
	}
	// undone waits for a drift of n, since a change was made, and looks.
	undone := func(what string, began time.Time, limit time.Duration) {
		t.Helper()
		eventually(t, func() error {
			time.Sleep(100 * time.Millisecond) // looking costs the director time
			if got := drift(); got != n {
				return fmt.Errorf("%s: the drift is %v, not %v", what, got, n)
			}
			return nil
		})
		within(t, "repairing "+what, time.Since(began), limit)
		if diff := cmp.Diff(want, wholeTable(t, d)); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", what, diff)
		}
	}
	for _, round := range foreignChanges {
		var commands []string
		for _, c := range round.changes {
			ipvsadm(t, d, c.command)
			commands = append(commands, c.command)
			if c.told != "" {
				n++
			}
		}
		undone("ipvsadm "+strings.Join(commands, "; "), time.Now(), round.within)
	}

	// All of it, and another program's table in its place.
	other := filepath.Join(t.TempDir(), "rules")
	must(t, os.WriteFile(other, []byte("-A -t 10.0.0.200:8080 -s rr\n-a -t 10.0.0.200:8080 -r "+foreignServer+" -m -w 7\n"), 0o644))
	began := time.Now()
	run(t, d.Host, "sh", "-c", "ipvsadm -C; ipvsadm -R <"+other)
	n += driftServices
	undone("ipvsadm -C; ipvsadm -R", began, driftSoon)

	time.Sleep(resync)
	if got := drift(); got != n {
		t.Errorf("another comparison later the drift is %v, not %v", got, n)
	}
	assertTold(t, d)
	assertOdd(t, d)
	assertOurs(t, d)
	assertLocal(t, s, d)
	assertFTP(t, s)
}

// assertTold looks into the history: what was found, and that it was put right.
func assertTold(t *testing.T, d *scene.Director) {
	t.Helper()
	events := baton(t, d, "events", "-n", "1000")
	rounds := [][]foreignChange{{{"-C", "and 6 more differences"}}}
	for _, round := range foreignChanges {
		rounds = append(rounds, round.changes)
	}
	for _, c := range slices.Concat(rounds...) {
		if c.told != "" && strings.Count(events, c.told) != 1 {
			t.Errorf("after ipvsadm %s the history has %q %d times, not once", c.command, c.told, strings.Count(events, c.told))
		}
	}
	told := 0
	for line := range strings.Lines(events) {
		if strings.Contains(line, "ipvs table: changed by somebody else → put right: ") ||
			strings.Contains(line, "ipvs table: changed by somebody else → partly put right: ") && strings.Contains(line, "10.0.0.255") {
			told++
		}
	}
	if told <= len(foreignChanges) || t.Failed() {
		t.Errorf("drift was told %d times in\n%s", told, events)
	}
}

// assertOdd looks at the service with a server that the kernel refuses: it stands
// alone with that, and is explained.
func assertOdd(t *testing.T, d *scene.Director) {
	t.Helper()
	for _, svc := range status(t, d).Services {
		if refused := svc.Problem != ""; refused != (svc.Name == "odd") {
			t.Errorf("the problem of service %s is %q", svc.Name, svc.Problem)
		}
	}
	const why = "add server 10.0.0.255:80 to tcp 10.0.0.100:84: the kernel takes only unicast addresses"
	if got := baton(t, d, "explain", "service", "odd"); !strings.Contains(got, why) {
		t.Errorf("the kernel's refusal is not explained:\n%s", got)
	}
	if got := baton(t, d, "status"); !strings.Contains(got, "service odd: "+why) || !strings.Contains(got, "10.0.0.200:8080") {
		t.Errorf("the status does not show the kernel's refusal, or not the foreign service:\n%s", got)
	}
	wantForeign := []api.ForeignService{{Address: "10.0.0.200:8080", Protocol: "tcp", Scheduler: "rr", Servers: 1}}
	if diff := cmp.Diff(wantForeign, status(t, d).Foreign); diff != "" {
		t.Errorf("foreign services in status (-want +got):\n%s", diff)
	}
	if n := scrape(t, d).one(t, "baton_ipvs_foreign_services"); n != 1 {
		t.Errorf("baton_ipvs_foreign_services is %v", n)
	}
}

// assertOurs has the configuration name the foreign service: it is ours from then
// on, as configured, and that is no drift.
func assertOurs(t *testing.T, d *scene.Director) {
	t.Helper()
	before := scrape(t, d)
	edit(t, d, "  - name: six\n", "  - {name: theirs, address: \"10.0.0.200:8080\", scheduler: wlc, servers: [{address: 10.0.1.11:80, weight: 9}]}\n  - name: six\n")
	if st := hangUp(t, d, reloaded); st.LastError != "" {
		t.Fatal(st.LastError)
	}
	want := virtual{Key: foreignKey, Scheduler: "wlc", Servers: []server{{Address: foreignServer, Forward: scene.NAT, Weight: 9}}}
	have, err := kernelTable(d.Host)
	must(t, err)
	if diff := cmp.Diff(&want, have.find(foreignKey)); diff != "" {
		t.Errorf("the service that was foreign (-want +got):\n%s", diff)
	}
	wrote := writes(before)
	for _, op := range []string{"edit_service", "edit_server"} {
		wrote[fmt.Sprintf("baton_ipvs_writes_total{op=%q}", op)]++
	}
	after := scrape(t, d)
	if diff := cmp.Diff(wrote, writes(after)); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if b, a := before.one(t, "baton_ipvs_drift_total"), after.one(t, "baton_ipvs_drift_total"); a != b {
		t.Errorf("the drift went from %v to %v", b, a)
	}
}

// assertLocal connects to the services whose servers are the director itself,
// once for each method of forwarding.
func assertLocal(t *testing.T, s *scene.Scene, d *scene.Director) {
	t.Helper()
	run(t, d.Host, "ip", "address", "add", "fd00:a::100/128", "dev", "eth0", "nodad")
	for _, l := range []string{":85", ":8585"} {
		greet(t, d.Host, l, func(c *greeter) { c.say("welcome") })
	}
	for _, vip := range []string{"10.0.0.100:85", "[fd00:a::100]:85"} {
		for range 3 {
			c := dialGreeter(t, s.Client, vip)
			if got := c.hear(); got != "welcome" {
				t.Errorf("%s: the director said %q", vip, got)
			}
		}
	}
}

// assertFTP transfers a file in passive mode: the kernel has to translate the
// server's address inside of the control connection.
func assertFTP(t *testing.T, s *scene.Scene) {
	t.Helper()
	const text = "what the file says"
	web := s.Real[0].Host
	greet(t, web, "10.0.1.11:50000", func(c *greeter) { c.say(text) })
	greet(t, web, "10.0.1.11:21", func(c *greeter) {
		c.say("220 ready")
		if got := c.hear(); got == "PASV" {
			c.say("227 Entering Passive Mode (10,0,1,11,195,80).")
		}
		c.hear() // until the client goes
	})
	control := dialGreeter(t, s.Client, "10.0.0.100:21")
	if got := control.hear(); got != "220 ready" {
		t.Fatalf("the server greets with %q", got)
	}
	control.say("PASV")
	answer := control.hear()
	var p1, p2 int
	if _, err := fmt.Sscanf(answer, "227 Entering Passive Mode (10,0,0,100,%d,%d).", &p1, &p2); err != nil {
		t.Fatalf("the answer to PASV does not name the VIP: %q", answer)
	}
	if got := dialGreeter(t, s.Client, fmt.Sprintf("10.0.0.100:%d", p1<<8|p2)).hear(); got != text {
		t.Errorf("the file says %q", got)
	}
	if _, err := os.Stat("/sys/module/ip_vs_ftp"); err != nil {
		t.Error(err)
	}
}
