//go:build vm

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"baton/internal/api"
	"baton/test/lab"
	"baton/test/scene"
)

// The services of this test. All are on NAT; where a service has many servers they
// are ports of one host.
var (
	byAgents  = netip.AddrPortFrom(scene.FrontVIP[0], 7100)
	slowly    = netip.AddrPortFrom(scene.FrontVIP[0], 7101)
	manyPorts = netip.AddrPortFrom(scene.FrontVIP[0], 7102)
	spares    = netip.AddrPortFrom(scene.FrontVIP[0], 7103)
)

const (
	firstOfMany = 9001 // ten servers, whose checks go a hundred ports further
	firstSpare  = 9201 // two servers, a backup and a fallback
)

func weightsConfig(dir string) string {
	check := func(port int) string {
		return fmt.Sprintf("check: {tcp: {}, connect: {port: %d}, interval: 200ms, fall: 2, rise: 1}", port)
	}
	var many strings.Builder
	for i := range 10 {
		fmt.Fprintf(&many, "      - {address: 10.0.1.11:%d, %s}\n", firstOfMany+i, check(firstOfMany+100+i))
	}
	return fmt.Sprintf(`  - name: agents
    address: %s
    scheduler: wrr
    agent: {port: 8078, interval: 300ms}
    servers: [10.0.1.11, 10.0.1.12, 10.0.1.13]
  - name: slow
    address: %s
    scheduler: wrr
    slow_start: 120s
    servers:
      - {address: 10.0.1.11, check: {tcp: {}}}
      - {address: 10.0.1.12, check: {file: {path: %s/weight}, interval: 200ms, rise: 1, fall: 1}}
  - name: many
    address: %s
    scheduler: rr
    panic_threshold: 50
    servers:
%s  - name: spares
    address: %s
    scheduler: rr
    quorum:
      min: 2
      up: [/bin/sh, -c, 'echo "$BATON_SERVICE $BATON_STATE" >>%s/quorum']
      down: [/bin/sh, -c, 'echo "$BATON_SERVICE $BATON_STATE" >>%s/quorum']
    fallback: {address: 10.0.1.11:%d, %s}
    servers:
      - {address: 10.0.1.11:%d, %s}
      - {address: 10.0.1.11:%d, %s}
      - {address: 10.0.1.11:%d, backup: true, %s}
metrics: {listen: 127.0.0.1:9165}
`, byAgents, slowly, dir, manyPorts, many.String(), spares, dir, dir, firstSpare+3, check(firstSpare+103),
		firstSpare, check(firstSpare+100), firstSpare+1, check(firstSpare+101), firstSpare+2, check(firstSpare+102))
}

// TestWeights has weights follow agents, files and time, and a pool that stays
// usable when most of its servers fail.
func TestWeights(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "weight"), []byte("1\n"), 0o644))
	f, err := scene.NewFarm(lab.New(t), batonPath, trafficHead()+weightsConfig(dir))
	must(t, err)
	for _, s := range f.Servers {
		t.Cleanup(s.Close)
		must(t, s.Listen("tcp", netip.AddrPortFrom(serverOf(f, s), byAgents.Port())))
		must(t, s.Listen("tcp", netip.AddrPortFrom(serverOf(f, s), slowly.Port())))
	}
	p := newPorts(t, f)
	for i := range 10 {
		p.serve(firstOfMany + i)
		p.open(firstOfMany + 100 + i)
	}
	for i := range 4 {
		p.serve(firstSpare + i)
		p.open(firstSpare + 100 + i)
	}
	agents := speakingAgents(t, f)
	f.Director.Start()
	must(t, f.Ready(patience))
	began := time.Now()
	for _, part := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"Agents", func(t *testing.T) { testAgents(t, f, agents) }},
		{"SlowStart", func(t *testing.T) { testSlowStart(t, f, filepath.Join(dir, "weight")) }},
		{"Panic", func(t *testing.T) { testPanic(t, f, p) }},
		{"Backups", func(t *testing.T) { testBackups(t, f, p, filepath.Join(dir, "quorum")) }},
	} {
		t.Run(part.name, part.run)
		t.Logf("%s: after %s", part.name, time.Since(began).Round(10*time.Millisecond))
	}
}

