package program

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

var errLateStart = errors.New("it did not start in time")

// startInTime starts the process, and gives up when ctx ends: looking up the account
// may wait for a file system that hangs, and so may reading the program. What starts
// after all is killed at once, and until then the program is one that hangs.
//
// The goroutine that starts the process lasts until the run is over; see
// [withoutAmbient].
func (p Program) startInTime(ctx context.Context, end *Ending, over <-chan struct{}) (*exec.Cmd, error) {
	type started struct {
		cmd *exec.Cmd
		err error
	}
	done := make(chan started, 1)
	go func() {
		if len(p.Args) > 0 {
			touch(p.Args[0])
		}
		cmd, err := p.start(ctx, end)
		done <- started{cmd, err}
		<-over
	}()
	select {
	case s := <-done:
		return s.cmd, s.err
	case <-ctx.Done():
	}
	hanging.mark(p.name(), func() {
		if s := <-done; s.cmd != nil {
			_ = unix.Kill(-s.cmd.Process.Pid, unix.SIGKILL)
			_ = s.cmd.Wait() // how it ended is of no interest any more
		}
	})
	return nil, errLateStart
}

// touch reads the beginning of a program and of its interpreter, as execve(2) is
// about to. Where their file system hangs, only this goroutine does so. In execve it
// would be the thread that forks, which the runtime has to wait for, and with it
// everything else in this process. Other errors are execve's to report.
func touch(path string) {
	const depth = 4 // as many as the kernel allows (exec_binprm)
	for range depth {
		f, err := os.Open(path)
		if err != nil {
			return
		}
		head := make([]byte, 256)
		n, _ := f.Read(head)
		_ = f.Close()
		line, _, _ := bytes.Cut(head[:n], []byte("\n"))
		line, isScript := bytes.CutPrefix(line, []byte("#!"))
		fields := bytes.Fields(line)
		if !isScript || len(fields) == 0 {
			return
		}
		path = string(fields[0])
	}
}
