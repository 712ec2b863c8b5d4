package speaker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/internal/network"
	"baton/internal/vrrp"
	"baton/internal/wire"
)

// tracking is a router that tracks something.
func tracking(priority uint8, tracks ...Track) Router {
	r := routerSpec(priority)
	r.Track = tracks
	return r
}

func script(weight int) Track {
	return Track{Name: "script /uplink.sh", Kind: TrackScript, Weight: weight}
}

func result(up bool, weight int) []TrackState {
	return []TrackState{{Name: "script /uplink.sh", Known: true, Up: up, Weight: weight, Detail: "exit status 1"}}
}

func TestRouterWaitsForItsFirstResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, &segment{}, "10.0.0.1/24", tracking(100, script(0)))
		defer a.quit()
		time.Sleep(time.Minute)
		if r := a.router(); r.Election.State != vrrp.Init || r.Election.Reason != "waiting for the first result of the tracked script /uplink.sh" {
			t.Fatalf("without a result: %v, %s", r.Election.State, r.Election.Reason)
		}
		a.Tracked("web", result(true, 0))
		time.Sleep(5 * time.Second)
		a.wantState(vrrp.Master)
		a.Tracked("web", result(false, 0))
		synctest.Wait()
		a.wantState(vrrp.Fault)
		if r := a.router(); r.Election.Reason != "tracked script /uplink.sh: exit status 1" {
			t.Errorf("reason %q", r.Election.Reason)
		}
		a.Tracked("web", result(true, 0))
		synctest.Wait()
		a.wantState(vrrp.Backup)
		a.Tracked("nobody", result(true, 0))
		a.Tracked("web", []TrackState{{Name: "something else", Known: true}})
		synctest.Wait()
	})
}

// A script that a reload adds does not stop a router that runs.
func TestTrackAddedByAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, &segment{}, "10.0.0.1/24", routerSpec(100))
		defer a.quit()
		time.Sleep(5 * time.Second)
		if err := a.Configure(t.Context(), []Router{tracking(100, script(0))}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		a.wantState(vrrp.Master)
	})
}

func TestWeightMovesTheAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := &segment{}
		a := start(t, seg, "10.0.0.1/24", tracking(150, script(-60)))
		defer a.quit()
		b := start(t, seg, "10.0.0.2/24", routerSpec(100))
		defer b.quit()
		time.Sleep(5 * time.Second)
		a.wantState(vrrp.Master)
		a.Tracked("web", result(false, -60))
		time.Sleep(5 * time.Second)
		b.wantState(vrrp.Master)
		a.wantState(vrrp.Backup)
		if got := strings.Join(a.notices, "\n"); got != "priority 150 → priority 90: 150 as configured, -60 by script /uplink.sh (exit status 1)" {
			t.Errorf("notices: %s", got)
		}
		a.Tracked("web", result(true, 0))
		time.Sleep(5 * time.Second)
		a.wantState(vrrp.Master)
		b.wantState(vrrp.Backup)
	})
}

// The weights of all stay within what a router may have, and never touch the
// owner of the addresses.
func TestWeightsAreHeldWithinTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct{ priority, weight, want int }{
			{100, -200, 1}, {100, 200, 254}, {255, 0, 255}, {100, 20, 120},
		} {
			a := start(t, &segment{}, "10.0.0.1/24", tracking(uint8(tt.priority), script(1)))
			a.Tracked("web", result(tt.weight > 0, tt.weight))
			synctest.Wait()
			if got := a.router().Election.Priority; int(got) != tt.want {
				t.Errorf("priority %d, weight %d: %d, want %d", tt.priority, tt.weight, got, tt.want)
			}
			a.quit()
		}
	})
}

// Delays of a tracked interface: a short failure does not count.
func TestTrackedInterfaceWithDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, &segment{}, "10.0.0.1/24", tracking(100, Track{
			Name: "interface eth1", Kind: TrackInterface, Interface: "eth1", Weight: -50,
			DownDelay: 2 * time.Second, UpDelay: 10 * time.Second,
		}))
		defer a.quit()
		time.Sleep(5 * time.Second)
		priority := func() uint8 { synctest.Wait(); return a.router().Election.Priority }
		eth1 := func(up bool) {
			a.host.mu.Lock()
			a.host.others = map[string]network.Link{"eth1": {Name: "eth1", Index: 3, Up: up}}
			report := a.host.report
			a.host.mu.Unlock()
			report(network.Change{Kind: network.LinkChanged, Interface: "eth1", Index: 3})
		}
		eth1(false)
		time.Sleep(1900 * time.Millisecond)
		eth1(true)
		time.Sleep(10 * time.Second)
		if p := priority(); p != 100 {
			t.Errorf("after a short failure: %d", p)
		}
		eth1(false)
		time.Sleep(2 * time.Second)
		if p := priority(); p != 50 {
			t.Errorf("after a long failure: %d", p)
		}
		eth1(true)
		time.Sleep(9900 * time.Millisecond)
		if p := priority(); p != 50 {
			t.Errorf("before the delay was over: %d", p)
		}
		time.Sleep(100 * time.Millisecond)
		if p := priority(); p != 100 {
			t.Errorf("after the delay: %d", p)
		}
	})
}

// A conflict is counted, told once, and answered by one announcement, unless the
// answers would become a flood.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, &segment{}, "10.0.0.1/24", routerSpec(100))
		defer a.quit()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		watch, watched, told := a.host.conflicts()
		if len(watched) != 1 || watched[0] != vip {
			t.Fatalf("watched: %v", watched)
		}
		claim := wire.Conflict{Addr: vip, MAC: [6]byte{2, 0, 0, 0, 0, 9}, Kind: wire.ARPReply, Count: 1}
		for range 10 {
			watch.conflict <- claim
		}
		synctest.Wait()
		if _, _, now := a.host.conflicts(); now-told != 1 {
			t.Errorf("%d announcements for ten claims at once", now-told)
		}
		if r := a.router(); r.Conflicts != 10 || len(a.notices) != 1 || !strings.Contains(a.notices[0], "02:00:00:00:00:09") {
			t.Errorf("%d conflicts, notices %q", r.Conflicts, a.notices)
		}
		time.Sleep(2 * time.Second)
		watch.conflict <- wire.Conflict{Addr: claim.Addr.Next(), MAC: claim.MAC, Kind: wire.ARPReply, Count: 1}
		synctest.Wait()
		if r := a.router(); r.Conflicts != 10 {
			t.Errorf("a claim to another address was counted")
		}
	})
}

func TestLinkName(t *testing.T) {
	for name, want := range map[string]string{
		"v4.51.eth0": "v4.51.eth0", "v6.251.enp0s31": "v6.251.enp0s31",
	} {
		if got := linkName(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	a, b := linkName("v4.251.enp0s31f6np0"), linkName("v4.251.enp0s31f6np1")
	if len(a) > 15 || len(b) > 15 || a == b {
		t.Errorf("%s, %s", a, b)
	}
}
