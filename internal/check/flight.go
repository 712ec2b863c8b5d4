package check

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// timeout is the time for the whole probe.
func (s Spec) timeout() time.Duration {
	if s.Timeout <= 0 {
		return time.Second
	}
	return s.Timeout
}

// open opens the flight's socket and begins to connect. After an error nothing is
// left open.
func (f *flight) open(s Spec) error {
	if err := s.prepareVia(); err != nil {
		return err
	}
	family := unix.AF_INET
	if s.Target.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return s.connectFailure(s.Target, err)
	}
	if err := s.connect(fd); err != nil {
		_ = unix.Close(fd)
		return s.connectFailure(s.Target, err)
	}
	f.fd = fd
	return nil
}

// connect begins to connect a socket on the spec's path.
func (s Spec) connect(fd int) error {
	if err := s.setOptions(fd); err != nil {
		return err
	}
	withoutLastAcknowledgement(fd)
	if s.Source.IsValid() {
		a, err := socketAddress(netip.AddrPortFrom(s.Source, 0))
		if err == nil {
			err = unix.Bind(fd, a)
		}
		if err != nil {
			return err
		}
	}
	a, err := socketAddress(s.Target)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, a); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	return nil
}

// withoutLastAcknowledgement spares the last packet of the handshake: without quick
// acknowledgements it waits for data, and goes with the request, or a reset comes
// first.
func withoutLastAcknowledgement(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)
}

// close ends the flight's connection and closes its socket. A mere connect ends with a
// reset, which leaves nothing behind: not in TIME_WAIT here, and not in the accept
// queue there.
func (f *flight) close() {
	if f.http == nil {
		disconnect(f.fd)
	}
	_ = unix.Close(f.fd)
}

// socketAddress is an address as the kernel wants it.
func socketAddress(ap netip.AddrPort) (unix.Sockaddr, error) {
	a := ap.Addr()
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(ap.Port())}, nil
	}
	out := &unix.SockaddrInet6{Addr: a.As16(), Port: int(ap.Port())}
	if zone := a.Zone(); zone != "" {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, &optionError{"find the interface " + zone, unix.ENODEV}
		}
		out.ZoneId = uint32(i.Index)
	}
	return out, nil
}

// step goes on with a flight of which the kernel has news; done with the outcome
// when it has come to its end.
func (f *flight) step(events uint32) (code Code, detail string, err error, done bool) { //nolint:revive // the outcome, and whether there is one
	s := &f.job.Spec
	if f.http == nil || !f.http.connected {
		err := f.connectError(events)
		if err != nil {
			return "", "", s.connectFailure(s.Target, err), true
		}
		if f.http == nil {
			return L4OK, f.job.connected(), nil, true
		}
		f.http.connected = true
	}
	return f.http.step(f.fd, events)
}

// connectError says why the connection could not be made, which the kernel reports as
// an error; nil: it is there.
func (f *flight) connectError(events uint32) error {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) == 0 {
		return nil
	}
	errno, err := unix.GetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return err
}

// late is the failure of a flight whose time is up.
func (f *flight) late() error {
	s := &f.job.Spec
	if f.http == nil || !f.http.connected {
		return s.connectFailure(s.Target, unix.ETIMEDOUT)
	}
	return f.http.failed(unix.ETIMEDOUT)
}

// connected is the sentence of a connect that succeeded, the same each time.
func (j *job) connected() string {
	if j.success == "" {
		j.success = "connected to " + j.Spec.Target.String()
		if j.Spec.Via != nil {
			j.success += j.Spec.throughVIP()
		}
	}
	return j.success
}
