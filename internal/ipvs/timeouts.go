package ipvs

import (
	"context"
	"fmt"
	"time"
)

// Timeouts are how long the kernel keeps an idle connection, in whole seconds.
// In [Kernel.SetTimeouts] 0 leaves a value as it is.
type Timeouts struct {
	TCP    time.Duration // established
	TCPFin time.Duration // after a FIN was seen
	UDP    time.Duration
}

var timeoutNames = [...]string{"tcp", "tcp_fin", "udp"}

func (t Timeouts) values() [3]time.Duration { return [...]time.Duration{t.TCP, t.TCPFin, t.UDP} }

// TimeoutMax is the largest timeout that every kernel takes: INT_MAX / HZ
// seconds with HZ = 1000 (ip_vs_set_timeout).
const TimeoutMax = 2147483 * time.Second

// Timeouts reads the connection timeouts.
func (k *Kernel) Timeouts(ctx context.Context) (Timeouts, error) {
	var t Timeouts
	err := k.moby(ctx, func(h config) (err error) {
		t, err = h.timeouts()
		return err
	})
	if err != nil {
		return Timeouts{}, fmt.Errorf("read the connection timeouts: %w", err)
	}
	return t, nil
}

// SetTimeouts sets the connection timeouts, each in whole seconds up to 24 days;
// a zero leaves that value as it is. They hold for new packets of existing
// connections too.
func (k *Kernel) SetTimeouts(ctx context.Context, t Timeouts) error {
	if err := t.check(); err != nil {
		return fmt.Errorf("set the connection timeouts: %w", err)
	}
	err := k.moby(ctx, func(h config) error {
		if err := h.setTimeouts(t); err != nil {
			return err
		}
		// Read back, because moby/ipvs reports a success also when it talked to
		// nobody (D1).
		got, err := h.timeouts()
		if err != nil {
			return err
		}
		return t.verify(got)
	})
	if err != nil {
		return fmt.Errorf("set the connection timeouts to %v, %v after a FIN and %v for UDP: %w", t.TCP, t.TCPFin, t.UDP, err)
	}
	return nil
}

// check refuses what the kernel's unit cannot express. moby/ipvs cuts fractions
// of a second off, so that 500 ms become "no change" without an error (D8).
func (t Timeouts) check() error {
	for i, d := range t.values() {
		name := timeoutNames[i]
		switch {
		case d < 0 || d > TimeoutMax:
			return fmt.Errorf("%s: %v is out of range; allowed are 0s (no change) to %v", name, d, TimeoutMax)
		case d%time.Second != 0:
			return fmt.Errorf("%s: %v is not a whole number of seconds, which is the kernel's unit", name, d)
		}
	}
	return nil
}

// verify compares what was set with what the kernel has now.
func (t Timeouts) verify(got Timeouts) error {
	now := got.values()
	for i, d := range t.values() {
		if d != 0 && d != now[i] {
			return fmt.Errorf("%s: the kernel has %v, not %v", timeoutNames[i], now[i], d)
		}
	}
	return nil
}
