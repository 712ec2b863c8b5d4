package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Proc says what to start.
type Proc struct {
	Args []string // the program and its arguments
	Env  []string // added to the environment of this program, NAME=value
	Dir  string   // default: this program's
	Log  string   // file that both outputs are appended to; default: one in the lab's Dir
	// OnExit is called once, on a goroutine of its own, when the process has ended.
	OnExit func(p *Process, err error)
}

// Process is one that Start started. It is killed at the latest with the lab.
type Process struct {
	host *Host
	spec Proc
	log  string
	cmd  *exec.Cmd
	done chan struct{}
	mark string // an environment entry that its descendants inherit
	err  error  // valid after done

	mu     sync.Mutex
	reaped bool
}

// Start starts a process on the host. Its output goes to a file rather than through a pipe, so
// that a child of it which lives on can still write, and is not killed by that.
func (h *Host) Start(spec Proc) *Process {
	p := &Process{host: h, spec: spec, done: make(chan struct{})}
	if !h.usable() {
		p.err = errNoHost
		close(p.done)
		return p
	}
	if err := p.start(); err != nil {
		p.err = err
		close(p.done)
		h.lab.fail(fmt.Errorf("host %s: starting %s: %w", h.name, strings.Join(spec.Args, " "), err))
	}
	return p
}

func (p *Process) start() error {
	if len(p.spec.Args) == 0 {
		return errors.New("no program given")
	}
	l := p.host.lab
	l.mu.Lock()
	number := len(l.procs) + 1
	l.mu.Unlock()
	p.log = p.spec.Log
	if p.log == "" {
		p.log = filepath.Join(l.dir, fmt.Sprintf("%s-%d-%s.log", p.host.name, number, filepath.Base(p.spec.Args[0])))
	}
	output, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()

	name := p.spec.Args[0]
	// Not bound to a context: it ends when Stop, Kill or Close say so.
	p.cmd = exec.CommandContext(context.Background(), name, p.spec.Args[1:]...)
	if path := sbin(name, p.cmd.Path); path != p.cmd.Path {
		p.cmd.Path, p.cmd.Err = path, nil
	}
	p.mark = fmt.Sprintf("BATON_LAB_PROCESS=%s%d", l.name, number)
	p.cmd.Env = append(append(os.Environ(), p.spec.Env...), p.mark)
	p.cmd.Dir = p.spec.Dir
	p.cmd.Stdout, p.cmd.Stderr = output, output
	// A process group of its own: a Ctrl-C at the terminal is for the owner of the lab.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.host.ns.onThread(p.cmd.Start); err != nil {
		return err
	}
	l.mu.Lock()
	l.procs = append(l.procs, p)
	l.mu.Unlock()

	go func() {
		// Wait for the end without reaping first: until reaped is set the number is ours, and a
		// signal cannot hit a stranger that got it after us.
		for {
			err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		p.mu.Lock()
		p.reaped = true
		p.err = p.cmd.Wait()
		p.mu.Unlock()
		close(p.done)
		if p.spec.OnExit != nil {
			p.spec.OnExit(p, p.err)
		}
	}()
	return nil
}

