package ipvs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/pool"
)

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func mustApply(t *testing.T, r *Reconciler, want pool.Table) Applied {
	t.Helper()
	a, err := r.Apply(t.Context(), want)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return a
}

func mustChange(t *testing.T, r *Reconciler, want pool.Table) Applied {
	t.Helper()
	a, err := r.ApplyChange(t.Context(), want)
	if err != nil {
		t.Fatalf("ApplyChange: %v", err)
	}
	return a
}

func assertTable(t *testing.T, f *fakeKernel, want pool.Table) {
	t.Helper()
	if d := cmp.Diff(print(want), f.String()); d != "" {
		t.Fatalf("the table is not as wanted (-want +kernel):\n%s", d)
	}
}

func assertClean(t *testing.T, a Applied) {
	t.Helper()
	if len(a.Failed) > 0 || len(a.Drift) > 0 {
		t.Fatalf("failed: %v, drift: %v, want none", a.Failed, a.Drift)
	}
}

func assertSilent(t *testing.T, a Applied) {
	t.Helper()
	assertClean(t, a)
	if a.Wrote() != 0 {
		t.Fatalf("writes %v, want none", a.Writes)
	}
}

func TestApplyMakesEveryWorldFromEveryOther(t *testing.T) {
	for _, from := range worlds {
		for _, to := range worlds {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				f := newFakeKernel()
				r := NewReconciler(f, nil, silent())
				assertClean(t, mustApply(t, r, from.table))
				assertTable(t, f, from.table)
				assertClean(t, mustChange(t, r, to.table))
				assertTable(t, f, to.table)
				assertSilent(t, mustChange(t, r, to.table))
				assertSilent(t, mustApply(t, r, to.table))
			})
		}
	}
}

func TestRandomWalk(t *testing.T) {
	w := newWalker(t, 1)
	f := newFakeKernel()
	walk(t, w, walkLength(t, 2000), f, func() { disturb(w.Rand, f) }, func(want pool.Table, r *Reconciler) {
		assertTable(t, f, want)
		assertSilent(t, mustApply(t, r, want))
	})
}

// disturb does one thing that another program could do to our services.
func disturb(rng *rand.Rand, f *fakeKernel) {
	for k, e := range f.services {
		switch rng.IntN(4) {
		case 0:
			delete(f.services, k)
		case 1:
			e.settings.Scheduler = "nq"
		case 2:
			if len(e.servers) > 0 {
				e.remove(e.servers[rng.IntN(len(e.servers))])
			}
		case 3:
			s := server("10.9.9.9:80 tun 9")
			e.put(s)
		}
		return
	}
}

func TestStepsOrder(t *testing.T) {
	for _, tt := range []struct {
		name       string
		have, want pool.VirtualService
		script     string
	}{
		{
			"servers are exchanged without an empty pool",
			service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"), server("10.0.0.12:80 nat 1")),
			service("tcp 10.0.0.100:80 wlc", server("10.0.0.13:80 nat 1"), server("10.0.0.14:80 nat 1")),
			`add server 10.0.0.13:80 to tcp 10.0.0.100:80
add server 10.0.0.14:80 to tcp 10.0.0.100:80
delete server 10.0.0.11:80 from tcp 10.0.0.100:80
delete server 10.0.0.12:80 from tcp 10.0.0.100:80
`,
		},
		{
			"one rises before the other falls",
			service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"), server("10.0.0.12:80 nat 0")),
			service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 0"), server("10.0.0.12:80 nat 1")),
			`change server 10.0.0.12:80 of tcp 10.0.0.100:80
change server 10.0.0.11:80 of tcp 10.0.0.100:80
`,
		},
		{
			"the service is changed first",
			service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1")),
			service("tcp 10.0.0.100:80 rr", server("10.0.0.12:80 nat 1")),
			`change service tcp 10.0.0.100:80
add server 10.0.0.12:80 to tcp 10.0.0.100:80
delete server 10.0.0.11:80 from tcp 10.0.0.100:80
`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeKernel(tt.have)
			mustApply(t, NewReconciler(f, nil, silent()), table(tt.want))
			if d := cmp.Diff(tt.script, script(f.ops)); d != "" {
				t.Errorf("ops (-want +got):\n%s", d)
			}
		})
	}
}

