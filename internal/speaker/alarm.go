package speaker

import "time"

// Alarm is the speaker's one timer.
type Alarm interface {
	C() <-chan time.Time   // where it goes off; once too often does no harm
	Reset(d time.Duration) // make it go off after d
	Stop()                 // make it not go off
	Close() error
}

// clock is an Alarm of the runtime's.
type clock struct{ t *time.Timer }

func newClock() clock {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return clock{t}
}

// C is where it goes off.
func (c clock) C() <-chan time.Time { return c.t.C }

// Reset makes it go off after d.
func (c clock) Reset(d time.Duration) { c.t.Reset(d) }

// Stop makes it not go off.
func (c clock) Stop() { c.t.Stop() }

// Close frees it.
func (c clock) Close() error { return nil }
