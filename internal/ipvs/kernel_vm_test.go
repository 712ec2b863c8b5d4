//go:build vm

package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"baton/internal/pool"
)

// TestMain is also the unprivileged program that TestVMOpenWithoutPrivilege
// starts.
func TestMain(m *testing.M) {
	if os.Getenv("BATON_OPEN") != "" {
		_, err := Open(context.Background(), Options{NoModprobe: true})
		fmt.Printf("%v\npermission: %v\n", err, errors.Is(err, fs.ErrPermission))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// unload takes IPVS out of the kernel.
func unload(t *testing.T) {
	t.Helper()
	out, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-r"}
	for line := range strings.Lines(string(out)) {
		if m := strings.Fields(line)[0]; strings.HasPrefix(m, "ip_vs_") {
			args = append(args, m)
		}
	}
	// A namespace whose last file was closed a moment ago may still hold one.
	var msg []byte
	for range 100 {
		if msg, err = exec.Command("modprobe", append(args, "ip_vs")...).CombinedOutput(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("unload ip_vs: %v\n%s", err, msg)
}

// autoload sets the program that the kernel runs for request_module.
func autoload(t *testing.T, program string) {
	t.Helper()
	const file = "/proc/sys/kernel/modprobe"
	old, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(program+"\n"), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(file, old, 0) })
}

// D1 and D2 of moby/ipvs: a kernel without IPVS is an error, and one that gets
// IPVS later is found.
func TestVMD1OpenWithoutIPVS(t *testing.T) {
	autoload(t, "/bin/false") // ip_vs has the alias of its family
	unload(t)
	h := newHost(t)
	_, err := Open(t.Context(), Options{NetNS: int(h.fd), NoModprobe: true})
	if !errors.Is(err, ErrNoIPVS) {
		t.Fatalf("error %v, want ErrNoIPVS", err)
	}
	t.Log(err)
	for _, want := range []string{"modprobe ip_vs", "CONFIG_IP_VS", "switched off"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q", want)
		}
	}
	k := h.open(Options{}) // loads it
	if info, err := k.Info(t.Context()); err != nil || info.Version != "1.2.1" || info.ConnectionTable == 0 {
		t.Errorf("info %+v, %v", info, err)
	}
	assertDumped(t, k, nil)
}

// D1 and D2 again, for a handle that is open: the module may be replaced.
func TestVMD2ReloadedModuleIsFoundAgain(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	want := worlds[2].table
	r := NewReconciler(k, nil, silent())
	assertClean(t, mustApply(t, r, want))
	if err := k.SetTimeouts(t.Context(), Timeouts{TCP: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if out := h.ipvsadm("-L --timeout"); !strings.Contains(out, "3600 120 300") {
		t.Errorf("ipvsadm -L --timeout: %s", out)
	}
	h.ipvsadm("-C")
	unload(t)
	a := mustApply(t, r, want) // loads it again
	if len(a.Failed) > 0 || len(a.Drift) != 1 {
		t.Errorf("failed %v, drift %v", a.Failed, a.Drift)
	}
	h.assertSaved(want)

	autoload(t, "/bin/false")
	h.ipvsadm("-C")
	unload(t)
	// moby/ipvs still has the old number of the family; nobody may say yes now.
	if got, err := k.Timeouts(t.Context()); err != nil || got.TCP != 15*time.Minute {
		t.Errorf("timeouts %+v, %v", got, err) // modprobe by path has loaded it again
	}
	h.ipvsadm("-C")
	unload(t)
	k.modules.run = nil
	if got, err := k.Timeouts(t.Context()); !errors.Is(err, ErrNoIPVS) {
		t.Errorf("timeouts %+v, %v, want ErrNoIPVS", got, err)
	}
	if err := k.SetTimeouts(t.Context(), Timeouts{TCP: time.Minute}); !errors.Is(err, ErrNoIPVS) {
		t.Errorf("set timeouts: %v, want ErrNoIPVS", err)
	}
}

func TestVMOpenWithoutPrivilege(t *testing.T) {
	newHost(t).open(Options{}) // load the module
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", exe)
	cmd.Env = append(os.Environ(), "BATON_OPEN=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	if s := string(out); !strings.Contains(s, "needs root or CAP_NET_ADMIN") || !strings.Contains(s, "permission: true") {
		t.Errorf("output:\n%s", s)
	}
}

func TestVMSchedulerModuleIsLoaded(t *testing.T) {
	autoload(t, "/bin/false")
	unload(t)
	h := newHost(t)
	v := service("tcp 10.0.0.100:80 mh", server("10.0.0.11:80 nat 1"))
	engine := service("udp 10.0.0.100:5060 rr")
	engine = persistent(engine, 60, 32)
	engine.PersistenceEngine = "sip"

	k := h.open(Options{})
	k.modules.run = nil // ip_vs is there; now as with NoModprobe
	r := NewReconciler(k, nil, silent())
	a := mustApply(t, r, table(v))
	err := a.Failed[v.Key]
	if err == nil || !strings.Contains(err.Error(), `no scheduler "mh": modprobe ip_vs_mh`) {
		t.Fatalf("failed %v", a.Failed)
	}
	t.Log(err)
	h.assertSaved(nil)

	k = h.open(Options{})
	assertClean(t, mustApply(t, NewReconciler(k, nil, silent()), table(v, engine)))
	h.assertSaved(table(v, engine))

	none := service("tcp 10.0.0.100:81 nosuch", server("10.0.0.11:80 nat 1"))
	a = mustApply(t, NewReconciler(k, nil, silent()), table(v, engine, none))
	if err := a.Failed[none.Key]; err == nil || !errors.Is(err, syscall.ENOENT) || len(a.Failed) != 1 {
		t.Errorf("failed %v", a.Failed)
	}
	h.assertSaved(table(v, engine))
}

func TestVMEveryScheduler(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	r := NewReconciler(k, nil, silent())
	var want, all pool.Table
	for i, s := range schedulers {
		v := service(fmt.Sprintf("tcp 10.0.0.100:%d %s", 80+i, s), server("10.0.0.11:80 nat 1"))
		all = append(all, v)
		if s == "twos" && exec.Command("modinfo", "ip_vs_twos").Run() != nil {
			continue // Debian's 6.1 has CONFIG_IP_VS_TWOS off; that must be said, see below
		}
		want = append(want, v)
	}
	a := mustApply(t, r, all)
	for _, v := range all[len(want):] {
		if err := a.Failed[v.Key]; err == nil || !strings.Contains(err.Error(), `no scheduler "twos": modprobe ip_vs_twos`) {
			t.Errorf("failed %v", a.Failed)
		}
	}
	h.assertSaved(want)
	assertClean(t, mustApply(t, r, want))
	// Every scheduler to another one, while it has a server.
	n := len(want)
	for i := range want {
		want[i].Scheduler = schedulers[(i+1)%n]
	}
	a = mustApply(t, r, want)
	assertClean(t, a)
	if a.Writes[EditService] != n || a.Wrote() != n {
		t.Errorf("writes %v", a.Writes)
	}
	h.assertSaved(want)
}

// Every setting, written by us and read by ipvsadm; then written by ipvsadm from
// its own saved form and read by us.
func TestVMD5D6D7EverySettingBothWays(t *testing.T) {
	engine := persistent(service("udp 10.0.0.100:5060 rr"), 60, 32)
	engine.PersistenceEngine = "sip" // D5
	extra := []struct {
		name  string
		table pool.Table
	}{
		{"persistence engine", table(flagged(engine, pool.OnePacket))},
		{"sctp", table(service("sctp 10.0.0.100:80 rr", server("10.0.0.11:80 nat 1")))},
		{"all ports", table(persistent(service("tcp 10.0.0.100:0 rr", server("10.0.0.11:0 dr 1")), 300, 32))},
		{"mh flags", table(flagged(service("tcp 10.0.0.100:80 mh", server("10.0.0.11:80 nat 1")), pool.Sched1),
			flagged(service("tcp 10.0.0.100:81 mh", server("10.0.0.11:80 nat 1")), pool.Sched2))},
		{"largest values", table(persistent(service("tcp 10.0.0.100:65535 wlc", server("255.255.255.254:65535 nat 2147483647")), persistenceMax, 1))},
		{"weights", table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 65535"), server("10.0.0.12:80 nat 65536"), server("10.0.0.13:80 nat 70000")))}, // D6
		{"local server", table(service("tcp 10.0.0.100:80 wlc", server("127.0.0.1:80 nat 1"), server("127.0.0.2:80 dr 1"), server("127.0.0.3:80 tun 1")))},
		{"local server IPv6", table(service("tcp [2001:db8::100]:80 wlc", server("[::1]:80 nat 1")))},
	}
	var masks []pool.VirtualService // D7
	for n := uint8(1); n <= 32; n++ {
		masks = append(masks,
			persistent(service(fmt.Sprintf("tcp 10.0.0.100:%d rr", n)), 300, n),
			persistent(service(fmt.Sprintf("tcp [2001:db8::100]:%d rr", n)), 300, 4*n),
			persistent(service(fmt.Sprintf("fwmark %d inet6 rr", n)), 300, 4*n-3))
	}
	extra = append(extra, struct {
		name  string
		table pool.Table
	}{"netmasks", table(masks...)})
	for _, w := range append(extra, worlds...) {
		t.Run(w.name, func(t *testing.T) {
			h := newHost(t)
			k := h.open(Options{})
			r := NewReconciler(k, nil, silent())
			assertClean(t, mustApply(t, r, w.table))
			h.assertSaved(w.table)
			assertDumped(t, k, w.table)
			assertSilent(t, mustApply(t, r, w.table))

			rules := h.ipvsadm("-Sn")
			h.ipvsadm("-C")
			h.feed(rules, "ipvsadm", "-R")
			if w.name != "thresholds" { // ipvsadm does not save them
				assertDumped(t, k, w.table)
				assertSilent(t, mustApply(t, NewReconciler(k, nil, silent()), w.table))
			}
		})
	}
}

func TestVMThresholds(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	r := NewReconciler(k, nil, silent())
	assertClean(t, mustApply(t, r, table(service("tcp 10.0.0.100:80 wlc", limited(server("10.0.0.11:80 nat 1"), 800, 1000)))))
	if out := h.ipvsadm("-Ln --thresholds"); !strings.Contains(strings.Join(strings.Fields(out), " "), "-> 10.0.0.11:80 1000 800 0 0") {
		t.Errorf("ipvsadm -Ln --thresholds:\n%s", out)
	}
	bad := service("tcp 10.0.0.100:80 wlc", limited(server("10.0.0.11:80 nat 1"), 1000, 800))
	a := mustApply(t, r, table(bad))
	if err := a.Failed[bad.Key]; !errors.Is(err, syscall.ERANGE) || !strings.Contains(err.Error(), "lower (1000) not above upper (800)") {
		t.Errorf("failed %v", a.Failed)
	}
}

// D4 of moby/ipvs: a server of the other family is what it is or is refused.
func TestVMD4MixedFamilies(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	v4, v6 := service("tcp 10.0.0.100:80 wlc", server("[2001:db8::11]:80 nat 1")), service("tcp [2001:db8::100]:80 wlc", server("10.0.0.11:80 dr 1"))
	r := NewReconciler(k, nil, silent())
	a := mustApply(t, r, table(v4, v6))
	for _, v := range []pool.VirtualService{v4, v6} {
		if err := a.Failed[v.Key]; err == nil || !strings.Contains(err.Error(), "needs forward: tun") {
			t.Errorf("failed %v", err)
		}
	}
	if got := h.ipvsadm("-Sn"); strings.Contains(got, "-a") {
		t.Errorf("a server was written:\n%s", got)
	}
	v4.Servers[0].Forward, v6.Servers[0].Forward = pool.TUN, pool.TUN
	assertClean(t, mustApply(t, r, table(v4, v6)))
	h.assertSaved(table(v4, v6))
	assertDumped(t, k, table(v4, v6))
}

// D3 of moby/ipvs: one handle, many goroutines.
func TestVMD3ConcurrentUse(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			v := service(fmt.Sprintf("tcp 10.0.0.%d:80 rr", n+1), server("10.0.0.11:80 nat 1"))
			for i := range 25 {
				for _, err := range k.Write(ctx, []Op{{Kind: NewService, Service: v}, {Kind: NewServer, Service: v, Server: v.Servers[0]}}) {
					if err != nil {
						t.Error(err)
						return
					}
				}
				if _, err := k.Dump(ctx); err != nil {
					t.Error(err)
					return
				}
				if _, err := k.Timeouts(ctx); i%5 == 0 && err != nil {
					t.Error(err)
					return
				}
				if err := k.Write(ctx, []Op{{Kind: DelService, Service: v}})[0]; err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	h.assertSaved(nil)
}

// D8 of moby/ipvs, and that the timeouts really arrive.
func TestVMD8Timeouts(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	want := Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}
	if got, err := k.Timeouts(t.Context()); err != nil || got != want {
		t.Fatalf("timeouts %+v, %v, want the kernel's defaults %+v", got, err, want)
	}
	if err := k.SetTimeouts(t.Context(), Timeouts{TCP: time.Hour, UDP: 7 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if out := h.ipvsadm("-L --timeout"); !strings.Contains(out, "3600 120 7") {
		t.Errorf("ipvsadm -L --timeout: %s", out)
	}
	for _, bad := range []Timeouts{{TCP: 500 * time.Millisecond}, {UDP: -time.Second}, {TCPFin: 25 * 24 * time.Hour}} {
		if err := k.SetTimeouts(t.Context(), bad); err == nil {
			t.Errorf("%+v is no error", bad)
		}
	}
	if err := k.SetTimeouts(t.Context(), Timeouts{TCP: TimeoutMax}); err != nil {
		t.Error(err)
	}
	if n := runtime.NumGoroutine(); n > 20 {
		t.Errorf("%d goroutines are left", n)
	}
}

func TestVMOneBadOpInABatch(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	want := many(40, 20) // 840 ops, four batches
	var ops []Op
	for _, v := range want {
		ops = append(ops, Op{Kind: NewService, Service: v})
		for _, s := range v.Servers {
			ops = append(ops, Op{Kind: NewServer, Service: v, Server: s})
		}
	}
	bad := map[int]syscall.Errno{}
	for i := 5; i < len(ops); i += 100 {
		op := ops[i]
		op.Server.Address = want[0].Address.Next()
		op.Kind, bad[i] = EditServer, syscall.ENOENT
		ops = append(ops[:i], append([]Op{op}, ops[i:]...)...)
	}
	errs := k.Write(t.Context(), ops)
	for i, err := range errs {
		if errno, ok := bad[i]; ok != (err != nil) || ok && !errors.Is(err, errno) {
			t.Errorf("op %d, %v: %v", i, ops[i], err)
		}
	}
	h.assertSaved(want)
}

func TestVMCountersAndConnections(t *testing.T) {
	h := newHost(t)
	h.run("sh", "-c", `ip addr add 10.0.0.100/32 dev lo && ip addr add 10.0.0.11/32 dev lo`)
	k := h.open(Options{})
	v := persistent(service("tcp 10.0.0.100:80 rr", server("10.0.0.11:8080 nat 1")), 300, 32)
	mustWrite(t, k, Op{Kind: NewService, Service: v}, Op{Kind: NewServer, Service: v, Server: v.Servers[0]})

	const connections = 3
	h.talk("10.0.0.11:8080", "10.0.0.100:80", connections)
	s := mustDump(t, k)[0]
	// The kernel sums the counters up every two seconds.
	for end := time.Now().Add(time.Minute); s.Stats.Connections < connections && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		s = mustDump(t, k)[0]
	}
	d := s.Servers[0]
	if s.Stats.Connections != connections || d.Stats.Connections != connections || d.Stats.BytesIn == 0 || d.Stats.BytesOut == 0 || d.Stats.PacketsIn == 0 {
		t.Errorf("service %+v\nserver %+v", s.Stats, d.Stats)
	}
	if d.Active != connections || d.Persistent != 1 {
		t.Errorf("active %d, inactive %d, persistent %d, want %d, 0, 1", d.Active, d.Inactive, d.Persistent, connections)
	}
	out := strings.Join(strings.Fields(h.ipvsadm("-Ln --stats --exact")), " ")
	if want := fmt.Sprintf("10.0.0.11:8080 %d %d %d %d %d", d.Stats.Connections, d.Stats.PacketsIn, d.Stats.PacketsOut, d.Stats.BytesIn, d.Stats.BytesOut); !strings.Contains(out, want) {
		t.Errorf("ipvsadm says %s\nwant %s", out, want)
	}
}

// talk makes n connections inside the namespace, exchanges a byte on each and
// leaves them open until the test ends.
func (h host) talk(server, virtual string, n int) {
	h.t.Helper()
	var l net.Listener
	h.inside(func() (err error) { l, err = net.Listen("tcp", server); return err })
	h.t.Cleanup(func() { l.Close() })
	for range n {
		var c net.Conn
		h.inside(func() (err error) { c, err = net.DialTimeout("tcp", virtual, 30*time.Second); return err })
		s, err := l.Accept()
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(func() { c.Close(); s.Close() })
		b := make([]byte, 1)
		for _, way := range [][2]net.Conn{{c, s}, {s, c}} {
			if _, err := way[0].Write([]byte{1}); err != nil {
				h.t.Fatal(err)
			}
			if _, err := way[1].Read(b); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

// inside calls f on a thread in the namespace. The thread returns afterwards: one
// that stayed, and did not end because it is the program's first, would hold the
// namespace for ever.
func (h host) inside(f func() error) {
	h.t.Helper()
	runtime.LockOSThread()
	own, err := netns.Get()
	if err == nil {
		defer own.Close()
		err = netns.Set(h.fd)
	}
	if err == nil {
		err = f()
		if back := netns.Set(own); back != nil {
			h.t.Fatal(back) // still locked: the thread ends with the test
		}
	}
	runtime.UnlockOSThread()
	if err != nil {
		h.t.Fatal(err)
	}
}
