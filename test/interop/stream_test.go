package interop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"baton/test/lab"
	"baton/test/stream"
)

const (
	echoPort = 7
	every    = 500 * time.Microsecond // a datagram
)

// echo answers datagrams on both members until the test ends.
func (p *pair) echo() {
	p.t.Helper()
	network := "udp4"
	if p.mode.ipv6 {
		network = "udp6"
	}
	for _, m := range []*member{p.baton, p.keepalived} {
		c, err := m.host.ListenPacket(network, fmt.Sprintf(":%d", echoPort))
		must(p.t, err)
		conn, ok := c.(*net.UDPConn)
		if !ok {
			p.t.Fatalf("%T is no UDP socket", c)
		}
		roomy(p.t, conn)
		ended := make(chan error, 1)
		go func() { ended <- stream.Echo(conn) }()
		t := p.t
		t.Cleanup(func() {
			must(t, conn.Close())
			if err := <-ended; err != nil {
				t.Errorf("the echo service of %s: %v", m, err)
			}
		})
	}
}

// stream begins to send to the VIP, a datagram every half millisecond, and
// returns when answers come.
func (p *pair) stream() *stream.Stream {
	p.t.Helper()
	var conn *net.UDPConn
	must(p.t, p.client.Do(func() (err error) {
		conn, err = stream.Dial(netip.AddrPortFrom(p.mode.vip().Addr(), echoPort))
		return err
	}))
	roomy(p.t, conn)
	// The neighbour entry first: packets that wait for it are not what is measured.
	lab.Eventually(p.t, 3*time.Second, func() error {
		if _, err := conn.Write([]byte("hello")); err != nil {
			return err
		}
		must(p.t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		_, err := conn.Read(make([]byte, 64))
		return err
	})
	must(p.t, conn.SetReadDeadline(time.Time{}))
	return stream.Start(conn, every)
}

// roomy gives a socket room for some seconds of datagrams: when the machine is
// busy, the judge must not lose what the directors have carried.
func roomy(t testing.TB, c *net.UDPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var set error
	must(t, errors.Join(raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	}), set))
}

// loss tells what a client has lost, and fails the test when it is more than
// allowed.
func (p *pair) loss(r stream.Result, most int, what string) {
	p.t.Helper()
	p.t.Logf("%s: %s (at most %d)", what, r, most)
	if r.Lost > most {
		p.t.Errorf("%s: %s; want at most %d", what, r, most)
	}
	if r.Sent < 100 {
		p.t.Errorf("%s: only %d packets were sent: the stream proves nothing", what, r.Sent)
	}
}
