package check

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// past prints a history: "L4OK×3 L4CON×2(connection refused)".
func past(streaks []Streak) string {
	var out []string
	for _, s := range streaks {
		text := fmt.Sprintf("%s×%d", s.Code, s.Results)
		if s.Gap {
			text = "… " + text
		}
		if s.Detail != "" {
			text += "(" + s.Detail + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func at(second int) time.Time { return time.Unix(int64(second), 0) }

func TestHistory(t *testing.T) {
	words := strings.NewReplacer("+", "L4OK×1", "-", "L4CON×1(connection refused)")
	for results, want := range map[string]string{
		"":            "",
		"+":           "L4OK×1",
		"+++--":       "L4OK×3 L4CON×2(connection refused)",
		"+-+-+-+-":    "+ - + - + - + -",
		"+-+-+-+-+":   "… -" + strings.Repeat(" + -", 3) + " +",
		"+-+-+-+-+-+": "… - … - … - + - + - +",
		// Failures alone are left, and of these the oldest goes.
		strings.Repeat("+-", 20): "… - … - … - … - … - … - + -",
	} {
		var h history
		s := newSayings()
		for i, c := range results {
			res := good
			if c == '-' {
				res = bad
			}
			res.At = at(i)
			h.add(&s, res)
		}
		if got := past(h.show()); got != words.Replace(want) {
			t.Errorf("%s: %s\nwant %s", results, got, words.Replace(want))
		}
		h.forget(&s)
		if len(s.known) != 0 || s.size != 0 {
			t.Errorf("%s: after all is forgotten %d sentences of %d bytes are left", results, len(s.known), s.size)
		}
	}
}

// The last sentence of a streak counts, and when it began and ended.
func TestHistoryOfAStreak(t *testing.T) {
	var h history
	s := newSayings()
	long := strings.Repeat("ä", 200)
	for i, text := range []string{"first", "second", long} {
		h.add(&s, Result{Code: L7STS, Detail: text, At: at(10 * i)})
	}
	got := h.show()
	if len(got) != 1 || got[0].Results != 3 || !got[0].From.Equal(at(0)) || !got[0].To.Equal(at(20)) {
		t.Fatalf("%+v", got)
	}
	if d := got[0].Detail; len(d) > keptDetail || !strings.HasPrefix(d, "ää") || !strings.HasSuffix(d, "ä…") || !utf8.ValidString(d) {
		t.Errorf("kept %q", d)
	}
	if len(s.known) != 1 {
		t.Errorf("%d sentences are kept for one streak", len(s.known))
	}
}

// Whatever is added and forgotten, what is shared adds up and the newest result
// is there.
func TestHistoryAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSayings()
		jobs := make([]history, 3)
		codes := rapid.SampledFrom([]Code{L4OK, L7OK, L4CON, L7STS, L4TOUT})
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				n++
				h := &jobs[rapid.IntRange(0, 2).Draw(t, "job")]
				res := Result{Code: codes.Draw(t, "code"), Detail: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "text"), At: at(n)}
				h.add(&s, res)
				last := h.streaks[len(h.streaks)-1]
				if last.said.code != res.Code || last.to != res.At.UnixNano() || len(h.streaks) > keptStreaks {
					t.Fatalf("%s", past(h.show()))
				}
			},
			"forget": func(t *rapid.T) { jobs[rapid.IntRange(0, 2).Draw(t, "job")].forget(&s) },
			"": func(t *rapid.T) {
				shared, size := map[*saying]int{}, 0
				for _, h := range jobs {
					for i, k := range h.streaks {
						shared[k.said]++
						if i > 0 && h.streaks[i-1].from > k.from {
							t.Fatal("not in order")
						}
					}
				}
				for _, w := range s.known {
					size += len(w.detail) + sayingCost
					if w.shared != shared[w] {
						t.Fatalf("%v is shared by %d, not %d", w, shared[w], w.shared)
					}
				}
				if size != s.size || len(shared) != len(s.known) {
					t.Fatalf("%d bytes in %d sentences, counted %d in %d", size, len(shared), s.size, len(s.known))
				}
			},
		})
	})
}

// Ten thousand checks with a history that is full, each sentence another one and
// as long as can be: that must stay under 10 MB.
func TestHistoryIsBounded(t *testing.T) {
	const jobs = 10000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	all := make([]history, jobs)
	s := newSayings()
	before := heap()
	codes := []Code{L4CON, L7STS, L4TOUT}
	for i := range all {
		for n := range 3 * keptStreaks {
			all[i].add(&s, Result{Code: codes[n%len(codes)], Detail: fmt.Sprintf("%d %d %s", i, n, strings.Repeat("x", 300)), At: at(n)})
		}
	}
	grown := float64(heap()-before) / 1e6
	t.Logf("%d full histories with a sentence for each streak take %.1f MB", jobs, grown)
	if grown > 10 {
		t.Errorf("they take %.1f MB", grown)
	}
	runtime.KeepAlive(all)
	if s.size > sayingsBudget {
		t.Errorf("sentences of %d bytes", s.size)
	}
}

// A runner keeps the past of its jobs for as long as it has them.
func TestRunnerHistory(t *testing.T) {
	run(t, Options{}, row("++--+"), func(t *testing.T, b *bench) {
		j := &Job{Spec: Spec{TCP: &TCP{Send: "a"}, Timeout: time.Second}, Schedule: Schedule{Interval: time.Second, Rise: 2, Fall: 3}}
		b.Set(map[string]*Job{"a": j})
		time.Sleep(10 * time.Second)
		got := b.History("a")
		if len(got) != 3 || !strings.HasPrefix(past(got), "L4OK×2 L4CON×2(connection refused) L4OK×") || got[1].To.Sub(got[1].From).Round(time.Second) != time.Second {
			t.Errorf("%s: %+v", past(got), got)
		}
		if b.History("b") != nil {
			t.Error("a job that there is not has a past")
		}
		b.Set(nil)
		if len(b.sayings.known) != 0 || b.History("a") != nil {
			t.Errorf("%d sentences are left of jobs that are gone", len(b.sayings.known))
		}
	})
}

func BenchmarkHistory(b *testing.B) {
	for name, results := range map[string][]Result{
		"well":     {{Code: L4OK, Detail: "connected to 10.0.0.1:80"}},
		"failing":  {{Code: L4CON, Detail: "connection refused by 10.0.0.1:80"}},
		"flapping": {{Code: L4OK, Detail: "connected to 10.0.0.1:80"}, {Code: L4CON, Detail: "connection refused by 10.0.0.1:80"}},
	} {
		b.Run(name, func(b *testing.B) {
			var h history
			s := newSayings()
			i := 0
			for b.Loop() {
				h.add(&s, results[i%len(results)])
				i++
			}
		})
	}
}
