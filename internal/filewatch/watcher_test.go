package filewatch

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kernelWatches counts what a descriptor watches.
func kernelWatches(t *testing.T, fd int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	must(t, err)
	return strings.Count(string(text), "inotify wd:")
}

// descriptors counts those for events.
func descriptors(t *testing.T) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(to, "inotify") {
			n++
		}
	}
	return n
}

// What the kernel refuses is polled, and said once with the remedy.
func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name, remedy string
		limit        func(*Watcher)
	}{
		{"instances", "fs.inotify.max_user_instances", func(w *Watcher) {
			w.open = func() (int, error) { return 0, unix.EMFILE }
		}},
		{"watches", "fs.inotify.max_user_watches", func(w *Watcher) {
			w.add = func(int, string, uint32) (int, error) { return 0, unix.ENOSPC }
		}},
		{"watches, half way", "fs.inotify.max_user_watches", func(w *Watcher) {
			w.add = func(fd int, dir string, events uint32) (int, error) {
				if strings.HasSuffix(dir, "half") {
					return 0, unix.ENOSPC
				}
				return addWatch(fd, dir, events)
			}
		}},
		{"folder", "let this process read the folder", func(w *Watcher) {
			w.add = func(fd int, dir string, events uint32) (int, error) {
				if strings.HasSuffix(dir, "shut") {
					return 0, unix.EACCES
				}
				return addWatch(fd, dir, events)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := open(t)
			opens, adds := e.open, e.add
			tt.limit(e.Watcher)
			dir := filepath.Join(t.TempDir(), "half", "shut")
			must(t, os.MkdirAll(dir, 0o700))
			a, b := e.Watch(filepath.Join(dir, "a")), e.Watch(filepath.Join(dir, "b"))
			for range 3 {
				for _, w := range []*Watch{a, b} {
					if again := w.Arm(seldom); again != Unwatched {
						t.Errorf("look again after %s", again)
					}
					if again := w.Arm(time.Millisecond); again != time.Millisecond {
						t.Errorf("look again after %s instead of a millisecond", again)
					}
				}
			}
			if log := e.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, tt.remedy) || !strings.Contains(log, "level=WARN") || !strings.Contains(log, a.path) {
				t.Errorf("the log has\n%s", log)
			}
			// When there is room again the kernel tells.
			e.open, e.add = opens, adds
			e.arm(a)
			e.calm(a)
			write(t, a.path, "1")
			e.reads(a, "1")
		})
	}
}

// A folder that can be passed through but not read does not matter where it is not
// the last one.
func TestFolderThatIsPassedThrough(t *testing.T) {
	e := open(t)
	e.add = func(fd int, dir string, events uint32) (int, error) {
		if strings.HasSuffix(dir, "shut") {
			return 0, unix.EACCES
		}
		return addWatch(fd, dir, events)
	}
	dir := filepath.Join(t.TempDir(), "shut", "open")
	must(t, os.MkdirAll(dir, 0o700))
	a := e.begin(filepath.Join(dir, "file"), "")
	write(t, a.path, "1")
	e.reads(a, "1")
	must(t, os.Rename(dir, dir+".away"))
	select {
	case <-a.Changed():
	case <-time.After(patience):
		t.Error("nobody said that the folder has moved away")
	}
	if e.log.String() != "" {
		t.Error(&e.log)
	}
}

// When the kernel has lost events, everybody looks.
func TestOverflow(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	e := open(t)
	busy, other := e.begin(t.TempDir(), ""), e.begin(filepath.Join(t.TempDir(), "file"), "")

	e.mu.Lock() // nobody reads, but for one buffer full
	const buffer = (64 << 10) / (unix.SizeofInotifyEvent + 16)
	name := filepath.Join(busy.path, "file")
	for range (most + buffer) / 2 {
		f, err := os.Create(name) // two different events, for equal ones become one
		must(t, err)
		must(t, f.Close())
		must(t, os.Remove(name))
	}
	write(t, other.path, "1")
	e.mu.Unlock()
	e.reads(other, "1")
	write(t, other.path, "2") // and it goes on
	e.reads(other, "2")
}

// Nothing is left open, and a descriptor is there only while something is watched.
func TestClose(t *testing.T) {
	before := descriptors(t)
	e := open(t)
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors, though nothing is watched; before %d", n, before)
	}
	a := e.Watch(filepath.Join(t.TempDir(), "file"))
	e.arm(a)
	e.arm(e.Watch(filepath.Join(t.TempDir(), "file")))
	if n := descriptors(t); n != before+1 {
		t.Errorf("%d descriptors, before %d", n, before)
	}
	e.Close()
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors after closing, before %d", n, before)
	}
	if again := a.Arm(seldom); again != Unwatched {
		t.Errorf("after closing, look again after %s", again)
	}
	a.Close()
	e.Close()
	if n := descriptors(t); n != before || e.log.String() != "" {
		t.Errorf("%d descriptors, before %d; the log: %s", n, before, &e.log)
	}
}

// A file system that hangs holds up neither the others nor Close.
func TestFileSystemThatHangs(t *testing.T) {
	before := descriptors(t)
	e := open(t)
	hangs, answer := make(chan struct{}), make(chan struct{})
	e.add = func(fd int, dir string, events uint32) (int, error) {
		if strings.HasSuffix(dir, "hanging") {
			close(hangs)
			<-answer
		}
		return addWatch(fd, dir, events)
	}
	dir := filepath.Join(t.TempDir(), "hanging")
	must(t, os.Mkdir(dir, 0o700))
	a, b := e.Watch(filepath.Join(dir, "file")), e.Watch(filepath.Join(t.TempDir(), "file"))
	var again time.Duration
	armed := make(chan struct{})
	go func() { defer close(armed); again = a.Arm(seldom) }()
	<-hangs
	e.arm(b)
	e.calm(b)
	write(t, b.path, "1")
	e.reads(b, "1")
	a.Close()
	b.Close()
	e.Close()
	if n := descriptors(t); n != before+1 {
		t.Errorf("%d descriptors while a call of the kernel needs one; before %d", n, before)
	}
	close(answer)
	<-armed
	if n := descriptors(t); n != before || again != Unwatched {
		t.Errorf("%d descriptors, before %d; look again after %s", n, before, again)
	}
}

// Watches that come and go in one folder do not take it from each other.
func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	e := open(t)
	var all sync.WaitGroup
	for i := range 8 {
		path := filepath.Join(dir, fmt.Sprint("file", i))
		all.Go(func() {
			for k := range 50 {
				a := e.Watch(path)
				again := a.Arm(seldom)
				if err := os.WriteFile(path, []byte{byte(k)}, 0o600); err != nil || again != seldom {
					t.Errorf("%v; look again after %s", err, again)
				}
				select {
				case <-a.Changed():
				case <-time.After(patience):
					t.Errorf("%s: nothing was heard", path)
				}
				a.Close()
			}
		})
	}
	all.Wait()
	if n := kernelWatches(t, e.fd); n != 0 {
		t.Errorf("%d folders are still watched", n)
	}
}
