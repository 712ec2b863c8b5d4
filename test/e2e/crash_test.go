//go:build vm

package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/api"
	"baton/test/scene"
)

const (
	// lease is when the kernel has removed the VIP of a dead director: it may take
	// two quarters of a second longer than the 3 s (net/addrconf.h:
	// ADDRCONF_TIMER_FUZZ; kernel/time/timer.c: the granularity of long timers).
	lease = 3*time.Second + 500*time.Millisecond
	// takeover is when a backup of priority 100 gives a silent master up: three
	// adverts and the skew, 156/256 of one.
	takeover = 3*time.Second + 610*time.Millisecond
)

// TestCrash kills everything that runs on the active director at one moment, so
// that nobody is left to say goodbye.
func TestCrash(t *testing.T) {
	s := start(t, scene.Options{})
	a, b := s.Directors[0], s.Directors[1]
	table := watchTable(a, expected(s).partOf) // the kernel's, which outlives baton
	vip := watchVIP(s)
	load := s.Load(workers, pause)
	time.Sleep(500 * time.Millisecond)

	began := time.Now()
	a.Crash()
	eventually(t, func() error { return owner(s, b) })
	taken := time.Now()
	time.Sleep(1500 * time.Millisecond)
	holders := vip.end()
	ended := time.Now()
	all := load.Stop()
	t.Logf("who had the VIP:%s", describe(holders, began))
	within(t, "the VIP leaves the dead director", lastHad(holders, a.Name, ended).Sub(began), lease+slack)
	within(t, "the VIP is on the other director alone", taken.Sub(began), takeover+slack)
	if both := during(holders, a.Name+"+"+b.Name, ended); both > 0 {
		t.Errorf("for %s both directors had the VIP", both)
	}
	atMost(t, "after the takeover", all.Failed(taken), all, 0)
	within(t, "the outage for clients", all.Outage(), takeover+slack)

	// It comes back: as a backup first, then it takes over. What is in its table
	// stays there all the time.
	load = s.Load(workers, pause)
	restarted := time.Now()
	a.Start()
	eventually(t, func() error { return owner(s, a) })
	t.Logf("%s owns the VIP %s after its start", a.Name, time.Since(restarted).Round(time.Millisecond))
	must(t, s.Ready(patience))
	time.Sleep(1500 * time.Millisecond)
	all = load.Stop()
	table.always(t, "from the crash to the takeover")
	atMost(t, "when the preferred director comes back", all.Failed(time.Time{}), all, workers)
	want := []string{"init → backup", "backup → master"}
	if diff := cmp.Diff(want, transitions(t, a, restarted)); diff != "" {
		t.Errorf("what its router did after the restart (-want +got):\n%s", diff)
	}
	if n := scrape(t, a).one(t, "baton_ipvs_drift_total"); n != 0 {
		t.Errorf("the director that came back counts a drift of %v in its own table", n)
	}
	agree(t, a)
}

// skew is how long a backup of priority 100 waits after priority 0.
const skew = 610 * time.Millisecond

// TestPulseKilled kills the process that runs the routers. Its child does for it
// what is left to be done.
func TestPulseKilled(t *testing.T) {
	s := start(t, scene.Options{})
	a, b := s.Directors[0], s.Directors[1]
	table := watchTable(a, expected(s).partOf)
	load := s.Load(workers, pause)
	time.Sleep(500 * time.Millisecond)
	began := time.Now()
	must(t, a.Process().Signal(syscall.SIGKILL))
	eventually(t, func() error { return owner(s, b) })
	taken := time.Now()
	within(t, "the VIP is on the other director alone", taken.Sub(began), skew+slack)
	time.Sleep(1500 * time.Millisecond)
	all := load.Stop()
	atMost(t, "after the takeover", all.Failed(taken), all, 0)
	if tree := a.Process().Tree(); len(tree) > 0 {
		t.Errorf("after the death of pulse the processes %v are left", tree)
	}

	a.Start() // as the service manager does
	eventually(t, func() error { return owner(s, a) })
	must(t, s.Ready(patience))
	table.always(t, "from the death of pulse on")
	if log := baton(t, a, "events"); !strings.Contains(log, "pulse died; its will is executed") {
		t.Errorf("the events do not tell of the death of pulse:\n%s", log)
	}
}

// TestFrozen stops all processes of the active director, as a hypervisor stops a
// machine, and lets them go on when the other one has taken over.
func TestFrozen(t *testing.T) {
	s := start(t, scene.Options{})
	a, b := s.Directors[0], s.Directors[1]
	vip := watchVIP(s)
	load := s.Load(workers, pause)
	time.Sleep(500 * time.Millisecond)
	began := time.Now()
	a.Process().Freeze()
	eventually(t, func() error { return owner(s, b) })
	taken := time.Now()
	time.Sleep(time.Second)
	holders := vip.end()
	ended := time.Now()
	t.Logf("who had the VIP:%s", describe(holders, began))
	within(t, "the VIP leaves the frozen director", lastHad(holders, a.Name, ended).Sub(began), lease+slack)
	within(t, "the VIP is on the other director alone", taken.Sub(began), takeover+slack)
	if both := during(holders, a.Name+"+"+b.Name, ended); both > 0 {
		t.Errorf("for %s both directors had the VIP", both)
	}

	thawed := time.Now()
	a.Process().Thaw()
	eventually(t, func() error { return owner(s, a) })
	must(t, s.Ready(patience))
	time.Sleep(1500 * time.Millisecond)
	must(t, owner(s, a))
	all := load.Stop()
	atMost(t, "from the takeover on", all.Failed(taken), all, workers)
	want := []string{"master → backup", "backup → master"}
	if diff := cmp.Diff(want, transitions(t, a, thawed)); diff != "" {
		t.Errorf("what its router did when it went on (-want +got):\n%s", diff)
	}
}

// lastHad is when a director lost the VIP for the last time.
func lastHad(holders []holding, name string, end time.Time) (last time.Time) {
	for i, h := range holders {
		if !strings.Contains(h.who, name) {
			continue
		}
		last = end
		if i+1 < len(holders) {
			last = holders[i+1].at
		}
	}
	return last
}

// transitions are those of the routers since a time, by "baton events".
func transitions(t *testing.T, d *scene.Director, since time.Time) (out []string) {
	t.Helper()
	var list api.Events
	if err := json.Unmarshal([]byte(baton(t, d, "events", "--json", "-n", "100")), &list); err != nil {
		t.Fatalf("baton events --json: %v", err)
	}
	for _, e := range list.Events {
		if e.Kind == api.KindRouter && e.At.After(since) {
			out = append(out, e.From+" → "+e.To)
		}
	}
	return out
}
