package vrrp

import "time"

// settleAfter is when a new master announces once more after its first burst.
// The router it took over from may have answered a neighbour's ARP request while
// it still lingered; by now it has let go.
const settleAfter = time.Second

// tellPlan says when the addresses are announced again.
type tellPlan struct {
	next  time.Time
	stage uint8 // what next is: see the constants
	began time.Time
}

const (
	tellSettle  = iota // one announcement after settleAfter
	tellBurst          // the second burst
	tellRefresh        // one announcement, for ever
)

// start begins the plan; the first burst was just sent.
func (p *tellPlan) start(now time.Time, a Announce) {
	p.began = now
	p.stage, p.next = tellSettle, now.Add(settleAfter)
	if a.Delay > 0 && a.Delay <= settleAfter {
		p.stage, p.next = tellBurst, now.Add(a.Delay)
	}
}

// stop ends all announcements.
func (p *tellPlan) stop() { *p = tellPlan{} }

// soon repeats the announcement after a while: a rival was seen, and it may have
// spoken last.
func (p *tellPlan) soon(now time.Time) {
	if at := now.Add(settleAfter); p.next.IsZero() || at.Before(p.next) {
		p.stage, p.next = tellSettle, at
	}
}

// expired returns how many announcements are due, and plans the next ones.
func (p *tellPlan) expired(now time.Time, a Announce) int {
	if !due(now, p.next) {
		return 0
	}
	n := 1
	if p.stage == tellBurst {
		n = a.Repeat
	}
	p.next = time.Time{}
	switch second := p.began.Add(a.Delay); {
	case p.stage == tellSettle && a.Delay > 0 && second.After(now):
		p.stage, p.next = tellBurst, second
	case a.Refresh > 0:
		p.stage, p.next = tellRefresh, now.Add(a.Refresh)
	}
	return n
}
