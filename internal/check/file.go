package check

import (
	"context"
	"fmt"
	"math"
	"sync"
)

// probeFile makes a verdict of the number in a file.
func probeFile(ctx context.Context, s Spec) Result {
	n, err := readings.read(ctx, s.File.Path)
	switch {
	case isTimeout(err):
		return Result{Code: L7TOUT, Detail: fmt.Sprintf("%s could not be read within %s; its file system hangs", s.File.Path, span(s.Timeout))}
	case err != nil:
		return result("", "", err)
	case n < 0:
		return Result{Code: L7STS, Detail: fmt.Sprintf("%s holds %d, which says that the server must not be used", s.File.Path, n)}
	}
	weight := uint32(min(n, math.MaxInt32)) // the most that the kernel takes
	return Result{Code: L7OK, Detail: fmt.Sprintf("%s holds the weight %d", s.File.Path, weight), Weighted: true, Weight: weight}
}

// readings are the files that are being read. No deadline ends a read from a
// file system that hangs, so a probe leaves it behind; the next probes of the
// file wait for the same read instead of adding theirs.
var readings = inFlight{reads: make(map[string]*reading)}

type inFlight struct {
	mu    sync.Mutex
	reads map[string]*reading
}

// reading is one read; its result is there when done is closed.
type reading struct {
	done chan struct{}
	n    int64
	err  error
}

func (f *inFlight) read(ctx context.Context, path string) (int64, error) {
	f.mu.Lock()
	r := f.reads[path]
	if r == nil {
		r = &reading{done: make(chan struct{})}
		f.reads[path] = r
		go func() {
			r.n, r.err = ReadNumber(path)
			f.mu.Lock()
			delete(f.reads, path)
			f.mu.Unlock()
			close(r.done)
		}()
	}
	f.mu.Unlock()
	select {
	case <-r.done:
		return r.n, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
