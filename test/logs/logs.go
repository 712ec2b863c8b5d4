// Package logs keeps what a program logs, for tests that look into it.
package logs

import (
	"bytes"
	"log/slog"
	"sync"
)

// Buffer is a log. Several goroutines may write it while it is read.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Logger returns a logger that writes all from level Info into the buffer, a line
// each.
func (b *Buffer) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns all that was logged.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
