package speaker

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/internal/network"
	"baton/internal/vrrp"
	"baton/internal/wire"
)

func TestPairElectsTheHigherPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := &segment{}
		a := start(t, seg, "10.0.0.1/24", routerSpec(200))
		b := start(t, seg, "10.0.0.2/24", routerSpec(100))
		defer b.quit()
		time.Sleep(5 * time.Second)
		a.wantState(vrrp.Master)
		b.wantState(vrrp.Backup)
		if got := b.router().Election.Owner; got != netip.MustParseAddr("10.0.0.1") {
			t.Errorf("the backup follows %v", got)
		}
		// The master dies without a word: three adverts and the skew later the
		// other one has the addresses, and has told everybody five times.
		a.quit()
		time.Sleep(vrrp.DownInterval(100, time.Second) + time.Millisecond)
		b.wantState(vrrp.Master)
		if _, _, told := b.host.conflicts(); told != 5 {
			t.Errorf("announced %d times at the takeover, want 5", told)
		}
	})
}

func TestPlannedStopHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := &segment{}
		a := start(t, seg, "10.0.0.1/24", routerSpec(200))
		defer a.quit()
		b := start(t, seg, "10.0.0.2/24", routerSpec(100))
		defer b.quit()
		time.Sleep(5 * time.Second)

		stopped := make(chan error, 1)
		go func() { stopped <- a.Stop(t.Context()) }()
		time.Sleep(vrrp.SkewTime(100, time.Second) - time.Millisecond)
		if !a.host.holds(vip) {
			t.Error("the addresses are gone before the peer has taken over")
		}
		time.Sleep(2 * time.Millisecond)
		b.wantState(vrrp.Master)
		if !a.host.holds(vip) {
			t.Error("the addresses are gone before the new master could announce them")
		}
		time.Sleep(linger)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		a.wantState(vrrp.Init)
		// A change of the interface does not start a stopped router again.
		a.host.change(func() {})
		synctest.Wait()
		a.wantState(vrrp.Init)
	})
}

func TestFailoverAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := &segment{}
		a := start(t, seg, "10.0.0.1/24", routerSpec(200))
		defer a.quit()
		if err := a.Failover(t.Context(), "nothing"); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
			t.Errorf("failover of an unknown router: %v", err)
		}
		time.Sleep(5 * time.Second)
		if err := a.Failover(t.Context(), "web"); err == nil || !strings.Contains(err.Error(), "no peer took over") {
			t.Errorf("failover without a peer: %v", err)
		}
		a.wantState(vrrp.Master)

		b := start(t, seg, "10.0.0.2/24", routerSpec(100))
		defer b.quit()
		time.Sleep(2 * time.Second)
		if err := a.Failover(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		b.wantState(vrrp.Master)
		time.Sleep(20 * time.Second)
		a.wantState(vrrp.Backup)
		if err := a.Resume(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		a.wantState(vrrp.Master)
		b.wantState(vrrp.Backup)
	})
}

func TestUnchangedConfigurationTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := &segment{}
		spec := routerSpec(200)
		spec.Lease = 0
		a := start(t, seg, "10.0.0.1/24", spec)
		defer a.quit()
		time.Sleep(20 * time.Second)
		sets, sent := a.host.setCount(), len(seg.all())
		if err := a.Configure(t.Context(), []Router{spec}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a.host.setCount() != sets || len(seg.all()) != sent {
			t.Errorf("%d changes of addresses and %d adverts for nothing", a.host.setCount()-sets, len(seg.all())-sent)
		}
	})
}

func TestLeaseIsRenewedByThirds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, &segment{}, "10.0.0.1/24", routerSpec(200))
		defer a.quit()
		time.Sleep(5 * time.Second)
		before := a.host.setCount()
		time.Sleep(10 * time.Second)
		if got := a.host.setCount() - before; got != 10 {
			t.Errorf("renewed %d times in 10 s with a lease of 3 s, want 10", got)
		}
	})
}

func TestInterfaceTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := &segment{}
		a := start(t, seg, "10.0.0.1/24", routerSpec(200))
		defer a.quit()
		time.Sleep(5 * time.Second)

		a.host.change(func() { a.host.link.Up = false })
		synctest.Wait()
		a.wantState(vrrp.Fault)
		if reason := a.router().Election.Reason; !strings.Contains(reason, "eth0 is down") {
			t.Errorf("reason %q", reason)
		}
		a.host.change(func() { a.host.gone = errNoDevice })
		synctest.Wait()
		if reason := a.router().Election.Reason; !strings.Contains(reason, "no such device") {
			t.Errorf("reason %q", reason)
		}
		// It comes back, under another index and at first without an address, and
		// nobody tells: it is looked at every second.
		a.host.mu.Lock()
		a.host.gone = nil
		a.host.link = network.Link{Name: "eth0", Index: 7, Up: true}
		a.host.mu.Unlock()
		time.Sleep(2 * time.Second)
		if reason := a.router().Election.Reason; !strings.Contains(reason, "no IPv4 address") {
			t.Errorf("reason %q", reason)
		}
		a.host.change(func() { a.host.link.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.9/24")} })
		time.Sleep(5 * time.Second)
		a.wantState(vrrp.Master)
		if got := a.router().Source; got != netip.MustParseAddr("10.0.0.9") {
			t.Errorf("source %v", got)
		}
	})
}

func TestAddressTakenAwayIsPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := routerSpec(200)
		spec.Lease = 0
		a := start(t, &segment{}, "10.0.0.1/24", spec)
		defer a.quit()
		time.Sleep(20 * time.Second)
		_, _, told := a.host.conflicts()
		a.host.mu.Lock()
		delete(a.host.has, vip)
		report := a.host.report
		a.host.mu.Unlock()
		report(network.Change{Kind: network.AddressRemoved, Interface: "eth0", Prefix: netip.MustParsePrefix("10.0.0.100/24")})
		synctest.Wait()
		a.wantState(vrrp.Master)
		if _, _, now := a.host.conflicts(); now == told {
			t.Error("the neighbours were not told")
		}
		if n := a.router().Transitions["master"]; n != 1 {
			t.Errorf("%d transitions to master, want 1", n)
		}
	})
}

func TestKernelRefusalIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, &segment{}, "10.0.0.1/24", routerSpec(200))
		defer a.quit()
		a.host.mu.Lock()
		a.host.refuse = errors.New("no buffer space")
		a.host.mu.Unlock()
		time.Sleep(5 * time.Second)
		if p := a.router().Problem; !strings.Contains(p, "no buffer space") {
			t.Errorf("problem %q", p)
		}
		a.host.mu.Lock()
		a.host.refuse = nil
		a.host.mu.Unlock()
		time.Sleep(2 * time.Second)
		if p := a.router().Problem; p != "" {
			t.Errorf("problem %q after it went away", p)
		}
	})
}

func TestUnicastBelievesPeersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := &segment{}
		spec := func(priority uint8, peer string) Router {
			r := routerSpec(priority)
			r.Peers = []netip.Addr{netip.MustParseAddr(peer)}
			return r
		}
		a := start(t, seg, "10.0.0.1/24", spec(200, "10.0.0.2"))
		defer a.quit()
		b := start(t, seg, "10.0.0.2/24", spec(100, "10.0.0.1"))
		defer b.quit()
		stranger := start(t, seg, "10.0.0.3/24", spec(250, "10.0.0.1"))
		defer stranger.quit()
		time.Sleep(6 * time.Second)
		a.wantState(vrrp.Master)
		b.wantState(vrrp.Backup)
		if a.router().Rejected["peer"] == 0 {
			t.Error("the stranger's adverts are not counted")
		}
	})
}

func TestStrangerOnTheSameIDIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := &segment{}
		other := routerSpec(250)
		other.Addresses = []network.Address{{Prefix: netip.MustParsePrefix("10.0.0.77/24"), Interface: "eth0"}}
		stranger := start(t, seg, "10.0.0.9/24", other)
		defer stranger.quit()
		a := start(t, seg, "10.0.0.1/24", routerSpec(200))
		defer a.quit()
		time.Sleep(5 * time.Second)
		if s := a.router().Stranger; !strings.Contains(s, "10.0.0.9") || !strings.Contains(s, "10.0.0.77") || !strings.Contains(s, "51") {
			t.Errorf("stranger %q", s)
		}
	})
}

// The will is what the director does for a dead pulse.
func TestWill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := &segment{}
		a := start(t, seg, "10.0.0.1/24", routerSpec(200))
		if w, err := a.Will(t.Context()); err != nil || !w.Empty() {
			t.Errorf("will of a backup: %+v, %v", w, err)
		}
		time.Sleep(5 * time.Second)
		w, err := a.Will(t.Context())
		if err != nil || len(w.Adverts) != 1 || w.Addresses() != 1 {
			t.Fatalf("will of a master: %+v, %v", w, err)
		}
		a.quit()
		b := start(t, seg, "10.0.0.2/24", routerSpec(100))
		defer b.quit()
		var removed []network.State
		if err := w.Execute(t.Context(), Heir{
			OpenConn: func(string, wire.Family) (Conn, error) { return seg.open(w.Adverts[0].Source), nil },
			Remover:  remover(func(s []network.State) { removed = s }),
		}); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(removed, w.States) {
			t.Errorf("removed %v", removed)
		}
		time.Sleep(vrrp.SkewTime(100, time.Second) + time.Millisecond)
		b.wantState(vrrp.Master)
	})
}

// Routers that vanish from the configuration let go; the others do not notice.
func TestRemovedRouterLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, &segment{}, "10.0.0.1/24", routerSpec(200))
		defer a.quit()
		time.Sleep(5 * time.Second)
		if err := a.Configure(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a.host.holds(vip) {
			t.Error("the addresses of a removed router are still held")
		}
		if s, err := a.Status(t.Context()); err != nil || len(s.Routers) != 0 {
			t.Errorf("status %+v: %v", s, err)
		}
	})
}
