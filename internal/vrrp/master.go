package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// becomeMaster takes the addresses. The advert goes first: it stops the other
// backups; the addresses follow at once, and their announcement after them.
func (r *Router) becomeMaster(now time.Time, reason string) {
	r.clearTimers()
	r.releaseAt = time.Time{}
	r.settleRelease("the new master gave the addresses back at once")
	r.advertise(now)
	r.do(Action{Kind: Hold})
	r.do(Action{Kind: Tell, Repeat: r.spec.Announce.Repeat})
	r.tell.start(now, r.spec.Announce)
	r.become(now, Master, reason)
}

// advertise sends an advert and sets the Adver_Timer.
func (r *Router) advertise(now time.Time) {
	r.send(now, r.priority())
	r.nextAdvert = later(now, r.spec.Interval)
}

// expiredMaster is the Adver_Timer of RFC 9568 section 6.4.3, and everything
// else that a master does by the clock.
func (r *Router) expiredMaster(now time.Time) {
	if due(now, r.handover.until) {
		if late := now.Sub(r.handover.until); r.handover.kind == Resign && late > r.ownDownInterval() {
			r.stepDown(now, late) // the successor may have been there long since
		} else {
			r.handoverFailed(now)
		}
		return
	}
	if due(now, r.nextAdvert) {
		if r.stalled(now) {
			return
		}
		r.send(now, r.priority())
		// The next advert is counted from when this one was due, so that a late
		// timer does not slow the rhythm; after a longer delay the rhythm starts
		// anew.
		r.nextAdvert = r.nextAdvert.Add(r.spec.Interval)
		if !r.nextAdvert.After(now) {
			r.nextAdvert = later(now, r.spec.Interval)
		}
	}
	if n := r.tell.expired(now, r.spec.Announce); n > 0 {
		r.do(Action{Kind: Tell, Repeat: n})
	}
}

// stalled steps down if we were silent for so long that any peer has taken over
// by now: a stopped process, a paused virtual machine, swap. A late timer is
// evidence. A peer of our own priority or less waits at least this long.
func (r *Router) stalled(now time.Time) bool {
	silent := now.Sub(r.lastSent)
	if r.handover.kind != 0 || silent <= r.ownDownInterval() {
		return false // while it hands over it is silent on purpose
	}
	r.stepDown(now, silent)
	return true
}

// stepDown makes a master that stood still a backup which listens.
func (r *Router) stepDown(now time.Time, silent time.Duration) {
	r.masterInterval = r.spec.Interval
	r.forget()
	r.settle("this host stood still for " + round(silent).String())
	r.do(Action{Kind: Release})
	// A new master is heard within one advert.
	r.becomeBackup(now, r.masterInterval+r.skew(), fmt.Sprintf(
		"was silent for %s, longer than its peers wait: another router may be master by now", round(silent)))
}

// receivedMaster is RFC 9568 section 6.4.3.
func (r *Router) receivedMaster(now time.Time, ev Event) {
	if r.handover.kind != 0 {
		r.receivedHandover(now, ev)
		return
	}
	a, from := ev.Advert, ev.Source
	if a.Priority == 0 {
		r.advertise(now)
		return
	}
	wins := a.Priority > r.priority() || a.Priority == r.priority() && r.losesTie(now, ev)
	if wins && r.defers(now) {
		wins = false
	}
	switch {
	case wins && a.Priority > r.priority():
		r.goodbye(now, a, from)
		r.yield(now, ev, fmt.Sprintf("%s has the higher priority %d", from, a.Priority))
		return
	case wins:
		r.goodbye(now, a, from)
		r.yield(now, ev, fmt.Sprintf("%s has the same priority %d and the higher address", from, a.Priority))
		return
	}
	// The last word of the master that we have just taken over from makes no rival.
	if now.Sub(r.since) > r.spec.Interval {
		r.do(Action{Kind: Rival, Source: from, Priority: a.Priority})
	}
	r.assert(now)
}

// goodbye is the last advert before a master yields to another one. That one
// answers by announcing the addresses again: after a partition it may have been
// master all the time, and the neighbours have learnt ours meanwhile.
func (r *Router) goodbye(now time.Time, a *Advert, from netip.Addr) {
	r.do(Action{Kind: Rival, Source: from, Priority: a.Priority})
	r.send(now, r.priority())
}

// yield makes room for another master. The addresses stay for the time of
// Linger: the other one announces them only after its advert.
func (r *Router) yield(now time.Time, ev Event, reason string) {
	r.heard(now, ev)
	r.masterInterval = ev.Advert.Interval
	r.lingerOn(now)
	r.becomeBackup(now, r.downInterval(), reason)
}

// lingerOn keeps the addresses for the time of Linger.
func (r *Router) lingerOn(now time.Time) {
	if r.spec.Linger > 0 {
		r.releaseAt = later(now, r.spec.Linger)
	} else {
		r.do(Action{Kind: Release})
	}
}

// assert answers a rival that loses: an advert to make it step down and an
// announcement to win the neighbours back. Both are bounded, so that a flood of
// packets is not answered by a flood.
func (r *Router) assert(now time.Time) {
	if r.answered(now) {
		return
	}
	r.advertise(now)
	r.tellOnceMore(now)
}

// defend answers somebody who announces one of our addresses without being a
// router that we hear: the neighbours are won back (RFC 5227 section 2.4 (c)).
func (r *Router) defend(now time.Time) {
	if !r.answered(now) {
		r.tellOnceMore(now)
	}
}

// answered reports whether a rival was answered just now; if not, it is being
// answered now.
func (r *Router) answered(now time.Time) bool {
	if !r.lastRival.IsZero() && now.Sub(r.lastRival) < max(r.spec.Interval/2, answerPause) {
		return true
	}
	r.lastRival = now
	return false
}

func (r *Router) tellOnceMore(now time.Time) {
	r.do(Action{Kind: Tell, Repeat: 1})
	r.tell.soon(now)
}

// answerPause is the least time between two answers to rivals.
const answerPause = 50 * time.Millisecond
