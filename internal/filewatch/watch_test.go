package filewatch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"baton/test/logs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience is how long a test waits for what must come.
	patience = 20 * time.Second
	// quiet is how long it waits for what must not.
	quiet = 50 * time.Millisecond
	// seldom is how often a path is to be looked at that the kernel tells about.
	seldom = time.Hour
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eye looks at paths when it is told to.
type eye struct {
	*testing.T
	*Watcher
	log logs.Buffer
}

func open(t *testing.T) *eye {
	t.Helper()
	e := &eye{T: t}
	e.Watcher = New(e.log.Logger())
	t.Cleanup(e.Close)
	return e
}

// arm arms a watch of which the kernel must tell.
func (e *eye) arm(a *Watch) {
	e.Helper()
	if again := a.Arm(seldom); again != seldom {
		e.Fatalf("%s is to be looked at again after %s\n%s", a.path, again, &e.log)
	}
}

// see waits until one who looks when he is told to, and only then, sees what is
// wanted; and until there is no more news.
func (e *eye) see(a *Watch, what string, holds func() bool) {
	e.Helper()
	late := time.After(patience)
	for seen := false; !seen; {
		select {
		case <-a.Changed():
			e.arm(a)
			seen = holds()
		case <-late:
			e.Fatalf("nobody said that %s", what)
		}
	}
	e.calm(a)
}

// reads waits until the file holds a text; empty: until there is none.
func (e *eye) reads(a *Watch, want string) {
	e.Helper()
	e.see(a, a.path+" holds "+want, func() bool { return read(a.path) == want })
}

