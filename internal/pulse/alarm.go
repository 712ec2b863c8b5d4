package pulse

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"baton/internal/speaker"
)

// alarm is a timer that is exact to some tens of microseconds. The runtime's own
// waits in epoll, whose timeout is in whole milliseconds: adverts would leave up to
// one late, and at an interval of 10 ms that is a tenth of it.
type alarm struct {
	file *os.File
	fd   int
	c    chan time.Time
}

// newAlarm returns a timer that is not set.
func newAlarm() (speaker.Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", os.NewSyscallError("timerfd_create", err))
	}
	a := &alarm{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd, c: make(chan time.Time, 1)} //nolint:gosec // a descriptor
	go a.wait()
	return a, nil
}

func (a *alarm) wait() {
	var count [8]byte
	for {
		if _, err := a.file.Read(count[:]); err != nil {
			return // closed
		}
		select {
		case a.c <- time.Now():
		default: // the last one was not taken yet
		}
	}
}

// C is where the alarm goes off. It may do so once more for a time that was set
// before.
func (a *alarm) C() <-chan time.Time { return a.c }

// Reset makes it go off after d.
func (a *alarm) Reset(d time.Duration) { a.set(max(d, 1)) } // 0 would stop it

// Stop makes it not go off.
func (a *alarm) Stop() { a.set(0) }

func (a *alarm) set(d time.Duration) {
	// It fails for a descriptor or a time that is no good, and neither can be.
	_ = unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
}

// Close frees it.
func (a *alarm) Close() error { return a.file.Close() }
