// Package stream measures an outage as a client sees it: it sends a datagram to
// an echo service every half millisecond and looks for the longest silence
// between the answers.
package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Result is what a client saw.
type Result struct {
	Sent, Lost int
	// Gap is the longest outage: the time between the sending of two datagrams
	// that were answered, where those between them were not. A client that itself
	// stood still has no outage by that.
	Gap      time.Duration
	GapBegan time.Time // when the last datagram before the gap was sent
}

// String returns the result in words.
func (r Result) String() string {
	return fmt.Sprintf("%d of %d lost, longest gap %s", r.Lost, r.Sent, r.Gap.Round(10*time.Microsecond))
}

// Stream is a running measurement.
type Stream struct {
	conn    *net.UDPConn
	every   time.Duration
	stop    chan struct{}
	sending sync.WaitGroup
	reading sync.WaitGroup

	sent []time.Time // of the sending goroutine, until it has ended

	mu       sync.Mutex
	answered map[uint64]bool
}

// Echo answers every datagram on conn with itself, from the address that it was
// sent to, until conn is closed.
func Echo(conn *net.UDPConn) error {
	if err := wantDest(conn); err != nil {
		return err
	}
	buf, oob := make([]byte, 64), make([]byte, 128)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a datagram: %w", err)
		}
		// An answer that cannot be sent is a lost one; the client counts it.
		_, _, _ = conn.WriteMsgUDPAddrPort(buf[:n], replyFrom(oob[:oobn]), from)
	}
}

// wantDest makes the kernel tell where a datagram was sent to: the service is
// bound to all addresses, because a VIP comes and goes.
func wantDest(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok && local.IP.To4() == nil {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(err, os.NewSyscallError("asking for the destinations of datagrams", set))
}

// replyFrom makes the control message that answers from the address in the
// received one (struct in_pktinfo: index, local address, destination; struct
// in6_pktinfo: destination, index).
func replyFrom(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= 12 {
			info := &unix.Inet4Pktinfo{}
			copy(info.Spec_dst[:], m.Data[8:12])
			return unix.PktInfo4(info)
		}
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16 {
			info := &unix.Inet6Pktinfo{}
			copy(info.Addr[:], m.Data[:16])
			return unix.PktInfo6(info)
		}
	}
	return nil
}

// Start begins to send through conn, which is connected to the echo service,
// every so often, and closes it at the end.
func Start(conn *net.UDPConn, every time.Duration) *Stream {
	s := &Stream{conn: conn, every: every, stop: make(chan struct{}), answered: map[uint64]bool{}}
	s.sending.Go(s.send)
	s.reading.Go(s.read)
	return s
}

func (s *Stream) send() {
	begin := time.Now()
	var b [8]byte
	for i := uint64(0); ; i++ {
		if wait := time.Until(begin.Add(time.Duration(i) * s.every)); wait > 0 {
			time.Sleep(wait)
		}
		select {
		case <-s.stop:
			return
		default:
		}
		binary.BigEndian.PutUint64(b[:], i)
		s.sent = append(s.sent, time.Now())
		_, _ = s.conn.Write(b[:]) // refused or unreachable: lost
	}
}

func (s *Stream) read() {
	buf := make([]byte, 64)
	for {
		n, err := s.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != 8 {
			continue // an ICMP error in answer to one of ours
		}
		s.mu.Lock()
		s.answered[binary.BigEndian.Uint64(buf)] = true
		s.mu.Unlock()
	}
}

// Stop ends the stream and returns what was seen. Answers get some time to
// arrive, and as long as some do, more: a busy machine delays also who reads them.
func (s *Stream) Stop() Result {
	close(s.stop)
	s.sending.Wait()
	for before := -1; before != s.answers(); time.Sleep(200 * time.Millisecond) {
		before = s.answers()
	}
	_ = s.conn.Close()
	s.reading.Wait()
	return s.result()
}

// answers is how many came so far.
func (s *Stream) answers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.answered)
}

func (s *Stream) result() Result {
	r := Result{Sent: len(s.sent)}
	last := -1 // the last answered one
	for i, at := range s.sent {
		if !s.answered[uint64(i)] {
			r.Lost++
			continue
		}
		if last >= 0 && i > last+1 {
			if gap := at.Sub(s.sent[last]); gap > r.Gap {
				r.Gap, r.GapBegan = gap, s.sent[last]
			}
		}
		last = i
	}
	return r
}

// Dial opens the client's socket; call it in the client's network namespace.
func Dial(to netip.AddrPort) (*net.UDPConn, error) {
	return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
}

// Listen opens the echo service's socket for IPv4; call it in the server's network
// namespace.
func Listen(port uint16) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
}
