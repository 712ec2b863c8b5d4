package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// connection is the connection of one probe. When the probe's context ends, all
// its reads and writes fail at once.
type connection struct {
	net.Conn // speaks TLS where the check asks for it
	tcp      *net.TCPConn
	target   netip.AddrPort
	timeout  time.Duration
	release  func() bool // of the context
}

// dial connects to a target on the spec's path. The target is usually, but after
// a redirect not always, the spec's own.
func dial(ctx context.Context, s Spec, target netip.AddrPort) (*connection, error) {
	d := net.Dialer{
		KeepAlive: -1, // no probe lives long enough
		Control: func(_, _ string, raw syscall.RawConn) error {
			return s.prepare(raw)
		},
	}
	if s.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.Source, 0))
	}
	nc, err := d.DialContext(ctx, "tcp", target.String())
	if err != nil {
		return nil, s.connectFailure(target, err)
	}
	c := &connection{Conn: nc, tcp: nc.(*net.TCPConn), target: target, timeout: s.Timeout}
	c.release = context.AfterFunc(ctx, func() { _ = c.tcp.SetDeadline(time.Unix(1, 0)) })
	return c, nil
}

// prepare sets the options of a socket that has to be set before it connects.
func (s Spec) prepare(raw syscall.RawConn) error {
	var err error
	if ctl := raw.Control(func(fd uintptr) { err = s.setOptions(int(fd)) }); ctl != nil {
		return ctl
	}
	return err
}

func (s Spec) setOptions(fd int) error {
	if s.Source.IsValid() {
		// Choose the port at connect, by the whole 4-tuple. Otherwise each bound
		// socket takes a port for itself and 28,000 probes take all there are.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}
	if s.Interface != "" {
		if err := unix.BindToDevice(fd, s.Interface); err != nil {
			return &optionError{fmt.Sprintf("bind to interface %s", s.Interface), err}
		}
	}
	if s.Hops != 0 {
		if err := s.setHops(fd); err != nil {
			return err
		}
	}
	if s.FWMark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(s.FWMark)); err != nil {
			return &optionError{fmt.Sprintf("set firewall mark %d", s.FWMark), err}
		}
	}
	return nil
}

// optionError says which socket option this host refused.
type optionError struct {
	what string
	err  error
}

func (e *optionError) Error() string { return "cannot " + e.what + ": " + e.err.Error() }
func (e *optionError) Unwrap() error { return e.err }

// connectFailure says in words why a connect failed, and makes clear where this
// host is to blame and not the target.
func (s Spec) connectFailure(target netip.AddrPort, err error) error {
	var option *optionError
	switch {
	case errors.As(err, &option):
		return failf(L4CON, "this host cannot connect: %s", option)
	case isTimeout(err), errors.Is(err, unix.ETIMEDOUT):
		return failf(L4TOUT, "no answer from %s to the connect within %s", target, span(s.Timeout))
	case errors.Is(err, unix.ECONNREFUSED):
		return failf(L4CON, "connection refused by %s", target)
	case errors.Is(err, unix.ECONNRESET):
		return failf(L4CON, "connection reset by %s", target)
	case errors.Is(err, unix.EHOSTUNREACH) && s.Via != nil:
		// What a host says that would have to pass the packet on (ICMP time exceeded).
		return failf(L4CON, "no route to %s: either the server does not answer ARP, or it does not have the VIP and forwards", target.Addr())
	case errors.Is(err, unix.EHOSTUNREACH):
		return failf(L4CON, "no route to host %s", target.Addr())
	case errors.Is(err, unix.ENETUNREACH):
		return failf(L4CON, "no route to the network of %s", target.Addr())
	case errors.Is(err, unix.EADDRNOTAVAIL) && s.Source.IsValid():
		return failf(L4CON, "this host cannot connect: it does not have the source address %s", s.Source)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return failf(L4CON, "this host cannot connect to %s: it has no local port left", target)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return failf(L4CON, "this host cannot connect to %s: it has too many files open", target)
	}
	return failf(L4CON, "cannot connect to %s: %s", target, systemError(err))
}

// systemError strips an error of the addresses that the sentence around it has
// already.
func systemError(err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys.Err
	}
	return err
}

// abort closes the connection by a reset.
func (c *connection) abort() {
	_ = c.tcp.SetLinger(0)
	_ = c.tcp.Close()
	c.release()
}

// close closes the connection as peers expect it.
func (c *connection) close() {
	_ = c.Conn.Close()
	c.release()
}

// end closes the connection after a probe that ended with err.
func (c *connection) end(err error) {
	if err != nil {
		c.abort() // nothing that is still under way is of interest
		return
	}
	c.close()
}

// failed says in words why a read or write on an established connection failed.
// awaited is what the target owed, such as "an answer".
func (c *connection) failed(err error, awaited string) error {
	switch {
	case isTimeout(err):
		return failf(L7TOUT, "%s did not send %s within %s", c.target, awaited, span(c.timeout))
	case isReset(err):
		return failf(L4CON, "%s reset the connection before it had sent %s", c.target, awaited)
	case isEOF(err):
		return failf(L7RSP, "%s closed the connection before it had sent %s", c.target, awaited)
	}
	if f := alertFailure(c.target, err); f != nil {
		return f
	}
	return failf(L7RSP, "%s did not send %s: %s", c.target, awaited, err)
}
