package track

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// inotify tells files of events in their folders; see inotify(7).
type inotify struct {
	f    *os.File
	conn syscall.RawConn
	done chan struct{} // closed when run has ended

	mu      sync.Mutex
	watches map[int32]map[*file]string // which name in the folder each waits for
}

// wanted are the events that may mean a change. Not IN_MODIFY: a file that is
// being written is of interest when that is done.
const wanted = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

func newInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open inotify: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &inotify{f: f, conn: conn, done: make(chan struct{}), watches: make(map[int32]map[*file]string)}, nil
}

// add has who told of events in a folder that concern a name, or the folder
// itself. A folder has one watch, whoever asks for it.
func (in *inotify) add(dir, name string, who *file) (int32, error) {
	for {
		// Not under the lock: on a file system that hangs this may take for ever.
		watch, err := in.addWatch(dir)
		if err != nil {
			return 0, err
		}
		in.enlist(watch, name, who)
		// Another file may have given up the same watch just before.
		again, err := in.addWatch(dir)
		if err == nil && again == watch {
			return watch, nil
		}
		in.remove(watch, who)
		if err != nil {
			return 0, err
		}
	}
}

func (in *inotify) addWatch(dir string) (watch int32, err error) {
	ctl := in.conn.Control(func(fd uintptr) {
		var n int
		n, err = unix.InotifyAddWatch(int(fd), dir, wanted)
		watch = int32(n)
	})
	if err == nil {
		err = ctl
	}
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", dir, err)
	}
	return watch, nil
}

func (in *inotify) enlist(watch int32, name string, who *file) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.watches[watch] == nil {
		in.watches[watch] = make(map[*file]string)
	}
	in.watches[watch][who] = name
}

// remove ends what add began.
func (in *inotify) remove(watch int32, who *file) {
	in.mu.Lock()
	defer in.mu.Unlock()
	names, ok := in.watches[watch]
	if !ok {
		return
	}
	delete(names, who)
	if len(names) > 0 {
		return
	}
	delete(in.watches, watch)
	_ = in.conn.Control(func(fd uintptr) {
		_, _ = unix.InotifyRmWatch(int(fd), uint32(watch)) // fails where the folder is gone
	})
}

// close ends run and waits for that.
func (in *inotify) close() {
	_ = in.f.Close()
	<-in.done
}

// run reads events until the descriptor is closed.
func (in *inotify) run() {
	defer close(in.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := in.f.Read(buf)
		if err != nil {
			return
		}
		for rest := buf[:n]; len(rest) > 0; {
			var e event
			if e, rest = parseEvent(rest); e.mask != 0 {
				in.pass(e)
			}
		}
	}
}

// pass tells those whom an event concerns.
func (in *inotify) pass(e event) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if e.mask&unix.IN_Q_OVERFLOW != 0 { // events were lost
		for _, names := range in.watches {
			for f := range names {
				f.look()
			}
		}
		return
	}
	for f, name := range in.watches[e.watch] {
		if e.name == "" || e.name == name {
			f.look()
		}
	}
	if e.mask&unix.IN_IGNORED != 0 { // the kernel has ended the watch
		delete(in.watches, e.watch)
	}
}

// event is struct inotify_event of linux/inotify.h.
type event struct {
	watch int32
	mask  uint32
	name  string // in the watched folder; empty: the folder itself
}

// parseEvent takes the first event off the buffer. What is not one takes all.
func parseEvent(buf []byte) (event, []byte) {
	if len(buf) < unix.SizeofInotifyEvent {
		return event{}, nil
	}
	e := event{
		watch: int32(binary.NativeEndian.Uint32(buf)),
		mask:  binary.NativeEndian.Uint32(buf[4:]),
	}
	length := binary.NativeEndian.Uint32(buf[12:])
	buf = buf[unix.SizeofInotifyEvent:]
	if uint64(length) > uint64(len(buf)) {
		return event{}, nil
	}
	name, _, _ := bytes.Cut(buf[:length], []byte{0})
	e.name = string(name)
	return e, buf[length:]
}
