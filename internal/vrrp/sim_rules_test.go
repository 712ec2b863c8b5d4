package vrrp

import "math/bits"

// The rules that the simulator holds. Their names are what a failing seed and
// the planted bugs of mutation_test.go are reported by.
const (
	// Of all routers, in whatever network, by what each of them has heard.
	ruleNoOwner   = "no owner: silence for the down interval, and nobody takes over"
	ruleZeroLate  = "late after priority 0: its skew has passed, and it does not take over"
	ruleNoPreempt = "not preempted: a master of lower priority is left alone for too long"
	ruleForbidden = "preemption where it is forbidden"
	ruleTooEarly  = "preemption before its delay is over"
	ruleLive      = "takeover from a live master"
	ruleDeaf      = "takeover without listening first"
	ruleTie       = "tie: a master yields to a lower address"
	ruleYield     = "a master yields to a lower priority"
	ruleStale     = "a router that stood still speaks before it has listened"
	ruleRhythm    = "a master is silent for longer than its interval"
	ruleBare      = "a master does not have the addresses"
	ruleSpin      = "a router asks for the same time again and again"
	ruleLinger    = "the addresses are kept for longer than the linger time"
	// Of a sound network: nothing is lost, late or cut, and no host stands still.
	ruleTwo     = "two owners for longer than the adverts travel"
	ruleUnready = "no end: the routers do not come to rest"
	// Of a course of events that began at rest.
	ruleSuccessor = "wrong successor: another router than the best takes over"
	ruleFlap      = "flap: a takeover after fewer than three losses in a row"
	ruleGap       = "gap: nobody has the addresses during a planned change"
	ruleHandover  = "hand-over: it ends otherwise than it should"
	ruleGroup     = "sync group: some members are master and some are not"
)

// simRules is what the rules need to know beside the models of the routers.
type simRules struct {
	broken   string
	brokenAt int64
	brokenBy int

	calm    int64 // since when the network is sound
	strange int   // late adverts on their way
	asleep  int   // hosts that stand still
	sound   bool  // no loss, no cut, no delay

	dirty     bool  // something changed that check has to look at
	pairBound int64 // when two owners have to be one

	// What may happen in the present course of events.
	expecting bool
	allowed   uint16 // who may take over
	gapless   bool   // somebody always has the addresses
	lossOnly  bool   // nothing is wrong but loss

	steps  int       // since the time went on
	target int       // whose event it is
	reads  simPacket // the advert that is being delivered
	counts [simCounts]uint32
}

// What happened, so that it can be seen that the rules had something to hold.
const (
	simTakesSilence = iota
	simTakesZero
	simTakesPreempt
	simTakesLoss
	simYields
	simTies
	simStepsDown
	simWakes
	simPairs
	simGapless
	simLeftAlone
	simCounts
)

var simCountNames = [simCounts]string{
	"takeovers after silence", "takeovers after priority 0", "preemptions", "takeovers by loss", "yields", "ties",
	"masters that stepped down", "routers that stood still for too long", "two owners at once",
	"planned changes", "courses without a takeover",
}

func (r *simRules) count(what int) { r.counts[what]++ }

func (s *sim) broke(rule string, by int) {
	if s.rules.broken != "" {
		return
	}
	s.rules.broken, s.rules.brokenAt, s.rules.brokenBy = rule, s.now, by
	s.logf("%s BREAKS A RULE: %s", s.nodes[by].name, rule)
}

// disturbed takes note of something that a sound network does not do.
func (s *sim) disturbed() {
	s.rules.calm, s.rules.dirty = s.now, true
	s.rules.asleep = 0
	for i := range s.nodes {
		if s.nodes[i].until != 0 {
			s.rules.asleep++
		}
	}
	s.rules.sound = s.jitter == 0
	for p := range s.paths {
		if s.loss[p] > 0 {
			s.rules.sound = false
		}
		for i := range s.nodes {
			for j := range s.nodes {
				s.rules.sound = s.rules.sound && !s.cut[p][i][j]
			}
		}
	}
}

func (s *sim) quiet() bool { return s.rules.sound && s.rules.asleep == 0 && s.rules.strange == 0 }

// judgeTakeover is for a backup that becomes master.
func (s *sim) judgeTakeover(i int) {
	n := &s.nodes[i]
	m, t := &n.model, s.local(n)
	switch m.cause {
	case simZero:
		s.rules.count(simTakesZero)
	case simPreempt:
		s.rules.count(simTakesPreempt)
	case simSilence:
		s.rules.count(simTakesSilence)
		switch {
		case t >= m.heard+3*m.interval:
		case m.sender < 0:
			s.broke(ruleDeaf, i)
		case m.priority >= n.priority():
			s.broke(ruleLive, i)
		case !n.mayPreempt():
			s.broke(ruleForbidden, i)
		default:
			s.broke(ruleTooEarly, i)
		}
		if s.rules.lossOnly {
			s.rules.count(simTakesLoss)
			if m.lost < 3 && n.skew(n.priority(), m.interval) > s.travel-s.least {
				s.broke(ruleFlap, i)
			}
		}
	}
	if s.rules.expecting && s.rules.allowed&(1<<i) == 0 {
		s.broke(ruleSuccessor, i)
	}
	m.lost = 0
}

