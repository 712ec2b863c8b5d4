package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// SocketGroup is the group that may use the API, where it exists.
const SocketGroup = "baton"

const (
	socketMode    = 0o660
	socketDirMode = 0o750
)

// Listen opens the unix socket at path, for root and [SocketGroup]. A socket
// that a crash left behind is replaced, after it was made sure that nobody
// answers on it; one that is in use is an error. Closing the listener removes
// the socket.
func Listen(path string) (net.Listener, error) {
	l, err := listen(path, socketGroupID())
	if err != nil {
		return nil, fmt.Errorf("listen on the API socket %s: %w", path, err)
	}
	return l, nil
}

func listen(path string, gid int) (net.Listener, error) {
	// Longer paths do not fit into a sockaddr_un, and the kernel's error for that
	// says nothing ("invalid argument").
	const longest = 107
	if len(path) > longest {
		return nil, fmt.Errorf("the path is %d bytes long, and a socket's may have %d: choose a shorter api.socket",
			len(path), longest)
	}
	unlock, err := prepareDir(filepath.Dir(path), gid)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// By the name alone, the listener would also remove the socket of a successor.
	l.SetUnlinkOnClose(false)
	ul := &unixListener{UnixListener: l, path: path}
	ul.close = sync.OnceValue(ul.end)
	if err := ul.secure(gid); err != nil {
		return nil, errors.Join(err, ul.Close())
	}
	return ul, nil
}

// prepareDir creates the directory and locks it, so that two daemons that start
// at the same time do not remove each other's socket.
func prepareDir(dir string, gid int) (unlock func(), err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return nil, err
		}
		if err := os.Mkdir(dir, socketDirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if err := giveTo(dir, gid); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // a read-only directory: nothing to lose
}

// removeStale removes the socket at path if nobody answers on it.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file of this name that is no socket: remove it, or choose another api.socket")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return errors.New("another program answers there: is baton running already? (systemctl status baton)")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("it cannot be told whether the socket there is in use: %w", err)
	}
	return os.Remove(path)
}

// socketGroupID returns the number of [SocketGroup], or -1.
func socketGroupID() int {
	g, err := user.LookupGroup(SocketGroup)
	if err != nil {
		return -1
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return id
}

// giveTo lets the group have a file. Who is neither root nor a member of the
// group keeps the file for itself.
func giveTo(path string, gid int) error {
	if gid < 0 {
		return nil
	}
	if err := os.Chown(path, -1, gid); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// unixListener removes its own socket, and no other, when it is closed.
type unixListener struct {
	*net.UnixListener
	path  string
	made  os.FileInfo
	close func() error
}

// secure gives the new socket its owner and mode. Until then only root can
// connect: that needs the right to write, which no ordinary umask gives.
func (l *unixListener) secure(gid int) (err error) {
	if l.made, err = os.Lstat(l.path); err != nil {
		return err
	}
	if err := giveTo(l.path, gid); err != nil {
		return err
	}
	return os.Chmod(l.path, socketMode)
}

// Close ends the listener. It may be called again.
func (l *unixListener) Close() error { return l.close() }

// end removes the file first, while it still answers: a client that comes now
// finds no daemon instead of a dead socket.
func (l *unixListener) end() error {
	var removal error
	now, err := os.Lstat(l.path)
	if err == nil && (l.made == nil || os.SameFile(now, l.made)) {
		removal = os.Remove(l.path)
	}
	return errors.Join(removal, l.UnixListener.Close())
}
