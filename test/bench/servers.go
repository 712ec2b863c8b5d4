package main

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// serveHTTP is all real servers, or the one with an address. It takes every
// connection, answers the first bytes that come as if they were an HTTP request,
// and ends it.
func serveHTTP(args []string) error { return serveEach(args, answer) }

// serveTCP is the same for mere connects, which it ends at once.
func serveTCP(args []string) error { return serveEach(args, nil) }

var answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")

// servers are real servers of which none makes the next one wait: one epoll for all
// connections. They ask the kernel directly, for what they take is taken from what
// is measured.
type servers struct {
	listener, epoll int
	answer          []byte // nil: none
}

func serveEach(args []string, answer []byte) error {
	time.AfterFunc(longest, func() { os.Exit(1) })
	at := &unix.SockaddrInet4{Port: serverPort}
	if len(args) > 0 {
		address, err := netip.ParseAddr(args[0])
		if err != nil {
			return err
		}
		at.Port, at.Addr = victimPort, address.As4()
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, at), unix.Listen(fd, 4096)); err != nil {
		return err
	}
	s := servers{listener: fd, answer: answer}
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err := s.watch(fd); err != nil {
		return err
	}
	return s.work()
}

func (s *servers) watch(fd int) error {
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (s *servers) work() error {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(s.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if fd := int(e.Fd); fd != s.listener {
				s.serve(fd)
			} else if err := s.accept(); err != nil {
				return err
			}
		}
	}
}

// accept takes connections, a few at a time: those that are there come first.
func (s *servers) accept() error {
	for range 8 {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case s.answer == nil:
			_ = unix.Close(fd)
		default:
			if err := s.watch(fd); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *servers) serve(fd int) {
	var request [2048]byte
	n, err := unix.Read(fd, request[:])
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return // the epoll says so again
	}
	if n > 0 && err == nil {
		_, _ = unix.Write(fd, s.answer)
	}
	_ = unix.Close(fd)
}
