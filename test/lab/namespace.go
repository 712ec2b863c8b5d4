package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a named network namespace together with a thread that lives in it.
//
// The thread exists because of two rules of the kernel. A process begins in the namespaces of the
// thread that forks it; and the parent-death signal, which lets no process outlive a test that is
// killed, comes when that thread ends, not when the program does. So all processes of a host are
// forked by one thread that is locked to its goroutine for as long as the host exists.
type namespace struct {
	name    string
	fd      netns.NsHandle
	inode   uint64
	netlink *netlink.Handle
	calls   chan func()   // run on the thread; nil without one
	quit    chan struct{} // closed to end the thread
}

// newNamespace makes one. The thread also gets a mount namespace, with the /sys that belongs to
// this network, and a host name.
func newNamespace(name, hostname string) (*namespace, error) {
	ns := &namespace{name: name, fd: netns.None(), calls: make(chan func()), quit: make(chan struct{})}
	ready := make(chan error)
	onNewThread(func() {
		err := ns.enter(hostname)
		ready <- err
		if err != nil {
			return
		}
		for {
			select {
			case call := <-ns.calls:
				call()
			case <-ns.quit:
				return
			}
		}
	})
	if err := <-ready; err != nil {
		return nil, errors.Join(err, removeName(name))
	}
	if err := ns.open(); err != nil {
		close(ns.quit)
		return nil, errors.Join(err, removeName(name))
	}
	err := ns.do(func() error {
		lo, err := ns.netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return ns.netlink.LinkSetUp(lo)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bringing up lo of %s: %w", name, err), ns.close())
	}
	return ns, nil
}

// openNamespace opens one that another program made and left, without a thread.
func openNamespace(name string) (*namespace, error) {
	ns := &namespace{name: name}
	return ns, ns.open()
}

func (ns *namespace) open() error {
	var err error
	if ns.fd, err = netns.GetFromName(ns.name); err != nil {
		return fmt.Errorf("opening the namespace %s: %w", ns.name, err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(ns.fd), &stat); err != nil {
		return fmt.Errorf("the namespace %s: %w", ns.name, err)
	}
	ns.inode = stat.Ino
	if ns.netlink, err = netlink.NewHandleAt(ns.fd); err != nil {
		ns.fd.Close()
		return fmt.Errorf("a netlink socket in %s: %w", ns.name, err)
	}
	return nil
}

// enter moves the calling thread into a new network namespace, pinned under its name, and into
// mount and UTS namespaces of its own.
func (ns *namespace) enter(hostname string) error {
	fd, err := netns.NewNamed(ns.name)
	if err != nil {
		return fmt.Errorf("creating the namespace %s: %w", ns.name, err)
	}
	fd.Close()
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("unshare for %s: %w", ns.name, err)
	}
	// Slave, not private: what the machine unmounts must not stay pinned here.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("detaching the mounts of %s: %w", ns.name, err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mounting /sys of %s: %w", ns.name, err)
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("naming %s: %w", ns.name, err)
	}
	return nil
}

// onThread runs f on the namespace's thread and waits for it.
func (ns *namespace) onThread(f func() error) error {
	done := make(chan error)
	select {
	case ns.calls <- func() { done <- f() }:
		return <-done
	case <-ns.quit:
		return errNoHost
	}
}

// do runs f on the calling goroutine with its thread moved into the network namespace.
func (ns *namespace) do(f func() error) (err error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("the thread's own namespace: %w", err)
	}
	defer home.Close()
	if err := netns.Set(ns.fd); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering %s: %w", ns.name, err)
	}
	defer func() {
		if back := netns.Set(home); back != nil {
			// A thread in the wrong namespace must never run anything else: it stays locked, and
			// ends with the goroutine.
			err = errors.Join(err, fmt.Errorf("leaving %s: %w", ns.name, back))
			return
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// sysctl writes a value; the key has dots, or slashes where a part has dots itself.
func (ns *namespace) sysctl(key, value string) error {
	return ns.do(func() error {
		return os.WriteFile(sysctlPath(key), []byte(value), 0o644)
	})
}

func sysctlPath(key string) string {
	if !strings.Contains(key, "/") {
		key = strings.ReplaceAll(key, ".", "/")
	}
	return filepath.Join("/proc/sys", key)
}

// close ends the thread and removes the namespace with all its links. Processes in it must be
// gone already, or they keep it alive without a name.
func (ns *namespace) close() error {
	if ns.quit != nil {
		close(ns.quit)
	}
	ns.netlink.Close()
	return errors.Join(ns.fd.Close(), removeName(ns.name))
}

// removeName takes away the name of a namespace.
func removeName(name string) error {
	path := filepath.Join(netnsDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmounting %s: %w", path, err)
	}
	// The other hosts' mount namespaces hold copies of the mount; removing the file drops those.
	for range 20 {
		err := unix.Unlink(path)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("removing %s: %w", path, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("removing %s: %w", path, unix.EBUSY)
}

// onNewThread runs f on a thread that nothing else uses and that ends when f returns.
func onNewThread(f func()) {
	go func() {
		// The goroutine exits without unlocking: that is what ends the thread.
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// Never the main thread: the kernel shows its namespaces as the program's, and it
			// cannot end. While it is blocked here the next goroutine gets another one.
			started := make(chan struct{})
			go func() {
				runtime.LockOSThread()
				close(started)
				f()
			}()
			<-started
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
}
