package api_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"baton/internal/api"
)

// shortTemp is a folder whose path leaves room for the name of a socket.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "baton")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestListen(t *testing.T) {
	path := shortTemp(t) + "/run/baton/baton.sock"
	l, err := api.ListenAs(path, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	if m := mode(t, path); m != fs.ModeSocket|0o660 {
		t.Errorf("the socket has mode %v", m)
	}
	if m := mode(t, filepath.Dir(path)); m != fs.ModeDir|0o750 {
		t.Errorf("the folder has mode %v", m)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error("the second Close:", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the socket is still there:", err)
	}
}

func TestListenGroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: the group is not changed, which must be no error")
	}
	const group = 4711
	path := shortTemp(t) + "/b/s"
	l, err := api.ListenAs(path, group)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, p := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if gid := info.Sys().(*syscall.Stat_t).Gid; os.Getuid() == 0 && gid != group {
			t.Errorf("%s has group %d", p, gid)
		}
	}
}

func TestListenInUse(t *testing.T) {
	path := shortTemp(t) + "/s"
	l, err := api.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = api.Listen(path)
	if err == nil || !strings.Contains(err.Error(), "is baton running already?") {
		t.Error(err)
	}
	if m := mode(t, path); m.Type() != fs.ModeSocket {
		t.Error("the socket in use was removed")
	}
}

func TestListenStale(t *testing.T) {
	path := shortTemp(t) + "/s"
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as a crash does
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := api.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestListenNoSocket(t *testing.T) {
	path := shortTemp(t) + "/s"
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file was touched: %q %v", b, err)
	}
}

func TestListenLongPath(t *testing.T) {
	_, err := api.Listen("/run/" + strings.Repeat("x", 200))
	if err == nil || !strings.Contains(err.Error(), "choose a shorter api.socket") {
		t.Error(err)
	}
}

// TestListenSuccessor: a listener that ends late leaves the socket of its
// successor alone.
func TestListenSuccessor(t *testing.T) {
	path := shortTemp(t) + "/s"
	first, err := api.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := api.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal("the successor's socket is gone:", err)
	}
	_ = c.Close()
}

// TestListenRace: of many that start over a dead socket, one gets it.
func TestListenRace(t *testing.T) {
	path := shortTemp(t) + "/s"
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if l, err := api.Listen(path); err == nil {
				won.Add(1)
				t.Cleanup(func() { _ = l.Close() })
			}
		})
	}
	wg.Wait()
	if n := won.Load(); n != 1 {
		t.Errorf("%d have the socket", n)
	}
}
