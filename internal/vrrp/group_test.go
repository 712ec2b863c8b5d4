package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// pair is a group of two routers, web (member 0) and lan (member 1), with the
// time that its steps happen at.
type pair struct {
	t     *testing.T
	group *Group
	web   *Router
	lan   *Router
	now   time.Time
}

func newPair(t *testing.T, priority uint8) *pair {
	web, lan := spec(priority), spec(priority)
	web.Linger, lan.Linger = 200*time.Millisecond, 200*time.Millisecond
	lan.VRID = 52
	p := &pair{t: t, web: New(web, epoch), lan: New(lan, epoch), now: epoch}
	p.group = NewGroup("edge", []string{"web", "lan"}, []*Router{p.web, p.lan})
	p.do(0, Event{Kind: Startup}, "0:release 0:init→backup")
	p.do(1, Event{Kind: Startup}, "1:release 1:init→backup")
	return p
}

// do gives a member an event and compares what has to be done, without
// announcements.
func (p *pair) do(member int, ev Event, want string) *pair {
	p.t.Helper()
	var got []string
	for _, a := range p.group.Step(p.now, member, ev) {
		if text := show([]Action{a.Action}); !strings.HasPrefix(text, "tell") {
			got = append(got, fmt.Sprintf("%d:%s", a.Member, text))
		}
	}
	if s := strings.Join(got, " "); s != want {
		p.t.Errorf("at +%s: actions %q, want %q", p.now.Sub(epoch), s, want)
	}
	return p
}

func (p *pair) expire(member int, want string) *pair {
	p.t.Helper()
	r := p.group.members[member]
	if d := r.Deadline(); d.After(p.now) {
		p.now = d
	}
	return p.do(member, Event{Kind: Expired}, want)
}

func (p *pair) hear(member int, priority uint8, from netip.Addr, want string) *pair {
	p.t.Helper()
	a := Advert{VRID: 51, Priority: priority, Interval: time.Second, Addresses: []netip.Addr{vip1}}
	return p.do(member, Event{Kind: Received, Advert: &a, Source: from, Own: p.web.spec.Source}, want)
}

const bothMasters = "0:send100 0:hold 0:backup→master 1:send100 1:hold 1:backup→master"

func masters(t *testing.T) *pair {
	return newPair(t, 100).expire(0, "").expire(1, bothMasters)
}

func TestGroupBecomesMasterTogether(t *testing.T) {
	p := newPair(t, 100)
	p.expire(0, "")
	if !p.web.Status().Wants || p.web.State() != Backup {
		t.Errorf("the first one that hears nobody: %+v", p.web.Status())
	}
	p.expire(1, bothMasters)
}

func TestGroupWaitsWhileOneHearsAMaster(t *testing.T) {
	p := newPair(t, 100)
	p.now = epoch.Add(time.Second)
	p.hear(1, 200, a3, "").expire(0, "")
	p.now = epoch.Add(3900 * time.Millisecond)
	p.hear(1, 200, a3, "")
	if p.web.State() != Backup {
		t.Error("one member became master without the other")
	}
	p.hear(0, 200, a3, "")
	if p.web.Status().Wants {
		t.Error("still wants to be master after one was heard")
	}
}

func TestGroupStepsDownTogether(t *testing.T) {
	p := masters(t)
	p.now = p.now.Add(100 * time.Millisecond)
	p.hear(0, 200, a3, "0:rival 0:send100 0:master→backup 1:send0 1:master→backup")
	if p.web.releaseAt.IsZero() || p.lan.releaseAt.IsZero() {
		t.Error("the addresses do not linger until the new master has them")
	}
	if want := "sync group edge: router web is backup"; !strings.HasPrefix(p.lan.reason, want) {
		t.Errorf("reason %q", p.lan.reason)
	}
}

// A rival that only the second one hears wins after a down interval.
func TestGroupYieldsToARivalOfTheSecondRouter(t *testing.T) {
	p := masters(t)
	for range 3 {
		p.now = p.now.Add(time.Second)
		p.do(0, Event{Kind: Expired}, "0:send100").do(1, Event{Kind: Expired}, "1:send100")
		p.now = p.now.Add(100 * time.Millisecond)
		p.do(0, Event{Kind: Expired}, "")
		p.hear(1, 200, a3, "1:rival 1:send100")
	}
	p.now = p.now.Add(900 * time.Millisecond)
	p.do(0, Event{Kind: Expired}, "0:send100").do(1, Event{Kind: Expired}, "")
	p.now = p.now.Add(700 * time.Millisecond)
	p.hear(1, 200, a3, "1:rival 1:send100 1:master→backup 0:send0 0:master→backup")
}

func TestGroupFailsAndRecoversTogether(t *testing.T) {
	p := masters(t)
	p.do(1, Event{Kind: Failed, Reason: "eth1 is down"},
		"1:send0 1:release 1:master→fault 0:send0 0:release 0:master→fault")
	p.do(0, Event{Kind: Failed, Reason: "eth0 is down"}, "")
	p.do(1, Event{Kind: Recovered}, "")
	if p.lan.State() != Fault || !strings.Contains(p.lan.reason, "router web is in fault: eth0 is down") {
		t.Errorf("lan is %v: %s", p.lan.State(), p.lan.reason)
	}
	p.do(0, Event{Kind: Recovered}, "0:release 0:fault→backup 1:release 1:fault→backup")
}

func TestGroupStartsInFaultWhileOneIsBroken(t *testing.T) {
	web, lan := New(spec(100), epoch), New(spec(100), epoch)
	p := &pair{t: t, web: web, lan: lan, now: epoch, group: NewGroup("edge", []string{"web", "lan"}, []*Router{web, lan})}
	p.do(0, Event{Kind: Failed, Reason: "no interface"}, "0:release 0:init→fault")
	p.do(1, Event{Kind: Startup}, "1:release 1:init→fault")
	p.do(0, Event{Kind: Recovered}, "0:release 0:fault→backup 1:release 1:fault→backup")
}

