package failover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
)

// between is a pair with a second segment, as for NAT: the outer addresses on
// eth0, the inner ones on eth1, in one sync group.
func between(t testing.TB, extra string) *pair {
	t.Helper()
	p := build(t)
	inner := p.lab.Bridge("inner")
	p.a.host.Connect(inner, "eth1", "10.1.0.1/24")
	p.b.host.Connect(inner, "eth1", "10.1.0.2/24")
	p.lab.Host("server").Connect(inner, "eth0", "10.1.0.9/24")
	text := func(priority int) string {
		return router(priority, fast, extra) + fmt.Sprintf(
			"  - {name: lan, interface: eth1, id: 52, priority: %d, advert_interval: 100ms, addresses: [10.1.0.254/24]}\n"+
				"sync_groups: [{name: edge, routers: [web, lan]}]\n", priority)
	}
	p.a.configure(text(priorityA))
	p.b.configure(text(priorityB))
	p.a.start()
	lab.Eventually(t, 8*time.Second, func() error { return p.a.both("master") })
	p.b.start()
	lab.Eventually(t, 5*time.Second, func() error { return p.b.both("backup") })
	return p
}

// both reports what keeps a director's two routers from being in a state.
func (d *director) both(state string) error {
	var errs []error
	for _, name := range []string{"web", "lan"} {
		r, err := d.router(name)
		if err == nil && r.State != state {
			err = fmt.Errorf("%s: %s is %s (%s), not %s", d.name, name, r.State, r.Reason, state)
		}
		errs = append(errs, err)
	}
	held := d.host.Has(vip.String())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if inner := d.host.Has("10.1.0.254"); held != (state == "master") || inner != held {
		return fmt.Errorf("%s holds the outer address: %v, the inner one: %v", d.name, held, inner)
	}
	return nil
}

// The routers of a group fail, come back and are handed over together.
func TestSyncGroup(t *testing.T) {
	p := between(t, "")
	p.a.host.Link("eth1").Down()
	lab.Eventually(t, 3*time.Second, func() error { return p.b.both("master") })
	lab.Eventually(t, 3*time.Second, func() error { return p.a.both("fault") })
	if r, err := p.a.router("web"); err != nil || !strings.Contains(r.Reason, "sync group edge: router lan is in fault: interface eth1") {
		t.Errorf("the reason of the other router: %q, %v", r.Reason, err)
	}
	p.a.host.Link("eth1").Up()
	lab.Eventually(t, 5*time.Second, func() error { return errors.Join(p.a.both("master"), p.b.both("backup")) })

	s := p.stream()
	time.Sleep(300 * time.Millisecond)
	_, err := p.a.command("failover", "lan")
	must(t, err)
	must(t, p.b.both("master"))
	time.Sleep(300 * time.Millisecond)
	lossless(t, s, "failover of a group")
	must(t, p.a.both("backup"))
	_, err = p.a.command("resume", "web")
	must(t, err)
	lab.Eventually(t, 5*time.Second, func() error { return errors.Join(p.a.both("master"), p.b.both("backup")) })
}

// While adverts are lost on one segment alone, nobody takes over half of the
// group, and explain says what it waits for.
func TestSyncGroupWithHalfASilence(t *testing.T) {
	p := between(t, "")
	began := time.Now()
	p.a.host.Link("eth1").Loss(100)
	lab.Eventually(t, 3*time.Second, func() error {
		text, err := p.b.command("explain", "router", "lan")
		if err == nil && !strings.Contains(text, "it waits for web") {
			err = errors.New(text)
		}
		return err
	})
	time.Sleep(10 * fast)
	must(t, errors.Join(p.a.both("master"), p.b.both("backup")))
	p.a.host.Link("eth1").Loss(0)
	time.Sleep(5 * fast)
	must(t, errors.Join(p.a.both("master"), p.b.both("backup")))
	p.held.unmoved(vip, began)
}

