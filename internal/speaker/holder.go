package speaker

import (
	"context"
	"errors"
	"fmt"
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

	announcers map[string]Announcer // the worker's own
}

// wish is what the addresses should be.
type wish struct {
	pending bool
	held    bool
	state   network.State
}

func newHolder(s *Speaker, owner string, pause time.Duration, done func(bool, error)) *holder {
	h := &holder{
		s: s, owner: owner, done: done,
		changed: make(chan struct{}, 1), announcers: map[string]Announcer{},
	}
	h.setPause(pause)
	s.holders.Go(h.run)
	return h
}

// setPause sets the time between two announcements.
func (h *holder) setPause(d time.Duration) { h.pause.Store(int64(d)) }

// set asks for the addresses to be held or released.
func (h *holder) set(held bool, state network.State) {
	h.mu.Lock()
	h.wish = wish{pending: true, held: held, state: state}
	if !held {
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
	defer h.closeAnnouncers()
	var now wish // what was done last
	for {
		next, tell, closed := h.next()
		switch {
		case next.pending:
			err := h.apply(next)
			now = next
			h.s.post(func() { h.done(next.held, err) })
		case tell && now.held:
			h.announce(now.state)
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

func (h *holder) apply(w wish) error {
	ctx, cancel := context.WithTimeout(context.Background(), applyTimeout)
	defer cancel()
	state := w.state
	if !w.held {
		state.Addresses = nil
	}
	return h.s.edges.Network.Set(ctx, h.owner, state)
}

// announce tells the neighbours of every address once.
func (h *holder) announce(state network.State) {
	for _, a := range state.Addresses {
		if err := h.announceOne(a); err != nil {
			if h.s.ctx.Err() == nil {
				h.s.post(func() {
					if h.s.limit.allow(h.owner + "/announce") {
						h.s.log.Error("announcing an address failed", "router", h.owner,
							"address", a.Prefix.Addr(), "interface", a.Interface, "error", err)
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

func (h *holder) announceOne(a network.Address) error {
	an := h.announcers[a.Interface]
	if an == nil {
		var err error
		if an, err = h.s.edges.OpenAnnounce(a.Interface); err != nil {
			return err
		}
		h.announcers[a.Interface] = an
	}
	err := an.Announce(a.Prefix.Addr())
	if err != nil {
		// The interface may have been replaced: begin with a new socket next time.
		delete(h.announcers, a.Interface)
		err = errors.Join(err, an.Close())
	}
	return err
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

func (h *holder) closeAnnouncers() {
	for name, an := range h.announcers {
		if err := an.Close(); err != nil {
			h.s.log.Warn("closing an announcer failed", "interface", name, "error", err)
		}
	}
}
