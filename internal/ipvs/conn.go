package ipvs

import (
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

const (
	// readBuffer is the size asked for the socket's receive queue. The kernel
	// queues one answer of about 1 KiB (skb->truesize) for each refused message
	// of a batch before the first can be read.
	readBuffer = 1 << 20

	// messageBuffer is the size of one read. netlink_dump fills up to 32 KiB when
	// the reader has shown that it takes as much (nlk->max_recvmsg_len), which
	// makes dumps of many servers shorter.
	messageBuffer = 64 << 10
)

// past is a deadline that ends a read or write at once.
var past = time.Unix(1, 0)

// conn is one generic netlink socket and the number of the IPVS family on it.
type conn struct {
	nl      *netlink.Conn
	genl    *genetlink.Conn
	family  netlink.HeaderType
	timeout time.Duration // of one exchange
}

// dialNetlink opens a socket in the namespace of o.
func dialNetlink(o Options) (*netlink.Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_GENERIC, &netlink.Config{NetNS: o.NetNS, MessageBufferSize: messageBuffer})
	if err != nil {
		return nil, fmt.Errorf("open a generic netlink socket: %w", err)
	}
	// Neither is needed for correct work: without the first a full batch may
	// lose acknowledgements and is then repeated, without the second they repeat
	// the request.
	_ = c.SetReadBuffer(readBuffer)
	_ = c.SetOption(netlink.CapAcknowledge, true)
	return c, nil
}

// endWith makes exchanges end when the context ends, until the returned function
// is called. That function returns false when the context was faster.
func (c *conn) endWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.nl.SetDeadline(past) })
}

// arm gives the next exchange its deadline: the context's, but at most the
// timeout. It fails when the context has ended. That it ends after this is seen
// by endWith, which moves the deadline.
func (c *conn) arm(ctx context.Context) error {
	end := time.Now().Add(c.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	if err := c.nl.SetDeadline(end); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// findFamily asks the kernel for the number of its IPVS family. The error
// matches [fs.ErrNotExist] when there is none. moby/ipvs asks once per process
// and then works with number 0, to which the kernel says yes to everything (D1,
// D2).
func (c *conn) findFamily(ctx context.Context) error {
	if err := c.arm(ctx); err != nil {
		return err
	}
	f, err := c.genl.GetFamily(familyName)
	if err == nil && f.ID == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("look up the generic netlink family %s: %w", familyName, err)
	}
	c.family = netlink.HeaderType(f.ID)
	return nil
}

// ask makes one exchange and returns the answers' attributes. With
// netlink.Dump in flags there are as many as there are objects.
func (c *conn) ask(ctx context.Context, cmd uint8, flags netlink.HeaderFlags, attrs []byte) ([]genetlink.Message, error) {
	if err := c.arm(ctx); err != nil {
		return nil, err
	}
	m := genetlink.Message{Header: genetlink.Header{Command: cmd, Version: familyVersion}, Data: attrs}
	return c.genl.Execute(m, uint16(c.family), netlink.Request|flags)
}

// refusal returns the error number with which the kernel answered a request. ok
// is false for an error of the socket, such as a deadline, after which nobody
// knows what the kernel did.
func refusal(err error) (errno syscall.Errno, ok bool) {
	var op *netlink.OpError
	if !errors.As(err, &op) {
		return 0, false
	}
	// A number inside an *os.SyscallError is the socket's and not the kernel's
	// answer, so no unwrapping here.
	errno, ok = op.Err.(syscall.Errno) //nolint:errorlint // see above
	return errno, ok
}
