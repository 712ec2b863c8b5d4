package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// prober is a fake: it answers by a plan and notes when it was asked.
type prober struct {
	mu      sync.Mutex
	begun   time.Time
	starts  map[string][]time.Duration // by Send, since the beginning
	running map[string]int
	most    int // running at a time, over all jobs
	overlap bool
	plan    func(run int, s Spec) (Result, time.Duration)
}

func (p *prober) probe(ctx context.Context, s Spec) Result {
	id := s.TCP.Send
	p.mu.Lock()
	run := len(p.starts[id])
	p.starts[id] = append(p.starts[id], time.Since(p.begun))
	p.running[id]++
	p.overlap = p.overlap || p.running[id] > 1
	all := 0
	for _, n := range p.running {
		all += n
	}
	p.most = max(p.most, all)
	res, takes := p.plan(run, s)
	p.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[id]--
	return res
}

func (p *prober) at(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.starts[id])
}

var (
	good = Result{Code: L4OK, Detail: "connected"}
	bad  = Result{Code: L4CON, Detail: "connection refused"}
)

// row plans results by a string of + and -, the last one for ever after.
func row(results string) func(int, Spec) (Result, time.Duration) {
	return func(run int, _ Spec) (Result, time.Duration) {
		if results[min(run, len(results)-1)] == '+' {
			return good, time.Millisecond
		}
		return bad, time.Millisecond
	}
}

// bench is a runner in a bubble of fake time.
type bench struct {
	*Runner
	p        *prober
	mu       sync.Mutex
	verdicts []Verdict
}

func (b *bench) sink(v Verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.verdicts = append(b.verdicts, v)
}

// said returns the verdicts as letters; see TestTally.
func (b *bench) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out strings.Builder
	for _, v := range b.verdicts {
		out.WriteString(letter(tally{known: true, up: v.Up}, v.Changed))
	}
	return out.String()
}

func run(t *testing.T, o Options, plan func(int, Spec) (Result, time.Duration), f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{p: &prober{begun: time.Now(), starts: map[string][]time.Duration{}, running: map[string]int{}, plan: plan}}
		o.Probe = b.p.probe
		b.Runner = NewRunner(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx, b.sink) }()
		synctest.Wait()
		f(t, b)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if b.p.overlap {
			t.Error("a job ran twice at a time")
		}
		for id, n := range b.p.running {
			if n != 0 {
				t.Errorf("%s still runs after Run has returned", id)
			}
		}
	})
}

func jobOf(id string, s Schedule) *Job {
	return &Job{
		Spec:     Spec{Target: netip.MustParseAddrPort("10.0.0.1:80"), Timeout: time.Second, TCP: &TCP{Send: id}},
		Schedule: s,
	}
}

func jobsOf(s Schedule, ids ...string) map[string]*Job {
	out := make(map[string]*Job)
	for _, id := range ids {
		out[id] = jobOf(id, s)
	}
	return out
}

var every2s = Schedule{Interval: 2 * time.Second, FastInterval: 500 * time.Millisecond, Rise: 2, Fall: 3}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestSchedule(t *testing.T) {
	for _, tt := range []struct {
		name, results, starts, verdicts string
		seed                            bool
	}{
		{name: "all is well", results: "+", starts: "[0s 2s 4s 6s]", verdicts: "Uuuu"},
		{name: "all is bad", results: "-", starts: "[0s 2s 4s 6s]", verdicts: "Dddd"},
		{name: "fast while failing", results: "++---", starts: "[0s 2s 4s 4.5s 5s 7s]", verdicts: "UuuuDd"},
		{name: "fast while rising", results: "-++", starts: "[0s 2s 2.5s 4.5s 6.5s]", verdicts: "DdUuu"},
		{name: "one failure only", results: "+-+", starts: "[0s 2s 2.5s 4.5s 6.5s]", verdicts: "Uuuuu"},
		{name: "seeded and failing", seed: true, results: "-", starts: "[0s 500ms 1s 3s 5s 7s]", verdicts: "Dddd"},
		{name: "seeded and well", seed: true, results: "-+", starts: "[0s 500ms 2.5s 4.5s 6.5s]", verdicts: "Uuuu"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, Options{}, row(tt.results), func(t *testing.T, b *bench) {
				if tt.seed {
					b.Seed("a")
				}
				b.Set(jobsOf(every2s, "a"))
				pass(7100 * time.Millisecond)
				if got := b.p.at("a"); got != tt.starts {
					t.Errorf("started at %s, want %s", got, tt.starts)
				}
				if got := b.said(); got != tt.verdicts {
					t.Errorf("verdicts %s, want %s", got, tt.verdicts)
				}
			})
		})
	}
}