func read(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// begin returns a watch of a file that holds a text, or does not exist.
func (e *eye) begin(path, holds string) *Watch {
	e.Helper()
	a := e.Watch(path)
	e.arm(a)
	if got := read(path); got != holds {
		e.Fatalf("%s holds %s at the beginning", path, got)
	}
	e.calm(a)
	return a
}

// calm waits until what was done before is no news any more.
func (e *eye) calm(a *Watch) {
	e.Helper()
	for {
		select {
		case <-a.Changed():
			e.arm(a)
		case <-time.After(quiet):
			return
		}
	}
}

// silent fails where somebody says that the path is worth a look.
func (e *eye) silent(a *Watch) {
	e.Helper()
	select {
	case <-a.Changed():
		e.Errorf("%s is worth a look for no reason", a.path)
	case <-time.After(quiet):
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// replace writes a file as it should be done.
func replace(t testing.TB, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	must(t, os.Rename(path+".new", path))
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	e := open(t)
	a := e.begin(path, "")
	write(t, path, "1")
	e.reads(a, "1")
	write(t, path, "2")
	e.reads(a, "2")
	replace(t, path, "3")
	e.reads(a, "3")
	must(t, os.Remove(path))
	e.reads(a, "")
	write(t, path+".other", "4")
	must(t, os.Link(path+".other", path))
	e.reads(a, "4")
	must(t, os.Rename(path, path+".away"))
	e.reads(a, "")
	write(t, path, "5")
	e.reads(a, "5")

	must(t, os.Chmod(path, 0o400)) // who may read it may have changed
	select {
	case <-a.Changed():
	case <-time.After(patience):
		t.Error("the mode of a file is no news")
	}
	e.calm(a)
	write(t, path+".other", "6")
	e.silent(a)
	if e.log.String() != "" {
		t.Error(&e.log)
	}
}

// Folders on the way may come later, go, and be other ones.
func TestFoldersComeAndGo(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b", "c")
	path := filepath.Join(dir, "file")
	e := open(t)
	a := e.begin(path, "")
	must(t, os.MkdirAll(dir, 0o700))
	write(t, path, "1")
	e.reads(a, "1")
	must(t, os.RemoveAll(filepath.Join(root, "a")))
	e.reads(a, "")

	// One moves into the place of a folder further up, and away from it.
	other := filepath.Join(root, "other")
	must(t, os.MkdirAll(filepath.Join(other, "b", "c"), 0o700))
	write(t, filepath.Join(other, "b", "c", "file"), "2")
	must(t, os.Rename(other, filepath.Join(root, "a")))
	e.reads(a, "2")
	must(t, os.Rename(filepath.Join(root, "a"), other))
	e.reads(a, "")
	must(t, os.MkdirAll(dir, 0o700))
	write(t, path, "3")
	e.reads(a, "3")

	// What was on the way before does not matter any more.
	e.calm(a)
	write(t, filepath.Join(other, "b", "c", "file"), "4")
	e.silent(a)

	must(t, os.RemoveAll(filepath.Join(root, "a")))
	write(t, filepath.Join(root, "a"), "a file in the place of a folder")
	e.reads(a, "")
	must(t, os.Remove(filepath.Join(root, "a")))
	must(t, os.MkdirAll(dir, 0o700))
	write(t, path, "5")
	e.reads(a, "5")
}

// Kubernetes replaces all files of a volume by one rename of a link to a folder.
func TestVolumeOfKubernetes(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		must(t, os.MkdirAll(filepath.Join(dir, name, "sub"), 0o700))
		write(t, filepath.Join(dir, name, "sub", "file"), text)
		must(t, os.Symlink(name, filepath.Join(dir, "..new")))
		must(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
	}
	version("..1", "1")
	must(t, os.Symlink("..data/sub", filepath.Join(dir, "sub")))
	e := open(t)
	a := e.begin(filepath.Join(dir, "sub", "file"), "1")
	version("..2", "2") // while the first one is still there
	e.reads(a, "2")
	must(t, os.RemoveAll(filepath.Join(dir, "..1")))
	e.silent(a)
	version("..3", "3")
	must(t, os.RemoveAll(filepath.Join(dir, "..2")))
	e.reads(a, "3")
}

func TestLinks(t *testing.T) {
	dir := t.TempDir()
	in := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
	must(t, errors.Join(os.MkdirAll(in("real", "deep"), 0o700), os.MkdirAll(in("else"), 0o700)))
	write(t, in("real", "file"), "1")
	write(t, in("else", "file"), "2")
	must(t, errors.Join(
		os.Symlink(in("real"), in("absolute")),
		os.Symlink("absolute/deep/.././", in("relative")),
		os.Symlink("relative//file", in("link")),
	))
	e := open(t)
	a := e.begin(in("link"), "1")
	write(t, in("real", "file"), "written behind the links")
	e.reads(a, "written behind the links")
	must(t, errors.Join(os.Symlink(in("else"), in("new")), os.Rename(in("new"), in("absolute"))))
	e.reads(a, "") // else has no deep
	must(t, os.Mkdir(in("else", "deep"), 0o700))
	e.reads(a, "2")

	must(t, os.Rename(in("else"), in("away")))
	e.reads(a, "")
	must(t, os.Rename(in("away"), in("else")))
	e.reads(a, "2")

	// What the link led to before does not matter any more, also in the same folder.
	write(t, in("x"), "x")
	write(t, in("y"), "y")
	must(t, errors.Join(os.Remove(in("link")), os.Symlink("x", in("link"))))
	e.reads(a, "x")
	must(t, errors.Join(os.Remove(in("link")), os.Symlink("y", in("link"))))
	e.reads(a, "y")
	write(t, in("x"), "another x")
	e.silent(a)

	// One that leads nowhere yet, and one that leads in a circle.
	must(t, errors.Join(os.Remove(in("link")), os.Symlink("later/file", in("link"))))
	e.reads(a, "")
	must(t, os.Mkdir(in("later"), 0o700))
	write(t, in("later", "file"), "3")
	e.reads(a, "3")
	must(t, errors.Join(os.Remove(in("link")), os.Symlink("link", in("link"))))
	e.reads(a, "")
	must(t, os.Remove(in("link")))
	write(t, in("link"), "4")
	e.reads(a, "4")
}

// Of a folder all that is in it is of interest.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder")
	e := open(t)
	a := e.begin(dir, "")
	holds := func(want ...string) {
		t.Helper()
		e.see(a, "the files are others", func() bool {
			list, _ := os.ReadDir(dir)
			if len(list) != len(want) {
				return false
			}
			for i, entry := range list {
				if entry.Name() != want[i] {
					return false
				}
			}
			return true
		})
	}
	must(t, os.Mkdir(dir, 0o700))
	write(t, filepath.Join(dir, "a"), "")
	holds("a")
	must(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
	holds("b")
	must(t, os.Rename(dir, dir+".away"))
	holds()
	must(t, os.Mkdir(dir, 0o700))
	write(t, filepath.Join(dir, "c"), "")
	holds("c")

	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(filepath.Join(dir, "c"), old, old))
	select {
	case <-a.Changed():
	case <-time.After(patience):
		t.Error("the time of a file in the folder is no news")
	}
}

// However much happens between two looks, it is one reason to look again.
func TestBurst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	e := open(t)
	a := e.begin(path, "")
	for range 1000 {
		replace(t, path, "1")
	}
	time.Sleep(quiet)
	reasons := 0
	for ; len(a.Changed()) > 0; reasons++ {
		<-a.Changed()
		time.Sleep(quiet)
	}
	if reasons != 1 {
		t.Errorf("%d reasons", reasons)
	}
}

// A folder that two paths lead through is watched until the last of them goes.
func TestFolderOfTwo(t *testing.T) {
	dir := t.TempDir()
	e := open(t)
	a, b := e.begin(filepath.Join(dir, "a"), ""), e.begin(filepath.Join(dir, "b"), "")
	write(t, b.path, "1")
	e.reads(b, "1")
	e.silent(a)
	for range 20 {
		a.Close()
		a = e.Watch(a.path)
		e.arm(a)
	}
	a.Close()
	write(t, b.path, "2")
	e.reads(b, "2")
	write(t, a.path, "1")
	e.silent(a)
	if got := kernelWatches(t, e.fd); got == 0 {
		t.Error("the kernel watches nothing")
	}
	b.Close()
	if got := kernelWatches(t, e.fd); got != 0 {
		t.Errorf("the kernel still watches %d folders", got)
	}
	if n := b.Arm(seldom); n != Unwatched {
		t.Errorf("a watch that is closed is to be looked at again after %s", n)
	}
	if got := kernelWatches(t, e.fd); got != 0 {
		t.Errorf("a watch that is closed leaves %d folders watched", got)
	}
}

// A folder may be the last one on one way and be passed on another.
func TestFolderOnTwoWays(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	e := open(t)
	write(t, filepath.Join(dir, "file"), "1")
	a := e.begin(filepath.Join(dir, "file"), "1")
	b := e.begin(filepath.Join(dir, "sub", "file"), "")
	write(t, a.path, "2")
	e.reads(a, "2")
	e.silent(b)
}

// A folder may go while the way to it is walked. Then the one above tells when it is
// back, if it may.
func TestFolderGoesMeanwhile(t *testing.T) {
	shut := filepath.Join(t.TempDir(), "shut")
	dir := filepath.Join(shut, "fleeting")
	must(t, os.MkdirAll(dir, 0o700))
	e := open(t)
	e.add = func(fd int, path string, events uint32) (int, error) {
		if path == dir {
			must(t, os.Remove(dir))
		}
		return addWatch(fd, path, events)
	}
	a := e.Watch(filepath.Join(dir, "file"))
	e.arm(a)
	goes := e.add
	e.add = addWatch
	e.calm(a)
	must(t, os.Mkdir(dir, 0o700))
	write(t, a.path, "1")
	e.reads(a, "1")
	if e.log.String() != "" {
		t.Error(&e.log)
	}

	must(t, os.Remove(a.path))
	e.add = func(fd int, path string, events uint32) (int, error) {
		if path == shut {
			return 0, unix.EACCES
		}
		return goes(fd, path, events)
	}
	if again := a.Arm(seldom); again != Unwatched {
		t.Errorf("look again after %s", again)
	}
}
