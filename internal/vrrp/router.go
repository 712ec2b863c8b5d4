package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// resignedPriority is what a router that stood back advertises and waits with:
// the lowest there is, so that it takes over only when nobody else is left.
const resignedPriority = 1

// Router is one virtual router's election. Its zero value is not usable; see
// [New]. It is not safe for concurrent use.
type Router struct {
	spec   Spec
	state  State
	since  time.Time
	reason string

	resigned        bool     // stands back until Resume
	settleAtRelease bool     // a Resign is over when the addresses are released
	handover        handover // in progress while we are master
	synced          bool     // the connection table is the master's, as far as is known

	// Of the sync group that we are in; see [Group].
	grouped bool
	follows bool   // another member decides; see [Router.defers]
	wants   string // ready to be master, for this reason: backup only

	// Of the master we listen to.
	masterInterval time.Duration // Active_Adver_Interval of RFC 9568
	owner          netip.Addr
	ownerPriority  uint8
	lastHeard      time.Time
	paths          []path

	lastSent  time.Time // our last advert
	lastRival time.Time // our last answer to a rival
	// Of a rival that wins while another member of the group decides.
	winnerSince, winnerHeard time.Time
	// Of a rival with our priority: when it was heard last, and since when it is not
	// heard on the first path.
	tieHeard, tieSince time.Time
	// lowerSince is when a master of lower priority was first heard that we could
	// preempt: backup only.
	lowerSince time.Time

	// Deadlines; zero: none.
	masterDown time.Time // Active_Down_Timer: backup only
	nextAdvert time.Time // Adver_Timer: master only
	releaseAt  time.Time // the end of Linger: not master
	tell       tellPlan  // master only

	actions []Action // reused by every Step
}

// New returns a router in [Init]. It does nothing before [Startup].
func New(spec Spec, now time.Time) *Router {
	return &Router{
		spec: spec, since: now, reason: "not started",
		masterInterval: spec.Interval,
		actions:        make([]Action, 0, 8),
	}
}

// Status is what can be seen of a router.
type Status struct {
	State     State
	Since     time.Time
	Reason    string
	Priority  uint8 // effective
	Resigned  bool
	HandsOver bool // a planned hand-over is in progress
	Wants     bool // ready to be master, and waits for the others of its sync group
	Unsynced  bool // leaves a master of lower priority alone until [Synced]

	Owner         netip.Addr // the master last heard, or our own source; invalid: none
	OwnerPriority uint8
	LastHeard     time.Time     // the last advert of another router; zero: none
	Interval      time.Duration // of the adverts of the current master
	DownInterval  time.Duration // the silence after which a backup takes over
	MasterDown    time.Time     // when we take over if nothing is heard; zero: not waiting
	PreemptAt     time.Time     // when a delay of preemption ends; zero: none
}

// Status returns the router's present state.
func (r *Router) Status() Status {
	s := Status{
		State: r.state, Since: r.since, Reason: r.reason, Priority: r.priority(),
		Resigned: r.resigned, HandsOver: r.handover.kind != 0,
		Owner: r.owner, OwnerPriority: r.ownerPriority, LastHeard: r.lastHeard,
		Interval: r.masterInterval, DownInterval: r.downInterval(),
		MasterDown: r.masterDown, Wants: r.wants != "",
	}
	if !r.lowerSince.IsZero() {
		s.PreemptAt = r.preemptAt()
		s.Unsynced = r.unsynced()
	}
	if r.state == Master {
		s.Owner, s.OwnerPriority, s.Interval = r.spec.Source, r.priority(), r.spec.Interval
	}
	return s
}

// State returns the router's state.
func (r *Router) State() State { return r.state }

// Deadline returns when [Expired] has to be delivered, or the zero time.
func (r *Router) Deadline() time.Time {
	d := earliest(r.nextAdvert, r.releaseAt)
	if r.handover.kind != Shutdown { // who only lingers on to leave takes over no more
		d = earliest(d, r.masterDown)
	}
	d = earliest(d, r.handover.until)
	return earliest(d, r.tell.next)
}

// Step makes the router take note of an event at the time now, which never goes
// back, and returns what has to be done, in order. The slice is valid until the
// next Step. An event that means nothing in the present state does nothing.
func (r *Router) Step(now time.Time, ev Event) []Action {
	r.actions = r.actions[:0]
	switch ev.Kind {
	case Startup:
		r.startup(now)
	case Received:
		r.received(now, ev)
	case Expired:
		r.expired(now)
	case Shutdown:
		r.shutdown(now)
	case Resign:
		r.resign(now)
	case Resume:
		r.resume(now)
	case Failed:
		r.failed(now, ev.Reason)
	case Recovered:
		if r.state == Fault {
			r.rejoin(now, "what it needs works again")
		}
	case Configured:
		r.configure(now, *ev.Spec)
	case Synced:
		r.synced = true
	case Removed:
		if r.state == Master {
			r.send(now, 0)
		}
		r.leave(now, ev.Reason)
	case Conflicted:
		if r.state == Master && r.handover.kind == 0 {
			r.defend(now)
		}
	}
	return r.actions
}

