package config

import (
	"fmt"
	"time"

	"baton/internal/vrrp"
)

// interval is the time between adverts. Its range depends on the version of the
// protocol, so it is checked when that is known.
type interval time.Duration

func (v *interval) parse(n *node, r *rule) error {
	d, err := parseDuration(n.text)
	if err != nil {
		return err
	}
	if d < mustDuration(r, r.low) || d > mustDuration(r, r.high) {
		return fmt.Errorf("%s is out of range", n.text)
	}
	*v = interval(d)
	return nil
}

func (*interval) allowed(*rule) string {
	return intervals[version3].allowed + "; with version 2 " + intervals[version2].allowed
}

// limits are the intervals of one version of the protocol: 12 bits of
// centiseconds (RFC 9568 section 5.2.7), 8 bits of seconds (RFC 3768 section
// 5.3.7).
type limits struct {
	step, most time.Duration
	allowed    string
}

const (
	version2 = 2
	version3 = 3
)

var intervals = map[int]limits{
	version2: {time.Second, 255 * time.Second, "whole seconds from 1s to 255s"},
	version3: {vrrp.IntervalUnit, vrrp.MaxInterval, "a duration from 10ms to 40.95s in steps of 10ms"},
}
