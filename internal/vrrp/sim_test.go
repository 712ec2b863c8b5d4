package vrrp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The simulator runs a handful of routers on one segment by a seed and checks,
// after every step, what the protocol promises. BATON_SIM_SEED=N replays one
// seed with a trace; BATON_SIM_RUNS=N sets how many are tried.

// simNode is one router with the addresses on its interface.
type simNode struct {
	r      *Router
	source netip.Addr
	held   bool
	down   bool      // crashed
	until  time.Time // stalled: takes no notice of anything before
	queue  []simPacket
}

type simPacket struct {
	at     time.Time
	advert Advert
	from   int
	to     int
}

type sim struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	now   time.Time
	nodes []*simNode
	wire  []simPacket
	loss  float64
	cut   [][]bool // cut[a][b]: b does not hear a
	trace *strings.Builder

	calm time.Time // since when nothing was disturbed
}

const (
	simTravel   = time.Millisecond
	simInterval = time.Second
)

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), now: epoch, calm: epoch, trace: &strings.Builder{}}
	n := 2 + s.rng.IntN(3)
	for i := range n {
		source := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
		sp := Spec{
			VRID: 51, Priority: uint8(1 + s.rng.IntN(254)), Interval: simInterval, Preempt: s.rng.IntN(3) > 0,
			Source: source, Addresses: []netip.Addr{vip1}, Linger: time.Duration(s.rng.IntN(2)) * 200 * time.Millisecond,
			Announce: Announce{Repeat: 1},
		}
		s.nodes = append(s.nodes, &simNode{r: New(sp, epoch), source: source})
		s.cut = append(s.cut, make([]bool, n))
		s.logf("node %d priority %d preempt %v", i, sp.Priority, sp.Preempt)
	}
	for i := range s.nodes {
		s.step(i, Event{Kind: Startup})
	}
	return s
}

func (s *sim) logf(format string, args ...any) {
	fmt.Fprintf(s.trace, "%10s ", s.now.Sub(epoch))
	fmt.Fprintf(s.trace, format+"\n", args...)
}

// step delivers an event to a node and carries out its actions.
func (s *sim) step(i int, ev Event) {
	n := s.nodes[i]
	for _, a := range n.r.Step(s.now, ev) {
		switch a.Kind {
		case Send:
			s.send(i, a.Priority)
		case Hold:
			n.held = true
		case Release:
			n.held = false
		case Transition:
			s.logf("node %d %v→%v: %s", i, a.From, a.To, a.Reason)
		}
	}
}

func (s *sim) send(from int, priority uint8) {
	for to := range s.nodes {
		if to == from || s.cut[from][to] || s.rng.Float64() < s.loss {
			continue
		}
		a := Advert{VRID: 51, Priority: priority, Interval: simInterval, Addresses: []netip.Addr{vip1}}
		delay := time.Duration(s.rng.Int64N(int64(simTravel)))
		s.wire = append(s.wire, simPacket{s.now.Add(delay), a, from, to})
		if s.rng.IntN(50) == 0 { // duplicated
			s.wire = append(s.wire, simPacket{s.now.Add(2 * delay), a, from, to})
		}
	}
}

// advance runs to the next thing that happens, at most until end.
func (s *sim) advance(end time.Time) {
	next := end
	for _, p := range s.wire {
		if p.at.Before(next) {
			next = p.at
		}
	}
	for _, n := range s.nodes {
		if n.down {
			continue
		}
		d := n.r.Deadline()
		if !d.IsZero() && d.Before(n.until) {
			d = n.until
		}
		if !d.IsZero() && d.Before(next) {
			next = d
		}
		if len(n.queue) > 0 && n.until.Before(next) {
			next = n.until
		}
	}
	if next.After(s.now) {
		s.now = next
	}
	s.deliver()
	for i, n := range s.nodes {
		if n.down || s.now.Before(n.until) {
			continue
		}
		for len(n.queue) > 0 { // a late node looks before it speaks
			p := n.queue[0]
			n.queue = n.queue[1:]
			s.step(i, Event{Kind: Received, Advert: &p.advert, Source: s.nodes[p.from].source})
		}
		if due(s.now, n.r.Deadline()) {
			s.step(i, Event{Kind: Expired})
		}
	}
}

func (s *sim) deliver() {
	var rest []simPacket
	slices.SortStableFunc(s.wire, func(a, b simPacket) int { return a.at.Compare(b.at) })
	for _, p := range s.wire {
		switch {
		case p.at.After(s.now):
			rest = append(rest, p)
		case !s.nodes[p.to].down && !s.cut[p.from][p.to]:
			s.nodes[p.to].queue = append(s.nodes[p.to].queue, p)
		}
	}
	s.wire = rest
}

