package check

import (
	"math/rand/v2"
	"time"
)

// next returns when a job that has just got a result starts again: an interval
// after its last start, or now where that is past. A target that is up and fails is
// found to be down Fall intervals after the start of its last success, whatever the
// jitter.
func (j *job) next(now time.Time) time.Time {
	s := j.Schedule
	d := s.Interval
	if s.FastInterval > 0 && j.disputed() {
		d = s.FastInterval
	}
	// A schedule without an interval must not keep a processor busy.
	d = max(j.jittered(d), 10*time.Millisecond)
	due := j.start.Add(d)
	if n := j.failures + 1; (n > 1 || s.Fall <= 1) && (j.up || j.assumed) && !j.good.IsZero() {
		if latest := j.good.Add(time.Duration(n) * s.Interval); due.After(latest) {
			due = latest
		}
	}
	if due.Before(now) {
		return now
	}
	return due
}

// jittered moves an interval by up to Jitter percent either way, so that checks
// which started together do not stay together, here and on the other director.
func (j *job) jittered(d time.Duration) time.Duration {
	percent := min(max(j.Schedule.Jitter, 0), 50)
	return d + time.Duration(float64(d)*float64(percent)/100*(2*rand.Float64()-1))
}
