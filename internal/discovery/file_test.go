package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"baton/test/logs"
)

// lines parses a file with an address in each line.
func lines(path string, data []byte) (out []Server, err error) {
	for i, l := range strings.Fields(string(data)) {
		a, err := netip.ParseAddr(l)
		if err != nil {
			return nil, fmt.Errorf("%s:%d:1: %w", path, i+1, err)
		}
		out = append(out, Server{Address: a})
	}
	return out, nil
}

// watchFiles runs a Discovery with one source for each file.
func watchFiles(t *testing.T, paths ...string) (*Discovery, *logs.Buffer) {
	t.Helper()
	log := new(logs.Buffer)
	d := New(Options{Parse: lines, Log: log.Logger()})
	var wants []Want
	for _, p := range paths {
		wants = append(wants, Want{Service: "web", Source: Source{File: p}})
	}
	d.Set(wants)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d, log
}

func (d *Discovery) text(i int) string { return fmt.Sprint(d.Found()[i].Servers) }

// Each way of changing a file is seen by the kernel's word, long before it is read
// without one.
func TestFileChanges(t *testing.T) {
	if filePoll < patience/2 {
		t.Fatal("the test would not see the difference")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "servers")
	d, log := watchFiles(t, file)
	fails := func() bool { return d.Status()[0].Error != "" }
	eventually(t, "the missing file is an error", fails)
	is := func(want string) {
		t.Helper()
		// Within filePoll it can only be the kernel's word.
		began := timeOf()
		eventually(t, want, func() bool { return d.text(0) == want })
		if took := timeOf() - began; took > filePoll {
			t.Errorf("%s only after %s", want, took)
		}
	}
	must(t, os.WriteFile(file, []byte("10.0.0.1 10.0.0.2"), 0o600))
	is("[10.0.0.1 10.0.0.2]")
	temporary := filepath.Join(dir, ".new")
	must(t, os.WriteFile(temporary, []byte("10.0.0.2 10.0.0.3"), 0o600))
	must(t, os.Rename(temporary, file))
	is("[10.0.0.2 10.0.0.3]")

	// A mistake, another one, and a missing file change nothing; each is said once.
	must(t, os.WriteFile(file, []byte("10.0.0.2 10.0.0.9 nonsense"), 0o600))
	eventually(t, "an error with its place", func() bool { return strings.Contains(d.Status()[0].Error, file+":3:1:") })
	must(t, os.WriteFile(file, []byte("nonsense"), 0o600))
	eventually(t, "another error", func() bool { return strings.Contains(d.Status()[0].Error, file+":1:1:") })
	must(t, os.Remove(file))
	eventually(t, "a missing file", func() bool { return strings.Contains(d.Status()[0].Error, "no such file") })
	is("[10.0.0.2 10.0.0.3]")
	must(t, os.Mkdir(file, 0o700))
	eventually(t, "a folder", func() bool { return strings.Contains(d.Status()[0].Error, "not a regular file") })
	must(t, os.Remove(file))
	must(t, syscall.Mkfifo(file, 0o600))
	must(t, os.Remove(file))
	must(t, os.WriteFile(file, []byte(strings.Repeat(" ", maxFile+1)), 0o600))
	eventually(t, "a file that is too large", func() bool { return strings.Contains(d.Status()[0].Error, "has more than") })
	must(t, os.WriteFile(file, []byte("10.0.0.2 10.0.0.3 10.0.0.4"), 0o600))
	is("[10.0.0.2 10.0.0.3 10.0.0.4]")
	for _, want := range []string{":3:1:", ":1:1:"} {
		if n := strings.Count(log.String(), file+want); n != 1 {
			t.Errorf("%s stands %d times in the log:\n%s", want, n, log)
		}
	}
	if fails() {
		t.Error(d.Status()[0].Error)
	}
}

// Kubernetes replaces all files of a volume by one rename of a link to a folder.
func TestFileBehindALink(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name, "servers"), []byte(text), 0o600))
		must(t, os.Symlink(name, filepath.Join(dir, "..new")))
		must(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
	}
	version("..1", "10.0.0.1")
	must(t, os.Symlink("..data/servers", filepath.Join(dir, "servers")))
	d, _ := watchFiles(t, filepath.Join(dir, "servers"))
	eventually(t, "the first version", func() bool { return d.text(0) == "[10.0.0.1]" })
	began := timeOf()
	version("..2", "10.0.0.1 10.0.0.2")
	eventually(t, "the second", func() bool { return d.text(0) == "[10.0.0.1 10.0.0.2]" })
	if took := timeOf() - began; took > filePoll {
		t.Errorf("seen after %s", took)
	}
}

// When one of two sources goes that have their files in one folder, the other one
// still hears.
func TestFilesOfOneFolder(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	must(t, errors.Join(os.WriteFile(a, []byte("10.0.0.1"), 0o600), os.WriteFile(b, []byte("10.0.0.2"), 0o600)))
	d, _ := watchFiles(t, a, b)
	eventually(t, "both", func() bool { return d.text(0) == "[10.0.0.1]" && d.text(1) == "[10.0.0.2]" })
	d.Set([]Want{{Service: "web", Source: Source{File: b}}})
	must(t, os.WriteFile(b, []byte("10.0.0.2 10.0.0.3"), 0o600))
	began := timeOf()
	eventually(t, "the change", func() bool { return d.text(0) == "[10.0.0.2 10.0.0.3]" })
	if took := timeOf() - began; took > filePoll {
		t.Errorf("seen after %s", took)
	}
	// The folder goes and comes back.
	must(t, os.RemoveAll(dir))
	eventually(t, "nothing to read", func() bool { return d.Status()[0].Error != "" })
	must(t, errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(b, []byte("10.0.0.2 10.0.0.3 10.0.0.4"), 0o600)))
	eventually(t, "the new folder's", func() bool { return d.text(0) == "[10.0.0.2 10.0.0.3 10.0.0.4]" })
	must(t, os.WriteFile(b, []byte("10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5"), 0o600))
	began = timeOf()
	eventually(t, "its change", func() bool {
		return slices.Equal([]string{d.text(0)}, []string{"[10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5]"})
	})
	if took := timeOf() - began; took > filePoll {
		t.Errorf("seen after %s", took)
	}
}
