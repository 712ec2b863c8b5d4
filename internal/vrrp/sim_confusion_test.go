package vrrp

import "time"

// confusion does many things in short order.
func (s *sim) confusion() {
	for range 2 + s.rng.IntN(5) {
		s.confuse()
		s.run(s.now + s.rng.Int64N(1+s.rng.Int64N(5*s.longest())))
	}
}

func (s *sim) confuse() {
	i, j := s.rng.IntN(len(s.nodes)), s.rng.IntN(len(s.nodes))
	n := &s.nodes[i]
	switch s.rng.IntN(16) {
	case 0, 1:
		s.crash(n.host, s.rng.IntN(2) == 0)
	case 2, 3:
		s.start(n.host)
	case 4, 5:
		s.stall(n.host, s.rng.Int64N(8*s.longest()), s.rng.IntN(3) == 0)
	case 6:
		s.loss[s.rng.IntN(s.paths)] = s.rng.Float64()
		s.logf("loss %.2f", s.loss)
	case 7:
		s.jitter = s.rng.Int64N(3 * s.longest())
		s.logf("adverts are up to %s late", time.Duration(s.jitter))
	case 8, 9:
		p := s.rng.IntN(s.paths)
		s.cut[p][i][j] = true
		s.cut[p][j][i] = s.cut[p][j][i] || s.rng.IntN(2) == 0
		s.logf("on path %d %s does not hear %s; the other way round: %v", p, s.nodes[j].name, n.name, s.cut[p][j][i])
	case 10:
		s.mend()
	case 11:
		sp := s.reload(i)
		for _, m := range s.byHost[n.host] {
			s.command(m, Event{Kind: Configured, Spec: &sp})
		}
	case 12:
		kind := []EventKind{Resign, Resume, Shutdown}[s.rng.IntN(3)]
		for _, m := range s.byHost[n.host] {
			s.command(m, Event{Kind: kind})
		}
	case 13:
		s.command(i, Event{Kind: Failed, Reason: "its interface is down"})
	case 14:
		s.command(i, Event{Kind: Recovered})
	case 15:
		s.command(i, Event{Kind: []EventKind{Synced, Conflicted}[s.rng.IntN(2)]})
	}
	s.disturbed()
}

// reload is a new specification like a user would write it.
func (s *sim) reload(i int) Spec {
	n := &s.nodes[i]
	sp := n.spec
	switch s.rng.IntN(5) {
	case 0, 1:
		if sp.Priority != 255 {
			sp.Priority = s.priority(s.rng.IntN(2) == 0) // as tracking does
		}
	case 2:
		if sp.Version != 2 {
			sp.Interval = min(max(s.interval(s.base), time.Duration(60*s.travel).Round(IntervalUnit)), 40*time.Second)
		}
	case 3:
		sp.Preempt = !sp.Preempt
	case 4:
		sp.PreemptDelay = time.Duration(s.rng.Int64N(10 * int64(sp.Interval)))
	}
	s.logf("%s is told: priority %d interval %s preempt %v delay %s", n.name, sp.Priority, sp.Interval, sp.Preempt, sp.PreemptDelay)
	return sp
}
