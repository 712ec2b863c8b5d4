package vrrp

// What the simulator takes note of while routers work.

// before takes note of an event before the router does.
func (s *sim) before(i int, ev *Event) {
	n := &s.nodes[i]
	m, t := &n.model, s.local(n)
	state := n.r.State()
	s.rules.target = i
	m.handing = state == Master && n.r.handover.kind != 0
	m.stood = state == Master && s.silent(n) > n.ownDown()
	switch ev.Kind {
	case Received:
		if state == Backup {
			m.hears(n, t, &s.rules.reads)
		}
	case Configured:
		old := n.down(m.interval)
		n.spec = *ev.Spec
		m.changed = s.now
		s.rules.dirty = true
		if state == Backup && m.due != never {
			if m.sender < 0 && n.r.wants == "" {
				m.interval = int64(n.spec.Interval)
			}
			m.due = max(m.due+n.down(m.interval)-old, t)
		}
	case Synced:
		m.synced = true
	case Startup, Shutdown, Resign, Resume, Failed, Recovered:
		m.changed = s.now
		m.leaving = m.leaving || ev.Kind == Shutdown && state.Listens()
		s.rules.dirty = true
	}
}

// after takes note of it afterwards.
func (s *sim) after(i int, ev *Event) {
	n := &s.nodes[i]
	m, t := &n.model, s.local(n)
	if n.r.State() != Backup {
		return
	}
	switch ev.Kind {
	case Received:
		if m.stood {
			m.stood = false
			m.hears(n, t, &s.rules.reads)
		}
	case Resign:
		if !m.leaving {
			m.due = t + n.down(m.interval)
			if n.group == nil { // there it may be ready long since
				m.cause = simSilence
			}
		}
	case Resume:
		if m.due != never {
			m.due = min(m.due, t+n.down(m.interval))
		}
	case Shutdown:
		m.due = never
	}
}

// transition takes note of a change of state and judges it.
func (s *sim) transition(i int, a Action, ev *Event) {
	n := &s.nodes[i]
	m, t := &n.model, s.local(n)
	s.rules.dirty = true
	if a.From == Master {
		m.lingers = t
	}
	if i != s.rules.target { // another one of its sync group had the event
		m.stood = a.From == Master && s.silent(n) > n.ownDown()
	}
	m.became = s.now
	m.due = never
	if !a.From.Listens() {
		m.synced, m.leaving = n.spec.PreemptAfterSync == 0, false
	}
	switch {
	case a.To == Master:
		if a.From == Backup {
			s.judgeTakeover(i)
		}
	case a.To == Backup && a.From == Master && (m.stood || ev.Kind != Received || s.rules.target != i):
		s.rules.count(simStepsDown)
		m.listens(n, t)
		if m.stood {
			m.heard -= 2 * m.interval // one advert is enough
			m.due -= 2 * m.interval
		}
	case a.To == Backup && a.From == Master:
		s.judgeYield(i)
		m.lower = never
		m.notes(t, &s.rules.reads)
		m.follows(n, t, &s.rules.reads)
	case a.To == Backup:
		m.listens(n, t)
	}
	if m.leaving {
		m.due = never // who only lingers on takes over no more
	}
}

// sent takes note of an advert that a router sends.
func (s *sim) sent(i int, priority uint8) {
	n := &s.nodes[i]
	if n.model.waking && priority > 0 {
		s.broke(ruleStale, i)
	}
	n.model.sent = s.local(n)
}

// silent is for how long a master has been silent without a purpose. While it
// hands over it means to be, until it has waited in vain.
func (s *sim) silent(n *simNode) int64 {
	if n.r.handover.kind != 0 {
		return s.now - n.at
	}
	return s.local(n) - n.model.sent
}

// woken takes note that a host goes on.
func (s *sim) woken(i int) {
	n := &s.nodes[i]
	m, t := &n.model, s.local(n)
	if n.frozen {
		return
	}
	switch n.r.State() {
	case Master:
		m.waking = s.silent(n) > n.ownDown()
	case Backup: // its timer ran out, and nobody looked for an advert and more
		m.waking = m.due != never && m.due >= n.since-n.lag && t-m.due > m.interval
	}
	if m.waking {
		s.rules.count(simWakes)
	}
	if m.due != never && t > m.due {
		// Its timer is late: it listens once more.
		m.again = t + m.interval + n.skew(n.priority(), m.interval)
		m.due = m.again
	}
}

// lost takes note of an advert that did not reach a router on any way.
func (s *sim) lost(to int, priority uint8) {
	if priority > 0 {
		s.nodes[to].model.lost++
	}
}

func (s *sim) gone(i int) {
	s.nodes[i].model = simModel{due: never}
	s.rules.dirty = true
}

func (s *sim) settledBy(i int, a Action) {
	m := &s.nodes[i].model
	m.settled, m.refused = true, a.Reason != ""
	m.changed, s.rules.dirty = s.now, true
}
