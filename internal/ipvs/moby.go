package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	moby "github.com/moby/ipvs"
	"github.com/sirupsen/logrus"
)

// The defects of github.com/moby/ipvs v1.1.0 that the rest of this package
// refers to. Each was reproduced on Linux 6.1 and 6.12.
//
//	D1  without ip_vs in the kernel every call succeeds and GetConfig panics
//	D2  the family is looked up once per process and never again
//	D3  not safe for concurrent use; an answer that got lost is awaited for ever
//	D4  the address family of a server is not sent: silently a wrong server
//	D5  the persistence engine is written and never read
//	D6  a weight is read as 16 bits
//	D7  the netmask is a bare number: native byte order, and an error for IPv6
//	D8  timeouts are cut to whole seconds
//
// Beyond those it has no batches, no 64-bit counters, no tunnel types and no
// persistent-connection count. What it does well, and what this package uses of
// it: the timeouts, and the constants of the forwarding methods.

// quiet guards logrus' global output while moby/ipvs may write to it.
var quiet sync.Mutex

// moby calls f with a handle of moby/ipvs on the same table. It works around
// D1 and D2 by making sure of the family first, and around D3 by keeping other
// exchanges out and by closing the handle when the context ends.
func (k *Kernel) moby(ctx context.Context, f func(*moby.Handle) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, k.options.Timeout,
		fmt.Errorf("the kernel gave no answer within %v", k.options.Timeout))
	defer cancel()
	return k.retrying(ctx, func(c *conn) error {
		if err := c.findFamily(ctx); err != nil {
			return err
		}
		h, err := openMoby(k.options.NetNS)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, h.Close)
		err = guarded(func() error { return f(h) })
		if !stop() {
			return errors.Join(context.Cause(ctx), err)
		}
		h.Close()
		return err
	})
}

// openMoby opens a handle. The first one of a process runs modprobe and may
// complain through logrus, a logger that nothing else here uses.
func openMoby(netns int) (*moby.Handle, error) {
	path := ""
	if netns > 0 {
		path = fmt.Sprintf("/proc/self/fd/%d", netns)
	}
	quiet.Lock()
	defer quiet.Unlock()
	out := logrus.StandardLogger().Out
	logrus.SetOutput(io.Discard)
	defer logrus.SetOutput(out)
	return moby.New(path)
}

// guarded turns a panic of f into an error: GetConfig indexes an answer without
// looking at its length (D1).
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errForm, p)
		}
	}()
	return f()
}
