package track

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"baton/test/lab"
)

// patience is how long something may take that happens at once.
const patience = 20 * time.Second

// board is a tracker that runs, and what it said.
type board struct {
	t *testing.T
	*Tracker
	cancel context.CancelFunc
	ended  chan error

	mu    sync.Mutex
	calls map[string][][]State // by router
}

// track runs a tracker until the test ends.
func track(t *testing.T, objects ...Object) *board {
	t.Helper()
	b := &board{t: t, ended: make(chan error, 1), calls: make(map[string][][]State)}
	b.Tracker = New(Options{Sink: b.sink})
	b.Set(objects)
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	go func() { b.ended <- b.Run(ctx) }()
	t.Cleanup(b.stop)
	return b
}

func (b *board) stop() {
	if b.cancel == nil {
		return
	}
	b.cancel()
	b.cancel = nil
	select {
	case err := <-b.ended:
		if err != nil {
			b.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		b.t.Error("Run goes on after its context has ended")
	}
}

func (b *board) sink(router string, states []State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls[router] = append(b.calls[router], states)
}

// heard returns all calls for a router.
func (b *board) heard(router string) [][]State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls[router])
}

// shows writes states as "name+60 other?": + up, - down, ? unknown, and the
// weight.
func shows(states []State) string {
	var out []string
	for _, s := range states {
		sign := "?"
		if s.Known {
			sign = map[bool]string{true: "+", false: "-"}[s.Up]
			sign += strconv.Itoa(s.Weight)
		}
		out = append(out, s.Name+sign)
	}
	return strings.Join(out, " ")
}

// await waits until the last call for a router shows this.
func (b *board) await(router, want string) []State {
	b.t.Helper()
	var last []State
	lab.Eventually(b.t, patience, func() error {
		calls := b.heard(router)
		if len(calls) == 0 {
			return errors.New("nothing was heard")
		}
		if last = calls[len(calls)-1]; shows(last) != want {
			return fmt.Errorf("%s, want %s", shows(last), want)
		}
		return nil
	})
	return last
}

// told checks what all the calls for a router showed.
func (b *board) told(router string, want ...string) {
	b.t.Helper()
	var got []string
	for _, states := range b.heard(router) {
		got = append(got, shows(states))
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("%s was told %q, want %q", router, got, want)
	}
}

// put writes a file as careful programs do: beside it, and renames.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// script writes an executable file. Meanwhile nothing forks here: a child would
// have it open for writing for a moment, and the kernel would not run it.
func script(t *testing.T, lines ...string) *Script {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check.sh")
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.Join(lines, "\n")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Script{Command: []string{path, "%h"}}
}

func often(o Object) Object {
	o.Interval, o.Timeout = 20*time.Millisecond, lab.Patience(5*time.Second)
	return o
}

func TestWeights(t *testing.T) {
	up, down := observation{known: true, up: true}, observation{known: true}
	holds := func(n int64) observation { return observation{known: true, number: n} }
	p, f := Object{Name: "p", Process: &Process{}}, Object{Name: "f", File: &File{}}
	for _, tt := range []struct {
		object Object
		weight int
		seen   observation
		want   string
	}{
		{p, 60, observation{}, "p?"},
		{p, -60, observation{}, "p?"},
		{p, 60, up, "p+60"},
		{p, 60, down, "p-0"},
		{p, -60, up, "p+0"},
		{p, -60, down, "p--60"},
		{p, 0, up, "p+0"},
		{p, 0, down, "p-0"},
		{f, 1, observation{}, "f?"},
		{f, 1, holds(7), "f+7"},
		{f, 3, holds(-7), "f+-21"},
		{f, -3, holds(7), "f+-21"},
		{f, 1, holds(0), "f+0"},
		{f, 1, holds(300), "f+253"},
		{f, -1, holds(300), "f+-253"},
		{f, 254, holds(1 << 62), "f+253"},
		{f, -254, holds(1 << 62), "f+-253"},
		{f, 254, holds(-1 << 63), "f+-253"},
		{f, 0, holds(0), "f+0"},
		{f, 0, holds(1), "f-0"},
		{f, 0, holds(-1), "f-0"},
	} {
		tt.object.Weight = tt.weight
		if got := shows([]State{tt.object.state(tt.seen)}); got != tt.want {
			t.Errorf("weight %d and %+v: %s, want %s", tt.weight, tt.seen, got, tt.want)
		}
	}
}

func TestScript(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "flag")
	b := track(t, often(Object{Router: "web", Name: "a", Weight: -60, Script: script(t, `test "$1" = %h || exit 9`, "test -e "+flag+" || { echo 'the uplink is gone' >&2; exit 3; }")}))
	states := b.await("web", "a--60")
	if want := `check.sh ended with exit status 3: "the uplink is gone"`; !strings.Contains(states[0].Detail, want) {
		t.Errorf("detail %q, want %q", states[0].Detail, want)
	}
	if states[0].Since.IsZero() || time.Since(states[0].Since) > patience {
		t.Errorf("since %s", states[0].Since)
	}
	put(t, flag, "")
	b.await("web", "a+0")
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	b.await("web", "a--60")
	b.stop()
	b.told("web", "a--60", "a+0", "a--60")
}

