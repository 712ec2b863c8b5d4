package interop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/internal/discovery"
)

// dnsmasq is Debian's, on loopback. It answers from a file of hosts that is read
// again at SIGHUP.
type dnsmasq struct {
	t     *testing.T
	addr  netip.AddrPort
	hosts string
	cmd   *exec.Cmd
}

func newDNSMasq(t *testing.T, hosts string) *dnsmasq {
	t.Helper()
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	addr := free.LocalAddr().(*net.UDPAddr).AddrPort()
	must(t, free.Close())
	d := &dnsmasq{t: t, addr: addr, hosts: filepath.Join(t.TempDir(), "hosts")}
	must(t, os.WriteFile(d.hosts, []byte(hosts), 0o644))
	d.start()
	t.Cleanup(d.stop)
	return d
}

func (d *dnsmasq) start() {
	d.t.Helper()
	d.cmd = exec.CommandContext(context.Background(), "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file=",
		"--user=root", "--listen-address=127.0.0.1", "--bind-interfaces", fmt.Sprintf("--port=%d", d.addr.Port()),
		"--no-resolv", "--no-hosts", "--local=/example/", "--local-ttl=1", "--addn-hosts="+d.hosts,
		"--srv-host=_web._tcp.example,h1.example,8001,10,5", "--srv-host=_web._tcp.example,h2.example,8002,10,0",
		"--srv-host=_web._tcp.example,h3.example,8003,20,1", "--cname=www.example,h1.example")
	must(d.t, d.cmd.Start())
}

func (d *dnsmasq) stop() {
	_ = d.cmd.Process.Kill() // it may have ended
	_ = d.cmd.Wait()
}

// write replaces the hosts. It has answered before: a signal that comes earlier
// would end it.
func (d *dnsmasq) write(hosts string) {
	d.t.Helper()
	must(d.t, os.WriteFile(d.hosts, []byte(hosts), 0o644))
	must(d.t, d.cmd.Process.Signal(syscall.SIGHUP))
}

// TestDiscoveryAsksDNSMasq has a resolver that others have written answer.
func TestDiscoveryAsksDNSMasq(t *testing.T) {
	t.Parallel()
	const hosts = "10.0.0.1 h1.example\n10.0.0.2 h2.example\n2001:db8::2 h2.example\n10.0.0.3 h3.example\n"
	var many strings.Builder
	for i := range 200 { // more than a datagram holds
		fmt.Fprintf(&many, "10.9.0.%d many.example\n", i+1)
	}
	server := newDNSMasq(t, hosts+many.String())

	d := discovery.New(discovery.Options{})
	var wants []discovery.Want
	for _, spec := range []discovery.DNS{
		{Name: "_web._tcp.example", Type: "SRV"}, {Name: "www.example", Type: "A"}, {Name: "h2.example", Type: "AAAA"}, {Name: "many.example", Type: "A"},
	} {
		spec.Resolvers = []netip.AddrPort{server.addr}
		wants = append(wants, discovery.Want{Service: "web", Source: discovery.Source{DNS: &spec}})
	}
	d.Set(wants)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
	found := func(i int) string {
		var out []string
		for _, s := range d.Found()[i].Servers {
			text := s.String()
			if s.Weight > 0 {
				text += fmt.Sprintf("*%d", s.Weight)
			}
			if s.Backup {
				text += " backup"
			}
			out = append(out, text)
		}
		return strings.Join(out, ", ")
	}
	is := func(i int, want string) {
		t.Helper()
		for began := time.Now(); found(i) != want; time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("%+v has %s, want %s", d.Status()[i], found(i), want)
			}
		}
	}
	is(0, "10.0.0.1:8001*5, 10.0.0.2:8002*1, 10.0.0.3:8003*1 backup")
	is(1, "10.0.0.1")
	is(2, "2001:db8::2")
	for began := time.Now(); d.Status()[3].Servers != 200; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%+v", d.Status()[3])
		}
	}

	// It changes its mind, is away, and back.
	server.write(strings.ReplaceAll(hosts, "10.0.0.2", "10.0.0.7"))
	is(0, "10.0.0.1:8001*5, 10.0.0.3:8003*1 backup, 10.0.0.7:8002*1")
	for began := time.Now(); d.Status()[3].Held != 200; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("a name that is gone: %+v", d.Status()[3])
		}
	}
	server.stop()
	for began := time.Now(); d.Status()[0].Error == ""; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("nobody answers, and it is no error")
		}
	}
	is(0, "10.0.0.1:8001*5, 10.0.0.3:8003*1 backup, 10.0.0.7:8002*1")
	if st := d.Status()[3]; st.Held != 200 || st.Servers != 200 {
		t.Errorf("a name that is gone: %+v", st)
	}
	must(t, os.WriteFile(server.hosts, []byte(hosts), 0o644))
	server.start()
	is(0, "10.0.0.1:8001*5, 10.0.0.2:8002*1, 10.0.0.3:8003*1 backup")
}