func TestALongRunDelaysTheNext(t *testing.T) {
	plan := func(int, Spec) (Result, time.Duration) { return good, 5 * time.Second }
	run(t, Options{}, plan, func(t *testing.T, b *bench) {
		b.Set(jobsOf(every2s, "a"))
		pass(11 * time.Second)
		if got, want := b.p.at("a"), "[0s 5s 10s]"; got != want {
			t.Errorf("started at %s, want %s", got, want)
		}
	})
}

func TestJitter(t *testing.T) {
	s := Schedule{Interval: time.Second, Jitter: 10, Rise: 1, Fall: 3}
	run(t, Options{}, row("+"), func(t *testing.T, b *bench) {
		b.Set(jobsOf(s, "a"))
		pass(1000 * time.Second)
		starts := b.p.starts["a"]
		least, most := time.Hour, time.Duration(0)
		for i := 1; i < len(starts); i++ {
			gap := starts[i] - starts[i-1]
			least, most = min(least, gap), max(most, gap)
		}
		if least < 900*time.Millisecond || most > 1100*time.Millisecond {
			t.Errorf("gaps from %s to %s, want 900ms to 1.1s", least, most)
		}
		if least > 950*time.Millisecond || most < 1050*time.Millisecond {
			t.Errorf("gaps from %s to %s are hardly moved", least, most)
		}
		if n := len(starts); n < 980 || n > 1020 {
			t.Errorf("%d starts in 1000 intervals", n)
		}
	})
}

// A server that dies just after a check is down Fall intervals later, however the
// jitter falls.
func TestDownWithinFallIntervals(t *testing.T) {
	for fall := 1; fall <= 5; fall++ {
		for range 100 {
			s := Schedule{Interval: time.Second, Jitter: 50, Rise: 1, Fall: fall}
			run(t, Options{}, row("++-"), func(t *testing.T, b *bench) {
				b.Set(jobsOf(s, "a"))
				pass(time.Duration(fall+3) * time.Second)
				starts := b.p.starts["a"]
				if len(starts) < fall+2 {
					t.Fatalf("started at %s", starts)
				}
				if took := starts[fall+1] - starts[1]; took > time.Duration(fall)*s.Interval {
					t.Errorf("fall %d: the last failure came %s after the last success: %s", fall, took, starts)
				}
			})
		}
	}
}

// Where servers do not answer, starts are spread, and still come as often as asked.
func TestPace(t *testing.T) {
	silent := func(int, Spec) (Result, time.Duration) { return Result{Code: L4TOUT}, time.Second }
	var ids []string
	for i := range 3000 {
		ids = append(ids, fmt.Sprintf("job-%04d", i))
	}
	run(t, Options{}, silent, func(t *testing.T, b *bench) {
		b.Set(jobsOf(Schedule{Interval: 2 * time.Second, Rise: 1, Fall: 3}, ids...))
		pass(20 * time.Second)
		var all []time.Duration
		for id, starts := range b.p.starts {
			if n := len(starts); n < 9 || n > 11 {
				t.Errorf("%s has started %d times in ten intervals", id, n)
			}
			all = append(all, starts...)
		}
		slices.Sort(all)
		for i := crowd; i+200 < len(all); i += 50 {
			if took := all[i+200] - all[i]; took < 60*time.Millisecond {
				t.Fatalf("200 starts within %s at %s", took, all[i])
			}
		}
	})
}