// Rise and Fall count results, apart from the first.
func TestRiseAndFall(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	// Good, bad, good, bad, bad, bad, good, good and good for ever.
	o := often(Object{Router: "web", Name: "a", Weight: 60, Rise: 2, Fall: 3, Script: script(t,
		"echo >>"+runs, "case $(wc -l <"+runs+") in 2|4|5|6) exit 1;; esac")})
	b := track(t, o)
	lab.Eventually(t, patience, func() error {
		if n := len(b.heard("web")); n < 3 {
			return fmt.Errorf("%d calls", n)
		}
		return nil
	})
	b.stop()
	b.told("web", "a+60", "a-0", "a+60")
}

// Equal scripts of several routers are one; what they weigh may differ.
func TestSharedScript(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	one := Object{Router: "web", Name: "a", Weight: 60, Interval: time.Hour, Script: script(t, "echo run >>"+runs)}
	two, three := one, one
	two.Router, two.Weight = "lan", 0
	three.Name = "b"
	b := track(t, one, two, three)
	b.await("web", "a+60 b+60")
	b.await("lan", "a+0")
	if text, err := os.ReadFile(runs); string(text) != "run\n" || err != nil {
		t.Errorf("the script ran %d times, want once (%v)", strings.Count(string(text), "run"), err)
	}
}

// A router's states come in its order, the first time when one is known.
func TestOrder(t *testing.T) {
	b := track(t,
		Object{Router: "web", Name: "z", Weight: 10, Service: &Service{Name: "http"}},
		Object{Router: "lan", Name: "y", Weight: 10, Service: &Service{Name: "http"}},
		Object{Router: "web", Name: "b", Weight: -20, Service: &Service{Name: "dns"}},
		Object{Router: "web", Name: "a", Weight: 0, Service: &Service{Name: "dns"}})
	b.Service("nobody", true, "")
	b.Service("dns", false, "its quorum of 2 is lost")
	states := b.await("web", "z? b--20 a-0")
	if states[0].Detail != "there is no result yet" || states[1].Detail != "its quorum of 2 is lost" {
		t.Errorf("%+v", states)
	}
	if calls := b.heard("lan"); len(calls) != 0 {
		t.Errorf("lan was told %v before anything was known", calls)
	}
	b.Service("http", true, "it has its quorum")
	b.await("web", "z+10 b--20 a-0")
	b.await("lan", "y+10")
	b.Service("http", true, "it has even more") // no change
	b.Service("dns", true, "")
	after := b.await("web", "z+10 b+0 a+0")
	if after[0].Since.IsZero() || after[0].Detail != "it has its quorum" {
		t.Errorf("%+v", after[0])
	}
	b.stop()
	b.told("web", "z? b--20 a-0", "z+10 b--20 a-0", "z+10 b+0 a+0")
	b.told("lan", "y+10")
}

// A script that hangs delays nothing else.
func TestStuckScript(t *testing.T) {
	stuck := often(Object{Router: "web", Name: "stuck", Weight: -60, Script: script(t, "trap '' TERM; sleep 60 & wait; sleep 60")})
	stuck.Timeout = time.Minute
	path := filepath.Join(t.TempDir(), "n")
	put(t, path, "1")
	b := track(t, stuck,
		Object{Router: "web", Name: "file", Weight: 1, File: &File{Path: path}},
		often(Object{Router: "web", Name: "good", Weight: 5, Script: script(t, "exit 0")}))
	b.await("web", "stuck? file+1 good+5")
	put(t, path, "2")
	b.await("web", "stuck? file+2 good+5")
	start := time.Now()
	b.stop()
	if took := time.Since(start); took > lab.Patience(5*time.Second) {
		t.Errorf("the stop took %s", took)
	}
}

