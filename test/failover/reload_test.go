package failover

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/test/lab"
)

// reload sends SIGHUP and waits until the log says that it was carried out.
func (d *director) reload(times int) {
	d.pair.t.Helper()
	d.signal(syscall.SIGHUP)
	lab.Eventually(d.pair.t, 5*time.Second, func() error {
		if n := countLines(d.proc.Output(), "configuration reloaded"); n != times {
			return fmt.Errorf("%d reloads in the log, want %d", n, times)
		}
		return nil
	})
}

// What a reload does not change is not touched: no advert is missed, no address
// moves, no packet is lost.
func TestReload(t *testing.T) {
	p := start(t, fast)
	wire := p.lab.Capture(p.b.host, "eth0", vrrpFilter)
	s := p.stream()
	began := time.Now()

	p.a.reload(1)
	next := awaitAdvert(t, wire, addrA, time.Now(), time.Second)
	awaitAdvert(t, wire, addrA, next.at, time.Second)
	if log := p.a.proc.Output(); !strings.Contains(log, `changes="nothing changed"`) {
		t.Errorf("the reload of an unchanged file:\n%s", log)
	}

	// A second router comes, and goes.
	other := netip.MustParseAddr("10.0.0.101")
	p.a.configure(router(priorityA, fast, "") +
		"  - {name: lan, interface: eth0, id: 52, priority: 150, advert_interval: 100ms, addresses: [10.0.0.101/24]}\n")
	p.a.reload(2)
	p.held.await(p.a.host, other, true, began, 3*time.Second)
	p.a.configure(router(priorityA, fast, ""))
	gone := time.Now()
	p.a.reload(3)
	p.held.await(p.a.host, other, false, gone, 3*time.Second)
	if _, err := p.a.router("lan"); err == nil {
		t.Error("the removed router is still there")
	}
	goodbye := slices.ContainsFunc(adverts(wire, addrA), func(a advert) bool { return a.vrid == 52 && a.priority == 0 })
	if !goodbye {
		t.Error("the removed router has not said goodbye")
	}

	// Nothing of this was noticed by the first one.
	awaitAdvert(t, wire, addrA, time.Now(), time.Second)
	rhythm(t, wire, addrA, 51, fast)
	p.held.unmoved(vip, began)
	lossless(t, s, "reloads")
	if r, err := p.a.status(); err != nil || r.Transitions != 2 {
		t.Errorf("router web changed: %+v, %v", r, err)
	}
}

// A new priority counts at once, without loss.
func TestReloadOfThePriority(t *testing.T) {
	p := start(t, fast)
	s := p.stream()
	p.a.configure(router(50, fast, ""))
	p.a.reload(1)
	p.settled(p.b, p.a, 3*time.Second)
	p.a.configure(router(200, fast, ""))
	p.a.reload(2)
	p.settled(p.a, p.b, 3*time.Second)
	p.knows(p.a, time.Second)
	lossless(t, s, "two new priorities")
}

// A broken file changes nothing but what status says.
func TestReloadOfABrokenFile(t *testing.T) {
	p := start(t, fast)
	wire := p.lab.Capture(p.b.host, "eth0", vrrpFilter)
	awaitAdvert(t, wire, addrA, time.Time{}, time.Second)
	began := time.Now()
	p.a.configure(router(priorityA, fast, ", garp: {repeat: 0}, lease: 1500ms"))
	p.a.signal(syscall.SIGHUP)
	lab.Eventually(t, 5*time.Second, func() error {
		out, err := p.a.command("status")
		if err == nil && !strings.Contains(out, "the last reload failed, so the one loaded before is still in force") {
			err = fmt.Errorf("status does not say that the reload failed:\n%s", out)
		}
		return err
	})
	out, err := p.a.command("reload")
	if exitCode(err) != 2 || countLines(out, p.a.config+":5:") != 2 {
		t.Errorf("baton reload does not list both mistakes (%v):\n%s", err, out)
	}
	next := awaitAdvert(t, wire, addrA, time.Now(), time.Second)
	awaitAdvert(t, wire, addrA, next.at, time.Second)
	rhythm(t, wire, addrA, 51, fast)
	p.held.unmoved(vip, began)
}

// A VIP that somebody removes by hand is put back, without a transition.
func TestRemovedVIPComesBack(t *testing.T) {
	p := start(t, second)
	before, err := p.a.status()
	must(t, err)
	removed := time.Now()
	_, err = p.a.host.Run(context.Background(), "ip", "addr", "del", vip.String()+"/24", "dev", "eth0")
	must(t, err)
	p.held.await(p.a.host, vip, false, removed, time.Second)
	back := p.held.await(p.a.host, vip, true, removed, 2*time.Second)
	if took := back.Sub(removed); took > time.Second {
		t.Errorf("the VIP came back after %v", took)
	}
	t.Logf("the VIP was back after %v", back.Sub(removed))
	after, err := p.a.status()
	must(t, err)
	if after.Transitions != before.Transitions || after.State != "master" {
		t.Errorf("the router changed: %+v, then %+v", before, after)
	}
	must(t, p.b.is("backup"))
	must(t, p.dial().Close())
}
