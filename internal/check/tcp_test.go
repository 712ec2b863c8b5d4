package check

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTCP(t *testing.T) {
	for _, tt := range []struct {
		name   string
		at     func(t *testing.T) netip.AddrPort
		server func(net.Conn)
		check  TCP
		code   Code
		detail string
	}{
		{name: "connect", server: hang, code: L4OK, detail: "connected to TARGET"},
		{name: "refused", at: refusing, code: L4CON, detail: "connection refused by TARGET"},
		{name: "black hole", at: blackHole, code: L4TOUT, detail: "no answer from TARGET to the connect within 1s"},
		{name: "send only", server: hang, check: TCP{Send: "x"}, code: L4OK, detail: "connected"},

		{name: "banner", server: then(say("220 ready\r\n"), hang), check: TCP{Expect: "220 "}, code: L7OK, detail: "TARGET answered as expected"},
		{name: "banner and close", server: say("220 "), check: TCP{Expect: "220 "}, code: L7OK},
		{name: "another banner", server: then(say("SSH-2.0\r\n"), hang), check: TCP{Expect: "220 "}, code: L7RSP, detail: `TARGET answered "SSH-2.0\r\n", expected "220 "`},
		{name: "slow bytes", server: slowly("220"), check: TCP{Expect: "220"}, code: L7OK},
		{name: "too slow bytes", server: slowly(strings.Repeat("2", 500)), check: TCP{Expect: strings.Repeat("2", 500)}, code: L7TOUT, detail: "not what is expected within 1s"},
		{name: "silence", server: hang, check: TCP{Expect: "220"}, code: L7TOUT, detail: "TARGET did not send an answer within 1s"},
		{name: "half a banner", server: say("22"), check: TCP{Expect: "220"}, code: L7RSP, detail: `answered "22", which is not what is expected`},
		{name: "closed", server: func(net.Conn) {}, check: TCP{Expect: "220"}, code: L7RSP, detail: "TARGET closed the connection before it had sent an answer"},
		{name: "reset", server: resetLater, check: TCP{Send: "x", Expect: "220"}, code: L4CON, detail: "TARGET reset the connection"},
		{name: "half closed", server: func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite(); hang(c) }, check: TCP{Expect: "220"}, code: L7RSP, detail: "closed the connection"},
		{name: "dialogue", server: echo, check: TCP{Send: "PING\r\n", Expect: "PING"}, code: L7OK},

		{name: "regex", server: then(say("x +PONG\n"), hang), check: TCP{ExpectRegex: `\+PO.G`}, code: L7OK},
		{name: "regex in pieces", server: slowly("+PONG"), check: TCP{ExpectRegex: `P.NG`}, code: L7OK},
		{name: "prefix and regex", server: then(say("+PONG"), hang), check: TCP{Expect: "+", ExpectRegex: `NG$`}, code: L7OK},
		{name: "regex and another answer", server: say("-ERR\n"), check: TCP{ExpectRegex: `PONG`}, code: L7RSP, detail: `answered "-ERR\n"`},
		{name: "regex and endless garbage", server: forever("\x00\xff garbage"), check: TCP{ExpectRegex: `PONG`}, code: L7RSP, detail: "sent 65536 bytes and not what is expected"},
		{name: "a regex that is none", server: hang, check: TCP{ExpectRegex: `(`}, code: L7RSP, detail: "expect_regex cannot be used"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.at == nil {
				tt.at = func(t *testing.T) netip.AddrPort { return serve(t, tt.server) }
			}
			holdAgainst(t, Spec{Target: tt.at(t), Timeout: time.Second, TCP: &tt.check}, tt.code, tt.detail)
		})
	}
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// A check that only connects must leave nothing in TIME_WAIT: it resets.
func TestAConnectEndsWithAReset(t *testing.T) {
	got := make(chan error, 1)
	target := serve(t, func(c net.Conn) {
		_, err := c.Read(make([]byte, 1))
		got <- err
	})
	holdAgainst(t, Spec{Target: target, Timeout: time.Second, TCP: &TCP{}}, L4OK, "connected")
	if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server saw %v, want a reset", err)
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	for name, s := range map[string]Spec{
		"connect": {Target: blackHole(t), TCP: &TCP{}},
		"read":    {Target: serve(t, hang), TCP: &TCP{Expect: "x"}},
		"http":    {Target: serve(t, hang), HTTP: &HTTP{}},
	} {
		t.Run(name, func(t *testing.T) {
			s.Timeout = time.Minute
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			if r := Probe(ctx, s); r.Code.OK() {
				t.Errorf("%s: %s", r.Code, r.Detail)
			}
			if took := time.Since(start); took > margin {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestConnectOptions(t *testing.T) {
	t.Run("source", func(t *testing.T) {
		from := make(chan string, 1)
		target := serve(t, func(c net.Conn) { from <- c.RemoteAddr().(*net.TCPAddr).IP.String() })
		s := Spec{Target: target, Timeout: time.Second, Source: netip.MustParseAddr("127.0.0.77"), TCP: &TCP{}}
		holdAgainst(t, s, L4OK, "connected")
		if got := <-from; got != "127.0.0.77" {
			t.Errorf("came from %s", got)
		}
	})
	t.Run("a source that is not here", func(t *testing.T) {
		s := Spec{Target: serve(t, hang), Timeout: time.Second, Source: netip.MustParseAddr("192.0.2.1"), TCP: &TCP{}}
		holdAgainst(t, s, L4CON, "this host cannot connect: it does not have the source address 192.0.2.1")
	})
	t.Run("interface", func(t *testing.T) {
		holdAgainst(t, Spec{Target: serve(t, hang), Timeout: time.Second, Interface: "lo", TCP: &TCP{}}, L4OK, "connected")
	})
	t.Run("an interface that is not here", func(t *testing.T) {
		s := Spec{Target: serve(t, hang), Timeout: time.Second, Interface: "nosuch0", TCP: &TCP{}}
		holdAgainst(t, s, L4CON, "this host cannot connect: cannot bind to interface nosuch0: no such device")
	})
	t.Run("firewall mark", func(t *testing.T) {
		s := Spec{Target: serve(t, hang), Timeout: time.Second, FWMark: 7, TCP: &TCP{}}
		if os.Geteuid() != 0 {
			holdAgainst(t, s, L4CON, "this host cannot connect: cannot set firewall mark 7")
			return
		}
		holdAgainst(t, s, L4OK, "connected")
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := s.setOptions(fd); err != nil {
			t.Fatal(err)
		}
		if mark, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK); mark != 7 || err != nil {
			t.Errorf("mark %d, %v", mark, err)
		}
	})
}
