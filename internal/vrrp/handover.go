package vrrp

import (
	"fmt"
	"time"
)

// handover is a planned change of master, seen from the one that leaves: it
// sends priority 0, keeps the addresses and forwards on until the new master is
// heard.
type handover struct {
	kind  EventKind // Shutdown, Resign; 0: none
	until time.Time
}

// handoverMargin is what a peer may need beyond the protocol's times to take
// over on a busy host.
const handoverMargin = 500 * time.Millisecond

// handoverLimit is how long to wait for a new master. A peer takes over after
// its skew; if our only advert with priority 0 got lost, after its down interval,
// which is four adverts at most.
func (r *Router) handoverLimit() time.Duration { return 4*r.spec.Interval + handoverMargin }

// shutdown ends this router's part for good.
func (r *Router) shutdown(now time.Time) {
	switch {
	case r.state == Master:
		r.beginHandover(now, Shutdown)
	case r.releaseAt.IsZero():
		r.leave(now, "stopped")
	default:
		// Still lingering after another master was heard: let that run its course.
		r.handover = handover{kind: Shutdown, until: r.releaseAt}
	}
}

// resign hands over and stands back. It is refused by [Settled] with a reason
// unless a peer takes over.
func (r *Router) resign(now time.Time) {
	switch r.state {
	case Master:
		r.beginHandover(now, Resign)
	case Backup:
		r.resigned = true
		r.do(Action{Kind: Settled})
		r.masterDown = later(now, r.downInterval())
	default:
		r.do(Action{Kind: Settled, Reason: fmt.Sprintf("the router is in state %s: %s", r.state, r.reason)})
	}
}

func (r *Router) resume(now time.Time) {
	if !r.resigned {
		return
	}
	r.resigned = false
	switch r.state {
	case Backup:
		// With preemption the timer runs on and lower adverts no longer reset it.
		if own := later(now, r.downInterval()); own.Before(r.masterDown) || r.masterDown.IsZero() {
			r.masterDown = own
		}
	case Master:
		if r.handover.kind == 0 { // else silence is what makes a peer take over
			r.advertise(now)
		}
	}
}

func (r *Router) beginHandover(now time.Time, kind EventKind) {
	if r.handover.kind == Shutdown {
		return
	}
	running := r.handover.kind != 0
	r.handover = handover{kind: kind, until: later(now, r.handoverLimit())}
	if running {
		return // priority 0 was sent; a second one would restart the peer's skew
	}
	r.nextAdvert = time.Time{}
	r.tell.stop()
	r.send(now, 0)
}

// receivedHandover waits for the first advert of a new master.
func (r *Router) receivedHandover(now time.Time, ev Event) {
	if ev.Advert.Priority == 0 {
		return
	}
	kind := r.handover.kind
	r.handover = handover{}
	if kind == Resign {
		r.resigned = true
		r.yield(now, ev, fmt.Sprintf("handed over to %s", ev.Source))
		r.settleAtRelease = true
		if r.releaseAt.IsZero() {
			r.settleRelease("")
		}
		return
	}
	r.yield(now, ev, fmt.Sprintf("handed over to %s for a planned stop", ev.Source))
	if r.releaseAt.IsZero() {
		r.leave(now, r.reason)
		return
	}
	r.handover = handover{kind: Shutdown, until: r.releaseAt}
}

// handoverFailed is the end of the wait: nobody took over.
func (r *Router) handoverFailed(now time.Time) {
	kind := r.handover.kind
	r.handover = handover{}
	if kind == Shutdown {
		r.leave(now, fmt.Sprintf("stopped; nobody took over within %s", r.handoverLimit()))
		return
	}
	r.do(Action{Kind: Settled, Reason: fmt.Sprintf(
		"no peer took over within %s, so this router stays master: is the peer running, and does it hear our adverts?",
		r.handoverLimit())})
	r.advertise(now)
	r.do(Action{Kind: Tell, Repeat: 1})
	r.tell.start(now, r.spec.Announce)
}

// settleRelease ends a hand-over of which only the release was left.
func (r *Router) settleRelease(reason string) {
	if r.settleAtRelease {
		r.settleAtRelease = false
		r.do(Action{Kind: Settled, Reason: reason})
	}
}

// settle ends a hand-over that something else overtook.
func (r *Router) settle(reason string) {
	if r.handover.kind == 0 {
		return
	}
	r.handover = handover{}
	r.do(Action{Kind: Settled, Reason: reason})
}

// leave is the end: nothing is held, nothing is awaited.
func (r *Router) leave(now time.Time, reason string) {
	r.handover = handover{}
	r.settleAtRelease = false
	r.clearTimers()
	r.releaseAt = time.Time{}
	r.do(Action{Kind: Release})
	if r.state != Init {
		r.become(now, Init, reason)
	}
	r.do(Action{Kind: Settled})
}
