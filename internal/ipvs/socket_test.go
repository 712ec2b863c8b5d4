package ipvs

import (
	"context"
	"errors"
	"iter"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"baton/internal/pool"
)

// fakeSocket is a netlink socket whose other end is a fakeKernel: it takes the
// requests that a Kernel sends and answers as the kernel would, one datagram per
// acknowledgement.
type fakeSocket struct {
	world *fakeWorld

	mu       sync.Mutex
	queue    [][]netlink.Message
	deadline time.Time
	changed  chan struct{} // closed when the deadline changes
	closed   bool
	overrun  bool
}

// fakeWorld is what several sockets of a test share.
type fakeWorld struct {
	kernel *fakeKernel
	family uint16 // 0: no IPVS

	dials, sends int
	answers      int                        // datagrams
	overrun      bool                       // a lost answer is told, as netlink_overrun does
	largest      int                        // messages in one send
	repeat       bool                       // dump every object twice
	lose         func(netlink.Message) bool // do the work, lose the answer
	refuse       func(genetlink.Message) syscall.Errno
	answer       func(netlink.Message, genetlink.Message) ([][]netlink.Message, bool) // to commands of its own
}

func (w *fakeWorld) dial() (*netlink.Conn, error) {
	w.dials++
	return netlink.NewConn(&fakeSocket{world: w, changed: make(chan struct{})}, 1), nil
}

func (s *fakeSocket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *fakeSocket) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

func (s *fakeSocket) SetReadDeadline(t time.Time) error { return s.SetDeadline(t) }
func (s *fakeSocket) SetWriteDeadline(time.Time) error  { return nil }

func (s *fakeSocket) Send(m netlink.Message) error { return s.SendMessages([]netlink.Message{m}) }

func (s *fakeSocket) SendMessages(msgs []netlink.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.sends++
	s.world.largest = max(s.world.largest, len(msgs))
	var answers [][]netlink.Message
	for _, m := range msgs {
		a := s.world.handle(m)
		if s.world.lose == nil || !s.world.lose(m) {
			answers = append(answers, a...)
		} else {
			s.overrun = s.world.overrun
		}
	}
	s.world.answers += len(answers)
	s.queue = append(s.queue, answers...)
	return nil
}

func (s *fakeSocket) Receive() ([]netlink.Message, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, os.NewSyscallError("recvmsg", syscall.EBADF)
		}
		if s.overrun {
			s.overrun = false
			s.mu.Unlock()
			return nil, os.NewSyscallError("recvmsg", syscall.ENOBUFS)
		}
		if len(s.queue) > 0 && time.Now().Before(s.deadline) {
			m := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return m, nil
		}
		deadline, changed := s.deadline, s.changed
		s.mu.Unlock()
		select {
		case <-time.After(time.Until(deadline)):
			return nil, os.NewSyscallError("recvmsg", os.ErrDeadlineExceeded)
		case <-changed:
		}
	}
}