// disturb does something that happens to real directors.
func (s *sim) disturb() {
	s.calm = s.now
	i := s.rng.IntN(len(s.nodes))
	n := s.nodes[i]
	switch s.rng.IntN(9) {
	case 0:
		s.crash(i)
	case 1:
		if n.down {
			s.logf("node %d starts", i)
			spec := n.r.spec
			*n = simNode{r: New(spec, s.now), source: n.source}
			s.step(i, Event{Kind: Startup})
		}
	case 2:
		n.until = s.now.Add(time.Duration(s.rng.Int64N(int64(8 * time.Second))))
		s.logf("node %d stands still until %s", i, n.until.Sub(epoch))
		s.calm = n.until
	case 3:
		s.loss = s.rng.Float64() * 0.2
		s.logf("loss %.0f %%", s.loss*100)
	case 4:
		j := s.rng.IntN(len(s.nodes))
		s.cut[i][j] = true
		if s.rng.IntN(2) == 0 {
			s.cut[j][i] = true
		}
		s.logf("cut between %d and %d", i, j)
	case 5, 6:
		s.heal()
	case 7:
		s.logf("node %d resigns", i)
		if !n.down {
			s.step(i, Event{Kind: Resign})
		}
	case 8:
		s.logf("node %d resumes", i)
		if !n.down {
			s.step(i, Event{Kind: Resume})
		}
	}
}

// crash is a death with or without a will.
func (s *sim) crash(i int) {
	n := s.nodes[i]
	if n.down {
		return
	}
	will := s.rng.IntN(2) == 0
	s.logf("node %d dies, will executed: %v", i, will)
	if will && n.r.State() == Master {
		s.send(i, 0)
	}
	*n = simNode{r: n.r, source: n.source, down: true}
}

func (s *sim) heal() {
	s.logf("healed")
	s.loss = 0
	for _, row := range s.cut {
		clear(row)
	}
}

func (s *sim) whole() bool {
	for _, row := range s.cut {
		if slices.Contains(row, true) {
			return false
		}
	}
	return s.loss == 0
}

// check holds the promises: in a whole network, once the disturbance is over for
// as long as the protocol needs, there is exactly one owner.
func (s *sim) check() string {
	owners, up, lingering := 0, 0, 0
	for _, n := range s.nodes {
		switch {
		case n.down:
			continue
		case n.held && n.r.State() == Master:
			owners++
		case n.held:
			lingering++
			if n.r.releaseAt.IsZero() {
				return "a node that is not master keeps the addresses without an end"
			}
		}
		up++
		if n.r.State() == Master && !n.held {
			return "a master does not hold the addresses"
		}
	}
	// The last disturbance may have come in the middle of a hand-over, which takes
	// its whole limit, and be followed by a takeover by preemption.
	settled := 2*DownInterval(1, simInterval) + 4*simInterval + handoverMargin + time.Second
	if !s.whole() || up == 0 || s.now.Sub(s.calm) < settled {
		return ""
	}
	switch {
	case owners == 0:
		return "no owner in a whole network"
	case owners > 1:
		return "two owners in a whole network"
	case lingering > 0 && s.now.Sub(s.calm) > 2*settled:
		return "addresses linger in a calm network"
	}
	return s.checkBest()
}

// checkBest: with preemption everywhere the highest priority owns.
func (s *sim) checkBest() string {
	var owner *Router
	best := uint8(0)
	for _, n := range s.nodes {
		if n.down {
			continue
		}
		if n.r.State() == Master {
			owner = n.r
		}
		if n.r.preempts() {
			best = max(best, n.r.priority())
		}
	}
	if s.now.Sub(s.calm) > 30*time.Second && owner.priority() < best {
		return "a router of higher priority that may preempt did not"
	}
	return ""
}

// run plays one seed and returns what went wrong.
func (s *sim) run() string {
	for range 12 {
		if s.rng.IntN(4) > 0 {
			s.disturb()
		} else {
			s.heal()
			s.calm = s.now
		}
		wait := time.Duration(s.rng.Int64N(int64(40 * time.Second)))
		for end := s.now.Add(wait); s.now.Before(end); {
			s.advance(end)
			if wrong := s.check(); wrong != "" {
				return wrong
			}
		}
	}
	return ""
}

func TestSimulation(t *testing.T) {
	if one := os.Getenv("BATON_SIM_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := newSim(t, seed)
		if wrong := s.run(); wrong != "" {
			t.Errorf("seed %d at +%s: %s", seed, s.now.Sub(epoch), wrong)
		}
		t.Log("\n" + s.trace.String())
		return
	}
	runs := 5000
	if text := os.Getenv("BATON_SIM_RUNS"); text != "" {
		var err error
		if runs, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for seed := range uint64(runs) {
		s := newSim(t, seed)
		if wrong := s.run(); wrong != "" {
			t.Fatalf("seed %d at +%s: %s\nreplay: BATON_SIM_SEED=%d go test -run TestSimulation -v ./internal/vrrp\n%s",
				seed, s.now.Sub(epoch), wrong, seed, s.trace)
		}
	}
}
