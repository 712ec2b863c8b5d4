package track

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
)

// fileOf tracks a file that is read again only after an hour, unless the kernel
// tells of a change.
func fileOf(path string, weight int) Object {
	return Object{Router: "web", Name: "f", Weight: weight, Interval: time.Hour, File: &File{Path: path}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weight")
	b := track(t, fileOf(path, 1))
	detail := func(want string) func([]State) {
		return func(states []State) {
			t.Helper()
			if !strings.Contains(states[0].Detail, want) {
				t.Errorf("detail %q, want %q", states[0].Detail, want)
			}
		}
	}
	detail("cannot read " + path + ": no such file or directory; it counts as 0")(b.await("web", "f+0"))
	for _, step := range []struct {
		name, want, detail string
		do                 func() error
	}{
		{"written", "f+7", path + " holds 7", func() error { return os.WriteFile(path, []byte("7\n"), 0o644) }},
		{"written again", "f+8", "", func() error { return os.WriteFile(path, []byte("8\n"), 0o644) }},
		{"replaced", "f+9", "", func() error { put(t, path, "9"); return nil }},
		{"replaced again", "f+-9", "", func() error { put(t, path, "-9"); return nil }},
		{"too much", "f+253", "holds 1000", func() error { put(t, path, "1000"); return nil }},
		{"garbage", "f+0", `does not begin with a number but with "up"; it counts as 0`, func() error { put(t, path, "up"); return nil }},
		{"good again", "f+7", "", func() error { put(t, path, "7"); return nil }},
		{"empty", "f+0", "is empty", func() error { return os.Truncate(path, 0) }},
		{"removed", "f+0", "no such file", func() error { return os.Remove(path) }},
		{"linked", "f+5", "", func() error {
			other := path + ".other"
			must(t, os.WriteFile(other, []byte("5"), 0o644))
			return os.Link(other, path)
		}},
		{"moved away", "f+0", "no such file", func() error { return os.Rename(path, path+".away") }},
		{"a symbolic link", "f+5", "", func() error { return os.Symlink(path+".away", path) }},
		{"a folder in its place", "f+0", "is not a regular file", func() error {
			must(t, os.Remove(path))
			return os.Mkdir(path, 0o755)
		}},
		{"a file in its place", "f+6", "", func() error {
			must(t, os.Remove(path))
			return os.WriteFile(path, []byte("6"), 0o644)
		}},
	} {
		must(t, step.do())
		if step.name == "empty" {
			// What opens a file to cut it closes it as any writer does.
			must(t, os.WriteFile(path, nil, 0o644))
		}
		b.awaitDetail("web", step.want, step.detail)
	}
}

// awaitDetail waits until the last call shows this, for this reason.
func (b *board) awaitDetail(router, want, detail string) {
	b.t.Helper()
	lab.Eventually(b.t, patience, func() error {
		calls := b.heard(router)
		if len(calls) == 0 {
			return errNothing
		}
		last := calls[len(calls)-1]
		if shows(last) != want || !strings.Contains(last[0].Detail, detail) {
			return &notYet{shows(last) + ": " + last[0].Detail, want + ": " + detail}
		}
		return nil
	})
}

type notYet struct{ got, want string }

func (e *notYet) Error() string { return e.got + "; want " + e.want }

var errNothing = &notYet{"nothing was heard", "a call"}

// With weight 0 any number but 0 is a fault, and no number is none.
func TestFileFault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fault")
	b := track(t, fileOf(path, 0))
	b.await("web", "f+0")
	put(t, path, "1")
	b.await("web", "f-0")
	put(t, path, "0")
	b.await("web", "f+0")
	put(t, path, "-3")
	b.await("web", "f-0")
	must(t, os.Remove(path))
	b.await("web", "f+0")
}

// A file that is emptied and then written, as a shell does it, is never without
// its number.
func TestFileWrittenInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weight")
	must(t, os.WriteFile(path, []byte("7"), 0o644))
	b := track(t, fileOf(path, 1))
	b.await("web", "f+7")
	for range 30 {
		f, err := os.Create(path)
		must(t, err)
		time.Sleep(2 * time.Millisecond) // the writer takes its time
		_, err = f.WriteString("7")
		must(t, err)
		must(t, f.Close())
		b.files.set(map[string]time.Duration{path: time.Hour}) // has it read once more, at any time
		time.Sleep(10 * time.Millisecond)
	}
	put(t, path, "8")
	b.await("web", "f+8")
	b.stop()
	b.told("web", "f+7", "f+8")
}

// Folders may come and go.
func TestFileWithoutItsFolder(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b", "c")
	path := filepath.Join(dir, "weight")
	b := track(t, fileOf(path, 1))
	b.await("web", "f+0")

	must(t, os.MkdirAll(dir, 0o755))
	put(t, path, "1")
	b.await("web", "f+1")

	must(t, os.RemoveAll(filepath.Join(root, "a")))
	b.await("web", "f+0")

	elsewhere := filepath.Join(root, "elsewhere")
	must(t, os.MkdirAll(filepath.Join(elsewhere, "b", "c"), 0o755))
	must(t, os.WriteFile(filepath.Join(elsewhere, "b", "c", "weight"), []byte("2"), 0o644))
	must(t, os.Rename(elsewhere, filepath.Join(root, "a")))
	b.await("web", "f+2")

	must(t, os.Rename(dir, dir+".away"))
	b.await("web", "f+0")
	must(t, os.Mkdir(dir, 0o755))
	put(t, path, "3")
	b.await("web", "f+3")
}

// Files in one folder have one watch. When one is given up the others keep it.
func TestFilesInOneFolder(t *testing.T) {
	dir := t.TempDir()
	object := func(name string) Object {
		o := fileOf(filepath.Join(dir, name), 1)
		o.Name = name
		return o
	}
	b := track(t, object("a"), object("b"))
	b.await("web", "a+0 b+0")
	for range 20 {
		b.Set([]Object{object("b")})
		b.Set([]Object{object("b"), object("c")})
	}
	b.await("web", "b+0 c+0")
	put(t, filepath.Join(dir, "b"), "1")
	put(t, filepath.Join(dir, "c"), "2")
	b.await("web", "b+1 c+2")
}

// Without the kernel's help a file is read every second.
func TestFileUnwatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weight")
	put(t, path, "7")
	seen := make(chan observation, 100)
	w := newFiles(slog.New(slog.DiscardHandler), func(_ source, o observation) { seen <- o })
	w.watcher.Close() // so it watches nothing
	f := w.file(path, time.Hour)
	ended := make(chan struct{})
	go func() { defer close(ended); f.run(t.Context()) }()
	await := func(n int64) {
		t.Helper()
		for {
			select {
			case o := <-seen:
				if o.number == n {
					return
				}
			case <-time.After(patience):
				t.Fatalf("%d was not seen", n)
			}
		}
	}
	await(7)
	put(t, path, "8")
	await(8)
	t.Cleanup(func() { <-ended })
}

// A descriptor for events is there only while files are tracked, and one.
func TestInotifyIsClosed(t *testing.T) {
	count := func() (n int) {
		list, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		for _, e := range list {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(to, "inotify") {
				n++
			}
		}
		return n
	}
	before := count()
	path := filepath.Join(t.TempDir(), "weight")
	b := track(t, fileOf(path, 1))
	b.await("web", "f+0")
	if n := count(); n != before+1 {
		t.Errorf("%d descriptors, before %d", n, before)
	}
	b.stop()
	if n := count(); n != before {
		t.Errorf("%d descriptors after the stop, before %d", n, before)
	}
}
