//go:build vm

package lab

import (
	"testing"
	"time"
)

func TestDelay(t *testing.T) {
	_, a, b := pair(t)
	roundTrip := func() time.Duration {
		t.Helper()
		best := time.Hour
		for range 3 {
			began := time.Now()
			if err := ping(a, "10.0.0.2"); err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	plain := roundTrip()
	b.Link("eth0").Delay(800*time.Millisecond, 0)
	if got := roundTrip(); got < plain/2+800*time.Millisecond {
		t.Errorf("a round trip takes %v, and %v with 800ms of delay", plain, got)
	}
	b.Link("eth0").Delay(0, 0)
	if got := roundTrip(); got > plain+600*time.Millisecond {
		t.Errorf("a round trip takes %v, and %v after the delay has ended", plain, got)
	}
}
