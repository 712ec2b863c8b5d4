package ipvs

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"baton/internal/pool"
)

func newWorld() *fakeWorld { return &fakeWorld{kernel: newFakeKernel(), family: 0x1d} }

// noModules refuses to load anything.
func noModules() *modules {
	m := newModules(false)
	m.there = func(string) bool { return false }
	return m
}

func (w *fakeWorld) open(t *testing.T, m *modules) *Kernel {
	t.Helper()
	k, err := open(t.Context(), Options{Timeout: time.Second}, w.dial, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func TestOpenWithoutIPVS(t *testing.T) {
	w := newWorld()
	w.family = 0
	_, err := open(t.Context(), Options{}, w.dial, noModules())
	if !errors.Is(err, ErrNoIPVS) || !strings.Contains(err.Error(), "modprobe ip_vs") {
		t.Errorf("error %v", err)
	}
}

func TestOpenLoadsTheModule(t *testing.T) {
	w := newWorld()
	w.family = 0
	var loaded []string
	m := &modules{tried: map[string]trial{}, run: func(_ context.Context, name string) error {
		loaded, w.family = append(loaded, name), 0x1d
		return nil
	}}
	k := w.open(t, m)
	if !slices.Equal(loaded, []string{"ip_vs"}) {
		t.Errorf("loaded %v", loaded)
	}
	if i, err := k.Info(t.Context()); err != nil || i != (Info{"1.2.1", 4096}) {
		t.Errorf("info %+v, %v", i, err)
	}
}

func TestOpenWithoutPermission(t *testing.T) {
	w := newWorld()
	w.refuse = func(genetlink.Message) syscall.Errno { return syscall.EPERM }
	_, err := open(t.Context(), Options{}, w.dial, noModules())
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "needs root or CAP_NET_ADMIN") {
		t.Errorf("error %v", err)
	}
}

// The reconciler over the whole encoding, from every state to every other.
func TestKernelWalk(t *testing.T) {
	w := newWorld()
	k := w.open(t, noModules())
	r := NewReconciler(k, nil, silent())
	for _, from := range worlds {
		for _, to := range worlds {
			assertClean(t, mustApply(t, r, from.table))
			assertClean(t, mustApply(t, r, to.table))
			assertTable(t, w.kernel, to.table)
			assertSilent(t, mustApply(t, r, to.table))
		}
	}
}

func TestBatches(t *testing.T) {
	w := newWorld()
	k := w.open(t, noModules())
	want := many(40, 20)
	var ops []Op
	for _, v := range want {
		ops = append(ops, Op{Kind: NewService, Service: v})
		for _, s := range v.Servers {
			ops = append(ops, Op{Kind: NewServer, Service: v, Server: s}, Op{Kind: NewServer, Service: v, Server: s})
		}
	}
	w.sends, w.answers = 0, 0
	refused := 0
	for i, err := range k.Write(t.Context(), ops) {
		twice := i > 0 && ops[i].equal(ops[i-1])
		if twice {
			refused++
		}
		if twice != errors.Is(err, syscall.EEXIST) {
			t.Fatalf("op %d, %v: %v", i, ops[i], err)
		}
	}
	assertTable(t, w.kernel, want)
	if w.largest != batchSize || w.sends != (len(ops)+batchSize-1)/batchSize {
		t.Errorf("%d sends of at most %d messages for %d ops", w.sends, w.largest, len(ops))
	}
	// What was made is not answered, but for the last of a batch.
	if w.answers < refused || w.answers > refused+w.sends {
		t.Errorf("%d answers to %d refused changes in %d batches", w.answers, refused, w.sends)
	}
	if errs := k.Write(t.Context(), nil); len(errs) != 0 {
		t.Errorf("no ops gave %v", errs)
	}
}

func TestDumpReturnsNothingTwice(t *testing.T) {
	w := newWorld()
	w.repeat = true
	k := w.open(t, noModules())
	want := worlds[2].table
	mustApply(t, NewReconciler(k, nil, silent()), want)
	list, err := k.Dump(t.Context())
	if err != nil || len(list) != 1 || len(list[0].Servers) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}

// D3: an answer that got lost ends with an error, at once where the kernel says
// that it had no room for it and otherwise in bounded time. Of what was not
// answered nobody knows what became, and the next exchange is not confused by what
// comes late.
func TestD3LostAnswerToABatch(t *testing.T) {
	for _, overrun := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.overrun = overrun
			k := w.open(t, noModules())
			v := service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"), server("10.0.0.12:80 nat 1"))
			w.lose = func(m netlink.Message) bool { return m.Header.Flags&netlink.Acknowledge != 0 }
			start := time.Now()
			errs := k.Write(t.Context(), []Op{
				{Kind: NewService, Service: v},
				{Kind: NewServer, Service: v, Server: v.Servers[0]},
				{Kind: NewService, Service: v},
				{Kind: NewServer, Service: v, Server: v.Servers[1]},
			})
			took, said := time.Second, "no answer within 1s"
			if overrun {
				took, said = 0, "no buffer space"
			}
			if time.Since(start) != took {
				t.Errorf("after %v", time.Since(start))
			}
			for i, err := range errs {
				if i == 2 && !overrun {
					if !errors.Is(err, syscall.EEXIST) { // that answer had come before
						t.Errorf("op %d: %v", i, err)
					}
					continue
				}
				if err == nil || !strings.Contains(err.Error(), said) {
					t.Errorf("op %d: %v", i, err)
				}
				if _, ok := errors.AsType[syscall.Errno](err); ok {
					t.Errorf("op %d: a lost answer counts as a refusal: %v", i, err)
				}
			}
			w.lose = nil
			if _, err := k.Dump(t.Context()); err != nil || w.dials != 2 {
				t.Errorf("%v after %d dials", err, w.dials)
			}
			assertTable(t, w.kernel, table(v))
		})
	}
}

func TestRestIsNotTriedAfterALostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		k := w.open(t, noModules())
		w.lose = func(netlink.Message) bool { return true }
		w.sends = 0
		var ops []Op
		for _, v := range many(600, 0) {
			ops = append(ops, Op{Kind: NewService, Service: v})
		}
		errs := k.Write(t.Context(), ops)
		for i, err := range errs {
			if err == nil || strings.Contains(err.Error(), "not tried") != (i >= batchSize) {
				t.Fatalf("op %d: %v", i, err)
			}
		}
		if w.sends != 1 {
			t.Errorf("%d sends", w.sends)
		}
	})
}

func TestContextEndsAnExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		k, err := open(t.Context(), Options{Timeout: time.Hour}, w.dial, noModules())
		if err != nil {
			t.Fatal(err)
		}
		w.lose = func(netlink.Message) bool { return true }
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		start := time.Now()
		if _, err := k.Dump(ctx); !errors.Is(err, context.Canceled) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Dump(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		start = time.Now()
		if _, err := k.Dump(ctx); !errors.Is(err, context.Canceled) || time.Since(start) != time.Minute {
			t.Errorf("while connecting: %v after %v", err, time.Since(start))
		}
		w.lose = nil
		if _, err := k.Dump(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitingForAnotherExchangeEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		k, err := open(t.Context(), Options{Timeout: time.Hour}, w.dial, noModules())
		if err != nil {
			t.Fatal(err)
		}
		w.lose = func(netlink.Message) bool { return true }
		var wg sync.WaitGroup
		for _, d := range []time.Duration{3 * time.Second, time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			wg.Go(func() {
				start := time.Now()
				if _, err := k.Dump(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != d {
					t.Errorf("%v after %v, want %v", err, time.Since(start), d)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
	})
}

// D2: the family is looked up again.
func TestD2FamilyIsFoundAgain(t *testing.T) {
	w := newWorld()
	k := w.open(t, noModules())
	w.family++ // ip_vs was unloaded and loaded again
	if _, err := k.Dump(t.Context()); err != nil {
		t.Error(err)
	}
	w.family = 0
	if _, err := k.Dump(t.Context()); !errors.Is(err, ErrNoIPVS) {
		t.Errorf("error %v", err)
	}
	w.family = 0x1f
	if _, err := k.Dump(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMissingSchedulerIsLoadedOnce(t *testing.T) {
	w := newWorld()
	missing := map[string]bool{"mh": true, "nosuch": true}
	w.kernel.refuse = func(op Op) error {
		if op.Kind == NewService && missing[op.Service.Scheduler] {
			return syscall.ENOENT
		}
		return nil
	}
	var loaded []string
	m := &modules{tried: map[string]trial{}, run: func(_ context.Context, name string) error {
		loaded = append(loaded, name)
		if name == "ip_vs_nosuch" {
			return errors.New("exit status 1")
		}
		delete(missing, strings.TrimPrefix(name, "ip_vs_"))
		return nil
	}}
	k := w.open(t, m)
	good, bad := service("tcp 10.0.0.100:80 mh", server("10.0.0.11:80 nat 1")), service("tcp 10.0.0.100:81 nosuch", server("10.0.0.11:80 nat 1"))
	r := NewReconciler(k, nil, silent())
	also := service("tcp 10.0.0.101:80 mh", server("10.0.0.11:80 nat 1"))
	a := mustApply(t, r, table(good, also, bad))
	if err := a.Failed[bad.Key]; err == nil || !strings.Contains(err.Error(), `no scheduler "nosuch": modprobe ip_vs_nosuch`) || len(a.Failed) != 1 {
		t.Errorf("failed %v", a.Failed)
	}
	assertTable(t, w.kernel, table(good, also))
	bad.Flags = pool.OnePacket // a different wish is tried at once
	mustApply(t, r, table(good, bad))
	if d := cmp.Diff([]string{"ip_vs_mh", "ip_vs_nosuch"}, loaded); d != "" {
		t.Errorf("loaded (-want +got):\n%s", d)
	}
}

func TestModuleNames(t *testing.T) {
	m := &modules{tried: map[string]trial{}, run: func(context.Context, string) error { return nil }}
	for name, ok := range map[string]bool{
		"ip_vs": true, "ip_vs_wlc": true, "ip_vs_pe_sip": true, "ip_vs_": false,
		"vfat": false, "ip_vs_a b": false, "-C/etc": false, "ip_vs_../x": false,
	} {
		if got := m.load(t.Context(), name) == nil; got != ok {
			t.Errorf("%q: allowed %v, want %v", name, got, ok)
		}
	}
}

func TestClosedKernel(t *testing.T) {
	w := newWorld()
	k := w.open(t, noModules())
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Dump(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("error %v", err)
	}
	if err := k.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestTimeoutsAreChecked(t *testing.T) {
	for _, bad := range []Timeouts{{TCP: 500 * time.Millisecond}, {TCPFin: -time.Second}, {UDP: TimeoutMax + time.Second}} {
		if err := bad.check(); err == nil {
			t.Errorf("%+v is no error", bad)
		}
	}
	want := Timeouts{TCP: 15 * time.Minute, TCPFin: TimeoutMax}
	if err := want.check(); err != nil {
		t.Error(err)
	}
	if got, err := decodeTimeouts(encodeTimeouts(want)); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := want.verify(Timeouts{TCP: 15 * time.Minute, TCPFin: TimeoutMax, UDP: time.Minute}); err != nil {
		t.Error(err)
	}
	if err := want.verify(Timeouts{}); err == nil {
		t.Error("timeouts that were not set are no error")
	}
}

func TestOpErrorSaysWhatToDo(t *testing.T) {
	v4, v6 := service("tcp 10.0.0.100:80 mh"), service("tcp [2001:db8::100]:80 mh")
	pe := v4
	pe.PersistenceEngine = "sip"
	nat, gue := server("10.0.0.11:80 nat 1"), tunnelled(server("10.0.0.11:80 tun 1"), pool.Tunnel{Type: pool.GUE})
	for _, tt := range []struct {
		op    Op
		errno syscall.Errno
		want  string
	}{
		{Op{NewService, v4, nat}, syscall.ENOENT, `no scheduler "mh": modprobe ip_vs_mh (`},
		{Op{NewService, pe, nat}, syscall.ENOENT, `no persistence engine "sip": modprobe ip_vs_pe_sip`},
		{Op{NewService, v4, nat}, syscall.EEXIST, "somebody else added it"},
		{Op{EditService, v6, nat}, syscall.EINVAL, "persistence netmask of 1 to 128"},
		{Op{EditService, v4, nat}, syscall.EINVAL, "scheduler flags"},
		{Op{DelService, v4, nat}, syscall.ESRCH, "somebody deleted it"},
		{Op{NewServer, v4, nat}, syscall.EPERM, "CAP_NET_ADMIN"},
		{Op{NewServer, v4, nat}, syscall.ENOMEM, "no memory"},
		{Op{NewServer, v6, nat}, syscall.EAFNOSUPPORT, "CONFIG_IP_VS_IPV6"},
		{Op{NewServer, v4, nat}, syscall.EEXIST, "has this server already"},
		{Op{EditServer, v4, nat}, syscall.ENOENT, "no such server"},
		{Op{EditServer, v4, limited(nat, 9, 8)}, syscall.ERANGE, "lower (9) not above upper (8)"},
		{Op{NewServer, v4, gue}, syscall.EINVAL, "needs a port"},
		{Op{NewServer, v4, nat}, syscall.EINVAL, "only unicast addresses"},
		{Op{NewServer, v6, nat}, syscall.EINVAL, "needs forward: tun"},
		{Op{NewServer, v6, server("10.0.0.11:80 tun 1")}, syscall.EINVAL, "sync daemon"},
		{Op{NewServer, v4, nat}, syscall.EIO, "input/output error"},
	} {
		err := &OpError{tt.op, tt.errno}
		if s := err.Error(); !strings.Contains(s, tt.want) || !strings.HasPrefix(s, tt.op.String()+": ") {
			t.Errorf("%v with %v: %s\nwant %q", tt.op, tt.errno, s, tt.want)
		}
	}
}