func serverOf(f *scene.Farm, s *scene.Answerer) netip.Addr {
	for i := range f.Servers {
		if f.Servers[i] == s {
			return scene.ServerAddress(i, false)
		}
	}
	panic("no server of the farm")
}

// agents are the agents of the servers, which say what they are told to.
type agents struct {
	mu    sync.Mutex
	words []string // by server; empty: silence
}

func (a *agents) say(server int, word string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.words[server] = word
}

func (a *agents) word(server int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.words[server]
}

func speakingAgents(t *testing.T, f *scene.Farm) *agents {
	t.Helper()
	a := &agents{words: make([]string, len(f.Servers))}
	for i, s := range f.Servers {
		a.words[i] = "ready up 100%\n"
		l, err := s.Host.Listen("tcp", netip.AddrPortFrom(scene.ServerAddress(i, false), 8078).String())
		must(t, err)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil {
					_, _ = io.WriteString(c, a.word(i)) // who hangs up hears nothing
					_ = c.Close()
				}
			}
		}()
	}
	return a
}

// ports are servers on many ports of the first host.
type ports struct {
	t    *testing.T
	f    *scene.Farm
	held map[int]*scene.Answerer
}

func newPorts(t *testing.T, f *scene.Farm) *ports {
	p := &ports{t: t, f: f, held: make(map[int]*scene.Answerer)}
	t.Cleanup(func() {
		for _, a := range p.held {
			a.Close()
		}
	})
	return p
}

func (p *ports) serve(port int) {
	p.t.Helper()
	a := &scene.Answerer{Name: "s1", Host: p.f.Servers[0].Host}
	must(p.t, a.Listen("tcp", netip.AddrPortFrom(scene.ServerAddress(0, false), uint16(port))))
	p.held[port] = a
}

// open and shut are for checks only.
func (p *ports) open(list ...int) {
	p.t.Helper()
	for _, port := range list {
		p.serve(port)
	}
}

func (p *ports) shut(list ...int) {
	for _, port := range list {
		p.held[port].Close()
		delete(p.held, port)
	}
}

// service is a service in the status of the director.
func service(t *testing.T, f *scene.Farm, name string) api.Service {
	t.Helper()
	for _, svc := range status(t, f.Director).Services {
		if svc.Name == name {
			return svc
		}
	}
	t.Fatalf("there is no service %s", name)
	return api.Service{}
}

// kernelWeights waits until the kernel, as ipvsadm sees it, has servers with these
// weights, in the order of their addresses.
func kernelWeights(t *testing.T, f *scene.Farm, at netip.AddrPort, want ...uint32) {
	t.Helper()
	eventually(t, func() error {
		have, err := kernelTable(f.Director.Host)
		if err != nil {
			return err
		}
		v := have.find("tcp " + at.String())
		if v == nil {
			return fmt.Errorf("%s is not in the kernel", at)
		}
		var got []uint32
		for _, s := range v.Servers {
			got = append(got, s.Weight)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("%s has weights %v, want %v", at, got, want)
		}
		return nil
	})
}

// inService returns nil if the servers that the kernel gives new connections to are
// those at these ports.
func inService(f *scene.Farm, at netip.AddrPort, ports []int) error {
	have, err := kernelTable(f.Director.Host)
	if err != nil {
		return err
	}
	var got []int
	if v := have.find("tcp " + at.String()); v != nil {
		for _, s := range v.Servers {
			if s.Weight > 0 {
				got = append(got, int(netip.MustParseAddrPort(s.Address).Port()))
			}
		}
	}
	if slices.Sort(got); !slices.Equal(got, ports) {
		return fmt.Errorf("%s is served at %v, not %v", at, got, ports)
	}
	return nil
}

// portsAsked asks n times and counts the ports that answered.
func portsAsked(t *testing.T, f *scene.Farm, at netip.AddrPort, n int) map[int]int {
	t.Helper()
	out := map[int]int{}
	for range n {
		out[int(ask(t, f, 0, at).To.Port())]++
	}
	return out
}

