package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mdlayher/netlink"
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

// config reads and writes the timeouts.
type config interface {
	timeouts() (Timeouts, error)
	setTimeouts(Timeouts) error
}

// handle is the config of moby/ipvs.
type handle struct{ *moby.Handle }

func (h handle) timeouts() (Timeouts, error) {
	c, err := h.GetConfig()
	if err != nil {
		return Timeouts{}, err
	}
	return Timeouts{TCP: c.TimeoutTCP, TCPFin: c.TimeoutTCPFin, UDP: c.TimeoutUDP}, nil
}

func (h handle) setTimeouts(t Timeouts) error {
	return h.SetConfig(&moby.Config{TimeoutTCP: t.TCP, TimeoutTCPFin: t.TCPFin, TimeoutUDP: t.UDP})
}

// mobyLibrary is the state that moby/ipvs keeps for the whole process.
var mobyLibrary struct {
	sync.Mutex // held also while logrus' global output is diverted
	opened     bool
	family     netlink.HeaderType // what it will use for ever (D2); 0: it has found none
}

// moby calls f with a handle of moby/ipvs on the same table. It makes sure of
// the family first, because of D1, and works around D3 by keeping other
// exchanges out and by closing the handle when the context ends. Where the
// library is stuck with a number that is no longer IPVS' (D2), f gets a handle of
// our own.
func (k *Kernel) moby(ctx context.Context, f func(config) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, k.options.Timeout,
		fmt.Errorf("the kernel gave no answer within %v", k.options.Timeout))
	defer cancel()
	return k.retrying(ctx, func(c *conn) error {
		if err := c.findFamily(ctx); err != nil {
			return err
		}
		h, err := openMoby(k.options.NetNS, c.family)
		if err != nil {
			return err
		}
		if h == nil {
			return f(ownConfig{ctx, c})
		}
		stop := context.AfterFunc(ctx, h.Close)
		err = guarded(func() error { return f(handle{h}) })
		if !stop() {
			return errors.Join(context.Cause(ctx), err)
		}
		h.Close()
		if errors.Is(err, errForm) {
			mobyLibrary.Lock()
			mobyLibrary.family = 0
			mobyLibrary.Unlock()
			return f(ownConfig{ctx, c})
		}
		return err
	})
}

// openMoby opens a handle, or returns nil when it would not talk to the family.
// The first call in a process runs modprobe and may complain through logrus, a
// logger that nothing else here uses.
func openMoby(netns int, family netlink.HeaderType) (*moby.Handle, error) {
	mobyLibrary.Lock()
	defer mobyLibrary.Unlock()
	if mobyLibrary.opened && mobyLibrary.family != family {
		return nil, nil
	}
	path := ""
	if netns > 0 {
		path = fmt.Sprintf("/proc/self/fd/%d", netns)
	}
	out := logrus.StandardLogger().Out
	logrus.SetOutput(io.Discard)
	defer logrus.SetOutput(out)
	h, err := moby.New(path)
	if !mobyLibrary.opened {
		mobyLibrary.opened, mobyLibrary.family = true, family
	}
	return h, err
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
