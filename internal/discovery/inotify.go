package discovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watchedEvents are those that may mean a change of a file in a folder. Not
// IN_MODIFY: what is being written is of interest when that is done. IN_MOVED_TO is
// the file that replaces another one by a rename, or the symbolic link to a folder
// by which Kubernetes replaces all files of a volume.
const watchedEvents = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// watcher tells of changes in the folders of files; see inotify(7). Whoever it
// tells nothing reads the file after a while all the same.
type watcher struct {
	log *slog.Logger

	mu      sync.Mutex
	f       *os.File // nil: not open
	conn    syscall.RawConn
	deaf    bool // said that the kernel tells nothing
	closed  bool
	watches map[int32]map[*watch]bool // by the kernel's number of a folder
	done    sync.WaitGroup
}

// watch is the wish to hear of one file.
type watch struct {
	w    *watcher
	dir  string
	news chan struct{} // capacity 1
	at   int32         // the kernel's number; 0: none
}

func newWatcher(log *slog.Logger) *watcher {
	return &watcher{log: log, watches: make(map[int32]map[*watch]bool)}
}

func (w *watcher) add(path string) *watch {
	return &watch{w: w, dir: filepath.Dir(path), news: make(chan struct{}, 1)}
}

// arm makes sure that the kernel tells of changes in the folder, if it can: the
// folder may be new, or another one than before. Any change in it counts, so that
// a file behind a symbolic link in it is followed, too. It reports whether the
// kernel will tell.
func (a *watch) arm() bool {
	for range 3 {
		// Not under the lock: on a file system that hangs this may take for ever.
		at, err := a.w.register(a.dir)
		if err != nil {
			a.w.complain(err)
		}
		if a.enlist(at) {
			return at != 0
		}
		// Somebody else may have given up the same folder just before; then it has
		// another number now.
	}
	return false
}

// enlist has the watch told of events under a number, and reports whether it was
// before.
func (a *watch) enlist(at int32) bool {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	if at == a.at && (at == 0 || a.w.watches[at][a]) {
		return true
	}
	a.disarm()
	if a.at = at; at == 0 {
		return true
	}
	if a.w.watches[at] == nil {
		a.w.watches[at] = make(map[*watch]bool)
	}
	a.w.watches[at][a] = true
	return false
}

// complain says once that the kernel tells nothing. A folder that is missing is
// for the reader of the file to tell.
func (w *watcher) complain(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf || w.closed || errors.Is(err, unix.ENOENT) {
		return
	}
	w.deaf = true
	w.log.Warn("the kernel does not tell of changes to files with servers; they are read every second instead "+
		"(see the sysctls fs.inotify.*)", "error", err)
}

// register returns the kernel's number for a folder, 0 with an error.
func (w *watcher) register(dir string) (at int32, err error) {
	conn, err := w.open()
	if err != nil {
		return 0, err
	}
	ctl := conn.Control(func(fd uintptr) {
		var n int
		n, err = unix.InotifyAddWatch(int(fd), dir, watchedEvents)
		at = int32(n)
	})
	if err = errors.Join(ctl, err); err != nil {
		return 0, fmt.Errorf("watch %s: %w", dir, err)
	}
	return at, nil
}

func (w *watcher) open() (syscall.RawConn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, os.ErrClosed
	}
	if w.f != nil {
		return w.conn, nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open inotify: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	w.f, w.conn = f, conn
	w.done.Go(func() { w.run(f) })
	return conn, nil
}

// disarm ends what arm began; the caller holds the lock.
func (a *watch) disarm() {
	w := a.w
	who := w.watches[a.at]
	if a.at == 0 || who == nil {
		return
	}
	delete(who, a)
	if len(who) > 0 {
		return
	}
	delete(w.watches, a.at)
	_ = w.conn.Control(func(fd uintptr) {
		_, _ = unix.InotifyRmWatch(int(fd), uint32(a.at)) // fails where the folder is gone
	})
}

func (a *watch) close() {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.disarm()
	a.at = 0
}

// close ends the watching for good.
func (w *watcher) close() {
	w.mu.Lock()
	w.closed = true
	if w.f != nil {
		_ = w.f.Close()
	}
	w.mu.Unlock()
	w.done.Wait()
}

// run reads events until the descriptor is closed.
func (w *watcher) run(f *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		w.pass(buf[:n])
	}
}

// pass wakes those whom events concern.
func (w *watcher) pass(events []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent { // struct inotify_event of linux/inotify.h
		at := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		size := uint64(binary.NativeEndian.Uint32(events[12:])) + unix.SizeofInotifyEvent
		if size > uint64(len(events)) {
			return
		}
		events = events[size:]
		if mask&unix.IN_Q_OVERFLOW != 0 { // events were lost
			for _, who := range w.watches {
				wake(who)
			}
			continue
		}
		wake(w.watches[at])
		if mask&unix.IN_IGNORED != 0 { // the kernel has ended the watch
			delete(w.watches, at)
		}
	}
}

func wake(who map[*watch]bool) {
	for a := range who {
		select {
		case a.news <- struct{}{}:
		default:
		}
	}
}