// What is the same after Set keeps its state, and is not told again.
func TestSetKeepsStates(t *testing.T) {
	dir := t.TempDir()
	path, runs := filepath.Join(dir, "n"), filepath.Join(dir, "runs")
	put(t, path, "7")
	file := Object{Router: "web", Name: "file", Weight: 1, File: &File{Path: path}}
	once := Object{Router: "web", Name: "script", Weight: 60, Interval: time.Hour, Script: script(t, "echo run >>"+runs)}
	service := Object{Router: "web", Name: "service", Weight: -80, Service: &Service{Name: "http"}}
	objects := []Object{file, once, service}
	b := track(t, objects...)
	b.Service("http", true, "")
	before := b.await("web", "file+7 script+60 service+0")
	n := len(b.heard("web"))

	b.Set(slices.Clone(objects))
	other := service
	other.Router = "lan"
	b.Set(append(slices.Clone(objects), other))
	b.await("lan", "service+0") // known before it was tracked here
	if calls := b.heard("web"); len(calls) != n {
		t.Errorf("told again: %v", calls[n:])
	}

	// Another weight and another order, at once and without a new run.
	once.Weight = -10
	b.Set([]Object{service, once, file})
	after := b.await("web", "service+0 script+0 file+7")
	if !after[2].Since.Equal(before[0].Since) || after[1].Since.Equal(before[1].Since) {
		t.Errorf("since before %v, after %v", before, after)
	}
	// Watched in another way: what is known holds until the first result.
	once.Interval = 2 * time.Hour
	b.Set([]Object{service, once, file})
	lab.Eventually(t, patience, func() error {
		text, err := os.ReadFile(runs)
		if n := strings.Count(string(text), "run"); n != 2 || err != nil {
			return fmt.Errorf("%d runs, want 2 (%w)", n, err)
		}
		return nil
	})
	b.Set(nil)
	b.Set([]Object{file})
	b.await("web", "file+7")
	b.stop()
	for _, states := range b.heard("web")[n:] {
		for _, s := range states {
			if s.Name != "file" && !s.Known {
				t.Errorf("the state of %s was forgotten", s.Name)
			}
		}
	}
}

// A script that is up and whose interval changes is not down because of one bad
// result.
func TestSetGivesTheBenefitOfTheDoubt(t *testing.T) {
	dir := t.TempDir()
	bad, runs := filepath.Join(dir, "bad"), filepath.Join(dir, "runs")
	o := Object{Router: "web", Name: "a", Weight: 60, Fall: 2, Interval: time.Hour, Script: script(t, "echo run >>"+runs, "! test -e "+bad)}
	b := track(t, o)
	b.await("web", "a+60")
	put(t, bad, "")
	o.Interval = 2 * time.Hour
	b.Set([]Object{o})
	lab.Eventually(t, patience, func() error {
		text, err := os.ReadFile(runs)
		if n := strings.Count(string(text), "run"); n != 2 || err != nil {
			return fmt.Errorf("%d runs, want 2 (%w)", n, err)
		}
		return nil
	})
	b.stop()
	b.told("web", "a+60")
}

// Set may come at any time, from anywhere.
func TestSetUnderLoad(t *testing.T) {
	dir := t.TempDir()
	b := track(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for k := range 25 {
				path := filepath.Join(dir, strconv.Itoa(i), strconv.Itoa(k%3))
				_ = os.MkdirAll(filepath.Dir(path), 0o755)
				_ = os.WriteFile(path, []byte("5"), 0o644)
				b.Service("http", k%2 == 0, "")
				b.Set([]Object{
					{Router: "web", Name: "file", Weight: 1, File: &File{Path: path}},
					{Router: "web", Name: "process", Weight: 1, Process: &Process{Name: "nosuchprocess"}},
					often(Object{Router: "web", Name: "ping", Weight: 1, Ping: &Ping{Address: netip.MustParseAddr("127.0.0.1")}}),
					{Router: "web", Name: "service", Weight: 1, Service: &Service{Name: "http"}},
				})
			}
		})
	}
	all.Wait()
	b.Service("http", true, "")
	b.await("web", "file+5 process-0 ping+1 service+1")
}

func TestPing(t *testing.T) {
	b := track(t,
		often(Object{Router: "web", Name: "v4", Weight: 10, Ping: &Ping{Address: netip.MustParseAddr("127.0.0.1")}}),
		often(Object{Router: "web", Name: "v6", Weight: 20, Ping: &Ping{Address: netip.MustParseAddr("::1")}}))
	b.await("web", "v4+10 v6+20")
}

// A host that dies is down, and up again when it is back.
func TestPingOfADeadHost(t *testing.T) {
	l := lab.New(t)
	lan := l.Bridge("lan")
	us, them := l.Host("us"), l.Host("them")
	us.Connect(lan, "eth0", "10.0.0.1/24", "fd00::1/64")
	cable := them.Connect(lan, "eth0", "10.0.0.9/24", "fd00::9/64")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"10.0.0.9", "fd00::9"} {
		p := us.Start(lab.Proc{Args: []string{self}, Env: []string{"BATON_TEST_PING=" + target}})
		for _, step := range []struct {
			do   func()
			says string
		}{
			{func() {}, "known=true up=true weight=0 " + target + " answered the ping"},
			{cable.Down, "known=true up=false weight=-60 no answer to a ping from " + target + " within 100ms"},
			{cable.Up, "known=true up=true weight=0"},
		} {
			before := len(p.Output())
			step.do()
			lab.Eventually(t, patience, func() error {
				if out := p.Output()[before:]; !strings.Contains(out, step.says) {
					return fmt.Errorf("%q does not say %q", out, step.says)
				}
				return nil
			})
		}
		p.Kill()
	}
}
