package filewatch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Unwatched is how often a path is looked at of which the kernel tells nothing.
const Unwatched = time.Second

const (
	// passing are the events that may mean that a name leads elsewhere from now on.
	passing = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	// arriving are those of the end of the path besides. Not IN_MODIFY: a file that
	// is being written is of interest when that is done.
	arriving = passing | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	// A folder may be on the way to one path and the end of another.
	flags = unix.IN_MASK_ADD | unix.IN_ONLYDIR
)

// mostLinks is how many symbolic links the kernel follows in a path; see
// path_resolution(7).
const mostLinks = 40

// Watch is the wish to hear of a path.
type Watch struct {
	w       *Watcher
	path    string
	changed chan struct{} // capacity 1

	// Under the watcher's lock.
	at     map[int32]names // the folders that are watched for it
	closed bool
}

// Watch returns the watch of a path, which is absolute. Nothing is heard of it
// before [Watch.Arm].
func (w *Watcher) Watch(path string) *Watch {
	return &Watch{w: w, path: path, changed: make(chan struct{}, 1)}
}

// Changed is sent to when there is a reason to look again, that is, to call
// [Watch.Arm] and then read. However much happens in between, it is one reason.
func (a *Watch) Changed() <-chan struct{} { return a.changed }

func (a *Watch) wake() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// Arm makes sure, as far as that is possible, that the kernel tells of the next
// change, and returns after which time to look again although nothing was heard:
// every, or [Unwatched] where that is less and the kernel will not tell. It is called
// before each look, for the way to the path may be another one by now; what changes
// after it is heard of.
//
// It may hang where the file system does. It is called by one goroutine at a time;
// Close may be called meanwhile.
func (a *Watch) Arm(every time.Duration) time.Duration {
	at, err := a.walk()
	a.settle(at)
	if err != nil && !errors.Is(err, os.ErrClosed) {
		a.w.complain(a.path, err)
	}
	if err != nil {
		return min(every, Unwatched)
	}
	return every
}

// Close ends the watching of the path.
func (a *Watch) Close() {
	a.w.mu.Lock()
	a.closed = true
	a.w.mu.Unlock()
	a.settle(nil)
}

// settle gives up the folders that are not on the way any more.
func (a *Watch) settle(at map[int32]names) {
	w := a.w
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.tidy()
	if a.closed {
		for number := range at {
			w.leave(a, number)
		}
		at = nil
	}
	for number := range a.at {
		if _, still := at[number]; !still {
			w.leave(a, number)
		}
	}
	for number, wanted := range at {
		if _, there := w.places[number][a]; there { // not where the watcher is closed
			w.places[number][a] = wanted
		}
	}
	a.at = at
}

// walk goes the path as the kernel does, link by link, and listens in each folder
// before it looks what the next name there is. So whatever is exchanged meanwhile is
// heard of. It ends at the file, in the folder that the path names, or where there is
// nothing (yet). It returns what it listens for, and why that is not enough.
func (a *Watch) walk() (at map[int32]names, err error) {
	at = make(map[int32]names)
	dir, rest := "/", a.path
	for links := 0; links <= mostLinks; {
		var name string
		name, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		switch name {
		case ".":
			continue
		case "..":
			dir = filepath.Dir(dir)
			continue
		}
		gone, problem := a.listen(at, dir, name, rest)
		if gone {
			return at, err // which the folder above tells
		}
		if err == nil || errors.Is(err, fs.ErrPermission) {
			// A folder that may not be read but passed through matters only if it is
			// the last one.
			err = problem
		}
		if name == "" {
			return at, err
		}
		next := filepath.Join(dir, name)
		info, missing := os.Lstat(next)
		if missing != nil {
			return at, err
		}
		if info.IsDir() {
			dir = next
			continue
		}
		target, none := os.Readlink(next)
		if none != nil {
			return at, err // a file
		}
		if links++; filepath.IsAbs(target) {
			dir = "/"
		}
		rest = target + "/" + rest
	}
	return at, err
}

// listen listens for a name in a folder, after which the path goes on with the rest,
// and adds it to what is listened for. It reports whether the folder is gone.
func (a *Watch) listen(at map[int32]names, dir, name, rest string) (gone bool, err error) {
	events := uint32(flags | passing)
	if rest == "" {
		events = flags | arriving
	}
	number, err := a.w.listen(a, dir, name, events)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return true, nil
	}
	if err == nil {
		at[number] = at[number].with(name)
	}
	return false, err
}

// names are those that a watch waits for in a folder. An empty one: all.
type names []string

func (n names) with(name string) names {
	if slices.Contains(n, name) {
		return n
	}
	return append(slices.Clip(n), name)
}

// include reports whether an event with this name is of interest. Without a name
// it is the folder itself.
func (n names) include(name string) bool {
	return name == "" || slices.Contains(n, name) || slices.Contains(n, "")
}
