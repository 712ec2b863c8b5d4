//go:build vm

package ipvs

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"

	"baton/internal/pool"
)

// These tests run on a kernel with IPVS:
//
//	go test -exec "$PWD/test/vm/run" -tags vm ./internal/ipvs
//
// Each test works in a network namespace of its own, which has a table of its
// own, and looks at it with ipvsadm as an independent reader. Nothing asserts
// short times: an emulated machine is 10 to 20 times slower.

// host is a network namespace.
type host struct {
	t  testing.TB
	fd netns.NsHandle
}

func newHost(t testing.TB) host {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		t.Fatalf("find the own network namespace: %v", err)
	}
	defer own.Close()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a network namespace (needs root): %v", err)
	}
	if err := netns.Set(own); err != nil {
		t.Fatalf("return to the own network namespace: %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	h := host{t, ns}
	// Without an address the kernel has no routing table, takes every address for
	// a broadcast one and refuses it as a server (inet_addr_type, ip_vs_new_dest).
	h.run("ip", "link", "set", "lo", "up")
	return h
}

// run runs a program in the namespace and returns its output.
func (h host) run(name string, args ...string) string {
	h.t.Helper()
	return h.feed("", name, args...)
}

func (h host) feed(stdin, name string, args ...string) string {
	h.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out []byte
	var err error
	h.inside(func() error { // a new process is in the namespace of the thread that makes it
		out, err = cmd.CombinedOutput()
		return nil
	})
	if err != nil {
		h.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// ipvsadm runs ipvsadm with the words of a command line.
func (h host) ipvsadm(line string) string {
	h.t.Helper()
	return h.run("ipvsadm", strings.Fields(line)...)
}

// open opens the namespace's table.
func (h host) open(o Options) *Kernel {
	h.t.Helper()
	o.NetNS = int(h.fd)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	k, err := Open(ctx, o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { k.Close() })
	return k
}

// assertSaved compares the table with what ipvsadm saves.
func (h host) assertSaved(want pool.Table) {
	h.t.Helper()
	got := strings.Split(strings.TrimSpace(h.ipvsadm("-Sn")), "\n")
	if got[0] == "" {
		got = nil
	}
	slices.Sort(got)
	if d := cmp.Diff(saved(want), got); d != "" {
		h.t.Fatalf("ipvsadm -Sn (-want +got):\n%s", d)
	}
}

// assertDumped compares the table with what Dump returns.
func assertDumped(t testing.TB, k *Kernel, want pool.Table) {
	t.Helper()
	assertSame(t, mustDump(t, k), want)
}

// assertSame compares the table with what was read from the kernel.
func assertSame(t testing.TB, list []Service, want pool.Table) {
	t.Helper()
	var got pool.Table
	for _, s := range list {
		got = append(got, s.Plain())
	}
	if d := cmp.Diff(print(want), print(got)); d != "" {
		t.Fatalf("Dump (-want +got):\n%s", d)
	}
}

func mustDump(t testing.TB, k *Kernel) []Service {
	t.Helper()
	list, err := k.Dump(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func mustWrite(t testing.TB, k *Kernel, ops ...Op) {
	t.Helper()
	for _, err := range k.Write(context.Background(), ops) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// saved returns the sorted lines that ipvsadm 1.31 saves for a table. It leaves
// out what ipvsadm leaves out: thresholds.
func saved(t pool.Table) []string {
	var lines []string
	for _, v := range t {
		v = normalService(v)
		id := savedKey(v.Key)
		line := "-A " + id + " -s " + v.Scheduler
		if v.Flags&pool.Persistent != 0 {
			line += fmt.Sprintf(" -p %d", v.PersistenceSeconds)
			if v.PersistencePrefix != fullPrefix(v.IPv6) {
				line += " -M " + savedMask(v)
			}
		}
		if v.PersistenceEngine != "" {
			line += " --pe " + v.PersistenceEngine
		}
		if v.Flags&pool.OnePacket != 0 {
			line += " -o"
		}
		lines = append(lines, line+savedFlags(v))
		for _, s := range v.Servers {
			lines = append(lines, fmt.Sprintf("-a %s -r %v %s -w %d%s", id, s.AddrPort(), "-"+string("mgi"[s.Forward]), s.Weight, savedTunnel(s)))
		}
	}
	slices.Sort(lines)
	return lines
}

func savedKey(k pool.Key) string {
	switch {
	case k.FWMark != 0 && k.IPv6:
		return fmt.Sprintf("-f %d -6", k.FWMark)
	case k.FWMark != 0:
		return fmt.Sprintf("-f %d", k.FWMark)
	}
	option := map[pool.Protocol]string{pool.TCP: "-t", pool.UDP: "-u", pool.SCTP: "--sctp-service"}[k.Protocol]
	return option + " " + strings.TrimPrefix(k.String(), k.Protocol.String()+" ")
}

func savedMask(v pool.VirtualService) string {
	if v.IPv6 {
		return fmt.Sprint(v.PersistencePrefix)
	}
	m := ^uint32(0) << (32 - v.PersistencePrefix)
	return fmt.Sprintf("%d.%d.%d.%d", m>>24, m>>16&255, m>>8&255, m&255)
}

func savedFlags(v pool.VirtualService) string {
	names := map[string][3]string{
		"sh": {"sh-fallback", "sh-port", "flag-3"},
		"mh": {"mh-fallback", "mh-port", "flag-3"},
	}[v.Scheduler]
	if names[0] == "" {
		names = [3]string{"flag-1", "flag-2", "flag-3"}
	}
	var set []string
	for i, f := range []pool.Flags{pool.Sched1, pool.Sched2, pool.Sched3} {
		if v.Flags&f != 0 {
			set = append(set, names[i])
		}
	}
	if set == nil {
		return ""
	}
	return " -b " + strings.Join(set, ",")
}

func savedTunnel(s pool.RealServer) string {
	if s.Forward != pool.TUN {
		return ""
	}
	sum := [...]string{"--tun-nocsum", "--tun-csum", "--tun-remcsum"}[s.Tunnel.Flags]
	switch s.Tunnel.Type {
	case pool.GUE:
		return fmt.Sprintf(" --tun-type gue --tun-port %d %s", s.Tunnel.Port, sum)
	case pool.GRE:
		return " --tun-type gre " + sum
	}
	return " --tun-type ipip"
}
