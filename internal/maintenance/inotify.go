package maintenance

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// inotify tells that something has changed in a folder; see inotify(7).
type inotify struct {
	f       *os.File
	conn    syscall.RawConn
	changes chan struct{} // capacity 1
	done    chan struct{} // closed when nothing is read any more
	watch   int           // of the folder; -1: none
}

// changing are the events that may mean another set of files.
const changing = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_CLOSE_WRITE |
	unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

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
	in := &inotify{f: f, conn: conn, changes: make(chan struct{}, 1), done: make(chan struct{}), watch: -1}
	go in.read()
	return in, nil
}

// follow watches the folder that has the name now. It may hang where its file system
// does.
func (in *inotify) follow(dir string) error {
	var watch int
	var err error
	ctl := in.conn.Control(func(fd uintptr) { watch, err = unix.InotifyAddWatch(int(fd), dir, changing) })
	if err = errors.Join(ctl, err); err != nil {
		in.drop()
		return err
	}
	if watch != in.watch { // it is another folder than before, by the same name
		in.drop()
		in.watch = watch
	}
	return nil
}

// drop ends the watch; it fails where the folder is gone, and the watch with it.
func (in *inotify) drop() {
	if in.watch >= 0 {
		_ = in.conn.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(in.watch)) })
	}
	in.watch = -1
}

// read takes events until the descriptor is closed. What they say does not matter:
// the folder is read again.
func (in *inotify) read() {
	defer close(in.done)
	buf := make([]byte, 64<<10)
	for {
		if _, err := in.f.Read(buf); err != nil {
			return
		}
		select {
		case in.changes <- struct{}{}:
		default:
		}
	}
}

func (in *inotify) close() {
	_ = in.f.Close()
	<-in.done
}
