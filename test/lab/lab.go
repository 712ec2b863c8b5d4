// Package lab builds networks for tests, demos and benchmarks on one machine: hosts are network
// namespaces, switches are bridges in a namespace of their own, cables are veth pairs. It starts
// processes on the hosts, breaks things (cables, switches, processes), captures packets, and
// leaves nothing behind. The machine's own network is never touched.
//
//	l := lab.New(t)
//	lan := l.Bridge("lan")
//	a, b := l.Host("a"), l.Host("b")
//	a.Connect(lan, "eth0", "10.0.0.1/24", "fd00::1/64")
//	cable := b.Connect(lan, "eth0", "10.0.0.2/24", "fd00::2/64")
//	daemon := a.Start(lab.Proc{Args: []string{"keepalived", "-n", "-f", conf}})
//	seen := l.Capture(b, "eth0", "vrrp")
//	cable.Down()
//	daemon.Kill()
//
// # Errors
//
// What builds the lab or injects a fault does not return an error. In a test (New) a failure ends
// the test at once. Without one (Open) the first failure sticks: later calls do nothing, and Err
// tells what it was; ask it after building. What expresses an outcome (Run, Do, Dial, Wait) does
// return its error.
//
// # Cleaning up
//
// Processes are killed when the lab closes, and by the kernel when the program that owns the lab
// dies. Namespaces of an owner that was killed outright remain; the next lab on the machine, from
// whatever program, removes them.
//
// # Slow machines
//
// Under an emulated processor everything takes 10 to 20 times as long. Patience stretches a
// duration accordingly, and Eventually does so by itself.
package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Lab is a set of hosts and bridges that live and end together. Its methods may be called from
// several goroutines; in a test those that do not return an error only from the test's own.
type Lab struct {
	t    testing.TB // nil without a test
	logf func(format string, args ...any)
	dir  string
	name string // the prefix of its namespaces

	mu       sync.Mutex
	err      error
	closed   bool
	switches *namespace // holds the bridges, the switch ends of the cables and the fault rules
	hosts    []*Host
	byName   map[string]*Host
	bridges  map[string]*Bridge
	links    []*Link
	captures []*Capture
	procs    []*Process
	blocks   []block
}

var labs atomic.Int64

