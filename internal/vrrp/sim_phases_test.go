package vrrp

import (
	"math/bits"
	"slices"
	"time"
)

// What the simulator does to its routers. A seed is a row of phases, each of
// them a single thing that happens to routers at rest, which has an exact
// outcome, or a confusion of many things, after which they have to come to rest
// again.

const simPhases = 16

// newSim builds the world of a seed.
func (s *sim) reset(seed uint64) {
	s.begin(seed)
	s.hosts, s.vrs, s.paths = 2+s.rng.IntN(simHosts-1), 1, 1
	if s.rng.IntN(10) < 3 {
		s.paths = 2
	}
	base := []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second, time.Second, 13 * time.Second}[s.rng.IntN(5)]
	s.base = base
	version := uint8(3)
	if base == time.Second && s.rng.IntN(4) == 0 {
		version = 2
	}
	mixed := version == 3 && s.rng.IntN(5) < 2
	shortest := base
	if mixed {
		shortest = max((shortest / 2).Truncate(IntervalUnit), IntervalUnit)
	}
	s.travel = int64(shortest) / []int64{2000, 300, 60}[s.rng.IntN(3)]
	s.least = s.rng.Int64N(s.travel)
	linger := time.Duration(s.rng.IntN(2)) * 200 * time.Millisecond
	equal := s.rng.IntN(3) == 0
	s.build(s.rng.IntN(2) == 0, func(host int) Spec {
		sp := Spec{
			VRID: 51, Version: version, Priority: s.priority(equal), Interval: base,
			Preempt: s.rng.IntN(10) < 7, Linger: linger,
			Addresses: simAddresses, Announce: Announce{Repeat: 1},
		}
		if host == 0 && s.rng.IntN(10) == 0 {
			sp.Priority = 255
		}
		if mixed {
			sp.Interval = s.interval(base)
		}
		if s.rng.IntN(5) == 0 {
			sp.PreemptDelay = time.Duration(s.rng.Int64N(10 * int64(base)))
		}
		if s.rng.IntN(6) == 0 {
			sp.PreemptAfterSync = time.Duration(s.rng.Int64N(10 * int64(base)))
		}
		return sp
	})
}

func (s *sim) priority(equal bool) uint8 {
	if equal {
		return uint8(100 + s.rng.IntN(3))
	}
	return uint8(1 + s.rng.IntN(254))
}

// interval is one that fits to base.
func (s *sim) interval(base time.Duration) time.Duration {
	return max((base * time.Duration(1+s.rng.IntN(5)) / 2).Truncate(IntervalUnit), IntervalUnit)
}

// longest is the interval that everybody's patience is measured by.
func (s *sim) longest() int64 {
	longest := int64(0)
	for i := range s.nodes {
		longest = max(longest, int64(s.nodes[i].spec.Interval), s.nodes[i].model.interval)
	}
	return longest
}

// play runs one seed; s.rules tells what went wrong.
func (s *sim) play() {
	for host := range s.hosts {
		s.start(host)
		s.run(s.now + s.rng.Int64N(2*s.longest()))
	}
	for range simPhases {
		if !s.settle() {
			return
		}
		if s.rng.IntN(5) < 3 {
			s.experiment()
		} else {
			s.confusion()
		}
		s.rules.expecting, s.rules.gapless, s.rules.lossOnly = false, false, false
		if s.rules.broken != "" {
			return
		}
	}
	s.settle()
}

// settle mends the network and waits for the routers to come to rest. How long
// each step of that may take is held by the rules; the limit here is only for
// routers that go on for ever.
func (s *sim) settle() bool {
	s.mend()
	s.awaken()
	if !slices.ContainsFunc(s.nodes, func(n simNode) bool { return n.up && n.r.State().Listens() && !n.model.leaving }) {
		s.start(s.rng.IntN(s.hosts))
	}
	if s.runUntil(s.now+s.patience(), s.atRest) {
		return true
	}
	if !s.uniform() && s.rules.broken == "" {
		// With mixed intervals it may go on: see expect. What helps is what an operator
		// has to do.
		s.rules.expecting = false
		for i := range s.nodes {
			sp := s.nodes[i].spec
			sp.Interval = s.base
			s.command(i, Event{Kind: Configured, Spec: &sp})
			s.nodes[i].spec.Interval = s.base
		}
		if s.runUntil(s.now+s.patience(), s.atRest) {
			return true
		}
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		s.logf("%s: up %v, %v, addresses %v, priority %d, heard %d of %d at +%s", n.name, n.up, n.r.State(), n.want,
			n.priority(), n.model.priority, n.model.sender, time.Duration(n.model.heard+n.lag))
	}
	s.broke(ruleUnready, 0)
	return false
}

