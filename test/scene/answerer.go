package scene

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"baton/test/lab"
)

// Answerer is a real server that says who it is. Its sockets belong to the
// program that made it: on an emulated processor that is far cheaper than a web
// server, and thousands of requests are nothing.
//
// Over streams it answers each line. "who" is answered by a line "NAME TO FROM":
// its name and the addresses between which the request arrived. "take N" and N
// bytes are answered in the same way when all have come. "GET …" is an HTTP
// request, whose answer has that line as its body. A datagram is answered by that
// line too.
type Answerer struct {
	Name   string
	Host   *lab.Host
	closer []io.Closer
}

// Listen answers at an address over tcp, udp or sctp.
func (a *Answerer) Listen(protocol string, at netip.AddrPort) error {
	switch protocol {
	case "udp":
		conn, err := a.Host.ListenPacket("udp", at.String())
		if err != nil {
			return err
		}
		a.closer = append(a.closer, conn)
		go a.answerDatagrams(conn, at)
		return nil
	case "sctp":
		listener, err := a.Host.ListenSCTP(at)
		if err != nil {
			return err
		}
		a.accept(listener)
		return nil
	}
	listener, err := a.Host.Listen("tcp", at.String())
	if err != nil {
		return err
	}
	a.accept(listener)
	return nil
}

// Close ends all its listeners.
func (a *Answerer) Close() {
	for _, c := range a.closer {
		_ = c.Close() // nothing is lost with it
	}
}

func (a *Answerer) answerDatagrams(conn net.PacketConn, at netip.AddrPort) {
	buf := make([]byte, 2048)
	for {
		_, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			// An answer that cannot be sent is missed by the client.
			_, _ = conn.WriteTo([]byte(a.line(at, from)), from)
		}
	}
}

func (a *Answerer) line(to, from fmt.Stringer) string {
	return fmt.Sprintf("%s %s %s\n", a.Name, to, from)
}

func (a *Answerer) accept(listener net.Listener) {
	a.closer = append(a.closer, listener)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				a.answer(conn)
				_ = conn.Close() // the client sees what became of it
			}()
		}
	}()
}

func (a *Answerer) answer(conn net.Conn) {
	in := bufio.NewReader(conn)
	line := a.line(conn.LocalAddr(), conn.RemoteAddr())
	for {
		request, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(request, "GET ") {
			for err == nil && strings.TrimSpace(request) != "" {
				request, err = in.ReadString('\n')
			}
			line = fmt.Sprintf("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
		}
		if size, ok := strings.CutPrefix(request, "take "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(size), 10, 64)
			if err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, in, n); err != nil {
				return
			}
		}
		if _, err := io.WriteString(conn, line); err != nil || strings.HasPrefix(line, "HTTP") {
			return
		}
	}
}

// Answer is what a client was told.
type Answer struct {
	Server   string
	To, From netip.AddrPort // as the server saw them
}

func parseAnswer(line string) (Answer, error) {
	f := strings.Fields(line)
	if len(f) != 3 {
		return Answer{}, fmt.Errorf("%q is no answer", line)
	}
	to, err := netip.ParseAddrPort(f[1])
	from, err2 := netip.ParseAddrPort(f[2])
	return Answer{Server: f[0], To: unmap(to), From: unmap(from)}, errors.Join(err, err2)
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// clientPatience is how long a client waits for a connection or an answer.
const clientPatience = 2 * time.Second

// Visitor is a connection, or over UDP a socket, of a client.
type Visitor struct {
	net.Conn
	in *bufio.Reader
}

// Visit connects from one of the client's addresses.
func (f *Farm) Visit(protocol string, from netip.Addr, to netip.AddrPort) (*Visitor, error) {
	patience := lab.Patience(clientPatience)
	var conn net.Conn
	var err error
	switch protocol {
	case "sctp":
		conn, err = f.Client.DialSCTP(from, to, patience)
	default:
		d := net.Dialer{Timeout: patience}
		if protocol == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
		err = f.Client.Do(func() (err error) {
			conn, err = d.DialContext(context.Background(), protocol, to.String())
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	return &Visitor{conn, bufio.NewReader(conn)}, nil
}

// Who asks who is there.
func (v *Visitor) Who() (Answer, error) { return v.ask([]byte("who\n")) }

// Upload sends that many bytes and has them acknowledged.
func (v *Visitor) Upload(n int) (Answer, error) {
	return v.ask(append(fmt.Appendf(nil, "take %d\n", n), make([]byte, n)...))
}

func (v *Visitor) ask(request []byte) (Answer, error) {
	if err := v.SetDeadline(time.Now().Add(lab.Patience(clientPatience))); err != nil {
		return Answer{}, err
	}
	if _, err := v.Write(request); err != nil {
		return Answer{}, err
	}
	line, err := v.in.ReadString('\n')
	if err != nil {
		return Answer{}, err
	}
	return parseAnswer(line)
}

// Ask is a connection with one question.
func (f *Farm) Ask(protocol string, from netip.Addr, to netip.AddrPort) (Answer, error) {
	v, err := f.Visit(protocol, from, to)
	if err != nil {
		return Answer{}, err
	}
	answer, err := v.Who()
	return answer, errors.Join(err, v.Close())
}

// Reset ends a connection over TCP with a reset, which balancers forget sooner
// than one that ended in good order.
func (v *Visitor) Reset() error {
	if tcp, ok := v.Conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return err
		}
	}
	return v.Close()
}

// MSS is how much the connection over TCP sends in one packet: what the path to
// the other side takes, as far as the kernel has learnt it.
func (v *Visitor) MSS() (int, error) {
	tcp, ok := v.Conn.(*net.TCPConn)
	if !ok {
		return 0, errors.New("only a connection over TCP has an MSS")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	mss := 0
	controlErr := raw.Control(func(fd uintptr) {
		mss, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG)
	})
	return mss, errors.Join(err, controlErr)
}

// Curl makes n requests with curl and counts who answered.
func (f *Farm) Curl(service netip.AddrPort, n int) (map[string]int, error) {
	out, err := f.Client.Run(context.Background(), "curl", "--silent", "--show-error", "--fail", "--max-time", "20",
		fmt.Sprintf("http://%s/[1-%d]", service, n))
	counts := map[string]int{}
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(line, " ")
		counts[name]++
	}
	return counts, err
}