// New makes an empty lab that ends with the test. It needs root and fails the test without: a
// test that silently skips proves nothing. When the test has failed, the last lines that each
// process wrote are logged.
func New(t testing.TB) *Lab {
	t.Helper()
	l, err := open(t.Logf, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l.t = t
	t.Cleanup(func() {
		if t.Failed() {
			l.showOutput()
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Open makes an empty lab for programs other than tests. They must Close it. Files of its
// processes lie in Dir until then. logf may be nil.
func Open(logf func(format string, args ...any)) (*Lab, error) {
	if logf == nil {
		logf = func(string, ...any) {}
	}
	return open(logf, "")
}

func open(logf func(string, ...any), dir string) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("lab: needs root; run: sudo make test")
	}
	prefix, err := ownPrefix()
	if err != nil {
		return nil, err
	}
	if err := sweep(); err != nil {
		// Ruins of others are no reason to fail, but somebody should know.
		logf("lab: cleaning up after earlier labs: %v", err)
	}
	l := &Lab{
		logf:    logf,
		dir:     dir,
		name:    fmt.Sprintf("%s%d-", prefix, labs.Add(1)),
		byName:  make(map[string]*Host),
		bridges: make(map[string]*Bridge),
	}
	if l.dir == "" {
		l.dir = filepath.Join(os.TempDir(), l.name+"files")
		if err := os.Mkdir(l.dir, 0o755); err != nil {
			return nil, fmt.Errorf("lab: %w", err)
		}
	}
	if l.switches, err = newNamespace(l.name+"switches", "switches"); err != nil {
		return nil, errors.Join(fmt.Errorf("lab: %w", err), os.RemoveAll(l.dir))
	}
	// The switches only forward frames: they must not speak themselves, which IPv6 does unasked.
	if err := l.switches.sysctl("net.ipv6.conf.all.disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("lab: %w", err), l.Close())
	}
	if err := l.switches.sysctl("net.ipv6.conf.default.disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("lab: %w", err), l.Close())
	}
	return l, nil
}

// Err returns the first failure of a method that does not return an error itself. In a test it
// is always nil, since such a failure ends the test.
func (l *Lab) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Dir is a folder for files that the lab's processes need; it vanishes with the lab.
func (l *Lab) Dir() string { return l.dir }

// Hosts returns the hosts in the order of their creation.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*Host(nil), l.hosts...)
}

// fail ends the test, or makes the error stick. Callers must not hold l.mu.
func (l *Lab) fail(err error) {
	if err == nil {
		return
	}
	err = fmt.Errorf("lab: %w", err)
	if l.t != nil {
		l.t.Helper()
		l.t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// broken tells whether an error has stuck, or the lab has ended.
func (l *Lab) broken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil || l.closed
}

// Close kills every process on every host and removes the hosts, the bridges and the files. It
// may be called more than once.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	captures, hosts, procs := l.captures, l.hosts, l.procs
	l.mu.Unlock()

	var errs []error
	for _, c := range captures {
		errs = append(errs, c.Stop())
	}
	namespaces := []*namespace{l.switches}
	for _, h := range hosts {
		namespaces = append(namespaces, h.ns)
	}
	if err := killIn(namespaces); err != nil {
		errs = append(errs, err)
	}
	for _, p := range procs {
		<-p.done
	}
	for _, ns := range namespaces {
		errs = append(errs, ns.close())
	}
	errs = append(errs, os.RemoveAll(l.dir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("lab: closing: %w", err)
	}
	return nil
}

func (l *Lab) showOutput() {
	const lines = 60
	l.mu.Lock()
	procs := l.procs
	l.mu.Unlock()
	for _, p := range procs {
		all := strings.Split(strings.TrimRight(p.Output(), "\n"), "\n")
		if len(all) > lines {
			all = append([]string{fmt.Sprintf("… %d lines before", len(all)-lines)}, all[len(all)-lines:]...)
		}
		l.logf("lab: %s: output of %s (%s):\n\t%s", p.host.name, strings.Join(p.spec.Args, " "), p.state(), strings.Join(all, "\n\t"))
	}
}

// ---- remains of labs whose owner was killed ---------------------------------------------------

const (
	netnsDir   = "/run/netns"
	namePrefix = "baton-"
)

// ownPrefix is what the names of this program's namespaces begin with: the process and, since
// numbers of processes are used again, the time at which it began.
func ownPrefix() (string, error) {
	began, err := startTime(os.Getpid())
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	return fmt.Sprintf("%s%d-%s-", namePrefix, os.Getpid(), began), nil
}

// orphaned tells whether a name is one that ownPrefix made for a process that is gone.
func orphaned(name string) bool {
	rest, ours := strings.CutPrefix(name, namePrefix)
	if !ours {
		return false
	}
	var pid int
	parts := strings.SplitN(rest, "-", 3)
	if len(parts) < 3 {
		return false
	}
	if _, err := fmt.Sscanf(parts[0], "%d", &pid); err != nil {
		return false
	}
	began, err := startTime(pid)
	if err != nil {
		return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH)
	}
	return began != parts[1]
}

// sweep removes the namespaces, processes and folders of labs whose owner is gone.
func sweep() error {
	entries, err := os.ReadDir(netnsDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if !orphaned(entry.Name()) {
			continue
		}
		ns, err := openNamespace(entry.Name())
		if err == nil {
			// Processes that detached themselves have outlived their parents.
			err = killIn([]*namespace{ns})
			errs = append(errs, err)
			err = ns.close()
		} else {
			err = removeName(entry.Name())
		}
		errs = append(errs, err)
	}
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), namePrefix+"*-files"))
	errs = append(errs, err)
	for _, folder := range folders {
		if orphaned(filepath.Base(folder)) {
			errs = append(errs, os.RemoveAll(folder))
		}
	}
	return errors.Join(errs...)
}
