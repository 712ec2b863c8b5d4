package balancer

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

// voices are what the agents and the weight files of fake targets say.
type voices struct {
	mu    sync.Mutex
	words map[string]check.Word // of agents, by address; absent: unreachable
	files map[string]uint32
}

func (v *voices) say(address string, w check.Word) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.words[address] = w
}

func (v *voices) silence(address string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.words, address)
}

func (v *voices) write(path string, weight uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.files[path] = weight
}

func (v *voices) probe(otherwise func(context.Context, check.Spec) check.Result) func(context.Context, check.Spec) check.Result {
	return func(ctx context.Context, s check.Spec) check.Result {
		if s.Agent == nil && s.File == nil {
			return otherwise(ctx, s)
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if s.File != nil {
			return check.Result{Code: check.L7OK, Weighted: true, Weight: v.files[s.File.Path]}
		}
		w, ok := v.words[s.Target.Addr().String()]
		if !ok {
			return check.Result{Code: check.L4CON, Detail: "connection refused by " + s.Target.String()}
		}
		return check.Result{Code: check.L7OK, Detail: "says: " + w.String(), Word: &w}
	}
}

// listening gives a rig voices to listen to.
func (v *voices) listening(r *rig, o *Options) {
	v.words, v.files = make(map[string]check.Word), make(map[string]uint32)
	o.Runner = check.NewRunner(check.Options{Probe: v.probe(r.targets.probe)})
}

// withAgents gives each server an agent that is asked every second.
func withAgents(s *Spec) {
	servers := s.Services[0].Servers
	for i := range servers {
		job := &check.Job{
			Spec:     check.Spec{Target: netip.AddrPortFrom(servers[i].Address, 8078), Timeout: time.Second, Agent: &check.Agent{}},
			Schedule: check.Schedule{Interval: time.Second, Rise: 1, Fall: 1},
		}
		servers[i].Agent = pool.CheckID(job.ID())
		s.Jobs[servers[i].Agent] = job
	}
}

func slowly(d time.Duration) func(*Spec) { return func(s *Spec) { s.Services[0].SlowStart = d } }

// What agents say reaches the kernel within an interval, and what they said last
// holds when they are silent.
func TestAgents(t *testing.T) {
	var v voices
	run(t, webSpec(2, withAgents), newFakeKernel(), func(r *rig) {
		after(100 * time.Millisecond)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*100 10.0.0.2:80*100")
		server := func() ServerStatus { return r.Status().Services[0].Servers[1] }
		explained := func(want string) {
			t.Helper()
			if text := strings.Join(server().Explain(r.Status().Services[0], noPast), "\n"); !strings.Contains(text, want) {
				t.Errorf("explain does not say %q:\n%s", want, text)
			}
		}
		after(time.Second)
		explained("Its agent at 10.0.0.2:8078 has said nothing, which changes nothing: connection refused")
		for _, step := range []struct {
			word   check.Word
			weight string
			state  ServerState
		}{
			{check.Word{Weighs: true, Percent: 50}, "*50", Up},
			{check.Word{Weighs: true, Percent: 7, Health: "up"}, "*7", Up},
			{check.Word{Health: "down"}, "", Down},
			{check.Word{Health: "up"}, "*7", Up},
			{check.Word{Mode: "maint"}, "", Disabled},
			{check.Word{Mode: "ready", Weighs: true, Percent: 100}, "*100", Up},
			{check.Word{Weighs: true, Percent: 0}, "*0", Up},
			{check.Word{Weighs: true, Percent: 25}, "*25", Up},
		} {
			v.say("10.0.0.2", step.word)
			after(1100 * time.Millisecond)
			want := "tcp 10.0.0.100:80: 10.0.0.1:80*100"
			if step.weight != "" {
				want += " 10.0.0.2:80" + step.weight
			}
			r.want(want)
			if st := server(); st.State != step.state {
				t.Errorf("after %s it is %s, want %s", step.word, st.State, step.state)
			}
		}
		v.silence("10.0.0.2")
		after(10 * time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*100 10.0.0.2:80*25")
		explained("its last word holds: ready up 25%")
		if st := server(); st.Weight != 1 || st.KernelWeight != 25 {
			t.Errorf("weight %d, in the kernel %d; want 1 and 25", st.Weight, st.KernelWeight)
		}
		// A reload that brings the checks anew asks the runner what it knows.
		r.reload(webSpec(2, withAgents, func(s *Spec) { s.Services[0].Scheduler = "wrr" }))
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*100 10.0.0.2:80*25")
	}, v.listening)
}

// A weight in a file is followed as long as the check passes.
func TestWeightFiles(t *testing.T) {
	var v voices
	spec := func(s *Spec) {
		job := &check.Job{
			Spec:     check.Spec{Timeout: time.Second, File: &check.File{Path: "/w"}},
			Schedule: check.Schedule{Interval: time.Second, Rise: 2, Fall: 3},
		}
		s.Jobs[pool.CheckID(job.ID())] = job
		s.Services[0].Servers[1].Checks = append(s.Services[0].Servers[1].Checks, pool.CheckID(job.ID()))
	}
	run(t, webSpec(2, spec), newFakeKernel(), func(r *rig) {
		v.write("/w", 5)
		after(100 * time.Millisecond)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*5")
		v.write("/w", 0)
		after(time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*0")
		r.targets.set(true, "10.0.0.2")
		after(5 * time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1")
	}, v.listening)
}

// The kernel gets the steps of a slow start at their times, and no others.
func TestSlowStart(t *testing.T) {
	run(t, webSpec(2, slowly(20*time.Second)), newFakeKernel(), func(r *rig) {
		after(time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*100 10.0.0.2:80*100")
		r.targets.set(true, "10.0.0.2")
		after(10 * time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*100")
		r.targets.set(false, "10.0.0.2")
		for !strings.Contains(r.kernel.String(), "10.0.0.2") {
			after(10 * time.Millisecond)
		}
		before := r.kernel.written()
		for i := range 20 {
			weight := max(5*i, 1)
			after(500 * time.Millisecond)
			r.want(fmt.Sprintf("tcp 10.0.0.100:80: 10.0.0.1:80*100 10.0.0.2:80*%d", weight))
			if i == 10 {
				text := strings.Join(r.Status().Services[0].Servers[1].Explain(r.Status().Services[0], noPast), "\n")
				if !strings.Contains(text, "It starts slowly (slow_start: 20s): it has reached 50 % of its weight") {
					t.Errorf("explain says\n%s", text)
				}
			}
			after(500 * time.Millisecond)
		}
		after(10 * time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*100 10.0.0.2:80*100")
		if n := r.kernel.written() - before; n != 20 {
			t.Errorf("%d writes, want 20", n)
		}
	})
}

// A panic and backups are transitions, are explained, and are in the status.
func TestPanicAndBackups(t *testing.T) {
	spec := webSpec(6, func(s *Spec) {
		s.Services[0].PanicThreshold = 50
		s.Services[0].Quorum.Min = 3
		s.Services[0].Servers[4].Backup, s.Services[0].Servers[5].Backup = true, true
	})
	run(t, spec, newFakeKernel(), func(r *rig) {
		after(time.Second)
		all := "tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1 10.0.0.3:80*1 10.0.0.4:80*1 10.0.0.5:80*0 10.0.0.6:80*0"
		r.want(all)
		r.seen()
		r.targets.set(true, "10.0.0.1", "10.0.0.2")
		after(10 * time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.3:80*1 10.0.0.4:80*1 10.0.0.5:80*1 10.0.0.6:80*1")
		r.targets.set(true, "10.0.0.3")
		after(10 * time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.3:80*1 10.0.0.4:80*1 10.0.0.5:80*1 10.0.0.6:80*1")
		st := r.Status().Services[0]
		if !st.Panic || !st.BackupsServe || !st.Servers[2].Kept || st.Servers[2].State != Down {
			t.Errorf("%+v", st)
		}
		text := strings.Join(append(st.Explain(), st.Servers[2].Explain(st, noPast)...), "\n")
		for _, want := range []string{"It panics: fewer than 50 %", "1 server that fails serves on", "Its backups serve", "It fails and serves on all the same"} {
			if !strings.Contains(text, want) {
				t.Errorf("explain does not say %q:\n%s", want, text)
			}
		}
		r.targets.set(false, "10.0.0.1", "10.0.0.2", "10.0.0.3")
		after(10 * time.Second)
		r.want(all)
		var moves []string
		for line := range strings.Lines(r.seen()) {
			if what, _, ok := strings.Cut(strings.TrimPrefix(line, "web: "), ": "); ok && strings.HasPrefix(line, "web: ") {
				moves = append(moves, what)
			}
		}
		if got, want := strings.Join(moves, ", "), "primaries -> backups, normal -> panic, panic -> normal, backups -> primaries"; got != want {
			t.Errorf("transitions of the service: %s; want %s", got, want)
		}
	})
}

// A program that is restarted in the middle of all this goes on where the last one
// was: what the kernel has does not change for a moment.
func TestRestartKeepsWhatServes(t *testing.T) {
	var v voices
	spec := func() Spec {
		return webSpec(6, withAgents, func(s *Spec) {
			s.Services[0].PanicThreshold = 50
			s.Services[0].Quorum.Min = 3
			for i := range s.Services[0].Servers {
				s.Services[0].Servers[i].Dynamic = true
			}
			s.Services[0].Servers[4].Backup, s.Services[0].Servers[5].Backup = true, true
		})
	}
	voice := func(r *rig, o *Options) {
		v.listening(r, o)
		v.say("10.0.0.4", check.Word{Weighs: true, Percent: 40})
	}
	kernel := newFakeKernel()
	const want = "tcp 10.0.0.100:80: 10.0.0.3:80*100 10.0.0.4:80*40 10.0.0.5:80*100 10.0.0.6:80*100"
	run(t, spec(), kernel, func(r *rig) {
		after(time.Second)
		r.targets.set(true, "10.0.0.1", "10.0.0.2")
		after(10 * time.Second)
		r.targets.set(true, "10.0.0.3")
		after(10 * time.Second)
		r.want(want)
	}, voice)
	before := kernel.written()
	run(t, spec(), kernel, func(r *rig) {
		after(20 * time.Second)
		r.want(want)
		if n := kernel.written() - before; n != 0 {
			t.Errorf("%d changes were written: %v", n, kernel.ops[before:])
		}
		if st := r.Status().Services[0]; !st.Panic || !st.BackupsServe || !st.Up {
			t.Errorf("panic %v, backups %v, up %v", st.Panic, st.BackupsServe, st.Up)
		}
	}, voice, func(r *rig, o *Options) {
		r.targets.set(true, "10.0.0.1", "10.0.0.2", "10.0.0.3")
		o.Owned = []pool.Key{key("10.0.0.100:80")}
	})
}
