package vrrp

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The simulator runs a handful of routers by a seed, with everything that
// happens to hosts and networks, and holds the rules of sim_rules_test.go after
// every step. BATON_SIM_RUNS=N sets how many seeds are tried;
// BATON_SIM_SEED=N replays one with all that happened.

func TestSimulation(t *testing.T) {
	runs, counts := simulate(t, 10000, (*sim).reset, (*sim).play)
	for what, n := range counts {
		t.Logf("%s: %d", simCountNames[what], n)
		if n == 0 && runs >= 500 && !t.Failed() {
			t.Errorf("in all these runs there were no %s: the rules held nothing", simCountNames[what])
		}
	}
}

// begin makes an empty world; what the last one needed is used again.
func (s *sim) begin(seed uint64) {
	*s = sim{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), nodes: s.nodes[:0], wire: s.wire[:0],
		rules: simRules{sound: true, pairBound: never, counts: s.rules.counts}, trace: s.trace, packets: s.packets,
	}
}

// build puts one router of each virtual router on every host.
func (s *sim) build(reversed bool, spec func(host int) Spec) {
	for host := range s.hosts {
		for path := range s.paths {
			s.sources[path][host] = simSource(path, host, reversed)
		}
		for vr := range s.vrs {
			s.byHost[host] = append(s.byHost[host], len(s.nodes))
			name := string(rune('a' + host))
			if s.vrs > 1 {
				name += string(rune('1' + vr))
			}
			s.nodes = append(s.nodes, simNode{name: name, spec: spec(host), host: host, vr: vr, at: never, model: simModel{due: never}})
		}
	}
}

// simulate plays as many seeds as asked for, or else the usual number, on all
// processors, and returns what happened in them.
func simulate(t *testing.T, usual uint64, reset func(*sim, uint64), play func(*sim)) (runs uint64, counts [simCounts]uint64) {
	if one := os.Getenv("BATON_SIM_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := replay(seed, true, reset, play)
		t.Log("\n" + s.trace.String())
		if s.rules.broken != "" {
			t.Errorf("seed %d at +%s: %s", seed, time.Duration(s.rules.brokenAt), s.rules.broken)
		}
		return 1, counts
	}
	runs = usual
	if text := os.Getenv("BATON_SIM_RUNS"); text != "" {
		var err error
		if runs, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		runs = 500
	}
	first, found := simSeeds(runs, &counts, reset, play)
	if !found {
		return runs, counts
	}
	s := replay(first, false, reset, play)
	t.Errorf("seed %d at +%s: %s\nreplay: BATON_SIM_SEED=%d go test -run '^%s$' -v ./internal/vrrp\n%s",
		first, time.Duration(s.rules.brokenAt), s.rules.broken, first, t.Name(), s.trace)
	return runs, counts
}

// simSeeds plays the seeds below runs and returns the first one that breaks a
// rule, if any does.
func simSeeds(runs uint64, counts *[simCounts]uint64, reset func(*sim, uint64), play func(*sim)) (first uint64, found bool) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	next, first := uint64(0), runs
	const batch = 16
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			s := &sim{}
			for {
				mu.Lock()
				from := next
				next += batch
				to := min(from+batch, first)
				mu.Unlock()
				if from >= to {
					break
				}
				for seed := from; seed < to; seed++ {
					reset(s, seed)
					if play(s); s.rules.broken != "" {
						mu.Lock()
						first = min(first, seed)
						mu.Unlock()
						break
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for what, n := range s.rules.counts {
				counts[what] += uint64(n)
			}
		})
	}
	wg.Wait()
	return first, first < runs
}

// replay plays a seed once more and writes down what happens.
func replay(seed uint64, packets bool, reset func(*sim, uint64), play func(*sim)) *sim {
	s := &sim{trace: &strings.Builder{}, packets: packets}
	reset(s, seed)
	for i := range s.nodes {
		n := &s.nodes[i]
		s.logf("%s: version %d priority %d interval %s preempt %v delay %s after sync %s linger %s", n.name, n.spec.Version,
			n.spec.Priority, n.spec.Interval, n.spec.Preempt, n.spec.PreemptDelay, n.spec.PreemptAfterSync, n.spec.Linger)
	}
	s.logf("adverts travel for %s to %s on %d paths", time.Duration(s.least), time.Duration(s.travel), s.paths)
	play(s)
	return s
}

// A wall clock that is set does not change how much time has passed.
func TestSimClock(t *testing.T) {
	a := simClock(5e9+7, 0)
	b := simClock(6e9+8, -3600)
	if d := b.Sub(a); d != time.Second+1 || !a.Before(b) {
		t.Errorf("from %v to %v there are %s", a, b, d)
	}
	if d := b.Round(0).Sub(a.Round(0)); d != time.Second+1-time.Hour {
		t.Errorf("on the wall there are %s", d)
	}
	if y := a.UTC().Year(); y != 2026 && y != 2025 {
		t.Errorf("the wall clock shows the year %d", y)
	}
}
