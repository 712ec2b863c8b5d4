package filewatch

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Watcher hears from the kernel what changes in folders. Its descriptor is opened
// when it is needed. Its methods are safe for concurrent use.
type Watcher struct {
	log *slog.Logger

	// The kernel's calls; a test has its own.
	open func() (fd int, err error)
	add  func(fd int, dir string, events uint32) (number int, err error)

	reader sync.WaitGroup

	mu     sync.Mutex
	f      *os.File // nil: not open
	fd     int      // of f
	closed bool
	said   map[syscall.Errno]bool // why the kernel tells nothing, as far as it was logged
	// places are who is told of what in a folder, by the kernel's number of the
	// folder.
	places map[int32]map[*Watch]names
	adding int     // calls of add that have not returned
	idle   []int32 // numbers that nobody may need any more
}

// New returns a watcher that watches nothing yet.
func New(log *slog.Logger) *Watcher {
	return &Watcher{
		log: log, open: openInotify, add: addWatch,
		said: make(map[syscall.Errno]bool), places: make(map[int32]map[*Watch]names),
	}
}

func openInotify() (int, error) { return unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK) }

func addWatch(fd int, dir string, events uint32) (int, error) {
	for {
		number, err := unix.InotifyAddWatch(fd, dir, events)
		if !errors.Is(err, unix.EINTR) {
			return number, err
		}
	}
}

// Close ends the watching for good. It does not wait for a call of [Watch.Arm] that
// hangs in a file system; the descriptor is closed when that comes back.
func (w *Watcher) Close() {
	w.mu.Lock()
	w.closed = true
	if w.f != nil {
		_ = w.f.SetReadDeadline(time.Unix(1, 0)) // ends read
	}
	w.mu.Unlock()
	w.reader.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tidy()
}

// begin opens the descriptor, if that is to be done, and keeps it and all numbers
// of folders valid until adding is counted down.
func (w *Watcher) begin() (fd int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, os.ErrClosed
	}
	if w.f == nil {
		fd, err := w.open()
		if err != nil {
			return 0, fmt.Errorf("open inotify: %w", err)
		}
		w.f, w.fd = os.NewFile(uintptr(fd), "inotify"), fd
		f := w.f
		w.reader.Go(func() { w.read(f) })
	}
	w.adding++
	return w.fd, nil
}

// listen has a told of events in a folder that concern a name, or of all where the
// name is empty. It returns the folder's number. [Watch.settle] has to follow.
func (w *Watcher) listen(a *Watch, dir, name string, events uint32) (int32, error) {
	fd, err := w.begin()
	if err != nil {
		return 0, err
	}
	// Not under the lock: on a file system that hangs this may take for ever.
	n, err := w.add(fd, dir, events)
	number := int32(n)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.adding--
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", dir, err)
	}
	if a.closed || w.closed {
		w.idle = append(w.idle, number)
		return 0, os.ErrClosed
	}
	if w.places[number] == nil {
		w.places[number] = make(map[*Watch]names)
	}
	w.places[number][a] = w.places[number][a].with(name)
	return number, nil
}

// leave ends what listen began; the caller holds the lock.
func (w *Watcher) leave(a *Watch, number int32) {
	delete(w.places[number], a)
	w.idle = append(w.idle, number)
}

// tidy gives up what is not needed any more, unless a call of the kernel is on the
// way that may be about to return the number of the same folder, or needs the
// descriptor. The caller holds the lock.
func (w *Watcher) tidy() {
	if w.adding > 0 || w.f == nil {
		return
	}
	if w.closed {
		_ = w.f.Close()
		w.f, w.idle = nil, nil
		clear(w.places)
		return
	}
	for _, number := range w.idle {
		if len(w.places[number]) == 0 {
			delete(w.places, number)
			_, _ = unix.InotifyRmWatch(w.fd, uint32(number)) // fails where the folder is gone
		}
	}
	w.idle = w.idle[:0]
}

// read takes events until the watcher is closed.
func (w *Watcher) read(f *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		for rest := buf[:n]; len(rest) > 0; {
			var e event
			if e, rest = parseEvent(rest); e.mask != 0 {
				w.pass(e)
			}
		}
	}
}

// pass wakes those whom an event concerns.
func (w *Watcher) pass(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.mask&unix.IN_Q_OVERFLOW != 0 { // events were lost
		for _, who := range w.places {
			for a := range who {
				a.wake()
			}
		}
		return
	}
	for a, wanted := range w.places[e.number] {
		if wanted.include(e.name) {
			a.wake()
		}
	}
}

// complain says that the kernel does not tell of changes: once for each reason,
// for it mostly holds for all paths.
func (w *Watcher) complain(path string, err error) {
	var errno syscall.Errno
	_ = errors.As(err, &errno)
	w.mu.Lock()
	known := w.closed || w.said[errno]
	w.said[errno] = true
	w.mu.Unlock()
	if !known {
		w.log.Warn("the kernel does not tell of changes to files; they are read every second instead",
			"path", path, "error", err, "remedy", remedy(errno))
	}
}

func remedy(errno syscall.Errno) string {
	switch errno {
	case unix.ENOSPC:
		return "raise the sysctl fs.inotify.max_user_watches"
	case unix.EMFILE:
		return "raise the sysctl fs.inotify.max_user_instances, or, if other files cannot be opened either, the limit of open files (LimitNOFILE=)"
	case unix.EACCES:
		return "let this process read the folder"
	}
	return "see inotify(7)"
}
