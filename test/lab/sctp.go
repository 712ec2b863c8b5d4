package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ListenSCTP listens for SCTP associations on the host, one-to-one style, of one stream each. The
// socket has this one address: with the wildcard the kernel would tell the other side of all
// addresses of the host, and packets would go past a balancer.
func (h *Host) ListenSCTP(at netip.AddrPort) (net.Listener, error) {
	var listener net.Listener
	err := h.Do(func() error {
		return sctp(at.Addr(), func(fd int) error {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
				return err
			}
			if err := unix.Bind(fd, sockaddr(at)); err != nil {
				return err
			}
			return unix.Listen(fd, 64)
		}, func(f *os.File) (err error) {
			listener, err = net.FileListener(f)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("lab: host %s: listening on sctp %s: %w", h.name, at, err)
	}
	return listener, nil
}

// DialSCTP connects from one address of the host, within a time.
func (h *Host) DialSCTP(from netip.Addr, to netip.AddrPort, within time.Duration) (net.Conn, error) {
	var conn net.Conn
	err := h.Do(func() error {
		return sctp(to.Addr(), func(fd int) error {
			if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
				return err
			}
			// connect(2) waits as long as sending may.
			timeout := unix.NsecToTimeval(within.Nanoseconds())
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
				return err
			}
			return unix.Connect(fd, sockaddr(to))
		}, func(f *os.File) (err error) {
			conn, err = net.FileConn(f)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("lab: host %s: connecting to sctp %s: %w", h.name, to, err)
	}
	return conn, nil
}

// sctp makes a socket, prepares it, and gives it to the runtime's poller.
func sctp(family netip.Addr, prepare func(fd int) error, adopt func(*os.File) error) error {
	domain := unix.AF_INET
	if family.Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return fmt.Errorf("a socket (is the kernel's module sctp there?): %w", err)
	}
	f := os.NewFile(uintptr(fd), "sctp")
	err = prepare(fd)
	if err == nil {
		err = adopt(f) // a duplicate
	}
	return errors.Join(err, f.Close())
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