// share fails the test if a server's part of the requests is more than 5 % off.
func share(t *testing.T, what string, counts map[string]int, server string, want float64) {
	t.Helper()
	all := 0
	for _, n := range counts {
		all += n
	}
	got := float64(counts[server]) / float64(all)
	t.Logf("%s: %s has %.1f %% of %d requests, wanted %.1f %%", what, server, 100*got, all, 100*want)
	if math.Abs(got-want) > 0.05 {
		t.Errorf("%s: %s has %.1f %% of %d requests, not %.1f %%: %v", what, server, 100*got, all, 100*want, counts)
	}
}

func testAgents(t *testing.T, f *scene.Farm, a *agents) {
	kernelWeights(t, f, byAgents, 100, 100, 100)
	a.say(1, "up 50%\n")
	a.say(2, "25% # busy\n")
	kernelWeights(t, f, byAgents, 100, 50, 25)
	counts := count(turns(t, f, byAgents, 175))
	share(t, "with 100, 50 and 25 %", counts, "s1", 100./175)
	share(t, "with 100, 50 and 25 %", counts, "s2", 50./175)
	share(t, "with 100, 50 and 25 %", counts, "s3", 25./175)

	a.say(0, "") // silence changes nothing
	a.say(1, "down # disk full\n")
	a.say(2, "drain\n")
	eventually(t, func() error {
		st := service(t, f, "agents").Servers
		if st[0].State != "up" || st[0].Agent == nil || st[0].Agent.Last.Failures == 0 || st[1].State != "down" || st[2].State != "draining" {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	if counts := count(turns(t, f, byAgents, 20)); counts["s1"] != 20 {
		t.Errorf("with one down and one draining %v answer", counts)
	}
	text := baton(t, f.Director, "explain", "server", "agents", "10.0.1.11:7100")
	if !strings.Contains(text, "its last word holds: ready up 100%") {
		t.Errorf("explain says\n%s", text)
	}
	a.say(1, "up\n")
	a.say(2, "ready\n")
	kernelWeights(t, f, byAgents, 100, 50, 25) // what was not taken back holds
}

func testSlowStart(t *testing.T, f *scene.Farm, file string) {
	kernelWeights(t, f, slowly, 100, 100)
	must(t, os.WriteFile(file, []byte("3\n"), 0o644)) // at once: nothing comes up by it
	kernelWeights(t, f, slowly, 100, 300)
	must(t, os.WriteFile(file, []byte("-1\n"), 0o644))
	kernelWeights(t, f, slowly, 100)
	must(t, os.WriteFile(file, []byte("3\n"), 0o644))
	weight := func() uint32 { return service(t, f, "slow").Servers[1].KernelWeight }
	eventually(t, func() error {
		if w := weight(); w < 15 {
			return fmt.Errorf("weight %d", w)
		}
		return nil
	})
	// The weight stays the same for six seconds at a time; a step may come in between.
	for try := 0; ; try++ {
		before := weight()
		counts := count(turns(t, f, slowly, 115))
		after := weight()
		if before > 60 {
			t.Errorf("seconds after it came up its weight is %d of 300", before)
		}
		if before == after {
			share(t, fmt.Sprintf("with weights 100 and %d", before), counts, "s2", float64(before)/float64(100+before))
			break
		}
		if try == 3 {
			t.Fatalf("the weight does not stay the same for 115 requests: %d, then %d", before, after)
		}
	}
	if text := baton(t, f.Director, "explain", "server", "slow", "10.0.1.12:7101"); !strings.Contains(text, "It starts slowly (slow_start: 2m0s)") {
		t.Errorf("explain says\n%s", text)
	}
}

func testPanic(t *testing.T, f *scene.Farm, p *ports) {
	if got := len(portsAsked(t, f, manyPorts, 20)); got != 10 {
		t.Errorf("%d servers answer, not 10", got)
	}
	for i := range 6 { // six of ten checks fail, one after the other or not
		p.shut(firstOfMany + 100 + i)
	}
	var kept int
	eventually(t, func() error {
		svc, down := service(t, f, "many"), 0
		kept = 0
		for _, s := range svc.Servers {
			if s.State == "down" {
				down++
			}
			if s.Kept {
				kept++
			}
		}
		if down != 6 || !svc.Panic || !svc.Up {
			return fmt.Errorf("%d are down, panic %v, up %v", down, svc.Panic, svc.Up)
		}
		return nil
	})
	if kept == 0 {
		t.Error("no server that fails is kept")
	}
	if got := len(portsAsked(t, f, manyPorts, 30)); got != 4+kept || got < 5 {
		t.Errorf("%d servers answer, not the 4 that are up and the %d that are kept", got, kept)
	}
	p.shut(firstOfMany+106, firstOfMany+107, firstOfMany+108, firstOfMany+109)
	eventually(t, func() error {
		for _, s := range service(t, f, "many").Servers {
			if s.State != "down" {
				return fmt.Errorf("%s is %s", s.Address, s.State)
			}
		}
		return nil
	})
	if got := len(portsAsked(t, f, manyPorts, 30)); got != 4+kept {
		t.Errorf("with all checks failing %d servers answer, not %d", got, 4+kept)
	}
	eventually(t, func() error {
		if m := scrape(t, f.Director); m.one(t, `baton_service_panic{service="many"}`) != 1 || m.one(t, `baton_service_up{service="many"}`) != 1 {
			return errors.New("the metrics do not show a panic of a service that is up")
		}
		return nil
	})
	if text := baton(t, f.Director, "explain", "service", "many"); !strings.Contains(text, "It panics: fewer than 50 % of its servers are up") {
		t.Errorf("explain says\n%s", text)
	}
	for i := range 10 {
		p.open(firstOfMany + 100 + i)
	}
	eventually(t, func() error {
		if svc := service(t, f, "many"); svc.Panic || svc.Quorum.Weight != 10 {
			return fmt.Errorf("panic %v, weight %d", svc.Panic, svc.Quorum.Weight)
		}
		return nil
	})
	if text := baton(t, f.Director, "events"); !strings.Contains(text, "service many: normal → panic") || !strings.Contains(text, "service many: panic → normal") {
		t.Errorf("the events do not tell of the panic and its end:\n%s", text)
	}
}

func testBackups(t *testing.T, f *scene.Farm, p *ports, told string) {
	const first, second, backup, fallback = firstSpare, firstSpare + 1, firstSpare + 2, firstSpare + 3
	answers := func(what string, want ...int) {
		t.Helper()
		eventually(t, func() error { return inService(f, spares, want) })
		got := portsAsked(t, f, spares, 6)
		for _, port := range want {
			if got[port] == 0 || len(got) != len(want) {
				t.Errorf("%s: %v answer, not %v", what, got, want)
			}
		}
	}
	answers("all is well", first, second)
	p.shut(second + 100)
	answers("one primary is too few", first, backup)
	if svc := service(t, f, "spares"); !svc.BackupsActive || !svc.Up || svc.FallbackActive {
		t.Errorf("%+v", svc)
	}
	// The fallback is checked, too: one that is down is of no use.
	p.shut(fallback + 100)
	eventually(t, func() error {
		if fb := service(t, f, "spares").Fallback; fb == nil || fb.State != "down" || fb.Check == nil {
			return fmt.Errorf("fallback %+v", fb)
		}
		return nil
	})
	p.shut(backup + 100)
	answers("who is left serves on without a fallback", first)
	p.open(fallback + 100)
	answers("the fallback", fallback)
	p.open(second + 100)
	answers("the primaries are back", first, second)
	p.open(backup + 100)
	eventually(t, func() error {
		svc := service(t, f, "spares")
		if s := svc.Servers[2]; svc.BackupsActive || s.State != "up" || s.Weight != 0 || !s.Backup {
			return fmt.Errorf("%+v", svc)
		}
		return nil
	})
	eventually(t, func() error {
		file, err := os.Open(told)
		if err != nil {
			return err
		}
		defer file.Close()
		var lines []string
		for in := bufio.NewScanner(file); in.Scan(); {
			lines = append(lines, in.Text())
		}
		if got := strings.Join(lines, ", "); got != "spares up, spares down, spares up" {
			return fmt.Errorf("the quorum's commands told: %s", got)
		}
		return nil
	})
}
