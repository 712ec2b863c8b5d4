//go:build vm

// Package e2e holds baton to its promises from outside: the program itself, on
// two directors with real web servers and real clients, on a kernel with IPVS.
// Judges are the client, ipvsadm, the kernel and the wire, never baton alone.
//
//	make build
//	go test -exec "$PWD/test/vm/run" -tags vm -count=1 ./test/e2e
//
// A limit that only keeps a test from waiting for ever is stretched on an
// emulated machine. A limit that is a promise is not: where one has slack, a
// constant says how much and for what.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
	"baton/test/scene"
)

// batonPath is the program under test.
var batonPath string

func TestMain(m *testing.M) {
	var err error
	if batonPath, err = findBaton(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// findBaton finds what "make build" has built in this module.
func findBaton() (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return "", errors.New("these tests run inside of the module; there is no go.mod above")
		}
		root = filepath.Dir(root)
	}
	path := filepath.Join(root, "bin", "baton")
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("the program to test is missing; run \"make build\" first: %w", err)
	}
	if out, err := exec.CommandContext(context.Background(), path, "version").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s does not run; run \"make build\" again: %w\n%s", path, err, out)
	}
	if newer := newerSource(root, info.ModTime()); newer != "" {
		fmt.Fprintf(os.Stderr, "e2e: note: %s is newer than %s; \"make build\" tests what is there now\n", newer, path)
	}
	return path, nil
}

// newerSource is a source of the program that has changed since, or nothing.
func newerSource(root string, built time.Time) (newer string) {
	for _, dir := range []string{"cmd", "internal"} {
		_ = filepath.WalkDir(filepath.Join(root, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil //nolint:nilerr // what cannot be seen is not newer
			}
			if info, err := e.Info(); err == nil && info.ModTime().After(built) {
				newer = path
				return fs.SkipAll
			}
			return nil
		})
	}
	return newer
}

// patience is how long things may take that no promise is about.
const patience = 10 * time.Second

// slack is what the emulated machine may add to a promised time: reading the
// kernel's table, starting a program and scheduling a process each take tens of
// milliseconds there.
const slack = 500 * time.Millisecond

// build makes a scene of which nothing runs yet.
func build(t *testing.T, o scene.Options) *scene.Scene {
	t.Helper()
	o.Baton = batonPath
	if o.Forward == "" {
		o.Forward = scene.NAT
	}
	if o.Advert == 0 {
		o.Advert = time.Second
	}
	s, err := scene.New(lab.New(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start makes a scene in which all is well: the first director owns the VIP, both
// have all servers.
func start(t *testing.T, o scene.Options) *scene.Scene {
	t.Helper()
	s := build(t, o)
	must(t, s.Start())
	must(t, s.Ready(patience))
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a program on a host.
func run(t *testing.T, h *lab.Host, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(patience))
	defer cancel()
	out, err := h.Run(ctx, name, args...)
	must(t, err)
	return out
}

// ipvsadm runs ipvsadm on a director with the words of a command line.
func ipvsadm(t *testing.T, d *scene.Director, line string) string {
	t.Helper()
	return run(t, d.Host, "ipvsadm", strings.Fields(line)...)
}

// baton runs a command of baton against a director.
func baton(t *testing.T, d *scene.Director, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(patience))
	defer cancel()
	out, err := d.Baton(ctx, args...)
	must(t, err)
	return out
}

// eventually waits for something that no promise is about.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	lab.Eventually(t, patience, check)
}

// owner returns nil if this director alone has the VIP.
func owner(s *scene.Scene, want *scene.Director) error {
	var names []string
	for _, d := range s.Owners() {
		names = append(names, d.Name)
	}
	if len(names) != 1 || names[0] != want.Name {
		return fmt.Errorf("the VIP is on %q, not on %s alone", names, want.Name)
	}
	return nil
}

// within fails the test if something took longer than what is promised for it.
func within(t *testing.T, what string, took, promised time.Duration) {
	t.Helper()
	t.Logf("%s: %s, promised %s", what, took.Round(time.Millisecond), promised)
	if took > promised {
		t.Errorf("%s took %s, not %s at most", what, took.Round(time.Millisecond), promised)
	}
}

// The load of the tests: so many requests at a time, and the pause after each.
const (
	workers = 4
	pause   = 20 * time.Millisecond
)

// atMost fails the test if more requests failed, or if there was none at all.
func atMost(t *testing.T, what string, failed, all scene.Requests, limit int) {
	t.Helper()
	if len(all) == 0 {
		t.Fatalf("%s: no requests were made", what)
	}
	t.Logf("%s: %d of %d requests failed, longest time without an answer %s",
		what, len(failed), len(all), all.Outage().Round(time.Millisecond))
	if len(failed) <= limit {
		return
	}
	t.Errorf("%s: %d of %d requests failed, not %d at most", what, len(failed), len(all), limit)
	for _, r := range failed[:min(len(failed), 5)] {
		t.Logf("  %s after %s: %v", r.At.Format("15:04:05.000"), r.Took.Round(time.Millisecond), r.Err)
	}
}