func (s *fakeSocket) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) {
		msgs, err := s.Receive()
		if err != nil {
			yield(netlink.Message{}, err)
			return
		}
		for _, m := range msgs {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// handle answers one request with datagrams.
func (w *fakeWorld) handle(m netlink.Message) [][]netlink.Message {
	var g genetlink.Message
	if err := g.UnmarshalBinary(m.Data); err != nil {
		return ack(m, syscall.EINVAL)
	}
	switch {
	case m.Header.Type == unix.GENL_ID_CTRL && w.family == 0:
		return ack(m, syscall.ENOENT)
	case m.Header.Type == unix.GENL_ID_CTRL:
		return reply(m, unix.CTRL_CMD_NEWFAMILY, w.familyAttributes())
	case uint16(m.Header.Type) != w.family:
		return ack(m, syscall.ENOENT)
	}
	if w.refuse != nil {
		if errno := w.refuse(g); errno != 0 {
			return ack(m, errno)
		}
	}
	if w.answer != nil {
		if answers, ok := w.answer(m, g); ok {
			return answers
		}
	}
	switch g.Header.Command {
	case cmdGetInfo:
		return reply(m, cmdSetInfo, answerInfo())
	case cmdGetService:
		return w.dump(m, w.services())
	case cmdGetDest:
		return w.dump(m, w.servers(g.Data))
	}
	return w.change(m, g)
}

func (w *fakeWorld) familyAttributes() []byte {
	var a writer
	a.u16(unix.CTRL_ATTR_FAMILY_ID, w.family)
	a.text(unix.CTRL_ATTR_FAMILY_NAME, familyName)
	return a
}

func (w *fakeWorld) services() [][]byte {
	var out [][]byte
	for _, e := range w.kernel.services {
		out = append(out, encodeOp(Op{Kind: NewService, Service: e.settings}))
	}
	return out
}

func (w *fakeWorld) servers(request []byte) [][]byte {
	k, err := decodeService(request)
	if err != nil {
		panic(err)
	}
	var out [][]byte
	if e := w.kernel.services[k.Key()]; e != nil {
		for _, s := range e.servers {
			out = append(out, encodeOp(Op{Kind: NewServer, Service: pool.VirtualService{Key: k.Key()}, Server: s}))
		}
	}
	return out
}

// change does a NEW, SET or DEL.
func (w *fakeWorld) change(m netlink.Message, g genetlink.Message) [][]netlink.Message {
	for k := NewService; k <= DelServer; k++ {
		if k.command() != g.Header.Command {
			continue
		}
		s, err := decodeService(g.Data)
		if err != nil {
			return ack(m, syscall.EINVAL)
		}
		op := Op{Kind: k, Service: s.Settings}
		if k.ofServer() {
			d, err := decodeServer(g.Data, s.Settings.IPv6)
			if err != nil {
				return ack(m, syscall.EINVAL)
			}
			op.Server = d.RealServer
		}
		var errno syscall.Errno
		errors.As(w.kernel.Write(context.Background(), []Op{op})[0], &errno)
		if errno == 0 && m.Header.Flags&netlink.Acknowledge == 0 {
			return nil // as netlink_rcv_skb
		}
		return ack(m, errno)
	}
	return ack(m, syscall.EOPNOTSUPP)
}

// dump sends a datagram of objects and one that ends the dump.
func (w *fakeWorld) dump(m netlink.Message, objects [][]byte) [][]netlink.Message {
	var data []netlink.Message
	for _, b := range objects {
		data = append(data, reply(m, cmdNewService, b)[0][0])
		if w.repeat {
			data = append(data, reply(m, cmdNewService, b)[0][0])
		}
	}
	for i := range data {
		data[i].Header.Flags |= netlink.Multi
	}
	done := netlink.Message{Header: netlink.Header{Type: netlink.Done, Flags: netlink.Multi, Sequence: m.Header.Sequence, PID: 1}, Data: make([]byte, 4)}
	if data == nil {
		return [][]netlink.Message{{done}}
	}
	return [][]netlink.Message{data, {done}}
}

func reply(m netlink.Message, cmd uint8, attrs []byte) [][]netlink.Message {
	data, err := genetlink.Message{Header: genetlink.Header{Command: cmd, Version: 1}, Data: attrs}.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return [][]netlink.Message{{{Header: netlink.Header{Type: m.Header.Type, Sequence: m.Header.Sequence, PID: 1}, Data: data}}}
}

func ack(m netlink.Message, errno syscall.Errno) [][]netlink.Message {
	data := make([]byte, 20)
	// struct nlmsgerr: minus the error number, then the request's header.
	for i, b := 0, -int32(errno); i < 4; i++ {
		data[i] = byte(b >> (8 * i))
	}
	return [][]netlink.Message{{{Header: netlink.Header{Type: netlink.Error, Sequence: m.Header.Sequence, PID: 1}, Data: data}}}
}
