package network

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespace is the network namespace that a manager works in. The kernel's
// sockets remember theirs; /proc/sys is that of whichever thread looks at it,
// and a goroutine may run on any.
type namespace struct{ file *os.File }

// ownNamespace is the file that is a thread's network namespace.
const ownNamespace = "/proc/thread-self/ns/net"

// thisNamespace returns that of the calling thread.
func thisNamespace() (namespace, error) {
	f, err := os.Open(ownNamespace)
	return namespace{f}, err
}

func (n namespace) close() {
	if n.file != nil {
		n.file.Close()
	}
}

// do runs f on a thread in the namespace. A program whose threads are all in it
// needs nothing for that; otherwise it takes CAP_SYS_ADMIN.
func (n namespace) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		back, err := n.enter()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err = f()
		if errBack := back(); errBack != nil {
			done <- errors.Join(err, errBack)
			return // still locked: the thread ends with the goroutine
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

// enter moves the calling thread into the namespace, unless it is there.
func (n namespace) enter() (back func() error, err error) {
	var here, there unix.Stat_t
	if err := unix.Stat(ownNamespace, &here); err != nil {
		return nil, os.NewSyscallError("stat", err)
	}
	if err := unix.Fstat(int(n.file.Fd()), &there); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if here.Dev == there.Dev && here.Ino == there.Ino {
		return func() error { return nil }, nil
	}
	was, err := thisNamespace()
	if err != nil {
		return nil, err
	}
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		was.close()
		return nil, fmt.Errorf("enter the network namespace: %w", err)
	}
	return func() error {
		defer was.close()
		return os.NewSyscallError("setns", unix.Setns(int(was.file.Fd()), unix.CLONE_NEWNET))
	}, nil
}