func TestSpread(t *testing.T) {
	ids := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("job-%04d", i))
		}
		return out
	}
	for _, tt := range []struct {
		jobs     int
		interval time.Duration
		window   time.Duration // in which all of them start; 0: at once
	}{
		{1, 10 * time.Second, 0},
		{50, 10 * time.Second, 0},
		{51, 10 * time.Second, 2 * time.Second},
		{1000, 10 * time.Second, 2 * time.Second},
		{1000, time.Second, time.Second},
	} {
		t.Run(fmt.Sprintf("%d jobs every %s", tt.jobs, tt.interval), func(t *testing.T) {
			run(t, Options{}, row("+"), func(t *testing.T, b *bench) {
				b.Set(jobsOf(Schedule{Interval: tt.interval, Rise: 1, Fall: 1}, ids(tt.jobs)...))
				pass(tt.interval - time.Millisecond)
				var first []time.Duration
				for id, starts := range b.p.starts {
					if len(starts) < 1 {
						t.Fatalf("%s has not started", id)
					}
					first = append(first, starts[0])
				}
				slices.Sort(first)
				if len(first) != tt.jobs || first[0] != 0 || first[len(first)-1] > tt.window+moment {
					t.Errorf("%d of %d have started, from %s to %s, want a window of %s", len(first), tt.jobs, first[0], first[len(first)-1], tt.window)
				}
				if half := first[len(first)/2]; tt.window > 0 && (half < tt.window*2/5 || half > tt.window*3/5) {
					t.Errorf("half of them have started after %s", half)
				}
			})
		})
	}
}

func TestSetKeepsWhatIsTheSame(t *testing.T) {
	run(t, Options{}, row("+"), func(t *testing.T, b *bench) {
		b.Set(jobsOf(every2s, "a", "gone"))
		pass(3 * time.Second)
		jobs := jobsOf(every2s, "a", "new")
		b.Set(jobs)
		b.Set(jobs)
		pass(2500 * time.Millisecond) // until 5.5 s
		for id, want := range map[string]string{"a": "[0s 2s 4s]", "gone": "[0s 2s]", "new": "[3s 5s]"} {
			if got := b.p.at(id); got != want {
				t.Errorf("%s started at %s, want %s", id, got, want)
			}
		}
		st, ok := b.Status("a")
		if !ok || !st.Known || !st.Up || st.Successes != 3 || st.Last.Code != L4OK {
			t.Errorf("status %+v", st)
		}
		if _, ok := b.Status("gone"); ok {
			t.Error("a job that is gone has a status")
		}
	})
}

