package speaker

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"baton/internal/network"
)

// holder carries out, in order and outside the speaker's goroutine, what a
// router decided about its addresses. Only the latest wish counts: a release
// overtakes a hold and announcements that were not begun yet.
type holder struct {
	s     *Speaker
	owner string
	done  func(held bool, err error) // in the speaker's goroutine
	pause atomic.Int64               // between two announcements, a time.Duration

	mu      sync.Mutex
	wish    wish
	tells   int // announcements of every address still to be made
	busy    bool
	told    uint64
	changed chan struct{} // buffered, 1
	waiting []chan struct{}
	closed  bool
}

// wish is what the addresses should be.
type wish struct {
	pending bool
	hold    bool
	held
}

func newHolder(s *Speaker, owner string, pause time.Duration, done func(bool, error)) *holder {
	h := &holder{s: s, owner: owner, done: done, changed: make(chan struct{}, 1)}
	h.setPause(pause)
	s.holders.Go(h.run)
	return h
}

// setPause sets the time between two announcements.
func (h *holder) setPause(d time.Duration) { h.pause.Store(int64(d)) }

// set asks for the addresses to be held or released.
func (h *holder) set(hold bool, what held) {
	h.mu.Lock()
	h.wish = wish{pending: true, hold: hold, held: what}
	if !hold {
		h.tells = 0
	}
	h.mu.Unlock()
	h.wake()
}

// tell asks for every address to be announced n times, after what was asked
// before.
func (h *holder) tell(n int) {
	h.mu.Lock()
	h.tells = max(h.tells, n)
	h.mu.Unlock()
	h.wake()
}

// idle waits until all that was asked is done.
func (h *holder) idle(ctx context.Context) error {
	h.mu.Lock()
	if !h.busy && !h.wish.pending {
		h.mu.Unlock()
		return nil
	}
	c := make(chan struct{})
	h.waiting = append(h.waiting, c)
	h.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("router %s: addresses not released in time: %w", h.owner, ctx.Err())
	}
}

// end releases everything, also what a backup keeps, and ends the worker.
func (h *holder) end() {
	h.set(false, held{})
	h.close()
}

// close ends the worker after what was asked before.
func (h *holder) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.wake()
}

func (h *holder) announced() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told
}

func (h *holder) wake() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *holder) run() {
	var now wish // what was done last
	for {
		next, tell, closed := h.next()
		switch {
		case next.pending:
			err := h.apply(next, next.hold && now.hold && reflect.DeepEqual(next.state, now.state))
			now = next
			h.s.post(func() { h.done(next.hold, err) })
		case tell && now.hold:
			h.announce(now.announce)
			h.wait(time.Duration(h.pause.Load()))
		case tell:
		case closed:
			return
		default:
			select {
			case <-h.changed:
			case <-h.s.ctx.Done():
				// Run has ended: carry out a release that came just before.
				h.close()
			}
		}
	}
}

// next takes the next piece of work.
func (h *holder) next() (w wish, tell, closed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w = h.wish
	h.wish.pending = false
	if !w.pending && h.tells > 0 {
		h.tells--
		tell = true
	}
	h.busy = w.pending || tell
	if !h.busy {
		for _, c := range h.waiting {
			close(c)
		}
		h.waiting = nil
	}
	return w, tell, h.closed
}

// applyTimeout bounds one change of the addresses. The kernel answers within a
// millisecond; the bound is for a host that is nearly dead.
const applyTimeout = 5 * time.Second

func (h *holder) apply(w wish, renewal bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), applyTimeout)
	defer cancel()
	state := w.state
	if !w.hold {
		// The link of a virtual hardware address stays, and is down meanwhile.
		state = network.State{Link: state.Link}
	}
	return h.s.kernel.set(ctx, h.owner, state, renewal)
}

// announce tells the neighbours of every address once.
func (h *holder) announce(all []announcement) {
	h.awaitDelivery(all)
	for _, a := range all {
		if err := h.s.announcers.announce(a); err != nil {
			if h.s.ctx.Err() == nil {
				h.s.post(func() {
					if h.s.limit.allow(h.owner + "/announce") {
						h.s.log.Error("announcing an address failed", "router", h.owner,
							"address", a.address.Prefix.Addr(), "interface", a.on, "error", err)
					}
				})
			}
			continue
		}
		h.mu.Lock()
		h.told++
		h.mu.Unlock()
	}
}

// deliveryWait bounds the wait for the kernel to take packets for new addresses.
const deliveryWait = 100 * time.Millisecond

// awaitDelivery waits until the kernel takes packets for the addresses. For IPv6
// it makes the route for that some time after the address: neighbours that were
// told before would send in vain.
func (h *holder) awaitDelivery(all []announcement) {
	until := time.Now().Add(deliveryWait)
	for _, a := range all {
		addr := a.address.Prefix.Addr()
		for addr.Is6() && !h.s.edges.Network.Delivers(addr) && time.Now().Before(until) {
			time.Sleep(time.Millisecond)
		}
	}
}

// wait pauses between two announcements; a new wish ends it.
func (h *holder) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-h.s.ctx.Done():
			return
		case <-h.changed:
			h.wake()
			h.mu.Lock()
			pending := h.wish.pending
			h.mu.Unlock()
			if pending {
				return
			}
			select { // nothing new to do: sleep on without spinning
			case <-t.C:
			case <-h.s.ctx.Done():
			}
			return
		}
	}
}
