package failover

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"baton/test/lab"
)

// margin is what the machine may take on top of the protocol's times.
const margin = 200 * time.Millisecond

// Pulse dies alone: its director says goodbye for it and takes the VIP off, so
// that the other one waits for its skew only.
func TestPulseDies(t *testing.T) {
	for _, interval := range []time.Duration{second, fast} {
		t.Run(interval.String(), func(t *testing.T) {
			p := start(t, interval)
			wire := p.lab.Capture(p.b.host, "eth0", vrrpFilter)
			awaitAdvert(t, wire, addrA, time.Time{}, 2*interval+time.Second)
			child := p.a.child()
			if child == 0 {
				t.Fatal("there is no director process")
			}
			killed := time.Now()
			p.a.signal(syscall.SIGKILL)
			gone := p.held.await(p.a.host, vip, false, killed, 5*time.Second)
			if took := gone.Sub(killed); took > margin {
				t.Errorf("the VIP was on the dead host for %v; want at most %v", took, margin)
			}
			got := p.held.await(p.b.host, vip, true, killed, 5*time.Second)
			if took, most := got.Sub(killed), skew(priorityB, interval)+margin; took > most {
				t.Errorf("b had the VIP after %v; want at most its skew and %v: %v", took, margin, most)
			}
			t.Logf("VIP gone from a after %v, on b after %v (skew %v)", gone.Sub(killed), got.Sub(killed), skew(priorityB, interval))
			for _, a := range adverts(wire, addrA) {
				if a.at.After(killed) && a.priority != 0 {
					t.Errorf("a dead router sent priority %d", a.priority)
				}
			}
			p.knows(p.b, time.Second)
			lab.Eventually(t, 3*time.Second, func() error {
				if pids := p.a.proc.Tree(); len(pids) > 0 {
					return fmt.Errorf("processes %v live on without pulse", pids)
				}
				return nil
			})
		})
	}
}

// Everything dies at once: nobody is left to take the VIP off but the kernel, by
// its lease.
func TestAllProcessesDie(t *testing.T) {
	for _, interval := range []time.Duration{second, 10 * time.Millisecond} {
		t.Run(interval.String(), func(t *testing.T) {
			p := start(t, interval)
			wire := p.lab.Capture(p.b.host, "eth0", vrrpFilter)
			last := awaitAdvert(t, wire, addrA, time.Time{}, 2*interval+time.Second)
			killed := time.Now()
			p.a.kill()
			for _, a := range adverts(wire, addrA) {
				last = a
			}
			got := p.held.await(p.b.host, vip, true, last.at, 8*time.Second)
			if took, most := got.Sub(last.at), 3*interval+skew(priorityB, interval)+margin; took > most {
				t.Errorf("b had the VIP %v after a's last advert; want at most %v", took, most)
			}
			gone := p.held.await(p.a.host, vip, false, last.at, 8*time.Second)
			if took := gone.Sub(killed); took > lease+leaseSlop {
				t.Errorf("the VIP was on the dead host for %v; the lease is %v", took, lease)
			}
			if both := p.held.both(vip); both > lease+leaseSlop {
				t.Errorf("two hosts had the VIP for %v\n%s", both, p.held)
			}
			t.Logf("b had the VIP %v after the last advert; a lost it %v after the kill; both had it for %v",
				got.Sub(last.at), gone.Sub(killed), p.held.both(vip))
			p.knows(p.b, time.Second)
			lab.Eventually(t, 2*time.Second, func() error { return p.b.is("master") })
		})
	}
}

// kill kills all processes of a director at once: the child first, so that it
// does not act on the death of pulse, which starts no other one so soon.
func (d *director) kill() {
	d.pair.t.Helper()
	child := d.child()
	if child == 0 {
		d.pair.t.Fatal("there is no director process")
	}
	must(d.pair.t, syscall.Kill(child, syscall.SIGKILL))
	d.signal(syscall.SIGKILL)
	if err := d.proc.Wait(); err == nil {
		d.pair.t.Fatal("pulse has ended by itself")
	}
	if pids := d.proc.Tree(); len(pids) > 0 {
		d.pair.t.Fatalf("processes %v are left", pids)
	}
}

