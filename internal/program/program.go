package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of a program whose time is up.
const (
	// KillGrace is the time between SIGTERM and SIGKILL for a program whose time
	// is up.
	KillGrace = 200 * time.Millisecond
	// killWait is how long a killed program may take to go. Only one that the
	// kernel holds (by a file system that hangs) takes longer.
	killWait = 500 * time.Millisecond
	// outputWait is how long a process that left the group may keep the outputs
	// of a program open that has ended.
	outputWait = 50 * time.Millisecond
)

// Program is a program to be run once. No shell is involved.
type Program struct {
	Args []string // the path, absolute, and the arguments
	User string   // whose rights it gets; empty: ours
	Env  []string // NAME=value; it finds these and little else
}

// Ending is how a run of a program ended.
type Ending struct {
	At             time.Time // when it ended, or its time was up
	Late           bool      // it had to be killed
	Unborn         bool      // late: it could not even be started
	Busy           bool      // it was not started: an earlier run has not ended
	Status         int       // exit status, where no signal ended it
	Signal         unix.Signal
	Stdout, Stderr Excerpt
}

// Run runs the program until it ends or ctx does. All processes that it started
// are gone afterwards, unless they left its process group. One that has to be killed
// may take [KillGrace] longer to go. The error is that of a program that could not be
// started.
func (p Program) Run(ctx context.Context) (Ending, error) {
	name := p.name()
	if hanging.has(name) {
		return Ending{At: time.Now(), Busy: true}, nil
	}
	end, over := new(Ending), make(chan struct{})
	defer close(over)
	cmd, err := p.startInTime(ctx, end, over)
	if errors.Is(err, errLateStart) {
		return Ending{At: time.Now(), Late: true, Unborn: true}, nil
	}
	if err != nil {
		return Ending{}, p.explain(err)
	}
	gone := exitOf(cmd.Process.Pid)
	select {
	case <-gone:
		end.At = time.Now()
	case <-ctx.Done():
		end.At, end.Late = time.Now(), true
		terminate(cmd.Process.Pid, gone)
	}
	// The number of the group cannot have been used again: until Wait, below, its
	// leader is a zombie.
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	select {
	case <-gone:
	case <-time.After(killWait):
		hanging.add(name, cmd, gone)
		return Ending{At: end.At, Late: true}, nil // not its outputs: they are still written to
	}
	return *end, end.reap(cmd)
}

// name tells programs apart.
func (p Program) name() string { return p.User + "\x00" + strings.Join(p.Args, "\x00") }

// start starts the process. A script that is just being replaced cannot be run
// for a moment, which says nothing of what it checks.
func (p Program) start(ctx context.Context, end *Ending) (*exec.Cmd, error) {
	for {
		cmd, err := p.command(end)
		if err != nil {
			return nil, err
		}
		if cmd.SysProcAttr.Credential == nil {
			err = cmd.Start()
		} else {
			err = withoutAmbient(cmd.Start)
		}
		if err == nil {
			return cmd, nil
		}
		if !errors.Is(err, unix.ETXTBSY) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// command prepares the process: a process group of its own, and nothing of ours
// but the rights, where no user is named. Standard input is /dev/null.
func (p Program) command(end *Ending) (*exec.Cmd, error) {
	who, err := accountOf(p.User)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(who.environment(), p.Env...)
	cmd.Stdout, cmd.Stderr = &end.Stdout, &end.Stderr
	cmd.WaitDelay = outputWait
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Credential: who.cred,
		// No program outlives a director that was killed. (The signal comes when the
		// thread ends that forked; in a Go process threads end only with a goroutine
		// that is still locked to its own, as none is here unless something failed.)
		Pdeathsig: syscall.SIGKILL,
	}
	return cmd, nil
}

// explain adds what to do about an error of the start.
func (p Program) explain(err error) error {
	err = cause(err)
	switch {
	case errors.Is(err, unix.EPERM) && p.User != "":
		return fmt.Errorf("%w; to run it as %s needs the capabilities CAP_SETUID and CAP_SETGID", err, p.User)
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("%w; a script has to begin with a line like #!/bin/sh", err)
	}
	return err
}

// exitOf returns a channel that is closed when a child has ended. The child
// remains a zombie.
func exitOf(pid int) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if ended := awaitExit(pid); ended {
			return
		}
		for {
			err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return gone
}

// awaitExit waits for the end of a child without a thread of its own: where programs
// hang this host may have none to spare. It reports false when it cannot.
func awaitExit(pid int) (ended bool) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Read(func(uintptr) bool {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		ended = err == nil && info.Signo != 0
		return ended || err != nil && !errors.Is(err, unix.EINTR)
	})
	return err == nil && ended
}

// terminate asks a process group to end and gives it a moment to do so.
func terminate(group int, gone <-chan struct{}) {
	_ = unix.Kill(-group, unix.SIGTERM)
	select {
	case <-gone:
	case <-time.After(KillGrace):
	}
}

// reap takes the zombie away and notes how the program ended.
func (e *Ending) reap(cmd *exec.Cmd) error {
	err := cmd.Wait() // an exit status is an error, too, and so are outputs held open
	if cmd.ProcessState == nil {
		return err
	}
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	e.Status = ws.ExitStatus()
	if ws.Signaled() {
		e.Signal = ws.Signal()
	}
	return nil
}

// cause strips an error of the path that the sentence around it has already.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