// judgeYield is for a master that makes room for the sender of an advert.
func (s *sim) judgeYield(i int) {
	n, p := &s.nodes[i], &s.rules.reads
	s.rules.count(simYields)
	if n.model.handing {
		return // whoever comes is welcome
	}
	switch own := n.priority(); {
	case p.priority < own:
		s.broke(ruleYield, i)
	case p.priority == own:
		s.rules.count(simTies)
		// On a further path the addresses may stand in another order.
		if p.path == 0 && s.nodes[p.from].host < n.host {
			s.broke(ruleTie, i)
		}
	}
}

// checkBounds looks for what should have happened before now.
func (s *sim) checkBounds() {
	if s.now > s.rules.pairBound && s.quiet() {
		s.broke(ruleTwo, bits.TrailingZeros16(s.masters(0)|s.masters(1)))
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		if !n.up || n.until != 0 {
			continue
		}
		m, t := &n.model, s.local(n)
		switch n.r.State() {
		case Backup:
			if n.group == nil && t > m.due { // in a group the others have a say
				s.broke([...]string{ruleNoOwner, ruleZeroLate, ruleNoPreempt}[m.cause], i)
			}
		case Master:
			if n.r.handover.kind == 0 && t > m.sent+int64(n.spec.Interval) {
				s.broke(ruleRhythm, i)
			}
			continue
		}
		if n.want && t > m.lingers+int64(n.spec.Linger) {
			s.broke(ruleLinger, i)
		}
	}
}

// masters are the owners of a virtual router.
func (s *sim) masters(vr int) uint16 {
	mask := uint16(0)
	for i := range s.nodes {
		if n := &s.nodes[i]; n.vr == vr && n.runs() && n.r.State() == Master {
			mask |= 1 << i
		}
	}
	return mask
}

// check looks at what is now.
func (s *sim) check() {
	if !s.rules.dirty {
		return
	}
	s.rules.dirty, s.rules.pairBound = false, never
	for vr := range s.vrs {
		serving := false
		for i := range s.nodes {
			n := &s.nodes[i]
			if n.vr != vr {
				continue
			}
			serving = serving || s.serves(n)
			if s.rules.gapless && !serving {
				continue
			}
			if n.runs() && n.r.State() == Master && !n.want {
				s.broke(ruleBare, i)
			}
		}
		if s.rules.gapless && !serving {
			s.broke(ruleGap, s.byHost[0][vr])
		}
		s.checkPairs(s.masters(vr))
	}
}

// checkPairs finds out when of two owners one has to be left.
func (s *sim) checkPairs(masters uint16) {
	for a := masters; a != 0; a &= a - 1 {
		for b := a & (a - 1); b != 0; b &= b - 1 {
			s.rules.count(simPairs)
			bound := s.pairBound(&s.nodes[bits.TrailingZeros16(a)], &s.nodes[bits.TrailingZeros16(b)])
			s.rules.pairBound = min(s.rules.pairBound, bound)
		}
	}
}

// pairBound is how long two routers may both be master in a sound network.
//
// A new master says so at once: one that is better, or the successor of one that
// hands over, is alone when its advert has travelled. Otherwise the better one's
// next advert ends it, which is one interval away at most. One that is handing
// over is silent; it gives way to the other's next advert, or speaks again when
// it has waited in vain.
func (s *sim) pairBound(a, b *simNode) int64 {
	if a.priority() < b.priority() || a.priority() == b.priority() && a.host < b.host {
		a, b = b, a // a is the better one
	}
	calm := max(s.rules.calm, a.model.changed, b.model.changed)
	since := max(calm, a.model.became, b.model.became)
	newer, older := a, b
	if b.model.became > a.model.became {
		newer, older = b, a
	}
	aHands, bHands := a.r.handover.kind != 0, b.r.handover.kind != 0
	newerHands, olderHands := newer.r.handover.kind != 0, older.r.handover.kind != 0
	switch {
	case since > calm && !newerHands && (newer == a || olderHands):
		return since + s.travel
	case !aHands:
		return since + int64(a.spec.Interval) + s.travel
	default:
		wait := int64(a.r.handoverLimit())
		if bHands {
			wait = max(wait, int64(b.r.handoverLimit()))
		}
		return since + wait + max(int64(a.spec.Interval), int64(b.spec.Interval)) + s.travel
	}
}
