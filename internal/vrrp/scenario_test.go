package vrrp

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the expected course of the scenarios")

// A scenario is a file of testdata/scenarios: what is there and what happens, and
// below a line of dashes the whole course of events that follows from it. It is
// played by the simulator with adverts that all take the same time, and has to
// keep the simulator's rules.
//
//	node a priority 200 …   with interval, preempt yes|no, delay, sync, linger; a node that
//	                        is keepalived ends like it: priority 0, and the addresses go at once
//	travel 1ms              how long an advert takes
//	paths 2                 adverts go a second way, too
//	group                   every node has two routers in a sync group: a1 and a2, b1 and b2 …
//	10s stop a              something happens, 10 s after the start; see scenarioVerbs
//	20s end
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playScenario(t, file) })
	}
}

const scenarioLine = "\n----\n"

func playScenario(t *testing.T, file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	script, want, _ := strings.Cut(string(content), scenarioLine)
	s := &sim{trace: &strings.Builder{}}
	s.begin(0)
	s.scripted, s.travel, s.paths, s.vrs = true, int64(time.Millisecond), 1, 1
	c := scenario{sim: s}
	for number, line := range strings.Split(script, "\n") {
		if err := c.line(strings.Fields(line)); err != nil {
			t.Fatalf("%s:%d: %v", file, number+1, err)
		}
	}
	if s.rules.broken != "" {
		t.Errorf("a rule is broken: %s\n%s", s.rules.broken, s.trace)
	}
	got := s.trace.String()
	if *update {
		if err := os.WriteFile(file, []byte(script+scenarioLine+got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s: the course of events has changed (-update rewrites it):\n%s", file, differs(want, got))
	}
}

// differs shows where two texts part.
func differs(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d of it\n\twant %s\n\tgot  %s\nall of it:\n%s", i+1, w[i], g[i], got)
		}
	}
	return fmt.Sprintf("%d lines instead of %d; all of it:\n%s", len(g), len(w), got)
}

// scenario reads a script.
type scenario struct {
	*sim
	specs []Spec
	alike []bool // ends like keepalived
	built bool
}

func (c *scenario) line(words []string) error {
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	if at, err := time.ParseDuration(words[0]); err == nil {
		return c.event(int64(at), words[1:])
	}
	var err error
	switch {
	case c.built:
		err = fmt.Errorf("%q comes after the first event", words[0])
	case words[0] == "node":
		err = c.node(words[1:])
	case words[0] == "travel" && len(words) == 2:
		var d time.Duration
		d, err = time.ParseDuration(words[1])
		c.travel = int64(d)
	case words[0] == "paths" && len(words) == 2:
		c.paths, err = strconv.Atoi(words[1])
	case words[0] == "group":
		c.vrs = 2
	default:
		err = fmt.Errorf("what is %q?", words[0])
	}
	return err
}

// node is called a, b, c …, in this order.
func (c *scenario) node(words []string) error {
	if len(words)%2 == 0 || words[0] != string(rune('a'+len(c.specs))) {
		return fmt.Errorf("node %q: a name and pairs of words are wanted, the names in the order of the alphabet", words)
	}
	sp := Spec{
		VRID: 51, Version: 3, Priority: 100, Interval: time.Second, Preempt: true, Linger: 200 * time.Millisecond,
		Addresses: simAddresses, Announce: Announce{Repeat: 5},
	}
	alike := false
	for i := 1; i < len(words); i += 2 {
		value, err := words[i+1], error(nil)
		switch words[i] {
		case "priority":
			var p uint64
			p, err = strconv.ParseUint(value, 10, 8)
			sp.Priority = uint8(p)
		case "preempt":
			sp.Preempt = value == "yes"
		case "interval":
			sp.Interval, err = time.ParseDuration(value)
		case "delay":
			sp.PreemptDelay, err = time.ParseDuration(value)
		case "sync":
			sp.PreemptAfterSync, err = time.ParseDuration(value)
		case "linger":
			sp.Linger, err = time.ParseDuration(value)
		case "is":
			alike, sp.Linger = value == "keepalived", 0
		default:
			err = fmt.Errorf("what is %q?", words[i])
		}
		if err != nil {
			return err
		}
	}
	c.specs, c.alike = append(c.specs, sp), append(c.alike, alike)
	return nil
}

// event lets the time pass until at and makes something happen.
func (c *scenario) event(at int64, words []string) error {
	if !c.built {
		c.hosts, c.built = len(c.specs), true
		c.build(true, func(host int) Spec { return c.specs[host] })
	}
	c.run(at)
	if len(words) == 0 || scenarioVerbs[words[0]] == nil {
		return fmt.Errorf("no such event: %q", words)
	}
	return scenarioVerbs[words[0]](c, words[1:])
}
