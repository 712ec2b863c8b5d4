package program

import (
	"os/exec"
	"sync"
)

// maxOutput is how much is kept of each of a program's outputs.
const maxOutput = 4 << 10

// Excerpt keeps the beginning of what a program writes. The rest is read and
// forgotten: a program whose output nobody reads would hang.
type Excerpt struct {
	Kept []byte
	Cut  bool // there was more
}

// Write implements [io.Writer].
func (e *Excerpt) Write(p []byte) (int, error) {
	keep := min(len(p), maxOutput-len(e.Kept))
	e.Kept = append(e.Kept, p[:keep]...)
	e.Cut = e.Cut || keep < len(p)
	return len(p), nil
}

// hanging are the programs that were killed and have not gone. They must not be
// started again on top of that.
var hanging = hangings{names: make(map[string]bool)}

type hangings struct {
	mu    sync.Mutex
	names map[string]bool
}

func (h *hangings) has(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.names[name]
}

// add notes a program until it has gone, and reaps it then.
func (h *hangings) add(name string, cmd *exec.Cmd, gone <-chan struct{}) {
	h.mark(name, func() {
		<-gone
		_ = cmd.Wait() // how it ended is of no interest any more
	})
}

// mark notes a program until wait returns.
func (h *hangings) mark(name string, wait func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names[name] = true
	go func() {
		wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.names, name)
	}()
}
