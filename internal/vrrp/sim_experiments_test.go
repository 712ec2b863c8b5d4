package vrrp

import "time"

// Single things that happen to routers at rest, and what has to come of them.
var simExperiments = []func(s *sim, owner int){
	(*sim).ownerDies, (*sim).ownerDies,
	(*sim).ownerStops, (*sim).ownerResigns, (*sim).ownerResigns, (*sim).ownerFails,
	(*sim).ownerStandsStill, (*sim).ownerStandsStill,
	(*sim).somebodyReturns, (*sim).somebodyReturns,
	(*sim).advertsAreLost,
	(*sim).ownerIsReloaded, (*sim).backupIsReloaded,
	(*sim).backupDisappears, (*sim).pathBreaks,
	(*sim).networkSplits, (*sim).clocksAreSet,
}

func (s *sim) experiment() {
	simExperiments[s.rng.IntN(len(simExperiments))](s, s.owner())
}

// ownerDies: the best of the others takes over, after its down interval or, with
// a will, after its skew.
func (s *sim) ownerDies(owner int) {
	s.expect(s.candidates())
	s.crash(s.nodes[owner].host, s.rng.IntN(2) == 0)
	s.settleUnless(s.rules.allowed == 0)
}

// settleUnless waits for the routers to come to rest, if there are any left.
func (s *sim) settleUnless(nobody bool) {
	if !nobody {
		s.settle()
	}
}

// ownerStops is a planned stop: make before break.
func (s *sim) ownerStops(owner int) {
	s.expect(s.candidates())
	s.gapless(s.rules.allowed != 0)
	s.nodes[owner].model.settled = false
	s.logf("%s is stopped", s.nodes[owner].name)
	s.command(owner, Event{Kind: Shutdown})
	s.run(s.now + int64(s.nodes[owner].r.handoverLimit()) + int64(s.nodes[owner].spec.Linger) + s.travel)
	n := &s.nodes[owner]
	if s.rules.expecting && (!n.model.settled || n.model.refused || n.r.State() != Init || n.want) {
		s.broke(ruleHandover, owner)
	}
	s.settleUnless(s.rules.allowed == 0)
}

// ownerResigns hands over and stands back, if there is somebody to hand over to.
func (s *sim) ownerResigns(owner int) {
	n := &s.nodes[owner]
	s.expect(s.candidates())
	s.gapless(true)
	n.model.settled = false
	s.logf("%s resigns", n.name)
	s.command(owner, Event{Kind: Resign})
	s.run(s.now + int64(n.r.handoverLimit()) + int64(n.spec.Linger) + s.travel)
	alone := s.rules.allowed == 0
	if s.rules.expecting && (!n.model.settled || n.model.refused != alone || (n.r.State() == Master) != alone || n.want != alone) {
		s.broke(ruleHandover, owner)
	}
	s.settle()
	if s.rng.IntN(3) == 0 {
		return // it stands back until further notice
	}
	s.rules.gapless = false
	s.logf("%s resumes", n.name)
	s.command(owner, Event{Kind: Resume})
	s.expect(0)
	if m := s.owner(); m >= 0 {
		s.expect(s.preemptors(s.nodes[m].priority()))
	}
	s.gapless(true)
	s.settle()
}

// ownerFails: it leaves at once, and says so.
func (s *sim) ownerFails(owner int) {
	s.expect(s.candidates())
	s.command(owner, Event{Kind: Failed, Reason: "its interface is down"})
	s.settleUnless(s.rules.allowed == 0)
	s.rules.expecting = false
	if s.rng.IntN(2) == 0 {
		s.command(owner, Event{Kind: Recovered})
		s.settle()
	}
}

// ownerStandsStill: the others take over if that lasts long enough, and it does
// not speak before it has listened.
func (s *sim) ownerStandsStill(owner int) {
	n := &s.nodes[owner]
	d, frozen := s.rng.Int64N(8*int64(n.spec.Interval)), s.rng.IntN(4) == 0
	silence := s.local(n) + d - n.model.sent
	if frozen {
		silence = d + int64(n.spec.Interval) // its timer goes on afterwards
	}
	if silence < 3*s.shortest(owner) {
		s.expect(0)
	} else {
		s.expect(s.candidates() | 1<<owner)
	}
	s.stall(n.host, d, frozen)
	s.run(s.now + d)
	s.settle()
}

// shortest is the least of the intervals that the owner and the others count with.
func (s *sim) shortest(owner int) int64 {
	least := int64(s.nodes[owner].spec.Interval)
	for i := range s.nodes {
		if n := &s.nodes[i]; n.runs() && n.r.State() == Backup {
			least = min(least, n.model.interval)
		}
	}
	return least
}

