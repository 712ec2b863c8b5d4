package check

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A mere connect is over when the connection is there, a request when the server has
// answered and hung up; and to make and to close a socket costs the kernel more than
// that. So a socket whose connection was good is kept, as a spare one, for the next
// check that asks for nothing special: connect(2) with AF_UNSPEC makes it as it was
// when it was new (tcp_disconnect). A mere connection gets a reset by that, one that
// the server has ended is ended here as well, before.

const (
	// mostSpares is how many are kept. As many are in use at a time where servers
	// answer at once; more would only be idle.
	mostSpares = 256
	// mostUses bounds the life of a socket.
	mostUses = 1000
	// idleSpares is how long spare sockets are kept that nobody needs.
	idleSpares = time.Minute
)

// spares are sockets without a connection, by IP version.
type spares struct {
	v4, v6 []spare
	used   time.Time // when one was asked for last
}

type spare struct {
	fd, uses int
	ended    bool // properly; it is not yet as new
}

// of returns the sockets that can connect to a spec's target; nil: none can.
func (s *spares) of(spec *Spec) *[]spare {
	if spec.Source.IsValid() || spec.Interface != "" || spec.FWMark != 0 {
		return nil
	}
	if spec.Target.Addr().Is6() {
		return &s.v6
	}
	return &s.v4
}

// age closes sockets that nobody has needed for long, and returns when to look
// again; the zero time: never.
func (s *spares) age(now time.Time) (next time.Time) {
	if len(s.v4)+len(s.v6) == 0 {
		return time.Time{}
	}
	if next = s.used.Add(idleSpares); next.After(now) {
		return next
	}
	s.close()
	return time.Time{}
}

// close closes all of them.
func (s *spares) close() {
	for _, list := range []*[]spare{&s.v4, &s.v6} {
		for _, one := range *list {
			_ = unix.Close(one.fd)
		}
		*list = nil
	}
}

// again connects a spare socket for a flight; not ok: there is none, or it cannot be
// used. The caller holds the mutex.
func (p *poller) again(f *flight) (ok bool, err error) {
	list := p.spare.of(&f.job.Spec)
	if list == nil {
		return false, nil
	}
	p.spare.used = f.start
	if len(*list) == 0 {
		return false, nil
	}
	one := (*list)[len(*list)-1]
	*list = (*list)[:len(*list)-1]
	f.fd, f.uses = one.fd, one.uses
	if one.ended && !disconnect(f.fd) {
		_ = unix.Close(f.fd)
		return false, nil
	}
	a, err := socketAddress(f.job.Spec.Target)
	if err == nil {
		withoutLastAcknowledgement(f.fd)
		err = unix.Connect(f.fd, a)
	}
	if err == nil || errors.Is(err, unix.EINPROGRESS) {
		return true, nil
	}
	_ = unix.Close(f.fd)
	if errors.Is(err, unix.EISCONN) { // it is not as new, as it should be
		return false, nil
	}
	return true, f.job.Spec.connectFailure(f.job.Spec.Target, err)
}

// keep ends the connection of a flight and keeps its socket, if it can be used
// again. The caller holds the mutex.
func (p *poller) keep(f *flight) bool {
	list := p.spare.of(&f.job.Spec)
	if p.ending || list == nil || len(*list) >= mostSpares || f.uses >= mostUses || !f.end() {
		return false
	}
	*list = append(*list, spare{f.fd, f.uses + 1, f.http != nil})
	return true
}

// end ends the connection and not the socket; not ok: it has to be closed for that.
func (f *flight) end() (ok bool) {
	if f.http == nil {
		return disconnect(f.fd)
	}
	return f.http.eof && unix.Shutdown(f.fd, unix.SHUT_WR) == nil
}

// disconnect makes a TCP socket as it was before it was connected. A connection
// that there is gets a reset.
func disconnect(fd int) bool {
	var none unix.RawSockaddr                                                                                          // its family is AF_UNSPEC
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none)) //nolint:gosec // x/sys has no sockaddr without a family
	return errno == 0
}
