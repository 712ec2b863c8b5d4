package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
)

// logSink writes log lines as text or JSON, and under systemd with the priority
// in front that journald understands (sd-daemon(3)). Level and format can be
// changed while it works; all handlers derived from it follow.
type logSink struct {
	level slog.LevelVar

	mu      sync.Mutex
	out     io.Writer
	json    bool
	journal bool
}

// newLog returns a logger to w with the name of the process in each line.
func newLog(w io.Writer, process string) (*slog.Logger, *logSink) {
	s := &logSink{out: w, journal: os.Getenv("JOURNAL_STREAM") != ""}
	return slog.New(&logHandler{sink: s}).With("process", process), s
}

// set changes level and format ("text" or "json").
func (s *logSink) set(level slog.Level, format string) {
	s.level.Set(level)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.json = format == "json"
}

// logHandler remembers the attributes and groups that were added to it, because
// the format may change after.
type logHandler struct {
	sink  *logSink
	apply []func(slog.Handler) slog.Handler
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= h.sink.level.Level()
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(n slog.Handler) slog.Handler { return n.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return h.with(func(n slog.Handler) slog.Handler { return n.WithGroup(name) })
}

func (h *logHandler) with(f func(slog.Handler) slog.Handler) slog.Handler {
	return &logHandler{sink: h.sink, apply: append(h.apply[:len(h.apply):len(h.apply)], f)}
}

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	s := h.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	options := slog.HandlerOptions{Level: slog.LevelDebug}
	if s.journal {
		// journald has the time itself.
		r.Time = r.Time.Truncate(0)
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
		if _, err := fmt.Fprintf(s.out, "<%d>", priority(r.Level)); err != nil {
			return err
		}
	}
	var next slog.Handler = slog.NewTextHandler(s.out, &options)
	if s.json {
		next = slog.NewJSONHandler(s.out, &options)
	}
	for _, f := range h.apply {
		next = f(next)
	}
	return next.Handle(ctx, r)
}

// priority is the level in the numbers of syslog(3).
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}
