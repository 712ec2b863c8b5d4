//go:build vm

package e2e

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"baton/test/lab"
	"baton/test/scene"
)

// addressWatch hears of every change of a host's addresses.
type addressWatch struct {
	host  *lab.Host
	had   []string // before
	done  chan struct{}
	ended chan struct{}

	mu      sync.Mutex
	changes []addressChange
	err     error
}

type addressChange struct {
	at      time.Time
	address string
	added   bool // or renewed; otherwise removed
}

// watchAddresses begins to listen.
func watchAddresses(t *testing.T, h *lab.Host) *addressWatch {
	t.Helper()
	ns, err := netns.GetFromName(h.Namespace())
	must(t, err)
	defer ns.Close()
	w := &addressWatch{host: h, done: make(chan struct{}), ended: make(chan struct{})}
	updates := make(chan netlink.AddrUpdate)
	must(t, netlink.AddrSubscribeWithOptions(updates, w.done, netlink.AddrSubscribeOptions{
		Namespace: &ns, ReceiveBufferSize: 1 << 20,
		ErrorCallback: func(err error) {
			select {
			case <-w.done: // its own end
			default:
				w.mu.Lock()
				w.err = err
				w.mu.Unlock()
			}
		},
	}))
	go func() {
		defer close(w.ended)
		for u := range updates {
			w.mu.Lock()
			w.changes = append(w.changes, addressChange{time.Now(), u.LinkAddress.String(), u.NewAddr})
			w.mu.Unlock()
		}
	}()
	prefixes, err := h.Addresses("")
	must(t, err)
	for _, p := range prefixes {
		w.had = append(w.had, p.String())
	}
	return w
}

// unmoved ends the watch and fails the test if an address was removed, or if one
// came that was not there before. It returns how many leases were renewed.
func (w *addressWatch) unmoved(t *testing.T) (renewals int) {
	t.Helper()
	close(w.done)
	<-w.ended
	if w.err != nil {
		t.Errorf("%s: listening for changes of addresses: %v", w.host, w.err)
	}
	for _, c := range w.changes {
		at := c.at.Format("15:04:05.000")
		switch {
		case !c.added:
			t.Errorf("%s: address %s was removed at %s", w.host, c.address, at)
		case !slices.Contains(w.had, c.address):
			t.Errorf("%s: address %s was added at %s", w.host, c.address, at)
		default:
			renewals++
		}
	}
	return renewals
}

// adverts captures the adverts that arrive at a host from a director.
func adverts(s *scene.Scene, at *scene.Director, from string) *lab.Capture {
	return s.Lab.Capture(at.Host, "eth0", "ip proto 112 and src host "+from)
}

// punctual ends a capture of adverts and fails the test if there was ever a gap
// of more than one and a half intervals between two, or before the end.
func punctual(t *testing.T, c *lab.Capture, interval time.Duration) (seen int) {
	t.Helper()
	must(t, c.Stop())
	ended := time.Now()
	packets := c.Packets()
	if len(packets) < 2 {
		t.Fatalf("%d adverts were captured", len(packets))
	}
	var longest time.Duration
	last := packets[0].Time
	for _, p := range packets[1:] {
		longest = max(longest, p.Time.Sub(last))
		last = p.Time
	}
	longest = max(longest, ended.Sub(last))
	t.Logf("%d adverts, at most %s apart", len(packets), longest.Round(time.Millisecond))
	if longest > interval*3/2 {
		t.Errorf("two adverts are %s apart, at an interval of %s", longest, interval)
	}
	return len(packets)
}

// vipWatch looks all the time at which directors have the VIP.
type vipWatch struct {
	scene *scene.Scene
	stop  chan struct{}
	done  sync.WaitGroup

	looks   int
	holders []holding
}

// holding is from when on the VIP was where.
type holding struct {
	at  time.Time
	who string // names with a + between; empty: nobody
}

func watchVIP(s *scene.Scene) *vipWatch {
	w := &vipWatch{scene: s, stop: make(chan struct{})}
	w.done.Go(func() {
		for {
			who := ""
			for _, d := range s.Owners() {
				if who != "" {
					who += "+"
				}
				who += d.Name
			}
			w.looks++
			if n := len(w.holders); n == 0 || w.holders[n-1].who != who {
				w.holders = append(w.holders, holding{time.Now(), who})
			}
			select {
			case <-w.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return w
}

// end ends the watch and returns who had the VIP, one after the other.
func (w *vipWatch) end() []holding {
	close(w.stop)
	w.done.Wait()
	return w.holders
}

// during is how long the VIP was where, up to an end.
func during(holders []holding, who string, end time.Time) (sum time.Duration) {
	for i, h := range holders {
		until := end
		if i+1 < len(holders) {
			until = holders[i+1].at
		}
		if h.who == who {
			sum += until.Sub(h.at)
		}
	}
	return sum
}

func describe(holders []holding, since time.Time) (out string) {
	for _, h := range holders {
		out += fmt.Sprintf("  +%s %q", h.at.Sub(since).Round(time.Millisecond), h.who)
	}
	return out
}