func TestReplacementComesBeforeDeletion(t *testing.T) {
	f := newFakeKernel()
	r := NewReconciler(f, nil, silent())
	mustApply(t, r, table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"))))
	f.ops = nil
	mustApply(t, r, table(service("fwmark 7 inet wlc", server("10.0.0.11:80 nat 1"))))
	want := "add service fwmark 7\nadd server 10.0.0.11:80 to fwmark 7\ndelete service tcp 10.0.0.100:80\n"
	if got := script(f.ops); got != want {
		t.Errorf("ops:\n%swant:\n%s", got, want)
	}
}

func TestFirstApplyAdopts(t *testing.T) {
	have := service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"), server("10.0.0.12:80 nat 1"))
	want := service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 5"), server("10.0.0.12:80 nat 1"))
	f := newFakeKernel(have)
	f.active = 3
	r := NewReconciler(f, nil, silent())
	a := mustApply(t, r, table(want))
	assertClean(t, a) // a difference at the start is no drift
	if a.Wrote() != 1 || a.Writes[EditServer] != 1 {
		t.Errorf("writes %v, want one edit_server", a.Writes)
	}
	if len(a.Services) != 1 || a.Services[0].Servers[0].Active != 3 {
		t.Errorf("services %+v, want one with its connections", a.Services)
	}
	if got := r.Owned(); !slices.Equal(got, []pool.Key{want.Key}) {
		t.Errorf("owned %v", got)
	}
}

func TestForeignIsLeftAlone(t *testing.T) {
	foreign := service("udp 10.9.9.9:53 rr", server("10.9.9.10:53 nat 1"))
	ours := service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"))
	f := newFakeKernel(foreign)
	r := NewReconciler(f, nil, silent())
	a := mustApply(t, r, table(ours))
	if len(a.Foreign) != 1 || a.Foreign[0].Key() != foreign.Key || len(a.Foreign[0].Servers) != 1 {
		t.Errorf("foreign %+v, want %v", a.Foreign, foreign.Key)
	}
	assertTable(t, f, table(ours, foreign))
	mustApply(t, r, nil)
	assertTable(t, f, table(foreign))

	r.RemoveForeign(true)
	a = mustApply(t, r, nil)
	if len(a.Foreign) != 0 || a.Writes[DelService] != 1 {
		t.Errorf("foreign %v, writes %v, want it removed", a.Foreign, a.Writes)
	}
	assertTable(t, f, nil)
}

func TestOwnedOfAnEarlierRunIsRemoved(t *testing.T) {
	old := service("tcp 10.0.0.99:80 wlc", server("10.0.0.11:80 nat 1"))
	gone := service("tcp 10.0.0.98:80 wlc")
	foreign := service("udp 10.9.9.9:53 rr")
	f := newFakeKernel(old, foreign)
	r := NewReconciler(f, []pool.Key{old.Key, gone.Key}, silent())
	a := mustApply(t, r, nil)
	assertClean(t, a)
	assertTable(t, f, table(foreign))
	if got := r.Owned(); len(got) != 0 {
		t.Errorf("owned %v, want none", got)
	}
}

func TestDriftIsRepairedAndCounted(t *testing.T) {
	want := table(
		service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"), server("10.0.0.12:80 nat 1")),
		service("tcp 10.0.0.100:81 wlc", server("10.0.0.11:81 nat 1")),
		service("tcp 10.0.0.100:82 wlc"))
	f := newFakeKernel()
	r := NewReconciler(f, nil, silent())
	mustApply(t, r, want)

	f.set(service("tcp 10.0.0.100:80 rr", server("10.0.0.11:80 nat 5"), server("10.0.0.13:80 nat 1")))
	delete(f.services, want[1].Key)
	a := mustApply(t, r, want)
	var got []string
	for _, d := range a.Drift {
		got = append(got, d.String())
	}
	wantDrift := []string{
		"tcp 10.0.0.100:80: service changed: scheduler rr, not wlc",
		"tcp 10.0.0.100:80: server 10.0.0.12:80 missing",
		"tcp 10.0.0.100:80: server 10.0.0.11:80 changed: weight 5, not 1",
		"tcp 10.0.0.100:80: server 10.0.0.13:80 unexpected",
		"tcp 10.0.0.100:81: service missing",
	}
	if d := cmp.Diff(wantDrift, got); d != "" {
		t.Errorf("drift (-want +got):\n%s", d)
	}
	assertTable(t, f, want)
	assertSilent(t, mustApply(t, r, want))
}

func TestReloadAfterDriftIsNotCountedTwice(t *testing.T) {
	f := newFakeKernel()
	r := NewReconciler(f, nil, silent())
	one := table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1")))
	two := table(service("tcp 10.0.0.100:80 rr", server("10.0.0.11:80 nat 2")))
	mustApply(t, r, one)
	assertClean(t, mustApply(t, r, two)) // a new wish is no drift
	assertTable(t, f, two)
}

func TestApplyChangeIsOneWriteWithoutADump(t *testing.T) {
	want := many(1000, 10)
	f := newFakeKernel()
	r := NewReconciler(f, nil, silent())
	mustApply(t, r, want)
	f.dumps, f.ops = 0, nil
	want[500].Servers[5].Weight = 77
	a := mustChange(t, r, want)
	if got := script(f.ops); got != "change server 10.2.0.5:80 of tcp 10.1.1.244:80\n" || f.dumps != 0 {
		t.Errorf("%d dumps and ops:\n%s", f.dumps, got)
	}
	if a.Wrote() != 1 || a.Services != nil {
		t.Errorf("applied %v", a.Writes)
	}
	assertTable(t, f, want)
}

func TestApplyChangeNoticesThatTheTableWasChanged(t *testing.T) {
	one := table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1")))
	for name, act := range map[string]func(*fakeKernel){
		"table cleared":  func(f *fakeKernel) { clear(f.services) },
		"server deleted": func(f *fakeKernel) { f.services[one[0].Key].servers = nil },
		"server added":   func(f *fakeKernel) { f.set(service("tcp 10.0.0.100:80 wlc", server("10.0.0.12:80 nat 9"))) },
		"service added":  func(f *fakeKernel) { f.set(service("tcp 10.0.0.100:81 rr")) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeKernel()
			r := NewReconciler(f, nil, silent())
			mustApply(t, r, one)
			act(f)
			two := table(
				service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 7"), server("10.0.0.12:80 nat 1")),
				service("tcp 10.0.0.100:81 wlc"))
			a := mustChange(t, r, two)
			if len(a.Failed) > 0 {
				t.Errorf("failed %v", a.Failed)
			}
			assertTable(t, f, two)
			assertSilent(t, mustApply(t, r, two))
		})
	}
}

