//go:build vm

package ipvs

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"baton/internal/pool"
)

// What the kernel holds after each transition is what was wanted, in the eyes of
// ipvsadm and in ours, and then there is nothing more to write. BATON_IPVS_WALK is
// the number of transitions.
func TestVMRandomWalk(t *testing.T) {
	w := newWalker(t, 3)
	w.schedulers = available(schedulers)
	h := newHost(t)
	h.run("sh", "-c", "ip addr add 10.0.0.77/32 dev lo && ip addr add 2001:db8::77/128 dev lo")
	walk(t, w, walkLength(t, 60), h.open(Options{}), func() { h.ipvsadm("-C") }, func(want pool.Table, r *Reconciler) {
		h.assertSaved(want)
		a := mustApply(t, r, want)
		assertSilent(t, a)
		assertSame(t, a.Services, want)
	})
}

// available returns the schedulers that this kernel was built with.
func available(all []string) (list []string) {
	for _, s := range all {
		if exec.Command("modinfo", "ip_vs_"+s).Run() == nil {
			list = append(list, s)
		}
	}
	return list
}

func TestVMAdoptsWhatIsThere(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	h.ipvsadm("-A -t 10.0.0.100:80 -s wlc")
	h.ipvsadm("-a -t 10.0.0.100:80 -r 10.0.0.11:80 -m -w 1")
	h.ipvsadm("-a -t 10.0.0.100:80 -r 10.0.0.12:80 -m -w 1")
	h.ipvsadm("-A -u 10.9.9.9:53 -s rr") // somebody else's
	foreign := service("udp 10.9.9.9:53 rr")
	want := table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"), server("10.0.0.12:80 nat 1")))

	r := NewReconciler(k, nil, silent())
	a := mustApply(t, r, want)
	assertSilent(t, a)
	if len(a.Foreign) != 1 || a.Foreign[0].Key() != foreign.Key {
		t.Errorf("foreign %+v", a.Foreign)
	}
	want[0].Servers[1].Weight = 3
	a = mustApply(t, r, want)
	if a.Wrote() != 1 || a.Writes[EditServer] != 1 {
		t.Errorf("writes %v", a.Writes)
	}
	h.assertSaved(append(want, foreign))
	if err := r.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.assertSaved(table(foreign))
	r.RemoveForeign(true)
	mustApply(t, r, nil)
	h.assertSaved(nil)
}

func TestVMClearedTableIsRepaired(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	r := NewReconciler(k, nil, silent())
	want := many(10, 10)
	assertClean(t, mustApply(t, r, want))
	h.ipvsadm("-C")
	a := mustApply(t, r, want)
	if len(a.Drift) != 10 || len(a.Failed) > 0 {
		t.Errorf("drift %v, failed %v", a.Drift, a.Failed)
	}
	h.assertSaved(want)
	// The same without a dump in between: the kernel's answers tell.
	h.ipvsadm("-C")
	want[3].Servers[3].Weight = 99
	if a := mustChange(t, r, want); len(a.Failed) > 0 {
		t.Errorf("failed %v", a.Failed)
	}
	h.assertSaved(want)
}

func TestVMForeignChangesAreDrift(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	r := NewReconciler(k, nil, silent())
	v := persistent(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1")), 300, 24)
	assertClean(t, mustApply(t, r, table(v)))
	h.ipvsadm("-E -t 10.0.0.100:80 -s rr -p 60 -M 255.255.0.0")
	h.ipvsadm("-e -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 70000")
	h.ipvsadm("-a -t 10.0.0.100:80 -r 10.0.0.66:80 -m")
	a := mustApply(t, r, table(v))
	var got []string
	for _, d := range a.Drift {
		got = append(got, d.String())
	}
	want := `tcp 10.0.0.100:80: service changed: scheduler rr, not wlc; persistence timeout 60, not 300; persistence netmask 16, not 24
tcp 10.0.0.100:80: server 10.0.0.11:80 changed: weight 70000, not 1; forward dr, not nat
tcp 10.0.0.100:80: server 10.0.0.66:80 unexpected`
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("drift:\n%s\nwant:\n%s", s, want)
	}
	h.assertSaved(table(v))
}

