package track

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// deaths tells of the death of processes. Their pidfds are in one epoll set,
// which one goroutine waits for without a thread of its own.
type deaths struct {
	f    *os.File
	conn syscall.RawConn
	died chan struct{} // capacity 1
}

func newDeaths() (*deaths, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // Go's own poller takes no others
		return nil, errors.Join(err, unix.Close(fd))
	}
	f := os.NewFile(uintptr(fd), "epoll")
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &deaths{f: f, conn: conn, died: make(chan struct{}, 1)}, nil
}

// heard returns the channel that tells of a death; of none where d is nil.
func (d *deaths) heard() <-chan struct{} {
	if d == nil {
		return nil
	}
	return d.died
}

func (d *deaths) close() { _ = d.f.Close() }

// run waits for deaths until the set is closed.
func (d *deaths) run() {
	events := make([]unix.EpollEvent, 64)
	for {
		err := d.conn.Read(func(fd uintptr) bool {
			n, err := unix.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
		if err != nil {
			return
		}
		select {
		case d.died <- struct{}{}:
		default:
		}
	}
}

// hold takes the first of the processes that is the program and lives. Its death
// is told from then on, as far as the kernel can.
func (d *deaths) hold(p program, pids []int) (held, bool) {
	for _, pid := range pids {
		h := held{pid: pid, pidfd: d.open(pid)}
		// Only now is it sure that the number belongs to no other process.
		if p.is(pid) && alive(h) {
			return h, true
		}
		h.drop()
	}
	return held{}, false
}

// open returns a pidfd in the set; -1: there is none, and nobody tells of this
// death.
func (d *deaths) open(pid int) int {
	if d == nil {
		return -1
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1
	}
	ctl := d.conn.Control(func(fd uintptr) {
		// Once is enough: otherwise it would be told until the pidfd is closed.
		err = unix.EpollCtl(int(fd), unix.EPOLL_CTL_ADD, pidfd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(pidfd)})
	})
	if errors.Join(err, ctl) != nil {
		_ = unix.Close(pidfd)
		return -1
	}
	return pidfd
}

// alive reports whether a process lives; a zombie does not.
func alive(h held) bool {
	if h.pidfd < 0 {
		_, ok := bornAt(h.pid)
		return ok
	}
	fds := []unix.PollFd{{Fd: int32(h.pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err != nil || n == 0 // EINTR: nobody knows, and the next look tells
}
