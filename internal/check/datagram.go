package check

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxDatagram is the largest datagram that can come.
const maxDatagram = 64 << 10

// datagrams is the UDP socket of one probe. It is connected: the kernel drops
// what others send, and reports a port that the target says is closed.
type datagrams struct {
	*net.UDPConn
	target  netip.AddrPort
	timeout time.Duration
	release func() bool // of the context
}

func dialUDP(ctx context.Context, s Spec) (*datagrams, error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { return s.prepare(raw) }}
	if s.Source.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.Source, 0))
	}
	nc, err := d.DialContext(ctx, "udp", s.Target.String())
	if err != nil {
		return nil, s.connectFailure(s.Target, err)
	}
	c := &datagrams{UDPConn: nc.(*net.UDPConn), target: s.Target, timeout: s.Timeout}
	c.release = context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return c, nil
}

func (d *datagrams) close() {
	_ = d.Close()
	d.release()
}

// ask sends a request and hands what comes back to use, until that takes a
// datagram for the answer. Others on the target's port may send, too, and an
// earlier probe's answer may be late: what is not an answer to this request is no
// fault.
func (d *datagrams) ask(request []byte, use func(reply []byte) (answer bool, err error)) error {
	if _, err := d.Write(request); err != nil {
		return d.failed(err)
	}
	buf := make([]byte, maxDatagram)
	for {
		n, err := d.Read(buf)
		if err != nil {
			return d.failed(err)
		}
		if answer, err := use(buf[:n]); answer || err != nil {
			return err
		}
	}
}

// failed says in words why there is no answer.
func (d *datagrams) failed(err error) error {
	switch {
	case isTimeout(err):
		return failf(L7TOUT, "%s did not answer within %s", d.target, span(d.timeout))
	case errors.Is(err, unix.ECONNREFUSED):
		return failf(L4CON, "the host of %s says that nobody listens at this UDP port", d.target)
	case errors.Is(err, unix.EHOSTUNREACH):
		return failf(L4CON, "no route to host %s", d.target.Addr())
	case errors.Is(err, unix.ENETUNREACH):
		return failf(L4CON, "no route to the network of %s", d.target.Addr())
	}
	return failf(L4CON, "cannot talk to %s: %s", d.target, systemError(err))
}