// The kernel refuses a server of the other family while the sync daemon runs.
// That server waits; everything else of the service goes on.
func TestVMSyncDaemonAndMixedFamily(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	h.ipvsadm("--start-daemon backup --mcast-interface lo --syncid 1")
	r := NewReconciler(k, nil, silent())
	v := service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 tun 1"), server("[2001:db8::11]:80 tun 1"))
	a := mustApply(t, r, table(v))
	if err := a.Failed[v.Key]; err == nil || !strings.Contains(err.Error(), "sync daemon") {
		t.Errorf("failed %v", a.Failed)
	}
	h.assertSaved(table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 tun 1"))))
	h.ipvsadm("--stop-daemon backup")
	deadline := time.Now().Add(time.Minute)
	for a = mustApply(t, r, table(v)); len(a.Failed) > 0; a = mustApply(t, r, table(v)) {
		if time.Now().After(deadline) {
			t.Fatalf("failed %v", a.Failed)
		}
		time.Sleep(200 * time.Millisecond)
	}
	h.assertSaved(table(v))
}

// The benchmarks stand beside each other, because only their ratio means
// anything: 1000 services with 10 servers each.

func BenchmarkVMApplyFromEmpty(b *testing.B) {
	h := newHost(b)
	k := h.open(Options{})
	want := many(1000, 10)
	for b.Loop() {
		b.StopTimer()
		h.ipvsadm("-C")
		r := NewReconciler(k, nil, silent())
		b.StartTimer()
		apply(b, r, want)
	}
}

func BenchmarkVMIpvsadmRestore(b *testing.B) {
	h := newHost(b)
	rules := restorable(many(1000, 10))
	h.open(Options{})
	for b.Loop() {
		b.StopTimer()
		h.ipvsadm("-C")
		b.StartTimer()
		h.feed(rules, "ipvsadm", "-R")
	}
}

func BenchmarkVMApplyUnchanged(b *testing.B) {
	h := newHost(b)
	r := NewReconciler(h.open(Options{}), nil, silent())
	want := many(1000, 10)
	apply(b, r, want)
	for b.Loop() {
		apply(b, r, want)
	}
}

func BenchmarkVMIpvsadmList(b *testing.B) {
	h := newHost(b)
	apply(b, NewReconciler(h.open(Options{}), nil, silent()), many(1000, 10))
	for b.Loop() {
		h.ipvsadm("-Ln")
	}
}

func BenchmarkVMApplyOneChange(b *testing.B) {
	h := newHost(b)
	r := NewReconciler(h.open(Options{}), nil, silent())
	want := many(1000, 10)
	apply(b, r, want)
	for b.Loop() {
		want[500].Servers[5].Weight++
		a, err := r.ApplyChange(context.Background(), want)
		if err != nil || a.Wrote() != 1 {
			b.Fatal(a.Writes, a.Failed, err)
		}
	}
}

func BenchmarkVMWithdraw(b *testing.B) {
	h := newHost(b)
	r := NewReconciler(h.open(Options{}), nil, silent())
	want := many(1000, 10)
	for b.Loop() {
		b.StopTimer()
		apply(b, r, want)
		b.StartTimer()
		if err := r.Withdraw(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func apply(b *testing.B, r *Reconciler, want pool.Table) {
	b.Helper()
	a, err := r.Apply(context.Background(), want)
	if err != nil || len(a.Failed) > 0 {
		b.Fatal(err, a.Failed)
	}
}

// restorable returns the table for ipvsadm -R, which wants each service before
// its servers.
func restorable(t pool.Table) string {
	var b strings.Builder
	for _, v := range t {
		b.WriteString(strings.Join(saved(pool.Table{v}), "\n") + "\n")
	}
	return b.String()
}