func TestApplyChangeBeforeApplyReadsTheTable(t *testing.T) {
	foreign := service("udp 10.9.9.9:53 rr")
	ours := service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"))
	f := newFakeKernel(foreign, ours)
	a := mustChange(t, NewReconciler(f, nil, silent()), table(ours))
	assertSilent(t, a)
	if f.dumps != 1 || len(a.Foreign) != 1 {
		t.Errorf("%d dumps, foreign %v", f.dumps, a.Foreign)
	}
}

func TestDumpThatMissesAService(t *testing.T) {
	want := table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1")), service("tcp 10.0.0.100:81 wlc"))
	f := newFakeKernel()
	r := NewReconciler(f, nil, silent())
	mustApply(t, r, want)
	missed := false
	f.hide = func(s Service) bool {
		hide := !missed && s.Key() == want[0].Key
		missed = missed || hide
		return hide
	}
	assertClean(t, mustApply(t, r, want)) // no drift, no failure
	assertTable(t, f, want)
	assertSilent(t, mustApply(t, r, want))
}

// vanishing is a table in which a service is deleted while it is dumped, between
// the list of services and that of its servers.
type vanishing struct {
	*fakeKernel
	key pool.Key // zero: none
}

func (v *vanishing) Dump(ctx context.Context) ([]Service, error) {
	list, err := v.fakeKernel.Dump(ctx)
	for i := range list {
		if list[i].Key() == v.key {
			list[i].Servers = nil
			delete(v.services, v.key)
		}
	}
	v.key = pool.Key{}
	return list, err
}

