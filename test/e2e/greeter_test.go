//go:build vm

package e2e

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
)

// greeter is one end of a connection in which lines are said.
type greeter struct {
	net.Conn
	lines *bufio.Reader
}

func newGreeter(t *testing.T, c net.Conn) *greeter {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(lab.Patience(patience)))
	return &greeter{c, bufio.NewReader(c)}
}

func (g *greeter) say(line string) { _, _ = g.Write([]byte(line + "\r\n")) } // whether it arrives is seen at the other end

// hear returns the next line; empty at the end.
func (g *greeter) hear() string {
	line, _ := g.lines.ReadString('\n')
	return strings.TrimSpace(line)
}

// greet serves every connection to an address of a host with f, until the test
// ends.
func greet(t *testing.T, h *lab.Host, address string, f func(*greeter)) {
	t.Helper()
	l, err := h.Listen("tcp", address)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(lab.Patience(patience)))
				f(&greeter{c, bufio.NewReader(c)})
			}()
		}
	}()
}

// dialGreeter connects from a host.
func dialGreeter(t *testing.T, h *lab.Host, address string) *greeter {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience(patience))
	defer cancel()
	c, err := h.Dial(ctx, "tcp", address)
	must(t, err)
	return newGreeter(t, c)
}