// somebodyReturns: it takes over if it may, and nobody else does.
func (s *sim) somebodyReturns(owner int) {
	i := s.some(func(i int, n *simNode) bool { return !n.up || n.r.State() == Init || n.r.State() == Fault })
	if i < 0 {
		s.backupIsReloaded(owner)
		return
	}
	n := &s.nodes[i]
	s.expect(0)
	o := &s.nodes[owner]
	if (n.spec.Preempt || n.spec.Priority == 255) && n.spec.Priority > o.priority() {
		s.expect(1 << i)
	}
	own := int64(n.spec.Interval)
	if 3*own+n.skew(n.spec.Priority, own) <= int64(o.spec.Interval)+s.travel {
		// It listens for three intervals of its own, in vain if the owner's is so
		// long, and who hears it then counts with its interval.
		s.rules.expecting = false
	}
	s.gapless(true)
	if n.up && n.r.State() == Fault {
		s.command(i, Event{Kind: Recovered})
	} else {
		s.start(n.host)
	}
	s.run(s.now + s.rng.Int64N(4*int64(n.spec.Interval)))
	s.command(i, Event{Kind: Synced})
	s.settle()
}

// advertsAreLost, each one by itself with the same chance of at most 20 %, and
// nothing else is wrong. No flaps means: a router takes over because of the loss
// only when three of the master's adverts to it were lost in a row, on all paths.
// The number of takeovers is bounded by that of such rows. (The third advert may
// be on its way where the skew is shorter than what the time on the way varies.)
// With mixed intervals that holds until the owner changes: who has counted with
// the short interval of one master may miss the first advert of the next one,
// which has a longer one.
func (s *sim) advertsAreLost(owner int) {
	rate := s.rng.Float64() * 0.2
	for p := range s.paths {
		s.loss[p] = rate
	}
	s.logf("loss %.0f %%", rate*100)
	s.disturbed()
	for i := range s.nodes {
		s.nodes[i].model.lost = 0
	}
	uniform := s.uniform()
	s.rules.lossOnly = true
	s.runUntil(s.now+(10+s.rng.Int64N(50))*s.longest(), func() bool { return !uniform && s.owner() != owner })
	s.rules.lossOnly = false
	s.settle()
}

// ownerIsReloaded: with a lower priority it may be preempted; otherwise nothing
// changes hands.
func (s *sim) ownerIsReloaded(owner int) {
	sp := s.reload(owner)
	next := sp.Priority
	if s.nodes[owner].r.resigned {
		next = 1
	}
	s.expect(s.preemptors(next))
	s.gapless(true)
	s.command(owner, Event{Kind: Configured, Spec: &sp})
	s.settle()
}

// backupIsReloaded: it may preempt now, or nothing changes hands.
func (s *sim) backupIsReloaded(owner int) {
	i := s.some(func(i int, n *simNode) bool { return n.runs() && n.r.State() == Backup })
	if i < 0 {
		return
	}
	sp := s.reload(i)
	s.gapless(true)
	s.command(i, Event{Kind: Configured, Spec: &sp})
	s.expect(s.preemptors(s.nodes[owner].priority()))
	s.settle()
}

// backupDisappears: nobody takes over.
func (s *sim) backupDisappears(int) {
	i := s.some(func(i int, n *simNode) bool { return n.runs() && n.r.State() == Backup })
	if i < 0 {
		return
	}
	s.expect(0)
	s.gapless(true)
	switch s.rng.IntN(4) {
	case 0:
		s.crash(s.nodes[i].host, true)
	case 1:
		s.command(i, Event{Kind: Failed, Reason: "its interface is down"})
	case 2:
		s.command(i, Event{Kind: Shutdown})
	case 3: // its timer runs out meanwhile, and it may look at that first
		d := s.rng.Int64N(8 * s.nodes[i].model.interval)
		s.expect(1 << i)
		s.rules.expecting = s.uniform() // its short interval may mislead others
		s.stall(s.nodes[i].host, d, s.rng.IntN(2) == 0)
		s.run(s.now + d)
	}
	s.run(s.now + 5*s.longest())
	s.settle()
}

// pathBreaks: as long as the other path works, nothing happens.
func (s *sim) pathBreaks(owner int) {
	if s.paths == 1 {
		s.advertsAreLost(owner)
		return
	}
	path := s.rng.IntN(s.paths)
	s.expect(0)
	s.gapless(true)
	s.loss[path] = 1
	s.logf("path %d is dead", path)
	s.disturbed()
	s.run(s.now + 10*s.longest())
	s.settle()
}

// networkSplits into two sides and is mended: the owner of each side meets the
// other, and the better one stays.
func (s *sim) networkSplits(int) {
	side := s.rng.Uint64()
	for p := range s.paths {
		for i := range s.nodes {
			for j := range s.nodes {
				s.cut[p][i][j] = side>>i&1 != side>>j&1
			}
		}
	}
	s.logf("the network splits")
	s.disturbed()
	s.run(s.now + s.rng.Int64N(10*s.longest()))
	s.settle()
}

// clocksAreSet: wall clocks do not matter.
func (s *sim) clocksAreSet(int) {
	s.expect(0)
	s.gapless(true)
	for i := range s.nodes {
		s.nodes[i].wall += s.rng.Int64N(int64(48*time.Hour/time.Second)) - int64(24*time.Hour/time.Second)
	}
	s.logf("all wall clocks are set")
	s.run(s.now + 5*s.longest())
}

func (s *sim) gapless(on bool) {
	s.rules.gapless = on
	if on {
		s.rules.count(simGapless)
	}
}
