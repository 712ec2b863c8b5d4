package speaker

import (
	"net/netip"
	"time"

	"baton/internal/vrrp"
)

// Status is an immutable snapshot of all routers.
type Status struct {
	Routers []RouterStatus
}

// RouterStatus is one router as it is now.
type RouterStatus struct {
	Spec     Router
	Election vrrp.Status
	Source   netip.Addr // of our adverts; invalid: not known yet
	// Authenticated is how adverts prove where they come from: hmac, password or
	// empty.
	Authenticated string
	Heartbeats    []HeartbeatStatus // of the further paths
	Tracks        []TrackState      // of all that is tracked, as configured

	Group string // the sync group; empty: none
	// GroupWaitsFor names the members that hold the group up: this one would be
	// master otherwise.
	GroupWaitsFor []string

	// Held: the addresses are on the interface as far as this process knows.
	Held bool
	// Problem is the last failure to carry out what the election decided, in
	// words; empty when all is well.
	Problem string
	// Stranger describes adverts for this VRID that carry other addresses than
	// ours; empty when there are none.
	Stranger string

	Transitions map[string]uint64 // by state entered
	Sent        uint64            // adverts
	Received    uint64            // adverts accepted
	Rejected    map[string]uint64 // by reason
	Announced   uint64            // gratuitous ARP and neighbour advertisements
	Rivals      uint64            // adverts of another master while we were one
	// Conflicts counts announcements of our addresses by somebody else while we
	// owned them (RFC 5227).
	Conflicts    uint64
	LastConflict string
	// ClockSkew is by how much the clock of the last sender is ahead of ours, as
	// far as its adverts tell (with an HMAC); 0: they do not.
	ClockSkew time.Duration
	Lateness  Lateness // of our own timer
}

// HeartbeatStatus is a further path for a router's adverts.
type HeartbeatStatus struct {
	Interface string
	Source    netip.Addr // invalid: not known yet
	Problem   string     // why no adverts go this way; empty: they do
	LastHeard time.Time  // the last advert of another router; zero: none
}

// LatenessBounds are the upper bounds of the buckets of [Lateness], in seconds.
var LatenessBounds = [...]float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1}

// Lateness is a histogram of how late our timer was when an advert was due.
type Lateness struct {
	Buckets [len(LatenessBounds)]uint64 // not cumulative
	Count   uint64
	Sum     float64 // seconds
}

// Observe adds one delay.
func (l *Lateness) Observe(d time.Duration) {
	s := max(d.Seconds(), 0)
	l.Count++
	l.Sum += s
	for i, bound := range LatenessBounds {
		if s <= bound {
			l.Buckets[i]++
			return
		}
	}
}

// Transition is a change of a router's state.
type Transition struct {
	At     time.Time
	Router string
	From   vrrp.State
	To     vrrp.State
	Reason string
}