// A tracked file changes the priority of the whole group; a tracked script
// without a weight puts it into fault.
func TestTracking(t *testing.T) {
	dir := t.TempDir()
	number, flag := filepath.Join(dir, "weight"), filepath.Join(dir, "ok")
	must(t, os.WriteFile(number, []byte("0\n"), 0o600))
	must(t, os.WriteFile(flag, nil, 0o600))
	p := between(t, fmt.Sprintf(
		", track: [{file: %s, weight: 1}, {script: [/usr/bin/test, -e, %s], interval: 100ms, rise: 1, fall: 1}, {interface: eth1, weight: 10}]", number, flag))
	r, err := p.a.status()
	must(t, err)
	if r.EffectivePriority != priorityA+10 || len(r.Tracks) != 3 {
		t.Errorf("at first: priority %d, %+v", r.EffectivePriority, r.Tracks)
	}
	must(t, os.WriteFile(number+".new", []byte("-100\n"), 0o600))
	must(t, os.Rename(number+".new", number))
	// Both directors look at the same file: only the scripts' host matters, and b's
	// priority sinks as well. So the file must concern a alone.
	lab.Eventually(t, 3*time.Second, func() error {
		r, err := p.a.status()
		if err == nil && r.EffectivePriority != priorityA+10-100 {
			err = fmt.Errorf("the priority is %d", r.EffectivePriority)
		}
		return err
	})
	if r, err := p.a.router("lan"); err != nil || r.EffectivePriority != priorityA+10-100 {
		t.Errorf("the priority of the other router of the group: %d, %v", r.EffectivePriority, err)
	}
	p.remembers(p.a, "priority 160", "priority 60", "file "+number)

	must(t, os.Remove(flag))
	lab.Eventually(t, 3*time.Second, func() error { return errors.Join(p.a.both("fault"), p.b.both("fault")) })
	if r, err := p.a.router("lan"); err != nil || !strings.Contains(r.Reason, "router web is in fault: tracked script") {
		t.Errorf("the reason: %q, %v", r.Reason, err)
	}
	must(t, os.WriteFile(flag, nil, 0o600))
	lab.Eventually(t, 5*time.Second, func() error { return errors.Join(p.a.both("master"), p.b.both("backup")) })
}

// A second path for the adverts prevents a false takeover when only one is lost,
// and does not prevent a right one.
func TestHeartbeatPath(t *testing.T) {
	p := build(t)
	second := p.lab.Bridge("heartbeat")
	p.a.host.Connect(second, "eth1", "10.2.0.1/24")
	p.b.host.Connect(second, "eth1", "10.2.0.2/24")
	const path = ", heartbeats: [{interface: eth1}]"
	p.begin(fast, path, path)
	began := time.Now()
	p.a.host.Link("eth0").Loss(100) // the client's traffic, too: this is about the election
	time.Sleep(10 * fast)
	must(t, errors.Join(p.a.is("master"), p.b.is("backup")))
	p.a.host.Link("eth0").Loss(0)
	p.a.host.Link("eth1").Down()
	p.remembers(p.a, "heartbeat on eth1", "lost")
	time.Sleep(10 * fast)
	p.a.host.Link("eth1").Up()
	p.remembers(p.a, "heartbeat on eth1", "works")
	p.held.unmoved(vip, began)

	p.lab.Partition([]*lab.Host{p.a.host}, []*lab.Host{p.b.host}) // every path: nobody can know better
	lab.Eventually(t, 3*time.Second, func() error { return p.b.is("master") })
	p.lab.Heal()
	p.settled(p.a, p.b, 3*time.Second)

	// The planned hand-over is not confused by the copies on the second path.
	s := p.stream()
	time.Sleep(300 * time.Millisecond)
	_, err := p.a.command("failover", "web")
	must(t, err)
	time.Sleep(300 * time.Millisecond)
	lossless(t, s, "failover with two paths")
	must(t, p.b.is("master"))
}