func TestGroupHandsOverTogether(t *testing.T) {
	p := masters(t)
	p.do(0, Event{Kind: Resign}, "0:send0").do(1, Event{Kind: Resign}, "1:send0")
	p.now = p.now.Add(600 * time.Millisecond)
	p.hear(0, 90, a3, "0:master→backup")
	if p.lan.State() != Master || p.lan.handover.kind != Resign {
		t.Error("the other one does not wait for its own successor")
	}
	p.hear(1, 90, a3, "1:master→backup")
}

func TestGroupOfOwnersWaitsForBoth(t *testing.T) {
	web, lan := New(spec(255), epoch), New(spec(255), epoch)
	p := &pair{t: t, web: web, lan: lan, now: epoch, group: NewGroup("edge", []string{"web", "lan"}, []*Router{web, lan})}
	p.do(0, Event{Kind: Startup}, "0:release 0:init→backup")
	p.do(1, Event{Kind: Startup}, "1:release 1:init→backup "+strings.ReplaceAll(bothMasters, "100", "255"))
}

func TestNewMemberDoesNotCostTheOthersTheirAddresses(t *testing.T) {
	p := masters(t)
	third := New(spec(100), p.now)
	p.group = NewGroup("edge", []string{"web", "lan", "dmz"}, []*Router{p.web, p.lan, third})
	p.do(2, Event{Kind: Startup}, "2:release 2:init→backup")
	if p.web.State() != Master || p.lan.State() != Master {
		t.Error("a member that just listens made the others step down")
	}
	for p.now.Before(epoch.Add(6 * time.Second)) { // the masters' adverts go on
		p.now = p.now.Add(time.Second)
		p.do(0, Event{Kind: Expired}, "0:send100").do(1, Event{Kind: Expired}, "1:send100")
	}
	p.expire(2, "2:send100 2:hold 2:backup→master")
}

func TestDissolvedGroupGoesOnSeparately(t *testing.T) {
	p := newPair(t, 100).expire(0, "")
	p.group.Dissolve(p.now)
	actions := p.web.Step(p.now, Event{Kind: Expired})
	if p.web.State() != Master || len(actions) == 0 {
		t.Errorf("the one that waited is %v", p.web.State())
	}
	if p.lan.State() != Backup {
		t.Errorf("the other one is %v", p.lan.State())
	}
}

// crossing is two hosts with a group of two routers each, on two wires where they
// stand in opposite order, and what is under way between them.
type crossing struct {
	now    time.Time
	groups [2]*Group
	wire   []crossed
	moves  int // transitions so far
}

type crossed struct {
	at           time.Time
	host, member int // that it goes to
	advert       Advert
	from         netip.Addr
}

func newCrossing(priorities [2][2]uint8) *crossing {
	c := &crossing{now: epoch}
	for host := range c.groups {
		var members []*Router
		for wire := range 2 {
			sp := spec(priorities[host][wire])
			sp.Source = c.source(host, wire)
			members = append(members, New(sp, epoch))
		}
		c.groups[host] = NewGroup("edge", []string{"web", "lan"}, members)
	}
	for host := range c.groups {
		for member := range 2 {
			c.step(host, member, Event{Kind: Startup})
		}
	}
	return c
}

// source is in opposite order on the two wires.
func (c *crossing) source(host, wire int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(wire), 0, byte(1 + host ^ wire)})
}

func (c *crossing) step(host, member int, ev Event) {
	for _, a := range c.groups[host].Step(c.now, member, ev) {
		switch a.Kind {
		case Send:
			advert := Advert{VRID: 51, Priority: a.Priority, Interval: time.Second, Addresses: []netip.Addr{vip1}}
			c.wire = append(c.wire, crossed{c.now.Add(time.Millisecond), 1 - host, a.Member, advert, c.source(host, a.Member)})
		case Transition:
			c.moves++
		}
	}
}

// play lets time pass, in steps of a millisecond.
func (c *crossing) play(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); c.now = c.now.Add(time.Millisecond) {
		under := c.wire
		c.wire = nil
		for _, p := range under {
			if p.at.After(c.now) {
				c.wire = append(c.wire, p)
				continue
			}
			c.step(p.host, p.member, Event{Kind: Received, Advert: &p.advert, Source: p.from, Own: c.source(p.host, p.member)})
		}
		for host, g := range c.groups {
			for member, r := range g.members {
				if due(c.now, r.Deadline()) {
					c.step(host, member, Event{Kind: Expired})
				}
			}
		}
	}
}

func (c *crossing) masters(host int) (n int) {
	for _, r := range c.groups[host].members {
		if r.state == Master {
			n++
		}
	}
	return n
}

// Where each wire prefers another host, the first router of the group decides,
// and the hosts come to rest.
func TestGroupsThatStandCrosswise(t *testing.T) {
	for name, priorities := range map[string][2][2]uint8{
		"equal priorities":   {{100, 100}, {100, 100}},
		"crossed priorities": {{200, 100}, {100, 200}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrossing(priorities)
			c.play(30 * time.Second)
			before := c.moves
			c.play(time.Minute)
			a, b := c.masters(0), c.masters(1)
			if a+b != 2 || a*b != 0 {
				t.Errorf("the hosts are master of %d and %d routers", a, b)
			}
			if c.moves != before {
				t.Errorf("%d changes in a minute in which nothing happened", c.moves-before)
			}
		})
	}
}