// patience is how long settle waits: for a hand-over in vain, and for every host
// a takeover after that of the one before.
func (s *sim) patience() int64 {
	longest, delay := s.longest(), int64(0)
	for i := range s.nodes {
		delay = max(delay, int64(s.nodes[i].spec.PreemptDelay), int64(s.nodes[i].spec.PreemptAfterSync))
	}
	return 8*longest + int64(time.Second) + int64(s.hosts)*(8*longest+delay)
}

// awaken lets all hosts go on that stand still.
func (s *sim) awaken() {
	last := s.now
	for i := range s.nodes {
		last = max(last, s.nodes[i].until)
	}
	s.runUntil(last+1, func() bool { return s.rules.asleep == 0 })
}

// mend makes the network sound.
func (s *sim) mend() {
	s.jitter = 0
	clear(s.loss[:])
	for p := range s.paths {
		for i := range s.nodes {
			clear(s.cut[p][i][:])
		}
	}
	s.logf("the network is sound")
	s.disturbed()
}

// atRest reports whether nothing will change by itself: one owner, whose last
// advert all others have heard, and none of them may preempt it.
func (s *sim) atRest() bool {
	if !s.quiet() {
		return false
	}
	m := s.owner()
	if m < 0 || s.nodes[m].r.handover.kind != 0 {
		return false
	}
	spoke := s.nodes[m].model.sent + s.nodes[m].lag
	if len(s.wire) > 0 || spoke < s.rules.calm {
		return false
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		if !n.up || i == m {
			continue
		}
		if n.want {
			return false
		}
		if n.r.State() != Backup {
			continue
		}
		if n.model.heard+n.lag < spoke || n.model.sender != m || n.model.cause != simSilence || n.model.priority != s.nodes[m].priority() ||
			n.mayPreempt() && n.priority() > n.model.priority {
			return false
		}
	}
	return true
}

// owner is the only master, or -1.
func (s *sim) owner() int {
	masters := s.masters(0)
	if bits.OnesCount16(masters) != 1 {
		return -1
	}
	return bits.TrailingZeros16(masters)
}

// candidates are the routers that may take over from an owner that falls
// silent: the one of the highest priority, and those whose skew is not clear of
// its by the time that adverts need.
func (s *sim) candidates() uint16 {
	owner, best := s.owner(), -1
	for i := range s.nodes {
		if n := &s.nodes[i]; i != owner && n.runs() && n.r.State() == Backup &&
			(best < 0 || n.priority() > s.nodes[best].priority()) {
			best = i
		}
	}
	if best < 0 {
		return 0
	}
	mask := uint16(0)
	first := &s.nodes[best]
	for i := range s.nodes {
		n := &s.nodes[i]
		if i == owner || !n.runs() || n.r.State() != Backup {
			continue
		}
		if n.skew(n.priority(), n.model.interval)-first.skew(first.priority(), first.model.interval) <= 2*s.travel {
			mask |= 1 << i
		}
	}
	return mask
}

// expect says who may take over until the end of the phase. That holds only where
// all have the same interval. Otherwise a backup may hear the last advert of the
// one master after the first advert of the next, count with its short interval,
// and take the next one for dead.
func (s *sim) expect(allowed uint16) {
	s.rules.expecting, s.rules.allowed = allowed == 0 || s.uniform(), allowed
	if allowed == 0 {
		s.rules.count(simLeftAlone)
	}
}

// uniform reports whether all routers have the same interval.
func (s *sim) uniform() bool {
	for i := range s.nodes {
		if s.nodes[i].spec.Interval != s.nodes[0].spec.Interval {
			return false
		}
	}
	return true
}

// preemptors are the backups that may preempt a master of that priority.
func (s *sim) preemptors(priority uint8) uint16 {
	mask := uint16(0)
	for i := range s.nodes {
		if n := &s.nodes[i]; n.runs() && n.r.State() == Backup && n.mayPreempt() && n.priority() > priority {
			mask |= 1 << i
		}
	}
	return mask
}

// some is a random router that fits, or -1.
func (s *sim) some(fits func(i int, n *simNode) bool) int {
	first := s.rng.IntN(len(s.nodes))
	for k := range s.nodes {
		if i := (first + k) % len(s.nodes); fits(i, &s.nodes[i]) {
			return i
		}
	}
	return -1
}
