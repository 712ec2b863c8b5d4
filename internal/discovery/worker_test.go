package discovery

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// play is a reader whose answers the test gives.
type play struct {
	mu      sync.Mutex
	servers []Server
	notes   []string
	err     error
	again   time.Duration
	reads   []time.Time
	closed  int
	hasty   bool
}

func (p *play) read(_ context.Context, hasty bool) (answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads, p.hasty = append(p.reads, time.Now()), hasty
	return answer{servers: p.servers, again: p.again, notes: p.notes}, p.err
}

func (p *play) wake() <-chan struct{} { return nil }

func (p *play) close() { p.mu.Lock(); p.closed++; p.mu.Unlock() }

func (p *play) say(err error, servers ...Server) {
	p.mu.Lock()
	p.servers, p.err = servers, err
	p.mu.Unlock()
}

func (p *play) asked() int { p.mu.Lock(); defer p.mu.Unlock(); return len(p.reads) }

// stage is a Discovery whose sources the test plays.
type stage struct {
	*Discovery
	log     *bytes.Buffer
	plays   map[string]*play // by target
	mu      sync.Mutex
	changes []string
}

// onStage runs a test with simulated time.
func onStage(t *testing.T, saved []Saved, test func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{log: &bytes.Buffer{}, plays: map[string]*play{}}
		s.Discovery = New(Options{
			Saved: saved,
			OnChange: func(c Change) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.changes = append(s.changes, c.Service+" "+c.Source+": "+c.Text)
			},
			Log: slog.New(slog.NewTextHandler(s.log, nil)),
		})
		s.open = func(src Source) reader { return s.plays[src.Target()] }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		test(t, s)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for name, p := range s.plays {
			if p.asked() > 0 && p.closed == 0 {
				t.Errorf("%s is not closed", name)
			}
		}
	})
}

// source is one that the test plays, by a name.
func (s *stage) source(name string) (Want, *play) {
	w := Want{Service: "web", Source: Source{DNS: &DNS{Name: name, Type: "A"}}}
	p := s.plays[w.Source.Target()]
	if p == nil {
		p = &play{again: 10 * time.Second}
		s.plays[w.Source.Target()] = p
	}
	return w, p
}

func (s *stage) has(t *testing.T, want ...Server) {
	t.Helper()
	synctest.Wait()
	if got := s.Found()[0].Servers; !slices.EqualFunc(got, want, Server.Equal) {
		t.Errorf("in force: %v, want %v", got, want)
	}
}

func TestFailuresKeepTheServers(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		w, p := s.source("a.example")
		p.say(nil, some(1, 3)...)
		s.Set([]Want{w})
		s.has(t, some(1, 3)...)
		<-s.Changed()

		p.say(errors.New("no answer in time"))
		time.Sleep(time.Hour)
		s.has(t, some(1, 3)...)
		st := s.Status()[0]
		if st.Error != "no answer in time" || st.Servers != 3 || time.Since(st.LastSuccess) < 59*time.Minute {
			t.Errorf("%+v", st)
		}
		// After a second, two, four … and once a minute, each moved by a quarter at
		// most.
		if st.Failures < 50 || st.Failures > 90 {
			t.Errorf("%d attempts in an hour", st.Failures)
		}
		pauses := p.reads
		for i := 3; i < len(pauses); i++ {
			if d := pauses[i].Sub(pauses[i-1]); d < 750*time.Millisecond || d > 75*time.Second {
				t.Errorf("attempt %d after %s", i, d)
			}
		}
		if n := strings.Count(s.log.String(), "a source of servers fails"); n != 1 {
			t.Errorf("said %d times:\n%s", n, s.log)
		}
		p.say(nil, some(1, 4)...)
		time.Sleep(2 * time.Minute)
		s.has(t, some(1, 4)...)
		if st := s.Status()[0]; st.Error != "" || !strings.Contains(s.log.String(), "answers again") {
			t.Errorf("%+v\n%s", st, s.log)
		}
		want := []string{
			"web dns a.example A: added 3 (10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80)",
			"web dns a.example A: added 1 (10.0.0.4:80)",
		}
		if !slices.Equal(s.changes, want) {
			t.Errorf("%q", s.changes)
		}
	})
}

// While an answer is in doubt the source is asked every ten seconds, however long
// its own time is.
func TestDoubtIsSettledSoon(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		w, p := s.source("a.example")
		p.again = time.Hour
		p.say(nil, some(1, 10)...)
		s.Set([]Want{w})
		s.has(t, some(1, 10)...)
		p.say(nil, some(1, 2)...)
		time.Sleep(time.Hour + time.Second)
		s.has(t, some(1, 10)...)
		if st := s.Status()[0]; st.Held != 8 || !strings.Contains(st.Problem(), "8 are kept") {
			t.Errorf("%+v", st)
		}
		time.Sleep(28 * time.Second)
		s.has(t, some(1, 10)...)
		p.mu.Lock()
		if !p.hasty {
			t.Error("the source is not told to hurry")
		}
		p.mu.Unlock()
		time.Sleep(3 * time.Second)
		s.has(t, some(1, 2)...)
		for text, want := range map[string]int{"lost most of its servers": 1, "believed again": 1} {
			if n := strings.Count(s.log.String(), text); n != want {
				t.Errorf("%q stands %d times in:\n%s", text, n, s.log)
			}
		}
	})
}

