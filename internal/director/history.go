package director

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"baton/internal/api"
)

const (
	historyKept = 5000     // events in memory
	historyFile = 4 << 20  // bytes, after which the file is begun anew
	historyLine = 64 << 10 // bytes of one event at most
)

// history is the journal of events and its copy on disk, so that what happened
// before a restart can still be read. A disk that cannot be written costs the
// copy only.
type history struct {
	journal *api.Journal
	store   store
	log     *slog.Logger

	mu     sync.Mutex
	file   *os.File
	size   int64
	broken time.Time // when a write failed last; zero: all is well
}

// openHistory reads what an earlier run left and goes on behind it.
func openHistory(s store, log *slog.Logger) *history {
	h := &history{journal: api.NewJournal(historyKept, time.Now()), store: s, log: log}
	for _, name := range []string{eventsFile + ".1", eventsFile} {
		h.read(s.path(name))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open()
	return h
}

func (h *history) read(path string) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		h.log.Warn("reading the event history failed", "error", err)
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, historyLine)
	for lines.Scan() {
		var e api.Event
		if json.Unmarshal(lines.Bytes(), &e) == nil { // a crash may have cut the last line
			h.journal.Restore(e)
		}
	}
}

// open opens the file for appending; the caller holds the mutex.
func (h *history) open() {
	err := os.MkdirAll(h.store.dir, 0o700)
	if err == nil {
		h.file, err = os.OpenFile(h.store.path(eventsFile), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	}
	if err == nil {
		h.size, err = h.file.Seek(0, io.SeekEnd)
	}
	if err == nil && h.size > 0 && !h.whole() {
		// A crash has cut the last line: the next event must not be lost with it.
		_, err = h.file.Write([]byte{'\n'})
		h.size++
	}
	if err != nil {
		h.fail(fmt.Errorf("open the event history: %w", err))
	}
}

// whole reports whether the file ends with the end of a line.
func (h *history) whole() bool {
	var last [1]byte
	_, err := h.file.ReadAt(last[:], h.size-1)
	return err == nil && last[0] == '\n'
}

// fail notes that the copy on disk is broken, once a minute.
func (h *history) fail(err error) {
	if h.broken.IsZero() || time.Since(h.broken) > time.Minute {
		h.broken = time.Now()
		h.log.Warn("the event history cannot be kept on disk; it goes on in memory", "error", err)
	}
}

// add enters an event.
func (h *history) add(e api.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e = h.journal.Append(e)
	if h.file == nil {
		h.open()
	}
	if h.file == nil {
		return
	}
	b, err := json.Marshal(e)
	if err == nil {
		_, err = h.file.Write(append(b, '\n'))
	}
	if err != nil {
		h.fail(err)
		return
	}
	h.broken = time.Time{}
	h.size += int64(len(b)) + 1
	if h.size > historyFile {
		h.turn()
	}
}

// turn begins a new file and keeps the last one.
func (h *history) turn() {
	path := h.store.path(eventsFile)
	if err := errors.Join(h.file.Close(), os.Rename(path, path+".1")); err != nil {
		h.fail(err)
	}
	h.file = nil
	h.open()
}

func (h *history) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file == nil {
		return nil
	}
	err := h.file.Close()
	h.file = nil
	return err
}
