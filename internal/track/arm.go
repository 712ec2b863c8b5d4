package track

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// arm makes sure that the kernel tells of a change to the file, and reports
// whether it will. What is watched is the folder, so that a file which replaces
// another by a rename is seen. While the folder does not exist, it is awaited in
// the deepest one above it that does.
//
// Not seen are changes behind a symbolic link to another folder, and a folder
// above the watched one that moves away: for them there is the slow re-read.
func (f *file) arm() bool {
	if f.events == nil {
		return false
	}
	dir, name := filepath.Dir(f.path), filepath.Base(f.path)
	for range 100 { // folders that come and go all the time are not followed for ever
		watch, err := f.events.add(dir, name, f)
		if missing(err) && dir != "/" && dir != "." {
			dir, name = filepath.Dir(dir), filepath.Base(dir)
			continue
		}
		if err != nil {
			f.complain(err)
			return false
		}
		if f.watch != watch {
			f.disarm()
			f.watch = watch
		}
		if dir == filepath.Dir(f.path) {
			return true
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return true
		}
		// It came before we listened for it.
		dir, name = filepath.Dir(f.path), filepath.Base(f.path)
	}
	return false
}

func missing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

func (f *file) disarm() {
	if f.events != nil && f.watch != 0 {
		f.events.remove(f.watch, f)
		f.watch = 0
	}
}

// complain says once why the file is read often.
func (f *file) complain(err error) {
	if f.deaf {
		return
	}
	f.deaf = true
	f.log.Warn("the kernel does not tell of changes to a tracked file; it is read every second instead (see the sysctl fs.inotify.max_user_watches)",
		"file", f.path, "error", err)
}
