package director

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/config"
	"baton/internal/pool"
	"baton/internal/sourcenat"
)

// natStage is a keeper with a table that the test plays.
type natStage struct {
	*natKeeper
	state   sourcenat.State // in the kernel
	foreign bool            // somebody changed it
	err     error
	applied int
	ours    bool // remembered
	events  []string
	now     time.Time
}

func newNATStage(ours bool) *natStage {
	s := &natStage{ours: ours, now: time.Unix(1000, 0)}
	s.natKeeper = newNATKeeper(natWorld{
		open:     func() (natTable, error) { return s, s.err },
		event:    func(e api.Event) { s.events = append(s.events, fmt.Sprintf("%s -> %s: %s", e.From, e.To, e.Reason)) },
		remember: func(ours bool) { s.ours = ours },
		log:      slog.New(slog.DiscardHandler),
	}, ours)
	return s
}

func (s *natStage) Apply(want sourcenat.State) (bool, error) {
	s.applied++
	if s.err != nil {
		return false, s.err
	}
	changed := s.foreign || !slices.Equal(s.state.Keys, want.Keys)
	s.state, s.foreign = want, false
	return changed, nil
}

// with is a configuration in which these services have source NAT.
func with(names ...string) *config.Config {
	cfg := &config.Config{Balancer: balancer.Spec{Resync: time.Second}}
	for i, name := range names {
		s := natService("10.0.0.100:80", 0, pool.NAT, "10.0.1.11")
		s.Name, s.SourceNAT, s.Keys[0].Port = name, true, uint16(80+i)
		cfg.Balancer.Services = append(cfg.Balancer.Services, s)
	}
	return cfg
}

// after does what is due some time later and returns what has been told.
func (s *natStage) after(d time.Duration) []string {
	s.events = nil
	s.now = s.now.Add(d)
	s.step(s.now)
	return s.events
}

func (s *natStage) reload(names ...string) []string {
	s.events = nil
	s.configure(with(names...), s.now)
	return s.events
}

func TestNATIsKept(t *testing.T) {
	s := newNATStage(false)
	expect := func(step string, told []string, want ...string) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %q, want %q", step, told, want)
		}
	}
	expect("no service", s.reload())
	expect("still", s.after(time.Hour))
	if s.applied > 0 {
		t.Error("nftables was asked although no service needs it")
	}
	expect("a service", s.reload("web"), " -> in force: for web")
	if !s.ours || len(s.state.Keys) != 1 {
		t.Errorf("remembered as ours: %v, state %+v", s.ours, s.state)
	}
	expect("nothing happens", s.after(time.Second))

	const repaired = `changed -> in force: somebody had changed or removed the table, as "nft flush ruleset" does; it is there again`
	for i := range 120 { // somebody else, for two minutes
		s.foreign = true
		told := s.after(time.Second)
		if s.foreign {
			t.Fatal("it was not repaired within the resync")
		}
		if i%60 == 0 {
			expect("once a minute", told, repaired)
		} else {
			expect("within a minute", told)
		}
	}
	if _, repairs := s.shown(); repairs != 120 {
		t.Errorf("%d repairs counted", repairs)
	}

	s.err = errors.New("no nftables")
	const problem = "source_nat is not in force for web: no nftables"
	expect("refused", s.after(time.Second), "as wanted -> not as wanted: "+problem)
	tries := s.applied
	for range 60 {
		expect("still refused", s.after(time.Second))
	}
	if n := s.applied - tries; n < 5 || n > 7 { // 1, 2, 4, 8, 16, 30 s later
		t.Errorf("tried %d times in a minute", n)
	}
	if p, _ := s.shown(); p != problem {
		t.Errorf("problem %q", p)
	}
	s.err = nil
	expect("again", s.after(time.Minute), "not as wanted -> as wanted: ")

	expect("another service", s.reload("web", "mail"), " -> in force: for web, mail")
	expect("none", s.reload(), "in force -> : no service has source_nat any more")
	if s.ours || !s.state.Empty() {
		t.Errorf("remembered as ours: %v, state %+v", s.ours, s.state)
	}
	s.applied = 0
	s.after(time.Hour)
	if s.applied > 0 {
		t.Error("nftables is still asked")
	}
}

func TestNATOfAnEarlierRun(t *testing.T) {
	s := newNATStage(true)
	s.state = sourcenat.StateOf(with("web").Balancer.Services)
	if told := s.reload("web"); len(told) > 0 || s.applied != 1 {
		t.Errorf("what was found as wanted: told %q, applied %d times", told, s.applied)
	}
	s = newNATStage(true)
	s.state = sourcenat.StateOf(with("web").Balancer.Services)
	if s.reload(); !s.state.Empty() || s.ours {
		t.Errorf("what no service wants any more: state %+v, ours %v", s.state, s.ours)
	}
}

func TestNATAtAPlannedStop(t *testing.T) {
	for _, withdraw := range []bool{true, false} {
		s := newNATStage(false)
		s.reload("web")
		must(t, s.stop(withdraw))
		if s.state.Empty() != withdraw || s.ours == withdraw {
			t.Errorf("withdraw %v: state %+v, ours %v", withdraw, s.state, s.ours)
		}
		s.applied = 0
		if s.after(time.Hour); s.applied > 0 {
			t.Error("after the stop the table is still kept")
		}
	}
}
