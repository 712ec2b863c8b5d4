package vrrp

import (
	"fmt"
	"time"
)

// becomeBackup listens for a master for as long as wait before taking over.
func (r *Router) becomeBackup(now time.Time, wait time.Duration, reason string) {
	r.clearTimers()
	r.masterDown = later(now, wait)
	r.become(now, Backup, reason)
}

// receivedBackup is RFC 9568 section 6.4.2.
func (r *Router) receivedBackup(now time.Time, a *Advert) {
	if a.Priority == 0 {
		// The master gives up: whoever has the shortest skew is next.
		r.lowerSince = time.Time{}
		r.masterDown = later(now, r.skew())
		return
	}
	if a.Priority >= r.priority() {
		r.lowerSince = time.Time{}
		r.follow(now, a)
		return
	}
	if !r.preempts() || r.delaysPreemption(now) {
		r.follow(now, a)
		return
	}
	// A master of lower priority: its adverts do not count, the timer runs out.
	// It may have been set by its much longer interval, though, and a takeover
	// need not wait longer than our own.
	if own := later(now, r.ownDownInterval()); own.Before(r.masterDown) {
		r.masterDown = own
	}
}

// follow accepts the sender as master and takes over its interval.
func (r *Router) follow(now time.Time, a *Advert) {
	r.masterInterval = a.Interval
	r.masterDown = later(now, r.downInterval())
	r.wants = ""
}

// delaysPreemption reports whether a master of lower priority is still left
// alone; the delay begins with its first advert.
func (r *Router) delaysPreemption(now time.Time) bool {
	if r.lowerSince.IsZero() {
		r.lowerSince = now
	}
	return now.Before(r.preemptAt())
}

// preemptAt is when a master of lower priority is left alone no longer.
func (r *Router) preemptAt() time.Time {
	wait := r.spec.PreemptDelay
	if r.unsynced() {
		wait = max(wait, r.spec.PreemptAfterSync)
	}
	return r.lowerSince.Add(wait)
}

// unsynced reports whether preemption waits for the connection table.
func (r *Router) unsynced() bool { return !r.synced && r.spec.PreemptAfterSync > 0 }

// expiredBackup is the Active_Down_Timer of RFC 9568 section 6.4.2.
func (r *Router) expiredBackup(now time.Time) {
	if !due(now, r.masterDown) {
		return
	}
	if late := now.Sub(r.masterDown); late > r.masterInterval {
		// The host was stopped or overloaded, and with it perhaps the reception of
		// adverts: the silence proves nothing yet. Listen once more.
		r.masterDown = later(now, r.masterInterval+r.skew())
		return
	}
	r.want(now, r.whyTakeOver(now))
}

// want makes this router master, or ready for it where the others of its sync
// group have a say.
func (r *Router) want(now time.Time, why string) {
	if r.grouped {
		r.wants, r.masterDown = why, time.Time{}
		return
	}
	r.becomeMaster(now, why)
}

func (r *Router) whyTakeOver(now time.Time) string {
	switch {
	case !r.owner.IsValid():
		return fmt.Sprintf("no master heard for %s", round(now.Sub(r.since)))
	case r.ownerPriority == 0:
		return fmt.Sprintf("%s gave up being master (priority 0)", r.owner)
	case now.Sub(r.lastHeard) <= r.masterInterval+r.masterInterval/2:
		why := fmt.Sprintf("own priority %d is higher than %d of %s", r.priority(), r.ownerPriority, r.owner)
		if r.unsynced() {
			why += fmt.Sprintf("; the connection table did not catch up within %s", r.spec.PreemptAfterSync)
		}
		return why
	}
	return fmt.Sprintf("nothing heard from master %s for %s", r.owner, round(now.Sub(r.lastHeard)))
}

// round makes a duration readable.
func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