func TestSetEndsARunOfAJobThatIsGone(t *testing.T) {
	plan := func(int, Spec) (Result, time.Duration) { return bad, time.Hour }
	run(t, Options{}, plan, func(t *testing.T, b *bench) {
		b.Set(jobsOf(every2s, "a"))
		pass(time.Second)
		b.Set(nil)
		pass(time.Second)
		if n := b.p.running["a"]; n != 0 {
			t.Errorf("%d runs are left", n)
		}
		if got := b.said(); got != "" {
			t.Errorf("verdicts %s of a job that is gone", got)
		}
		if got := b.Stats(); got.Running != 0 || got.Jobs != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestAChangedJobStartsAgainButIsNotDoubted(t *testing.T) {
	run(t, Options{}, row("++-"), func(t *testing.T, b *bench) {
		b.Set(jobsOf(every2s, "a"))
		pass(3 * time.Second)
		changed := every2s
		changed.Fall = 2
		b.Set(jobsOf(changed, "a"))
		pass(400 * time.Millisecond)
		if st, _ := b.Status("a"); st.Known || !st.Assumed || !st.Up || st.Failures != 1 {
			t.Errorf("status %+v, want assumed to be up after one failure", st)
		}
		pass(time.Second)
		if got, want := b.said(), "UuD"; got != want {
			t.Errorf("verdicts %s, want %s", got, want)
		}
	})
}

func TestLimit(t *testing.T) {
	plan := func(int, Spec) (Result, time.Duration) { return good, time.Second }
	run(t, Options{Limit: 3}, plan, func(t *testing.T, b *bench) {
		b.Set(jobsOf(Schedule{Interval: 10 * time.Second, Rise: 1, Fall: 1}, "a", "b", "c", "d", "e", "f", "g"))
		pass(5 * time.Second)
		if b.p.most != 3 {
			t.Errorf("%d ran at a time, want 3", b.p.most)
		}
		if got := b.Stats(); got.Started != 7 || got.Late != 4 || got.MaxLate != 2*time.Second {
			t.Errorf("stats %+v, want 7 started, 4 of them late by up to 2 s", got)
		}
	})
}

// A failure long after its deadline tells of this process and not of the target.
func TestAStallIsNoVerdict(t *testing.T) {
	late := Result{Code: L4TOUT, Detail: "no answer"}
	stall := func(run int, _ Spec) (Result, time.Duration) {
		if run == 1 {
			return late, 10 * time.Second
		}
		return good, time.Millisecond
	}
	run(t, Options{}, stall, func(t *testing.T, b *bench) {
		b.Set(jobsOf(every2s, "a"))
		pass(13 * time.Second)
		if got, want := b.p.at("a"), "[0s 2s 12s]"; got != want {
			t.Errorf("started at %s, want %s", got, want)
		}
		if st, _ := b.Status("a"); st.Failures != 0 || b.Stats().Excused != 1 {
			t.Errorf("status %+v, stats %+v", st, b.Stats())
		}
	})
	always := func(int, Spec) (Result, time.Duration) { return late, 10 * time.Second }
	run(t, Options{}, always, func(t *testing.T, b *bench) {
		b.Set(jobsOf(every2s, "a"))
		pass(21 * time.Second)
		if got := b.said(); got != "D" {
			t.Errorf("verdicts %q: only one in a row is excused, want D", got)
		}
	})
}

func TestCountsAndObserver(t *testing.T) {
	var mu sync.Mutex
	observed := make(map[string]int)
	o := Options{Observe: func(kind string, code Code, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		observed[kind+" "+string(code)+" "+took.String()]++
	}}
	run(t, o, row("++-"), func(t *testing.T, b *bench) {
		b.Set(jobsOf(Schedule{Interval: time.Second, Rise: 1, Fall: 1}, "a"))
		pass(3500 * time.Millisecond)
		if got, want := fmt.Sprint(b.Counts()), "[{tcp L4CON 2} {tcp L4OK 2}]"; got != want {
			t.Errorf("counts %s, want %s", got, want)
		}
		mu.Lock()
		defer mu.Unlock()
		if got, want := fmt.Sprint(observed), "map[tcp L4CON 1ms:2 tcp L4OK 1ms:2]"; got != want {
			t.Errorf("observed %s, want %s", got, want)
		}
	})
}

// Jobs may be set before Run, and by the sink.
func TestSetBeforeRunAndInSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &prober{starts: map[string][]time.Duration{}, running: map[string]int{}, plan: row("+")}
		r := NewRunner(Options{Probe: p.probe})
		r.Set(jobsOf(every2s, "a"))
		time.Sleep(time.Minute)
		p.begun = time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- r.Run(ctx, func(v Verdict) {
				if v.ID == "a" {
					r.Set(jobsOf(every2s, "b"))
				}
			})
		}()
		pass(time.Second)
		if a, b := p.at("a"), p.at("b"); a != "[0s]" || b != "[1ms]" {
			t.Errorf("a started at %s, b at %s; want 0s and 1ms", a, b)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
