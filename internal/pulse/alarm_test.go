package pulse

import (
	"testing"
	"time"
)

func TestAlarm(t *testing.T) {
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	goesOff := func(within time.Duration) bool {
		select {
		case <-a.C():
			return true
		case <-time.After(within):
			return false
		}
	}
	if goesOff(20 * time.Millisecond) {
		t.Error("it went off without being set")
	}
	for _, d := range []time.Duration{5 * time.Millisecond, 0, -time.Second} {
		began := time.Now()
		if a.Reset(d); !goesOff(10 * time.Second) {
			t.Fatalf("it did not go off after %v", d)
		}
		if took := time.Since(began); took < d {
			t.Errorf("it went off after %v, set to %v", took, d)
		}
	}
	a.Reset(20 * time.Millisecond)
	a.Stop()
	if goesOff(100 * time.Millisecond) {
		t.Error("it went off after it was stopped")
	}
	a.Reset(time.Hour)
	a.Reset(time.Millisecond)
	if !goesOff(10 * time.Second) {
		t.Error("it did not go off when set anew")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