// What an earlier run had serves until the source answers.
func TestRestartWithoutAnswer(t *testing.T) {
	at := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	saved := []Saved{
		{Service: "web", Source: "dns a.example A", At: at, Servers: some(1, 4)},
		{Service: "web", Source: "dns gone.example A", At: at, Servers: some(5, 6)},
		{Service: "other", Source: "dns a.example A", At: at, Servers: some(7, 8)},
	}
	onStage(t, saved, func(t *testing.T, s *stage) {
		w, p := s.source("a.example")
		p.say(errors.New("no answer in time"))
		s.Set([]Want{w})
		s.has(t, some(1, 4)...)
		if len(s.changes) > 0 {
			t.Errorf("nothing has changed, and it says %q", s.changes)
		}
		if got := s.Saved(); len(got) != 1 || !got[0].At.Equal(at) || len(got[0].Servers) != 4 {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Minute)
		asked := p.asked()
		p.say(nil, some(1, 1)...) // the doubts are those of any answer
		for p.asked() == asked {
			time.Sleep(time.Second)
		}
		s.has(t, some(1, 4)...)
		time.Sleep(time.Minute)
		s.has(t, some(1, 1)...)
	})
}

func TestSet(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		a, pa := s.source("a.example")
		b, pb := s.source("b.example")
		pa.again, pb.again = time.Hour, time.Hour
		pa.say(nil, some(1, 3)...)
		pb.say(nil, some(4, 6)...)
		s.Set([]Want{a, b})
		s.has(t, some(1, 3)...)

		// The same again: nobody is asked.
		same, _ := s.source("a.example")
		s.Set([]Want{same, b})
		synctest.Wait()
		if pa.asked() != 1 || pb.asked() != 1 {
			t.Errorf("asked %d and %d times", pa.asked(), pb.asked())
		}
		// The same question in another way: asked, with what there is kept.
		pa.say(errors.New("no answer in time"))
		other := Want{Service: "web", Source: Source{DNS: &DNS{Name: "a.example", Type: "A", Resolvers: nil, IPv6: true}}}
		s.Set([]Want{other})
		s.has(t, some(1, 3)...)
		if pa.asked() != 2 || pb.closed != 1 {
			t.Errorf("asked %d times, and the other one is closed %d times", pa.asked(), pb.closed)
		}
		// Gone and back: begun anew.
		s.Set(nil)
		s.Set([]Want{b})
		s.has(t, some(4, 6)...)
	})
}

// A service can refuse servers; what it can use changes with it, without a question.
func TestAccept(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		w, p := s.source("a.example")
		p.again = time.Hour
		p.say(nil, some(1, 4)...)
		p.notes = []string{"one has no address"}
		refuse := func(which Server) func([]Server) ([]Server, []string) {
			return func(in []Server) (out []Server, refused []string) {
				for _, s := range in {
					if s.Equal(which) {
						refused = append(refused, s.String()+" is not for us")
						continue
					}
					out = append(out, s)
				}
				return out, refused
			}
		}
		w.Accept = refuse(some(1, 1)[0])
		s.Set([]Want{w})
		s.has(t, some(2, 4)...)
		st := s.Status()[0]
		if !slices.Equal(st.Refused, []string{"one has no address", "10.0.0.1:80 is not for us"}) || st.Error != "" {
			t.Errorf("%+v", st)
		}
		w.Accept = refuse(some(4, 4)[0])
		s.Set([]Want{w})
		s.has(t, some(1, 3)...)
		if p.asked() != 1 {
			t.Errorf("asked %d times", p.asked())
		}
		if n := strings.Count(s.log.String(), "names servers that cannot be used"); n != 2 {
			t.Errorf("said %d times:\n%s", n, s.log)
		}
	})
}

func TestExplain(t *testing.T) {
	var all []string
	for _, s := range []Status{
		{Kind: "file", Target: "/x"},
		{
			Kind: "dns", Target: "web.example A", Servers: 3, Held: 2, LastSuccess: time.Unix(0, 0),
			Error: "no answer in time", Refused: []string{"a", "b", "c", "d", "e", "f", "g"},
		},
	} {
		all = append(append(all, s.Explain()...), s.Problem())
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{
		"Its source file /x has not answered yet.", "It has 3 servers from dns web.example A, which last answered at ",
		"The source dns web.example A fails, so its servers stay as they are: no answer in time",
		"Of them 2 are kept although the source does not name them any more: an empty answer removes nobody, and one that loses most servers at once has to be repeated 3 times over 30s.",
		"It names servers that cannot be used: a; b; c; d; e; and 2 more.",
		"dns web.example A fails, its 3 servers are kept: no answer in time",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}
