package check

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killGrace is the time between SIGTERM and SIGKILL for a program whose time
	// is up.
	killGrace = 200 * time.Millisecond
	// killWait is how long a killed program may take to go. Only one that the
	// kernel holds (by a file system that hangs) takes longer.
	killWait = 500 * time.Millisecond
	// outputWait is how long a process that left the group may keep the outputs
	// of a program open that has ended.
	outputWait = 50 * time.Millisecond
)

// program is a program to be run once.
type program struct {
	args []string // the path, absolute, and the arguments
	user string   // whose rights it gets; empty: ours
}

// ending is how a run of a program ended.
type ending struct {
	at             time.Time // when it ended, or its time was up
	late           bool      // it had to be killed
	busy           bool      // it was not started: an earlier run has not ended
	status         int       // exit status, where no signal ended it
	signal         unix.Signal
	stdout, stderr excerpt
}

// run runs the program until it ends or ctx does. All processes that it started
// are gone afterwards, unless they left its process group.
func (p program) run(ctx context.Context) (ending, error) {
	name := p.user + "\x00" + strings.Join(p.args, "\x00")
	if hanging.has(name) {
		return ending{at: time.Now(), busy: true}, nil
	}
	end := new(ending)
	cmd, err := p.start(ctx, end)
	if err != nil {
		return ending{}, p.explain(err)
	}
	gone := exitOf(cmd.Process.Pid)
	select {
	case <-gone:
		end.at = time.Now()
	case <-ctx.Done():
		end.at, end.late = time.Now(), true
		terminate(cmd.Process.Pid, gone)
	}
	// The number of the group cannot have been used again: until Wait, below, its
	// leader is a zombie.
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	select {
	case <-gone:
	case <-time.After(killWait):
		hanging.add(name, cmd, gone)
		return ending{at: end.at, late: true}, nil // not its outputs: they are still written to
	}
	return *end, end.reap(cmd)
}

// start starts the process. A script that is just being replaced cannot be run
// for a moment, which says nothing of what it checks.
func (p program) start(ctx context.Context, end *ending) (*exec.Cmd, error) {
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
func (p program) command(end *ending) (*exec.Cmd, error) {
	who, err := accountOf(p.user)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Dir = "/"
	cmd.Env = who.environment()
	cmd.Stdout, cmd.Stderr = &end.stdout, &end.stderr
	cmd.WaitDelay = outputWait
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Credential: who.cred,
		// No program outlives a director that was killed. (The signal comes when the
		// thread ends that forked; in a Go process threads end only by
		// runtime.LockOSThread, which no room uses.)
		Pdeathsig: syscall.SIGKILL,
	}
	return cmd, nil
}

// explain adds what to do about an error of the start.
func (p program) explain(err error) error {
	err = cause(err)
	switch {
	case errors.Is(err, unix.EPERM) && p.user != "":
		return failf(EXERR, "%s; to run it as %s needs the capabilities CAP_SETUID and CAP_SETGID", err, p.user)
	case errors.Is(err, unix.ENOEXEC):
		return failf(EXERR, "%s; a script has to begin with a line like #!/bin/sh", err)
	}
	return err
}

// exitOf returns a channel that is closed when a child has ended. The child
// remains a zombie.
func exitOf(pid int) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return gone
}

// terminate asks a process group to end and gives it a moment to do so.
func terminate(group int, gone <-chan struct{}) {
	_ = unix.Kill(-group, unix.SIGTERM)
	select {
	case <-gone:
	case <-time.After(killGrace):
	}
}

// reap takes the zombie away and notes how the program ended.
func (e *ending) reap(cmd *exec.Cmd) error {
	err := cmd.Wait() // an exit status is an error, too, and so are outputs held open
	if cmd.ProcessState == nil {
		return err
	}
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	e.status = ws.ExitStatus()
	if ws.Signaled() {
		e.signal = ws.Signal()
	}
	return nil
}
