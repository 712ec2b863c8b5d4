package strain

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"baton/test/lab"
)

const (
	servers  = 1000
	interval = 2 * time.Second
	// longest is how long a server may have to wait for its next check: its
	// interval with the jitter, and one interval more.
	longest = interval + interval/10 + interval
	// watched is for how long the servers look at their checks.
	watched = 4 * interval
)

// farm is a thousand web servers at addresses of the loopback network, which note
// when they are asked.
type farm struct {
	listener net.Listener

	mu   sync.Mutex
	last map[netip.Addr]time.Time
	gap  map[netip.Addr]time.Duration // the longest between two requests
}

func newFarm(t *testing.T, h *lab.Host) *farm {
	t.Helper()
	f := &farm{last: map[netip.Addr]time.Time{}, gap: map[netip.Addr]time.Duration{}}
	var err error
	if f.listener, err = h.Listen("tcp4", "0.0.0.0:80"); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := f.listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				serving.Go(func() { f.serve(c) })
			}
		}
	})
	t.Cleanup(func() { _ = f.listener.Close(); serving.Wait() })
	return f
}

func (f *farm) serve(c net.Conn) {
	defer c.Close()
	f.asked(netip.MustParseAddrPort(c.LocalAddr().String()).Addr(), time.Now())
	_ = c.SetDeadline(time.Now().Add(lab.Patience(10 * time.Second)))
	if _, err := c.Read(make([]byte, 4096)); err == nil {
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	}
}

func (f *farm) asked(server netip.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, ok := f.last[server]; ok {
		f.gap[server] = max(f.gap[server], now.Sub(last))
	}
	f.last[server] = now
}

// all returns nil when each server has been asked.
func (f *farm) all() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.last); n != servers {
		return fmt.Errorf("%d of %d servers have been asked", n, servers)
	}
	return nil
}

// watch looks for a while, and fails the test for the servers that had to wait too
// long.
func (f *farm) watch(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	clear(f.gap)
	f.mu.Unlock()
	time.Sleep(watched)
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	late, worst := 0, time.Duration(0)
	for server, last := range f.last {
		gap := max(f.gap[server], now.Sub(last))
		worst = max(worst, gap)
		if gap > longest {
			late++
		}
	}
	t.Logf("the longest time between two checks of a server was %s", worst.Round(time.Millisecond))
	if late > 0 {
		t.Errorf("%d servers were not checked for more than %s, one of them for %s", late, longest, worst)
	}
}

// config is that of the thousand servers, and the checks that are to be stuck.
func config(dir, stuck string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `node: lb
state_dir: %s/state
api: {socket: %s/baton.sock}
defaults: {check: {interval: %s, timeout: 1s}}
services:
  - name: stuck
    address: 10.0.0.100:53
    protocol: udp
    check: {%s}
    servers: [127.2.0.1, 127.2.0.2, 127.2.0.3, 127.2.0.4, 127.2.0.5, 127.2.0.6, 127.2.0.7, 127.2.0.8, 127.2.0.9, 127.2.0.10]
  - name: many
    address: 10.0.0.100:80
    check: {http: {}}
    servers:
`, dir, dir, interval, stuck)
	for i := range servers {
		fmt.Fprintf(&b, "      - 127.1.%d.%d\n", i/250, i%250+1)
	}
	return b.String()
}
