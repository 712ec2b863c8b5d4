//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/test/catalogue"
	"baton/test/lab"
	"baton/test/scene"
)

// manyServers is how many servers join and leave at a time.
const manyServers = 200

// firstFound is the port of the first of them.
const firstFound = 8001

// catalogues are a DNS server and an agent of Consul on the client's host.
type catalogues struct {
	names *catalogue.NameServer
	agent *catalogue.Agent
	index uint64
	close func()
}

func openCatalogues(t *testing.T, h *lab.Host) *catalogues {
	t.Helper()
	c := &catalogues{names: &catalogue.NameServer{}, agent: catalogue.NewAgent(), index: 10}
	packets, err := h.ListenPacket("udp", "10.0.0.9:5353")
	must(t, err)
	streams, err := h.Listen("tcp", "10.0.0.9:5353")
	must(t, err)
	web, err := h.Listen("tcp", "10.0.0.9:8500")
	must(t, err)
	c.srv()
	go c.names.ServePacket(packets)
	go c.names.Serve(streams)
	server := &http.Server{Handler: c.agent, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(web) }() // until it is closed
	c.close = func() {
		_ = errors.Join(packets.Close(), streams.Close(), server.Close())
	}
	t.Cleanup(c.close)
	return c
}

// found are n of the servers, from one of them on.
func found(s *scene.Scene, from, n int) (out []netip.AddrPort) {
	for i := from; i < from+n; i++ {
		r := s.Real[i%len(s.Real)]
		out = append(out, netip.AddrPortFrom(r.Address.Addr(), uint16(firstFound+i)))
	}
	return out
}

// srv has the DNS name exactly these servers.
func (c *catalogues) srv(servers ...netip.AddrPort) {
	z := catalogue.Zone{Extras: true, Most: 1232, Nothing: 1}
	hosts := map[netip.Addr]bool{}
	for _, s := range servers {
		name := fmt.Sprintf("h%d.example.", s.Addr().As4()[3])
		z.Lines = append(z.Lines, fmt.Sprintf("_web._tcp.example. 1 SRV 0 0 %d %s", s.Port(), name))
		if !hosts[s.Addr()] {
			hosts[s.Addr()] = true
			z.Lines = append(z.Lines, fmt.Sprintf("%s 1 A %s", name, s.Addr()))
		}
	}
	c.names.Says(z.Answer)
}

// register has Consul exactly these instances.
func (c *catalogues) register(servers ...netip.AddrPort) {
	var list []catalogue.Instance
	for _, s := range servers {
		list = append(list, catalogue.Instance{Address: s.Addr().String(), Port: int(s.Port()), Weight: 1})
	}
	c.index++
	c.agent.Set(c.index, list...)
}

// writeServers replaces a file in one step.
func writeServers(t *testing.T, file string, servers ...netip.AddrPort) {
	t.Helper()
	text := "[]"
	for _, s := range servers {
		text = strings.TrimSuffix(text, "]") + s.String() + ", ]"
	}
	must(t, os.WriteFile(file+".new", []byte(text), 0o644))
	must(t, os.Rename(file+".new", file))
}

// has returns nil if exactly n servers were found by a kind of source, all of them
// up and in the kernel.
func has(t *testing.T, d *scene.Director, kind string, n int) error {
	t.Helper()
	there, up := 0, 0
	for _, svc := range status(t, d).Services {
		for _, srv := range svc.Servers {
			if !strings.HasPrefix(srv.Source, kind+" ") {
				continue
			}
			there++
			if srv.State == "up" && srv.InKernel && srv.Weight == srv.ConfiguredWeight {
				up++
			}
		}
	}
	if there != n || up != n {
		return fmt.Errorf("%d servers from %s, %d of them serve; want %d", there, kind, up, n)
	}
	return nil
}

