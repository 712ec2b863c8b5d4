package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// Spec is what one router takes into the election.
type Spec struct {
	VRID    uint8
	Version uint8 // 2: the timers of RFC 3768; else those of RFC 9568
	// Priority is the effective one, 1–255: tracking may have changed the configured
	// one. 255 is the owner of the addresses.
	Priority uint8
	Interval time.Duration // between our adverts, 10 ms–40.95 s

	// Preempt lets this router take over from a master of lower priority. The
	// owner of the addresses always does (RFC 9568 section 6.1).
	Preempt bool
	// PreemptDelay is how long a master of lower priority is left alone after it
	// was first heard.
	PreemptDelay time.Duration
	// PreemptAfterSync is how long at most a master of lower priority is left alone
	// until [Synced] says that our connections are those of the master.
	PreemptAfterSync time.Duration

	// Source is the address that our adverts come from: the higher one wins
	// between equal priorities.
	Source    netip.Addr
	Addresses []netip.Addr // advertised

	// Linger is how long the addresses are kept after another master was heard,
	// so that packets find an owner until every neighbour has learnt the new one:
	// make before break.
	Linger time.Duration

	Announce Announce
}

// Announce is the plan for gratuitous ARP and unsolicited neighbour
// advertisements of a master.
type Announce struct {
	Repeat  int           // in one burst
	Delay   time.Duration // from the first to the second burst; 0: no second one
	Refresh time.Duration // between single announcements later; 0: none
}

// Equal reports whether both specs are the same.
func (s Spec) Equal(o Spec) bool {
	return s.VRID == o.VRID && s.Version == o.Version && s.Priority == o.Priority && s.Interval == o.Interval &&
		s.Preempt == o.Preempt && s.PreemptDelay == o.PreemptDelay &&
		s.PreemptAfterSync == o.PreemptAfterSync && s.Source == o.Source &&
		slices.Equal(s.Addresses, o.Addresses) && s.Linger == o.Linger && s.Announce == o.Announce
}

// SkewTime is how much longer than three adverts of the master a router of that
// priority waits, so that the highest one is first (RFC 9568 section 6.1).
func SkewTime(priority uint8, masterInterval time.Duration) time.Duration {
	return time.Duration(256-int(priority)) * masterInterval / 256
}

// DownInterval is the silence after which a router of that priority declares
// the master dead (RFC 9568 section 6.1).
func DownInterval(priority uint8, masterInterval time.Duration) time.Duration {
	return 3*masterInterval + SkewTime(priority, masterInterval)
}

// skew is the Skew_Time of a router of that priority. In version 2 it is a part
// of a second, whatever the interval (RFC 3768 section 6.1).
func (s *Spec) skew(priority uint8, masterInterval time.Duration) time.Duration {
	if s.Version == 2 {
		masterInterval = time.Second
	}
	return SkewTime(priority, masterInterval)
}

// down is the Master_Down_Interval of a router of that priority.
func (s *Spec) down(priority uint8, masterInterval time.Duration) time.Duration {
	return 3*masterInterval + s.skew(priority, masterInterval)
}
