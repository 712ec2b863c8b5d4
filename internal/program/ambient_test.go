package program

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A program with another user's rights has none of ours, also where we are not
// root and have them as ambient capabilities.
func TestExecUserLosesAmbientCapabilities(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root; run: sudo make test")
	}
	show := []string{"/bin/sh", "-c", "grep -E '^Cap(Prm|Amb)' /proc/self/status | tr -d '\\n\\t'"}
	const all, none = "CapPrm:0000000000001000CapAmb:0000000000001000", "CapPrm:0000000000000000CapAmb:0000000000000000"
	for _, tt := range []struct{ user, want string }{{"", all}, {"nobody", none}, {"", all}} {
		got := make(chan string)
		go func() { got <- asDaemonWithAmbient(Program{Args: show, User: tt.user}) }()
		if text := <-got; text != tt.want {
			t.Errorf("as %q it has %s, want %s", tt.user, text, tt.want)
		}
	}
}

// asDaemonWithAmbient runs a program from a thread that is not root and has one
// ambient capability. The thread ends with the goroutine.
func asDaemonWithAmbient(p Program) string {
	runtime.LockOSThread()
	const daemon = 1
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	must(unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0))
	// Of this thread alone; package syscall would change all of them.
	_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, daemon, daemon, daemon)
	if errno != 0 {
		panic(errno)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	caps := [2]unix.CapUserData{}
	own := uint32(1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_KILL)
	caps[0] = unix.CapUserData{Effective: own, Permitted: own, Inheritable: 1 << unix.CAP_NET_ADMIN}
	must(unix.Capset(&header, &caps[0]))
	must(unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_ADMIN, 0, 0))
	end := new(Ending)
	cmd, err := p.start(context.Background(), end) // as Run has it done, by this thread
	if err == nil {
		err = end.reap(cmd)
	}
	if err != nil {
		return err.Error()
	}
	set, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, unix.CAP_NET_ADMIN, 0, 0)
	if set != 1 || err != nil {
		return fmt.Sprintf("the thread has lost its capability: %d, %v", set, err)
	}
	return string(bytes.TrimSpace(end.Stdout.Kept)) + string(end.Stderr.Kept)
}
