package vrrp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"
	"unsafe"
)

// The world of the simulator: hosts, their clocks and kernels, and the wires
// between them. Its time is in nanoseconds since the start; every host has a
// clock of its own.

const (
	simHosts = 5            // at most
	simNodes = 2 * simHosts // routers: two on each host where they form sync groups
	simPaths = 2            // ways that adverts come: the interface and one further heartbeat path
	simLease = 3 * int64(time.Second)
	never    = math.MaxInt64
)

// simNode is one router on its host.
type simNode struct {
	r    *Router
	spec Spec // what it was last given
	name string
	host int
	vr   int // which virtual router it is one of

	group *Group // of the routers of this host, if there are several

	up     bool
	since  int64 // stands still since then
	until  int64 // and until then; 0: it runs
	frozen bool  // and so does its clock, as in a paused virtual machine
	lag    int64 // what the pauses have cost its clock
	wall   int64 // seconds that its wall clock was stepped by

	want     bool  // the daemon wants the addresses on the interface
	leaseEnd int64 // when the kernel drops them, while nobody renews
	at       int64 // the router's deadline

	queue    []simPacket // arrived while it stood still
	commands []Event     // so did these

	model simModel
}

type sim struct {
	seed uint64
	rng  *rand.Rand
	now  int64

	nodes  []simNode
	hosts  int
	vrs    int
	paths  int
	base   time.Duration // the usual interval
	travel int64         // the longest way of an advert in a sound network
	least  int64         // the shortest
	wire   simHeap
	seq    uint32
	lastAt [simPaths][simNodes][simNodes]int64 // a sound network keeps the order

	loss   [simPaths]float64
	cut    [simPaths][simNodes][simNodes]bool // [p][a][b]: b does not hear a on p
	jitter int64                              // further delay of adverts: they overtake each other

	sources [simPaths][simHosts]netip.Addr
	byHost  [simHosts][]int // the routers of each
	rules   simRules

	scripted bool // no chance: every way takes the longest time
	trace    *strings.Builder
	packets  bool // trace adverts, too
}

// simClock is a time as a host sees it: ns on its monotonic clock, and a wall
// clock that may have been stepped by any number of seconds. The layout is that
// of time.Time with a monotonic reading; TestSimClock holds it.
func simClock(ns, wall int64) time.Time {
	const hasMonotonic, nsecShift, since1885 = 1 << 63, 30, 141 * 31556952 // the wall shows 2026
	raw := struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}{ext: ns}
	seconds := uint64(since1885 + wall + ns/1e9)
	raw.wall = hasMonotonic | seconds<<nsecShift | uint64(ns%1e9)
	return *(*time.Time)(unsafe.Pointer(&raw))
}

// simStart is what every host's clock shows at the start.
const simStart = 1000 * int64(time.Hour)

// local is the host's own time, in nanoseconds.
func (s *sim) local(n *simNode) int64 { return s.now - n.lag }

func (s *sim) clock(n *simNode) time.Time { return simClock(simStart+s.now-n.lag, n.wall) }

// deadline asks the router when it wants to be called.
func (n *simNode) deadline() {
	n.at = never
	if d := n.r.Deadline(); !d.IsZero() {
		n.at = int64(d.Sub(simClock(simStart, 0))) + n.lag
	}
}

func (n *simNode) runs() bool { return n.up && n.until == 0 }

// serves reports whether the host's kernel has the addresses.
func (s *sim) serves(n *simNode) bool {
	return n.want && !n.frozen && (n.runs() || s.now < n.leaseEnd)
}

// simSource is the address of a host on a path. On the second one they may stand
// in the opposite order.
func simSource(path, host int, reversed bool) netip.Addr {
	last := byte(host + 1)
	if path > 0 && reversed {
		last = byte(100 - host)
	}
	return netip.AddrFrom4([4]byte{10, byte(path), 0, last})
}

// logf adds a line to the trace. Callers on the way of every advert check that
// there is one.
func (s *sim) logf(format string, args ...any) {
	if s.trace == nil {
		return
	}
	fmt.Fprintf(s.trace, "%12s  ", "+"+time.Duration(s.now).String())
	fmt.Fprintf(s.trace, format+"\n", args...)
}

// step gives a router an event and carries out what it decides.
func (s *sim) step(i int, ev Event) {
	n := &s.nodes[i]
	now := s.clock(n)
	s.before(i, &ev)
	if n.group == nil {
		for _, a := range n.r.Step(now, ev) {
			s.act(i, a, &ev)
		}
		n.deadline()
	} else {
		for _, a := range n.group.Step(now, n.vr, ev) {
			s.act(s.byHost[n.host][a.Member], a.Action, &ev)
		}
		for _, m := range s.byHost[n.host] {
			s.nodes[m].deadline()
		}
	}
	s.after(i, &ev)
}

func (s *sim) act(i int, a Action, ev *Event) {
	n := &s.nodes[i]
	switch a.Kind {
	case Send:
		s.sent(i, a.Priority)
		s.send(i, a.Priority, false)
	case Hold:
		if !n.want && s.trace != nil {
			s.logf("%s takes the addresses", n.name)
		}
		n.want = true
	case Release:
		if n.want && s.trace != nil {
			s.logf("%s lets go of the addresses", n.name)
		}
		n.want = false
	case Transition:
		if s.trace != nil {
			s.logf("%s %v → %v: %s", n.name, a.From, a.To, a.Reason)
		}
		s.transition(i, a, ev)
	case Settled:
		if s.trace != nil {
			s.logf("%s settled%s", n.name, because(a.Reason))
		}
		s.settledBy(i, a)
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ", refused: " + reason
}