// soon is eventually for what is dear to ask: a status with hundreds of servers.
func soon(t *testing.T, check func() error) {
	t.Helper()
	began := time.Now()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Since(began) > lab.Patience(patience) {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// TestDiscovery has 200 servers join and leave, by a file, the DNS and Consul in
// turn, while clients are served; and the director die while its sources are away.
func TestDiscovery(t *testing.T) {
	// An answer that leaves one percent of the servers is believed at once.
	s := build(t, scene.Options{Extra: `    drain_timeout: 1s
    panic_threshold: 1
    servers_from:
      - file: DIR/servers.yaml
      - {dns: _web._tcp.example, type: SRV, resolver: "10.0.0.9:5353"}
      - {consul: "http://10.0.0.9:8500", service: web}
`})
	d := s.Directors[0] // the other one would only check the servers a second time
	text, err := os.ReadFile(d.Config)
	must(t, err)
	config := strings.NewReplacer("DIR/", filepath.Dir(d.Config)+"/",
		"interval: 500ms, timeout: 400ms", "interval: 5s, timeout: 4s", "{http: {path: /}}", "{tcp: {}}").Replace(string(text)) // on an emulated machine
	must(t, os.WriteFile(d.Config, []byte(config), 0o644))
	c := openCatalogues(t, s.Client)
	for i, at := range found(s, 0, manyServers+4) {
		a := &scene.Answerer{Name: fmt.Sprintf("found%d", i), Host: s.Real[i%len(s.Real)].Host}
		must(t, a.Listen("tcp", at))
		t.Cleanup(a.Close)
	}
	for _, r := range s.Real {
		must(t, r.Start())
	}
	d.Start()
	eventually(t, func() error {
		if up, err := d.ServersUp(); err != nil || up != len(s.Real) {
			return fmt.Errorf("%d servers are up, %w", up, err)
		}
		return owner(s, d)
	})
	load := s.PatientLoad(2, 2*pause, lab.Patience(2*time.Second))

	file := filepath.Join(filepath.Dir(d.Config), "servers.yaml")
	ways := []struct {
		kind string
		set  func(servers ...netip.AddrPort)
	}{
		{"file", func(servers ...netip.AddrPort) { writeServers(t, file, servers...) }},
		{"dns", c.srv},
		{"consul", c.register},
	}
	for i, way := range ways { // two servers of each are left, so they are not the same
		began := time.Now()
		way.set(found(s, 2*i, manyServers)...)
		soon(t, func() error { return has(t, d, way.kind, manyServers) })
		joined := time.Now()
		time.Sleep(time.Second) // of traffic
		way.set(found(s, 2*i, 2)...)
		soon(t, func() error { return has(t, d, way.kind, 2) })
		t.Logf("%s: %d servers joined in %s, and %d left in %s", way.kind, manyServers,
			joined.Sub(began).Round(10*time.Millisecond), manyServers-2, time.Since(joined).Round(10*time.Millisecond))
		way.set() // none at all is not believed
	}
	must(t, os.WriteFile(file, []byte("- 10.0.1.11:1\n- nonsense\n"), 0o644))
	eventually(t, func() error {
		if text := baton(t, d, "explain", "service", "http"); !strings.Contains(text, file+":2:3:") || !strings.Contains(text, "an empty answer removes nobody") {
			return errors.New(text)
		}
		return nil
	})

	// The director dies while all sources are away.
	c.close()
	pid, err := d.Child()
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, func() error {
		if now, err := d.Child(); err != nil || now == pid {
			return fmt.Errorf("no new director: %w", err)
		}
		_, err := d.Status()
		return err
	})
	for _, way := range ways {
		soon(t, func() error { return has(t, d, way.kind, 2) })
	}
	for _, e := range []string{"added 200 (", "removed 198 ("} {
		if events := baton(t, d, "events", "-n", "5000"); !strings.Contains(events, e) {
			t.Errorf("no event %q", e)
		}
	}
	all := load.Stop()
	atMost(t, "while servers come and go", all.Failed(time.Time{}), all, 0)
	served := map[string]bool{}
	for _, r := range all {
		served[strings.Split(r.Server, " ")[0]] = true
	}
	if len(served) < manyServers/2 {
		t.Errorf("only %d servers have served", len(served))
	}
}
