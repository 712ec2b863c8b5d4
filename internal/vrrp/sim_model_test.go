package vrrp

// simModel is what one router has heard and done, and what follows from it by
// the words of RFC 9568. It is worked out again here, without the code under
// test, so that a mistake there does not excuse itself.
type simModel struct {
	// Times are those of the host's own clock, except became and changed.
	cause    simCause
	interval int64               // Active_Adver_Interval
	sender   int                 // who was heard last as master; -1: nobody yet
	priority uint8               // of the last advert that counted
	heard    int64               // when that was
	spoke    int64               // when a master was heard last, whether that counted or not
	on       [simPaths]simPacket // the last advert on each path, with the time it was read
	lower    int64               // since when a master was heard that may be preempted; never: none
	synced   bool
	again    int64 // until when it listens once more, after it stood still
	due      int64 // when it has to be master at the latest; never: it does not wait

	became  int64 // when it came into its state
	changed int64 // when it was last told something
	sent    int64 // its last advert
	lingers int64 // since when it has the addresses without being master
	handing bool  // it is giving up, and waits for its successor
	stood   bool  // it was silent for longer than its peers wait
	waking  bool  // and has not read yet what came meanwhile
	lost    int   // adverts lost on all ways since the last that came
	settled bool
	refused bool
	leaving bool
}

// simCause is what a backup waits for.
type simCause uint8

const (
	simSilence simCause = iota // the master that it follows falls silent
	simZero                    // the master gave up: its skew passes
	simPreempt                 // the master may be preempted: the rest of its timer passes
)

// skew and down are Skew_Time and Active_Down_Interval (RFC 9568 section 6.1;
// for version 2, RFC 3768 section 6.1).
func (n *simNode) skew(priority uint8, interval int64) int64 {
	if n.spec.Version == 2 {
		interval = 1e9
	}
	return (256 - int64(priority)) * interval / 256
}

func (n *simNode) down(interval int64) int64 { return 3*interval + n.skew(n.priority(), interval) }

func (n *simNode) ownDown() int64 { return n.down(int64(n.spec.Interval)) }

func (n *simNode) priority() uint8 {
	if n.r.resigned {
		return 1
	}
	return n.spec.Priority
}

func (n *simNode) mayPreempt() bool {
	return !n.r.resigned && (n.spec.Preempt || n.spec.Priority == 255)
}

// listens is the begin of a backup that knows nothing of a master.
func (m *simModel) listens(n *simNode, t int64) {
	m.cause, m.interval, m.sender, m.priority = simSilence, int64(n.spec.Interval), -1, 0
	m.heard, m.lower, m.due = t, never, t+n.ownDown()
}

// follows is what an advert does that counts.
func (m *simModel) follows(n *simNode, t int64, p *simPacket) {
	m.cause, m.interval, m.sender, m.priority = simSilence, p.interval, int(p.from), p.priority
	m.heard, m.spoke, m.due = t, t, t+n.down(p.interval)
}

// notes keeps the last advert of each path.
func (m *simModel) notes(t int64, p *simPacket) {
	m.on[p.path] = *p
	m.on[p.path].at = t
}

// hears is section 6.4.2, with the delays of preemption.
func (m *simModel) hears(n *simNode, t int64, p *simPacket) {
	another := m.on[p.path].priority > 0 && m.on[p.path].from != p.from && t-m.on[p.path].at <= m.interval*3/2
	if p.priority > 0 || !another {
		m.notes(t, p)
	}
	if p.priority > 0 {
		m.lost = 0
	}
	switch {
	case m.leaving:
	case p.priority == 0:
		if m.sender >= 0 && m.sender != int(p.from) && m.cause != simZero && t-m.spoke <= m.interval*3/2 {
			// It has nothing to give up: another one is master. With several paths that
			// can be known only if that one was heard on the same.
			if !another {
				m.cause, m.lower = simZero, never
				m.due = max(m.due, t+n.skew(n.priority(), m.interval))
			}
			return
		}
		m.cause, m.sender, m.lower = simZero, int(p.from), never
		if !another {
			m.due = t + n.skew(n.priority(), m.interval)
		}
	case p.priority >= n.priority():
		m.lower = never
		m.follows(n, t, p)
	case !n.mayPreempt():
		m.follows(n, t, p)
	default:
		m.lower = min(m.lower, t)
		if t < m.lower+m.delay(n) {
			m.follows(n, t, p)
			return
		}
		m.cause, m.sender, m.spoke = simPreempt, int(p.from), t
		m.due = max(min(m.due, t+n.ownDown()), m.again)
	}
}

// delay is how long a master of lower priority is left alone.
func (m *simModel) delay(n *simNode) int64 {
	d := int64(n.spec.PreemptDelay)
	if !m.synced {
		d = max(d, int64(n.spec.PreemptAfterSync))
	}
	return d
}
