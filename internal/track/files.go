package track

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"baton/internal/check"
	"baton/internal/filewatch"
)

const (
	// settle is the least time between two reads of a file.
	settle = 10 * time.Millisecond
	// confirm is how often a file that has lost its number is read again before
	// that counts.
	confirm = 5
)

// files watches files, each in a goroutine of its own: a file system that hangs
// holds up nothing else.
type files struct {
	log     *slog.Logger
	observe func(source, observation)
	watcher *filewatch.Watcher
	wake    chan struct{} // capacity 1: want has changed

	mu   sync.Mutex
	want map[string]time.Duration // path to re-read interval
}

func newFiles(log *slog.Logger, observe func(source, observation)) *files {
	return &files{log: log, observe: observe, watcher: filewatch.New(log), wake: make(chan struct{}, 1)}
}

// set replaces the files, by path, and how often each is read without a reason.
func (w *files) set(want map[string]time.Duration) {
	w.mu.Lock()
	w.want = want
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run watches until ctx ends.
func (w *files) run(ctx context.Context) {
	var readers sync.WaitGroup
	live := make(map[string]*file)
	for ctx.Err() == nil {
		w.mu.Lock()
		want := w.want
		w.mu.Unlock()
		for path, f := range live {
			if interval, ok := want[path]; !ok || interval != f.interval {
				f.cancel()
				delete(live, path)
			}
		}
		for path, interval := range want {
			if f := live[path]; f != nil {
				f.look()
				continue
			}
			f := w.file(path, interval)
			live[path] = f
			var run context.Context
			run, f.cancel = context.WithCancel(ctx)
			readers.Go(func() { f.run(run) })
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		}
	}
	for _, f := range live {
		f.cancel()
	}
	readers.Wait()
	w.watcher.Close()
}

// file is a file that is watched.
type file struct {
	*files
	path     string
	interval time.Duration
	watch    *filewatch.Watch
	cancel   context.CancelFunc
	poke     chan struct{} // capacity 1: it is to be read once more

	// Of the goroutine of run.
	failing bool // there was no number the last time
	numbers bool // there was one, ever
}

// file returns one that nobody watches yet.
func (w *files) file(path string, interval time.Duration) *file {
	return &file{files: w, path: path, interval: interval, watch: w.watcher.Watch(path), poke: make(chan struct{}, 1)}
}

// look makes run read the file.
func (f *file) look() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

func (f *file) run(ctx context.Context) {
	defer f.watch.Close()
	for {
		interval := f.watch.Arm(f.interval) // before the read: what changes after it is heard of
		f.read(ctx)
		if !pause(ctx, settle) {
			return
		}
		again := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-f.watch.Changed():
		case <-f.poke:
		case <-again.C:
		}
		again.Stop()
	}
}

// read reads the file and says what it holds.
func (f *file) read(ctx context.Context) {
	n, err := check.ReadNumber(f.path)
	for range confirm {
		if err == nil || errors.Is(err, os.ErrNotExist) || f.failing || !f.numbers {
			break
		}
		// It may be in the middle of being written: emptied, and not yet filled.
		if !pause(ctx, settle) {
			return
		}
		n, err = check.ReadNumber(f.path)
	}
	if ctx.Err() != nil {
		return // somebody else may watch it by now
	}
	o := observation{known: true, number: n}
	if err == nil {
		f.numbers = true
		o.detail = fmt.Sprintf("%s holds %d", f.path, n)
	} else {
		o.number, o.detail = 0, err.Error()+"; it counts as 0"
	}
	if failing := err != nil; failing != f.failing {
		if f.failing = failing; failing {
			f.log.Warn("a tracked file holds no number and counts as 0", "file", f.path, "error", err)
		} else {
			f.log.Info("a tracked file holds a number again", "file", f.path, "number", n)
		}
	}
	f.observe(source{ofFile, f.path}, o)
}

// pause waits and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