// A host that stands still and goes on: its VIP ends with the lease, and it
// listens before it speaks.
func TestStandstill(t *testing.T) {
	const still = 6 * time.Second
	p := start(t, second)
	wire := p.lab.Capture(p.a.host, "eth0", vrrpFilter)
	awaitAdvert(t, wire, addrA, time.Time{}, 3*time.Second)
	frozen := time.Now()
	p.a.proc.Freeze()
	thaw := time.NewTimer(still) // how long it stands still is what is tested
	gone := p.held.await(p.a.host, vip, false, frozen, lease+5*time.Second)
	if took := gone.Sub(frozen); took > lease+leaseSlop {
		t.Errorf("the VIP was on the stopped host for %v; the lease is %v", took, lease)
	}
	p.held.await(p.b.host, vip, true, frozen, 5*time.Second)
	<-thaw.C
	p.knows(p.b, time.Second)
	thawed := time.Now()
	p.a.proc.Thaw()

	first := awaitAdvert(t, wire, addrA, thawed, 5*time.Second)
	heard := false
	for _, a := range adverts(wire, addrB) {
		heard = heard || (a.at.After(thawed) && a.at.Before(first.at))
	}
	if !heard {
		t.Errorf("a spoke %v after it went on, before it had heard b", first.at.Sub(thawed))
	}
	if p.held.gotBefore(p.a.host, vip, thawed, first.at) {
		t.Errorf("a had the VIP again before it spoke\n%s", p.held)
	}
	p.settled(p.a, p.b, 5*time.Second)
	p.knows(p.a, time.Second)
	if both := p.held.both(vip); both > lease {
		t.Errorf("two hosts had the VIP for %v\n%s", both, p.held)
	}
}

// The same where the other one may stay master: nothing may draw the client to
// the host that stood still.
func TestStandstillWithoutPreemption(t *testing.T) {
	const still = 5 * time.Second
	p := build(t)
	p.begin(second, ", preempt: false", "")
	wire := p.lab.Capture(p.a.host, "eth0", vrrpFilter)
	arp := p.lab.Capture(p.client, "eth0", "arp and src host "+vip.String())
	awaitAdvert(t, wire, addrA, time.Time{}, 3*time.Second)
	frozen := time.Now()
	p.a.proc.Freeze()
	thaw := time.NewTimer(still)
	p.held.await(p.b.host, vip, true, frozen, 8*time.Second)
	<-thaw.C
	thawed := time.Now()
	p.a.proc.Thaw()
	// Two adverts of b later a has had the time to do anything foolish.
	next := awaitAdvert(t, wire, addrB, thawed, 3*time.Second)
	awaitAdvert(t, wire, addrB, next.at, 3*time.Second)
	for _, a := range adverts(wire, addrA) {
		if a.at.After(thawed) {
			t.Errorf("a sent an advert with priority %d, %v after it went on", a.priority, a.at.Sub(thawed))
		}
	}
	for _, f := range arp.Packets() {
		if f.Time.After(thawed) && string(f.Data[6:12]) == string(p.a.host.Link("eth0").MAC()) {
			t.Errorf("a announced the VIP %v after it went on", f.Time.Sub(thawed))
		}
	}
	for _, c := range p.held.since(vip, thawed) {
		t.Errorf("the VIP moved %v after a went on\n%s", c.at.Sub(thawed), p.held)
	}
	p.settled(p.b, p.a, time.Second)
	p.knows(p.b, time.Second)
}

// The director dies again and again: the VIP and the client do not notice.
func TestDirectorDies(t *testing.T) {
	p := start(t, fast)
	wire := p.lab.Capture(p.b.host, "eth0", vrrpFilter)
	s := p.stream()
	began := time.Now()
	before, err := p.a.status()
	must(t, err)
	for n := 1; n <= 3; n++ {
		old := p.a.child()
		if old == 0 {
			t.Fatal("there is no director process")
		}
		must(t, syscall.Kill(old, syscall.SIGKILL))
		lab.Eventually(t, 5*time.Second, func() error {
			if pid := p.a.child(); pid == 0 || pid == old {
				return fmt.Errorf("no new director after the kill of %d", old)
			}
			return p.a.is("master")
		})
	}
	after, err := p.a.status()
	must(t, err)
	if after.Transitions != before.Transitions || !after.Since.Equal(before.Since) {
		t.Errorf("the router changed: %+v, then %+v", before, after)
	}
	out, err := p.a.command("events", "-n", "20")
	must(t, err)
	if n := countLines(out, "restarted after the director before it ended: signal: killed"); n != 3 {
		t.Errorf("the history tells of %d restarts, not of 3:\n%s", n, out)
	}
	p.held.unmoved(vip, began)
	rhythm(t, wire, addrA, 51, fast)
	lossless(t, s, "director killed three times")
}
