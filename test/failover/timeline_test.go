package failover

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"baton/test/lab"
)

// timeline is who had the VIP when, by the kernels' own reports.
type timeline struct {
	t       testing.TB
	mu      sync.Mutex
	changes []change
	more    chan struct{} // closed and replaced with each change
}

// change is that a host got an address, or lost it.
type change struct {
	at   time.Time
	host *lab.Host
	addr netip.Addr
	has  bool
}

// watch begins a timeline of the addresses of hosts that have none of interest
// yet.
func watch(t testing.TB, hosts ...*lab.Host) *timeline {
	t.Helper()
	l := &timeline{t: t, more: make(chan struct{})}
	for _, h := range hosts {
		ns, err := netns.GetFromName(h.Namespace())
		must(t, err)
		updates, done := make(chan netlink.AddrUpdate, 1024), make(chan struct{})
		must(t, netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{
			Namespace: &ns, ReceiveBufferSize: 4 << 20, ReceiveBufferForceSize: true,
			ErrorCallback: func(err error) {
				select {
				case <-done: // the end of the watch shows as an error, too
				default:
					t.Errorf("address reports of %s: %v", h, err)
				}
			},
		}))
		must(t, ns.Close())
		var reading sync.WaitGroup
		reading.Go(func() {
			for u := range updates {
				if a, ok := netip.AddrFromSlice(u.LinkAddress.IP); ok {
					l.add(change{time.Now(), h, a.Unmap(), u.NewAddr})
				}
			}
		})
		t.Cleanup(func() { close(done); reading.Wait() })
	}
	return l
}

func (l *timeline) add(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.changes) - 1; i >= 0; i-- {
		if old := l.changes[i]; old.host == c.host && old.addr == c.addr {
			if old.has == c.has {
				return // a lease was renewed
			}
			break
		}
	}
	l.changes = append(l.changes, c)
	close(l.more)
	l.more = make(chan struct{})
}

// await returns when a host got (has) or lost an address after a time, waiting
// for at most that long.
func (l *timeline) await(h *lab.Host, addr netip.Addr, has bool, after time.Time, within time.Duration) time.Time {
	l.t.Helper()
	deadline := time.NewTimer(lab.Patience(within))
	defer deadline.Stop()
	for {
		l.mu.Lock()
		more := l.more
		for _, c := range l.changes {
			if c.host == h && c.addr == addr && c.has == has && c.at.After(after) {
				l.mu.Unlock()
				return c.at
			}
		}
		l.mu.Unlock()
		select {
		case <-more:
		case <-deadline.C:
			verb := "lost"
			if has {
				verb = "got"
			}
			l.t.Fatalf("%s has not %s %s within %v\n%s", h, verb, addr, within, l)
		}
	}
}

// since returns the changes of an address after a time.
func (l *timeline) since(addr netip.Addr, after time.Time) []change {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []change
	for _, c := range l.changes {
		if c.addr == addr && c.at.After(after) {
			out = append(out, c)
		}
	}
	return out
}

// unmoved fails the test when an address came or went since a time.
func (l *timeline) unmoved(addr netip.Addr, since time.Time) {
	l.t.Helper()
	if moved := l.since(addr, since); len(moved) > 0 {
		l.t.Errorf("%s moved, and nothing should have:\n%s", addr, l)
	}
}

// both returns the longest time for which two hosts had an address, until now.
func (l *timeline) both(addr netip.Addr) time.Duration {
	var longest time.Duration
	l.intervals(addr, func(holders int, d time.Duration) {
		if holders > 1 {
			longest = max(longest, d)
		}
	})
	return longest
}

// intervals tells how many hosts had an address, and for how long.
func (l *timeline) intervals(addr netip.Addr, tell func(holders int, d time.Duration)) {
	changes := l.since(addr, time.Time{})
	holders := 0
	for i, c := range changes {
		if c.has {
			holders++
		} else {
			holders--
		}
		end := time.Now()
		if i+1 < len(changes) {
			end = changes[i+1].at
		}
		tell(holders, end.Sub(c.at))
	}
}

// String lists the changes, for a failed test.
func (l *timeline) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := "who had what:"
	for _, c := range l.changes {
		verb := " lost "
		if c.has {
			verb = " got "
		}
		text += "\n\t" + c.at.Format("15:04:05.000") + " " + c.host.Name() + verb + c.addr.String()
	}
	return text
}

// alone waits until exactly one host has an address.
func (l *timeline) alone(addr netip.Addr, within time.Duration) {
	l.t.Helper()
	deadline := time.NewTimer(lab.Patience(within))
	defer deadline.Stop()
	for {
		l.mu.Lock()
		more, holders := l.more, map[*lab.Host]bool{}
		for _, c := range l.changes {
			if c.addr == addr {
				holders[c.host] = c.has
			}
		}
		l.mu.Unlock()
		n := 0
		for _, has := range holders {
			if has {
				n++
			}
		}
		if n == 1 {
			return
		}
		select {
		case <-more:
		case <-deadline.C:
			l.t.Fatalf("%d hosts have %s after %v\n%s", n, addr, within, l)
		}
	}
}

// gotBefore reports whether a host got an address between two times.
func (l *timeline) gotBefore(h *lab.Host, addr netip.Addr, from, until time.Time) bool {
	for _, c := range l.since(addr, from) {
		if c.host == h && c.has && c.at.Before(until) {
			return true
		}
	}
	return false
}
