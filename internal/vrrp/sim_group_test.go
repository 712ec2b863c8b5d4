package vrrp

import (
	"math/bits"
	"testing"
	"time"
)

// Hosts with two routers in a sync group, web on one wire and lan on another.
// A host has both or none: that is what is held here beside the rules that each
// router has to keep by itself. The hosts stand in the same order on both wires:
// where each wire prefers another host, two that become master at once yield
// crosswise.
func TestGroupSimulation(t *testing.T) {
	_, counts := simulate(t, 5000, (*sim).resetGroups, (*sim).playGroups)
	t.Logf("takeovers %d, planned changes %d", counts[simTakesSilence]+counts[simTakesZero]+counts[simTakesPreempt], counts[simGapless])
}

func (s *sim) resetGroups(seed uint64) {
	s.begin(seed)
	s.hosts, s.vrs, s.paths = 2+s.rng.IntN(2), 2, 1
	base := []time.Duration{50 * time.Millisecond, time.Second}[s.rng.IntN(2)]
	s.base = base
	s.travel = int64(base) / []int64{2000, 300, 60}[s.rng.IntN(3)]
	s.least = s.rng.Int64N(s.travel)
	linger := time.Duration(s.rng.IntN(2)) * 200 * time.Millisecond
	var priorities [simHosts]uint8
	for host := range s.hosts {
		priorities[host] = s.priority(s.rng.IntN(3) == 0)
	}
	preempt := s.rng.IntN(3) > 0
	s.build(false, func(host int) Spec {
		return Spec{
			VRID: 51, Priority: priorities[host], Interval: base, Preempt: preempt, Linger: linger,
			Addresses: simAddresses, Announce: Announce{Repeat: 1},
		}
	})
}

func (s *sim) playGroups() {
	for host := range s.hosts {
		s.start(host)
		s.run(s.now + s.rng.Int64N(2*s.longest()))
	}
	for range simPhases / 2 {
		if !s.settleGroups() {
			return
		}
		if s.rng.IntN(3) > 0 {
			s.groupExperiment(s.groupOwner())
		} else {
			for range 1 + s.rng.IntN(4) {
				s.confuse()
				s.run(s.now + s.rng.Int64N(5*s.longest()))
			}
		}
		s.rules.gapless, s.rules.expecting = false, false
	}
	s.settleGroups()
}

// settleGroups mends everything and waits until one host has both addresses and
// all others follow it.
func (s *sim) settleGroups() bool {
	s.mend()
	s.awaken()
	for host := range s.hosts {
		for _, i := range s.byHost[host] {
			n := &s.nodes[i]
			if !n.up || n.model.leaving || n.r.State() == Init {
				s.start(host)
				break
			}
			s.command(i, Event{Kind: Recovered})
		}
		for _, i := range s.byHost[host] {
			s.command(i, Event{Kind: Resume})
		}
	}
	// A stall, a hand-over in vain, and for every host the down interval of the
	// one before.
	limit := 16*s.longest() + int64(time.Second) + int64(s.hosts)*8*s.longest()
	if s.runUntil(s.now+limit, func() bool { return s.groupOwner() >= 0 }) {
		return true
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		s.logf("%s: up %v, %v, addresses %v, priority %d, wants %q", n.name, n.up, n.r.State(), n.want, n.priority(), n.r.wants)
	}
	s.broke(ruleGroup, 0)
	return false
}

// groupOwner is the host that has everything, while all others follow it, or -1.
func (s *sim) groupOwner() int {
	if !s.quiet() || len(s.wire) > 0 {
		return -1
	}
	masters := s.masters(0)
	if bits.OnesCount16(masters) != 1 {
		return -1
	}
	owner := s.nodes[bits.TrailingZeros16(masters)].host
	for i := range s.nodes {
		n := &s.nodes[i]
		switch {
		case !n.up:
		case n.host == owner:
			if n.r.State() != Master || n.r.handover.kind != 0 || n.model.sent+n.lag < s.rules.calm {
				return -1
			}
		case n.want || n.r.State() == Master:
			return -1
		case n.r.State() == Backup && (n.model.sender < 0 || s.nodes[n.model.sender].host != owner || n.model.cause == simZero):
			return -1
		}
	}
	return owner
}

// groupExperiment does one thing to a host that has everything.
func (s *sim) groupExperiment(owner int) {
	long := 10*s.longest() + int64(time.Second)
	others := 0
	for host := range s.hosts {
		if host != owner && s.nodes[s.byHost[host][0]].runs() {
			others++
		}
	}
	tell := func(kind EventKind) {
		for _, i := range s.byHost[owner] {
			s.command(i, Event{Kind: kind, Reason: "its interface is down"})
		}
	}
	switch s.rng.IntN(7) {
	case 0:
		s.crash(owner, s.rng.IntN(2) == 0)
		s.run(s.now + long)
		s.groupHasLeft(owner, others)
	case 1, 2: // a planned hand-over or stop of all
		s.gapless(others > 0)
		kind := []EventKind{Resign, Shutdown}[s.rng.IntN(2)]
		s.logf("%c hands over", 'a'+owner)
		tell(kind)
		s.run(s.now + long)
		s.groupHasLeft(owner, others)
	case 3: // one of them fails
		s.logf("the lan interface of %c fails", 'a'+owner)
		s.command(s.byHost[owner][1], Event{Kind: Failed, Reason: "its interface is down"})
		if s.nodes[s.byHost[owner][0]].r.State() != Fault {
			s.broke(ruleGroup, s.byHost[owner][0])
		}
		s.run(s.now + long)
		s.groupHasLeft(owner, others)
	case 4: // one wire is cut: the others still hear the owner on the other one
		s.logf("the lan is cut")
		for a := range s.nodes {
			for b := range s.nodes {
				s.cut[0][a][b] = s.nodes[a].vr == 1
			}
		}
		s.disturbed()
		if s.preemptors(s.nodes[s.byHost[owner][0]].priority()) == 0 {
			s.expect(0)
		}
		s.run(s.now + long)
	case 5:
		s.stall(owner, s.rng.Int64N(8*s.longest()), s.rng.IntN(3) == 0)
		s.run(s.now + long)
	case 6: // nothing
		s.gapless(true)
		s.run(s.now + long)
	}
}

// groupHasLeft checks that an owner that had to leave has done so altogether.
func (s *sim) groupHasLeft(owner, others int) {
	if others == 0 {
		return
	}
	for _, i := range s.byHost[owner] {
		if n := &s.nodes[i]; n.up && (n.want || n.r.State() == Master) {
			s.broke(ruleGroup, i)
		}
	}
}