func TestServiceDeletedDuringADumpIsDriftOnce(t *testing.T) {
	want := many(3, 4)
	v := &vanishing{fakeKernel: newFakeKernel()}
	r := NewReconciler(v, nil, silent())
	mustApply(t, r, want)
	v.key = want[1].Key
	a := mustApply(t, r, want)
	if len(a.Failed) != 0 || len(a.Drift) != 1 || a.Drift[0].String() != want[1].Key.String()+": service missing" {
		t.Errorf("failed %v, drift %v", a.Failed, a.Drift)
	}
	assertTable(t, v.fakeKernel, want)
	assertSilent(t, mustApply(t, r, want))
}

func TestOneFailureAffectsOneServiceOnly(t *testing.T) {
	bad := service("tcp 10.0.0.100:80 lblc", server("10.0.0.11:80 nat 1"))
	good := service("tcp 10.0.0.100:81 wlc", server("10.0.0.11:81 nat 1"))
	f := newFakeKernel()
	f.refuse = func(op Op) error {
		if op.Kind == NewService && op.Service.Scheduler == "lblc" {
			return syscall.ENOENT
		}
		return nil
	}
	r := NewReconciler(f, nil, silent())
	a := mustApply(t, r, table(bad, good))
	err := a.Failed[bad.Key]
	want := `add service tcp 10.0.0.100:80: the kernel has no scheduler "lblc": modprobe ip_vs_lblc (no such file or directory)`
	if err == nil || err.Error() != want || len(a.Failed) != 1 {
		t.Errorf("failed %v\nwant %s", a.Failed, want)
	}
	if !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the error does not match ENOENT")
	}
	assertTable(t, f, table(good))
	if got := r.Owned(); !slices.Equal(got, []pool.Key{good.Key}) {
		t.Errorf("owned %v", got)
	}
}

func TestOneBadServerDoesNotHoldBackTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKernel()
		r := NewReconciler(f, nil, silent())
		v := service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"), server("[2001:db8::1]:80 nat 1"))
		a := mustApply(t, r, table(v))
		if err := a.Failed[v.Key]; err == nil || !strings.Contains(err.Error(), "needs forward: tun") {
			t.Fatalf("failed %v", a.Failed)
		}
		// The other server's verdict changes at once, within the backoff.
		v.Servers[0].Weight = 0
		a = mustChange(t, r, table(v))
		if a.Writes[EditServer] != 1 || a.Failed[v.Key] == nil {
			t.Errorf("writes %v, failed %v", a.Writes, a.Failed)
		}
		// A corrected server is written at once too.
		v.Servers[1].Forward = pool.TUN
		a = mustChange(t, r, table(v))
		if a.Writes[NewServer] != 1 {
			t.Errorf("writes %v", a.Writes)
		}
		assertClean(t, a)
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKernel()
		f.refuse = func(Op) error { return syscall.ENOMEM }
		r := NewReconciler(f, nil, silent())
		want := table(service("tcp 10.0.0.100:80 wlc"))
		start := time.Now()
		var tried []time.Duration
		for range 1300 { // a resync tick every 100 ms
			n := len(f.ops)
			if a := mustApply(t, r, want); a.Failed[want[0].Key] == nil {
				t.Fatal("the failure is not reported during the backoff")
			}
			if len(f.ops) > n {
				tried = append(tried, time.Since(start))
			}
			time.Sleep(100 * time.Millisecond)
		}
		s := time.Second
		if d := cmp.Diff([]time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 91 * s, 121 * s}, tried); d != "" {
			t.Errorf("tried at (-want +got):\n%s", d)
		}
		f.refuse = nil
		time.Sleep(30 * s)
		assertClean(t, mustApply(t, r, want))
		assertTable(t, f, want)
		if len(r.retries) != 0 {
			t.Errorf("retries are left: %v", r.retries)
		}
	})
}

func TestFailuresAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		f := newFakeKernel()
		f.refuse = func(Op) error { return syscall.ENOMEM }
		r := NewReconciler(f, nil, slog.New(slog.NewTextHandler(&log, nil)))
		want := table(service("tcp 10.0.0.100:80 wlc"))
		for range 150 {
			mustApply(t, r, want)
			time.Sleep(time.Second)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 3 {
			t.Errorf("%d warnings in 150 s, want 3:\n%s", n, log.String())
		}
		f.refuse = nil
		time.Sleep(time.Minute)
		mustApply(t, r, want)
		if !strings.Contains(log.String(), "as wanted again") {
			t.Errorf("the recovery is not logged:\n%s", log.String())
		}
	})
}

// A change whose answer is lost may have been made. Its effect must neither be
// taken for drift nor be forgotten.
func TestLostAnswer(t *testing.T) {
	want := table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1")))
	for _, made := range []bool{false, true} {
		t.Run(fmt.Sprint("made=", made), func(t *testing.T) {
			f := newFakeKernel()
			f.refuse = func(op Op) error {
				if made {
					_ = f.do(op)
				}
				return errors.New("timeout")
			}
			r := NewReconciler(f, nil, silent())
			if a := mustApply(t, r, want); a.Failed[want[0].Key] == nil || a.Wrote() != 0 {
				t.Fatalf("applied %+v", a)
			}
			if got := r.Owned(); !slices.Equal(got, []pool.Key{want[0].Key}) {
				t.Errorf("owned %v: a service that may be ours was forgotten", got)
			}
			f.refuse = nil
			assertClean(t, mustApply(t, r, want))
			assertTable(t, f, want)
			mustApply(t, r, nil)
			assertTable(t, f, nil)
		})
	}
}

func TestInvalidServiceIsReportedAndLeftAsItIs(t *testing.T) {
	good := service("tcp 10.0.0.100:81 wlc")
	base := service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"))
	for name, tt := range map[string]struct {
		change func(*pool.VirtualService)
		want   string
	}{
		"scheduler":    {func(v *pool.VirtualService) { v.Scheduler = "../evil" }, "no scheduler's name"},
		"engine":       {func(v *pool.VirtualService) { v.PersistenceEngine = "s ip" }, "no persistence engine's name"},
		"timeout 0":    {func(v *pool.VirtualService) { v.Flags = pool.Persistent }, "allowed are 1 to 2678400"},
		"long timeout": {func(v *pool.VirtualService) { *v = persistent(*v, 1<<31, 32) }, "allowed are 1 to 2678400"},
		"netmask":      {func(v *pool.VirtualService) { *v = persistent(*v, 1, 33) }, "allowed are 1 to 32"},
		"weight":       {func(v *pool.VirtualService) { v.Servers = []pool.RealServer{server("10.0.0.11:80 nat 2147483648")} }, "weight"},
		"local":        {func(v *pool.VirtualService) { v.Servers = []pool.RealServer{{Address: v.Address, Forward: pool.Local}} }, "use nat, dr or tun"},
		"zone":         {func(v *pool.VirtualService) { v.Servers = []pool.RealServer{server("[fe80::1%eth0]:80 dr 1")} }, "zone"},
		"limit":        {func(v *pool.VirtualService) { v.Servers = []pool.RealServer{limited(v.Servers[0], 1, limitMax+1)} }, "allowed are 0 to 2147483647 connections"},
		"no address":   {func(v *pool.VirtualService) { v.Servers = []pool.RealServer{{}} }, "missing"},
		"server twice": {func(v *pool.VirtualService) { v.Servers = append(slices.Clone(v.Servers), v.Servers[0]) }, "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeKernel()
			r := NewReconciler(f, nil, silent())
			mustApply(t, r, table(base, good))
			bad := base
			tt.change(&bad)
			a := mustApply(t, r, table(bad, good))
			if err := a.Failed[base.Key]; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("failed %v, want one with %q", a.Failed, tt.want)
			}
			assertTable(t, f, table(base, good))
		})
	}
	for name, k := range map[string]pool.Key{
		"protocol":      {Protocol: 1, Address: base.Address},
		"family":        {Protocol: pool.TCP, Address: base.Address, IPv6: true},
		"mark and more": {FWMark: 1, Protocol: pool.TCP},
		"nothing":       {},
	} {
		t.Run(name, func(t *testing.T) {
			a := mustApply(t, NewReconciler(newFakeKernel(), nil, silent()), table(pool.VirtualService{Key: k, Scheduler: "rr"}))
			if a.Failed[k] == nil {
				t.Error("not refused")
			}
		})
	}
	t.Run("service twice", func(t *testing.T) {
		f := newFakeKernel()
		a := mustApply(t, NewReconciler(f, nil, silent()), table(base, good, good))
		if a.Failed[good.Key] == nil || len(a.Failed) != 1 {
			t.Errorf("failed %v", a.Failed)
		}
		assertTable(t, f, table(base, good))
	})
}