// Pid is the process's number, or 0 if it could not be started.
func (p *Process) Pid() int {
	if p.cmd == nil || p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Host is where it runs.
func (p *Process) Host() *Host { return p.host }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running tells whether it has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits for the end and returns nil for exit status 0, otherwise an *exec.ExitError.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

func (p *Process) state() string {
	if p.Running() {
		return fmt.Sprintf("running, pid %d", p.Pid())
	}
	if p.err != nil {
		return p.err.Error()
	}
	return "exit status 0"
}

// Output is what it and its children have written so far.
func (p *Process) Output() string {
	if p.log == "" {
		return ""
	}
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// AwaitOutput waits until the output contains a text, for at most that long (stretched by
// Patience). It fails at once when the process ends without having written it.
func (p *Process) AwaitOutput(within time.Duration, text string) error {
	deadline := time.Now().Add(Patience(within))
	for {
		running := p.Running()
		if strings.Contains(p.Output(), text) {
			return nil
		}
		if !running {
			return fmt.Errorf("lab: %s ended (%s) without writing %q:\n%s", p.spec.Args[0], p.state(), text, p.Output())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("lab: %s did not write %q within %v:\n%s", p.spec.Args[0], text, Patience(within), p.Output())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Signal sends a signal to the process alone, not to its children.
func (p *Process) Signal(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped || p.Pid() == 0 {
		return os.ErrProcessDone
	}
	return unix.Kill(p.Pid(), signal)
}

// Stop ends it as a service manager would: SIGTERM, and SIGKILL for the whole tree if it has not
// ended in time (stretched by Patience), which is an error.
func (p *Process) Stop(within time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(Patience(within)):
		p.Kill()
		return fmt.Errorf("lab: %s was still running %v after SIGTERM", p.spec.Args[0], Patience(within))
	}
}

// Kill ends the process and all its descendants at once, also those that have detached
// themselves, and waits for the end of the first. None of them gets to act on the death of
// another: all are stopped before the first is killed.
func (p *Process) Kill() {
	p.signalTree(syscall.SIGKILL)
	<-p.done
}

// Freeze stops the process and all its descendants (SIGSTOP), like a machine that hangs.
func (p *Process) Freeze() { p.signalTree(syscall.SIGSTOP) }

// Thaw lets them go on (SIGCONT).
func (p *Process) Thaw() { p.signalTree(syscall.SIGCONT) }

func (p *Process) signalTree(signal syscall.Signal) {
	if p.Pid() == 0 {
		return
	}
	// A process that is being forked right now shows up in the next round.
	stopped := make(map[int]bool)
	for signal != syscall.SIGCONT {
		fresh := false
		for _, pid := range p.Tree() {
			if !stopped[pid] {
				stopped[pid], fresh = true, true
				// An error means that it has just ended.
				_ = unix.Kill(pid, unix.SIGSTOP)
			}
		}
		if fresh {
			continue
		}
		awaitStopped(stopped)
		break
	}
	if signal == syscall.SIGSTOP {
		return
	}
	// The first last: when the parent of a group of stopped processes dies, the kernel lets them
	// go on (setpgid(2): an orphaned process group).
	for _, pid := range slices.Backward(p.Tree()) {
		_ = unix.Kill(pid, signal)
	}
}

// awaitStopped waits until no thread of the processes runs any more, which takes a busy machine a
// while after the signal. It gives up after a second, because a thread may be held by the kernel.
func awaitStopped(pids map[int]bool) {
	for began := time.Now(); ; time.Sleep(100 * time.Microsecond) {
		running := false
		for pid := range pids {
			running = running || runs(pid)
		}
		if !running || time.Since(began) > Patience(time.Second) {
			return
		}
	}
}

// runs tells whether a thread of the process is neither stopped nor dead.
func runs(pid int) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // it has just ended
		}
		_, state, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
		if state != "" && !strings.ContainsRune("TtZX", rune(state[0])) {
			return true
		}
	}
	return false
}

// Tree lists the process, while it runs, and its living descendants: its children and theirs, and
// those that were given another parent but have its environment.
func (p *Process) Tree() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	table := processes()
	var tree []int
	if !p.reaped {
		tree = append(tree, p.Pid())
	}
	for pid := range table {
		if pid != p.Pid() && p.marked(pid) {
			tree = append(tree, pid)
		}
	}
	for i := 0; i < len(tree); i++ {
		for pid, parent := range table {
			if parent == tree[i] && !slices.Contains(tree, pid) {
				tree = append(tree, pid)
			}
		}
	}
	return tree
}

func (p *Process) marked(pid int) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && slices.Contains(strings.Split(string(environ), "\x00"), p.mark)
}

// processes maps every living process of the machine to its parent.
func processes() map[int]int {
	table := make(map[int]int)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return table
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		fields, err := statFields(pid)
		if err != nil || fields[0] == "Z" {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			table[pid] = parent
		}
	}
	return table
}

// statFields are those of /proc/PID/stat after the name, which may contain anything: state,
// parent, and so on.
func statFields(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	end := strings.LastIndexByte(string(text), ')')
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 20 {
		return nil, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	return fields, nil
}

// startTime is when a process began, in the kernel's own count.
func startTime(pid int) (string, error) {
	fields, err := statFields(pid)
	if err != nil {
		return "", err
	}
	return fields[19], nil
}

// killIn kills every process in the given namespaces and waits until none is left.
func killIn(namespaces []*namespace) error {
	inside := make(map[uint64]bool)
	for _, ns := range namespaces {
		inside[ns.inode] = true
	}
	deadline := time.Now().Add(Patience(5 * time.Second))
	for {
		var left []int
		for pid := range processes() {
			var stat unix.Stat_t
			err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &stat)
			if err == nil && inside[stat.Ino] && pid != os.Getpid() {
				left = append(left, pid)
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v survive SIGKILL", left)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
