package pulse

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Favour makes the kernel run this process before others and keep it in memory:
// a late advert is a takeover. Each part that is not permitted is returned as an
// error; the process works without, only less surely in time.
//
// The class is round robin and not first in, first out: the runtime's threads wait
// for each other by yielding, and under SCHED_FIFO one that yields to a thread that
// waits on another processor's queue spins for good.
func Favour() error {
	return errors.Join(lockMemory(), setScheduler(unix.SCHED_RR, realtimePriority))
}

// Unfavour gives a child process back the ordinary class that it inherited ours
// over.
func Unfavour() error { return setScheduler(unix.SCHED_NORMAL, 0) }

// realtimePriority is the lowest real-time priority: above everything ordinary,
// below the kernel's own threads that carry the packets.
const realtimePriority = 1

// lockMemory keeps pages once touched from being swapped out. On fault: a Go
// process reserves far more address space than it uses. Without huge pages, for the
// same reason: each would be two megabytes in memory for the little of it that is
// touched. The director inherits that; it gives memory back in small pieces, which
// the kernel would make whole again with huge pages.
func lockMemory() error {
	// A kernel that cannot do without huge pages costs memory and nothing else.
	_ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0)
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("lock the memory (needs CAP_IPC_LOCK or LimitMEMLOCK=infinity): %w", err)
	}
	return nil
}

// setScheduler sets the class of all threads there are; threads made later
// inherit it from the one that makes them. One that was being made meanwhile by a
// thread whose turn had not come yet has the old class, so it looks again until
// it finds no new one.
func setScheduler(policy uint32, priority uint32) error {
	attr := unix.SchedAttr{Policy: policy, Priority: priority}
	attr.Size = uint32(unsafe.Sizeof(attr))
	done := map[int]bool{}
	for fresh := true; fresh; {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list the threads of this process: %w", err)
		}
		fresh = false
		for _, t := range threads {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || done[tid] {
				continue
			}
			done[tid], fresh = true, true
			if err := unix.SchedSetAttr(tid, &attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("set the scheduling class (needs CAP_SYS_NICE or LimitRTPRIO=): %w", err)
			}
		}
	}
	return nil
}
