package ipvs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoIPVS says that the kernel does not offer IPVS: the module ip_vs is
// neither loaded nor loadable, or the kernel was built without it. The error
// that matches it says which and how to remedy it.
var ErrNoIPVS = errors.New("the kernel offers no IPVS")

var errClosed = errors.New("the handle on the kernel's IPVS table is closed")

// Options say how to open the kernel's table. The zero value is the table of the
// calling thread's network namespace, with modules loaded as needed.
type Options struct {
	// NetNS is a file descriptor of the network namespace to work in; 0 is the
	// caller's own. It is read whenever a socket is opened, also again after an
	// error: keep it open as long as the Kernel.
	NetNS int
	// NoModprobe forbids running modprobe for ip_vs and its schedulers. The
	// kernel may still load a scheduler's module by itself.
	NoModprobe bool
	// Timeout bounds each exchange with the kernel beside the caller's context;
	// 0 means 10 s.
	Timeout time.Duration
}

// Info is what the kernel says about its IPVS.
type Info struct {
	Version         string // such as 1.2.1
	ConnectionTable uint32 // number of buckets of the connection table
}

// Kernel is one handle on the IPVS table of one network namespace. It is safe
// for concurrent use; exchanges are made one after the other, because the kernel
// resumes a dump by position and would skip or repeat entries if the table
// changed meanwhile (ip_vs_genl_dump_services).
type Kernel struct {
	options Options
	dial    func() (*netlink.Conn, error)
	glance  func() glance
	modules *modules

	turn   chan struct{} // holds one token; who has it may use the fields below
	conn   *conn         // nil: to be opened by the next exchange
	memory memory        // of the last dump or sample
	closed bool
}

// Open finds the kernel's IPVS and opens a handle on it. When the kernel has no
// IPVS yet, it loads the module ip_vs, unless o forbids it. The error matches
// [ErrNoIPVS] when there is none to be had and [fs.ErrPermission] when the
// process may not use it.
func Open(ctx context.Context, o Options) (*Kernel, error) {
	return open(ctx, o, func() (*netlink.Conn, error) { return dialNetlink(o) }, newModules(!o.NoModprobe))
}

func open(ctx context.Context, o Options, dial func() (*netlink.Conn, error), m *modules) (*Kernel, error) {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	k := &Kernel{options: o, dial: dial, glance: o.takeGlance, modules: m, turn: make(chan struct{}, 1)}
	k.turn <- struct{}{}
	// The family's number is given to anybody; only a real request shows whether
	// the process may work with it (GENL_ADMIN_PERM).
	if _, err := k.Info(ctx); err != nil {
		_ = k.Close()
		return nil, err
	}
	return k, nil
}

// Close closes the handle and does not change the table. An exchange that is
// under way is finished first.
func (k *Kernel) Close() error {
	<-k.turn
	defer func() { k.turn <- struct{}{} }()
	k.closed = true
	return k.disconnect()
}

// Info asks the kernel for its version and the size of its connection table.
func (k *Kernel) Info(ctx context.Context) (Info, error) {
	var info Info
	err := k.retrying(ctx, func(c *conn) error {
		answers, err := c.ask(ctx, cmdGetInfo, 0, nil)
		if err != nil {
			return err
		}
		if len(answers) != 1 || answers[0].Header.Command != cmdSetInfo {
			return errForm
		}
		info, err = decodeInfo(answers[0].Data)
		return err
	})
	if err != nil {
		return Info{}, fmt.Errorf("ask the kernel for its IPVS version: %w", err)
	}
	return info, nil
}

// with gives f the connection and opens it where needed. f ends early when the
// context ends. After an error that is not a refusal of the kernel the
// connection is given up, so that no late answer can be taken for that to
// another request, and nobody waits for one that was lost (D3).
func (k *Kernel) with(ctx context.Context, f func(*conn) error) error {
	select {
	case <-k.turn:
		defer func() { k.turn <- struct{}{} }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := k.connect(ctx); err != nil {
		return k.explain(ctx, err)
	}
	c := k.conn
	stop := c.endWith(ctx)
	err := f(c)
	_, refused := refusal(err)
	// stop fails when the function above may still be running.
	if intact := stop() && (err == nil || refused); !intact {
		_ = k.disconnect()
	}
	return k.explain(ctx, err)
}

// explain puts into words what went wrong with a connection as a whole.
func (k *Kernel) explain(ctx context.Context, err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("using IPVS needs root or CAP_NET_ADMIN in the initial user namespace: %w", err)
	case ended(ctx):
		// The socket's deadline may be noticed a moment before the context's,
		// which is the same time.
		return cmp.Or(context.Cause(ctx), context.DeadlineExceeded)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("the kernel gave no answer within %v: %w", k.options.Timeout, err)
	}
	return err
}

// ended reports whether the context has ended or is about to.
func ended(ctx context.Context) bool {
	d, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(d)
}

// connect opens the connection if there is none. It loads the module ip_vs where
// it is missing and the kernel has not done so by itself when it was asked for
// the family (MODULE_ALIAS_GENL_FAMILY, through /proc/sys/kernel/modprobe).
func (k *Kernel) connect(ctx context.Context) error {
	if k.closed {
		return errClosed
	}
	if k.conn != nil {
		return nil
	}
	nl, err := k.dial()
	if err != nil {
		return err
	}
	c := &conn{nl: nl, genl: genetlink.NewConn(nl), timeout: k.options.Timeout}
	defer c.endWith(ctx)()
	err = c.findFamily(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		tried := k.modules.load(ctx, "ip_vs")
		if err = c.findFamily(ctx); errors.Is(err, fs.ErrNotExist) {
			err = noIPVS(tried)
		}
	}
	if err != nil {
		_ = nl.Close()
		return err
	}
	k.conn = c
	return nil
}

// disconnect closes the connection; the next exchange opens another.
func (k *Kernel) disconnect() error {
	if k.conn == nil {
		return nil
	}
	err := k.conn.nl.Close()
	k.conn = nil
	return err
}

// retrying is with for a request that the kernel never refuses with ENOENT while
// the family exists: it means that ip_vs was unloaded since, and perhaps loaded
// again under another number, so the family is looked up again, once.
func (k *Kernel) retrying(ctx context.Context, f func(*conn) error) error {
	err := k.with(ctx, f)
	if errno, _ := refusal(err); errno != syscall.ENOENT {
		return err
	}
	if err := k.forget(ctx); err != nil {
		return err
	}
	return k.with(ctx, f)
}

// forget gives up the connection, and with it the family's number.
func (k *Kernel) forget(ctx context.Context) error {
	select {
	case <-k.turn:
		defer func() { k.turn <- struct{}{} }()
		return k.disconnect()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// noIPVS is the error for a kernel without the family, after an attempt to load
// the module that ended as tried says.
func noIPVS(tried error) error {
	var u unix.Utsname
	release := "?"
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	how := "the module ip_vs is not loaded"
	if tried != nil {
		how += fmt.Sprintf(" (%v)", tried)
	}
	return fmt.Errorf("%w: %s; load it: modprobe ip_vs; if there is no such module, this kernel (%s) may be built without CONFIG_IP_VS", ErrNoIPVS, how, release)
}
