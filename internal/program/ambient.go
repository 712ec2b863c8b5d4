package program

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// withoutAmbient runs f, which starts a process, on a thread without ambient
// capabilities. They are what a daemon has that is not root (systemd's
// AmbientCapabilities=), and without this a process would keep them in spite of
// another user: the kernel takes them away only from root's.
func withoutAmbient(f func() error) error {
	runtime.LockOSThread()
	var held []uintptr
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if set, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, c, 0, 0); err == nil && set == 1 {
			held = append(held, c)
		}
	}
	if len(held) == 0 {
		defer runtime.UnlockOSThread()
		return f()
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		defer runtime.UnlockOSThread()
		return fmt.Errorf("give up the ambient capabilities: %w", err)
	}
	err := f()
	for _, c := range held {
		if unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0) != nil {
			// The thread stays locked and ends with this goroutine: nothing else must
			// run on it. The process has started, and that is what counts.
			return err
		}
	}
	runtime.UnlockOSThread()
	return err
}