func TestWithdraw(t *testing.T) {
	foreign := service("udp 10.9.9.9:53 rr")
	want := many(3, 2)
	f := newFakeKernel(foreign)
	r := NewReconciler(f, nil, silent())
	mustApply(t, r, want)
	delete(f.services, want[0].Key) // somebody was faster
	f.refuse = func(op Op) error {
		if op.Service.Key == want[1].Key {
			return syscall.ENOMEM
		}
		return nil
	}
	err := r.Withdraw(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1 of 3 services") || !strings.Contains(err.Error(), want[1].Key.String()) {
		t.Errorf("error %v", err)
	}
	assertTable(t, f, table(foreign, want[1]))
	f.refuse = nil
	if err := r.Withdraw(t.Context()); err != nil {
		t.Error(err)
	}
	assertTable(t, f, table(foreign))
	assertClean(t, mustApply(t, r, want)) // and back again
	assertTable(t, f, append(table(foreign), want...))
}

func TestWithdrawOfAnEarlierRun(t *testing.T) {
	v := service("tcp 10.0.0.100:80 wlc")
	f := newFakeKernel(v)
	if err := NewReconciler(f, []pool.Key{v.Key}, silent()).Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	assertTable(t, f, nil)
}

func TestApplyReturnsTheErrorOfTheTable(t *testing.T) {
	f := newFakeKernel()
	f.lost = func(context.Context) error { return ErrNoIPVS }
	if _, err := NewReconciler(f, nil, silent()).Apply(t.Context(), nil); !errors.Is(err, ErrNoIPVS) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewReconciler(newFakeKernel(), nil, silent()).Apply(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestWantIsNotKeptOrChanged(t *testing.T) {
	f := newFakeKernel()
	r := NewReconciler(f, nil, silent())
	want := table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.12:80 nat 1"), server("10.0.0.11:80 nat 1")))
	mustApply(t, r, want)
	if want[0].Servers[0] != server("10.0.0.12:80 nat 1") {
		t.Error("the caller's table was sorted")
	}
	want[0].Servers[0].Weight = 9
	if a := mustChange(t, r, want); a.Wrote() != 1 {
		t.Errorf("writes %v: the caller's table is shared", a.Writes)
	}
}

func TestDiff(t *testing.T) {
	f := newFakeKernel(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1")), service("udp 10.9.9.9:53 rr"))
	have, _ := f.Dump(t.Context())
	got := Diff(have, table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 dr 1")), service("tcp 10.0.0.100:81 wlc")))
	want := []string{
		"tcp 10.0.0.100:80: server 10.0.0.11:80 changed: forward nat, not dr",
		"tcp 10.0.0.100:81: service missing",
		"udp 10.9.9.9:53: service unexpected",
	}
	var lines []string
	for _, d := range got {
		lines = append(lines, d.String())
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestManyFailuresAreOneSentence(t *testing.T) {
	var j joined
	for i := range 10 {
		j = append(j, fmt.Errorf("e%d", i))
	}
	if got := j.Error(); got != "e0; e1; e2; and 7 more failures" {
		t.Error(got)
	}
}
