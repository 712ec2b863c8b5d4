package track

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// processes watches processes by name. Of each name one process is held by a
// pidfd, the oldest: while it lives nothing has to be searched, and its death is
// known at once. A name without a process is searched for at its interval.
type processes struct {
	log     *slog.Logger
	observe func(source, observation)
	wake    chan struct{} // capacity 1: want has changed

	mu   sync.Mutex
	want map[string]time.Duration // name to interval
}

func newProcesses(log *slog.Logger, observe func(source, observation)) *processes {
	return &processes{log: log, observe: observe, wake: make(chan struct{}, 1)}
}

// set replaces the names, and how often each is looked at.
func (w *processes) set(want map[string]time.Duration) {
	w.mu.Lock()
	w.want = want
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// held is a process that is known to run.
type held struct {
	pid   int
	pidfd int // -1: the kernel gave none
}

func (h held) drop() {
	if h.pidfd >= 0 {
		_ = unix.Close(h.pidfd)
	}
}

// run watches until ctx ends.
func (w *processes) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	deaths, err := newDeaths()
	if err != nil {
		w.log.Warn("the death of a tracked process is noticed only at the interval", "error", err)
	} else {
		all.Go(deaths.run)
		defer deaths.close()
	}
	holds := make(map[string]held)
	defer func() {
		for _, h := range holds {
			h.drop()
		}
	}()
	for {
		w.mu.Lock()
		want := w.want
		w.mu.Unlock()
		start := time.Now()
		w.look(want, holds, deaths)
		// A process that dies again and again must not keep a processor busy; nor may
		// the next death wait for long because this search was slow.
		rest := min(max(10*time.Millisecond, 4*time.Since(start)), 200*time.Millisecond)
		if !pause(ctx, rest) {
			return
		}
		again := time.NewTimer(shortest(want))
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-deaths.heard():
		case <-again.C:
		}
		again.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func shortest(want map[string]time.Duration) time.Duration {
	least := time.Hour
	for _, d := range want {
		least = min(least, d)
	}
	return least
}

// look finds out which names have a process.
func (w *processes) look(want map[string]time.Duration, holds map[string]held, deaths *deaths) {
	var lost []program
	for name, h := range holds {
		if _, ok := want[name]; !ok {
			h.drop()
			delete(holds, name)
		}
	}
	for name := range want {
		p := newProgram(name)
		if h, ok := holds[name]; ok && alive(h) && p.is(h.pid) {
			w.found(name, h)
			continue
		}
		lost = append(lost, p)
	}
	if len(lost) == 0 {
		return
	}
	found, err := search(lost)
	for _, p := range lost {
		if h, ok := holds[p.name]; ok {
			h.drop()
			delete(holds, p.name)
		}
		h, ok := deaths.hold(p, found[p.name])
		if ok {
			holds[p.name] = h
			w.found(p.name, h)
			continue
		}
		detail := "no process " + p.name + " runs"
		if err != nil {
			detail = err.Error()
		}
		w.observe(source{ofProcess, p.name}, observation{known: true, detail: detail})
	}
}

func (w *processes) found(name string, h held) {
	w.observe(source{ofProcess, name}, observation{
		known: true, up: true, detail: fmt.Sprintf("%s runs as process %d", name, h.pid),
	})
}