// priority is the effective priority.
func (r *Router) priority() uint8 {
	if r.resigned {
		return resignedPriority
	}
	return r.spec.Priority
}

func (r *Router) preempts() bool {
	return !r.resigned && (r.spec.Preempt || r.spec.Priority == OwnerPriority)
}

func (r *Router) skew() time.Duration { return r.spec.skew(r.priority(), r.masterInterval) }

func (r *Router) downInterval() time.Duration { return r.spec.down(r.priority(), r.masterInterval) }

// ownDownInterval is that of a router which hears only its own interval.
func (r *Router) ownDownInterval() time.Duration {
	return r.spec.down(r.priority(), r.spec.Interval)
}

// startup is RFC 9568 section 6.4.1.
func (r *Router) startup(now time.Time) {
	if r.state != Init {
		return
	}
	r.rejoin(now, "started")
}

// rejoin enters the election from Init or Fault.
func (r *Router) rejoin(now time.Time, why string) {
	r.masterInterval = r.spec.Interval
	r.forget()
	r.synced = r.spec.PreemptAfterSync == 0
	// Whatever a predecessor left on the interface goes before we listen: another
	// router may own the addresses by now.
	r.do(Action{Kind: Release})
	if r.priority() == OwnerPriority && !r.grouped {
		r.becomeMaster(now, why+"; priority 255 owns the addresses")
		return
	}
	r.becomeBackup(now, r.downInterval(), why+"; listening for a master")
	if r.priority() == OwnerPriority {
		r.want(now, "priority 255 owns the addresses")
	}
}

func (r *Router) expired(now time.Time) {
	if due(now, r.releaseAt) {
		r.releaseAt = time.Time{}
		r.do(Action{Kind: Release})
		r.settleRelease("")
	}
	switch {
	case r.state == Master:
		r.expiredMaster(now)
	case r.handover.kind == Shutdown:
		if due(now, r.handover.until) { // the linger after a hand-over
			r.leave(now, r.reason)
		}
	case r.state == Backup:
		r.expiredBackup(now)
	}
}

func (r *Router) received(now time.Time, ev Event) {
	if r.state == Master {
		// After a standstill this may come before the timer. The sender is no rival to
		// assert ourselves against: it took over while we were away.
		r.stalled(now)
	}
	switch r.state {
	case Backup:
		if ev.Advert.Priority == 0 && r.anotherOwns(now, ev) {
			return
		}
		r.heard(now, ev)
		r.receivedBackup(now, ev.Advert)
	case Master:
		r.receivedMaster(now, ev)
	}
}

// failed leaves the election. A master says goodbye, in case the wire still
// works: the fault may be a tracked one.
func (r *Router) failed(now time.Time, reason string) {
	if r.state == Fault {
		r.reason = reason
		return
	}
	if r.state == Master {
		r.send(now, 0)
	}
	r.settle(reason)
	r.clearTimers()
	r.releaseAt = time.Time{}
	r.do(Action{Kind: Release})
	r.settleRelease("")
	r.become(now, Fault, reason)
}

// configure changes the spec without leaving the state (RFC 9568 leaves this
// open). A master with a new priority or interval says so at once, because its
// peers count with what they last heard.
func (r *Router) configure(now time.Time, spec Spec) {
	old := r.spec
	if old.Equal(spec) {
		return
	}
	waited := r.downInterval()
	r.spec = spec
	switch r.state {
	case Master:
		r.configureMaster(now, old)
	case Backup:
		if !r.owner.IsValid() {
			r.masterInterval = spec.Interval
		}
		// The silence up to now counts.
		if !r.masterDown.IsZero() {
			r.masterDown = r.masterDown.Add(r.downInterval() - waited)
			if r.masterDown.Before(now) {
				r.masterDown = now // long past would look like a stall
			}
		}
	}
}

func (r *Router) configureMaster(now time.Time, old Spec) {
	if r.handover.kind == 0 {
		r.advertise(now)
	}
	if !slices.Equal(old.Addresses, r.spec.Addresses) || old.Announce != r.spec.Announce {
		r.do(Action{Kind: Hold})
		r.tell.start(now, r.spec.Announce)
		r.do(Action{Kind: Tell, Repeat: r.spec.Announce.Repeat})
	}
}

// become records a transition; it must be a change.
func (r *Router) become(now time.Time, to State, reason string) {
	if r.state == to {
		panic(fmt.Sprintf("vrrp: transition from %v to itself (%s)", to, reason))
	}
	r.do(Action{Kind: Transition, From: r.state, To: to, Reason: reason})
	r.state, r.since, r.reason = to, now, reason
}

func (r *Router) do(a Action) { r.actions = append(r.actions, a) }

func (r *Router) send(now time.Time, priority uint8) {
	r.lastSent = now
	r.do(Action{Kind: Send, Priority: priority})
}

func (r *Router) clearTimers() {
	r.masterDown, r.nextAdvert, r.lowerSince = time.Time{}, time.Time{}, time.Time{}
	r.wants = ""
	r.tell.stop()
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func due(now, deadline time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

func later(now time.Time, d time.Duration) time.Time { return now.Add(d) }
