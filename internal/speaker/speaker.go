package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"baton/internal/network"
	"baton/internal/vrrp"
	"baton/internal/wire"
)

// Conn carries adverts in and out of one interface.
type Conn interface {
	Receive(buf []byte) (wire.Packet, error)
	Poll(buf []byte) (p wire.Packet, ok bool, err error)
	Send(payload []byte, src, dst netip.Addr) error
	Close() error
}

// Announcer tells the neighbours on one interface who owns an address.
type Announcer interface {
	Announce(addr netip.Addr) error
	Close() error
}

// Network has the addresses of this host.
type Network interface {
	Set(ctx context.Context, owner string, want network.State) error
	Sweep(ctx context.Context, wanted func(network.Address) bool) ([]network.Address, error)
	Link(name string) (network.Link, error)
	Watch(ctx context.Context, report func(network.Change)) error
}

// Edges are the speaker's hands.
type Edges struct {
	Network      Network
	OpenConn     func(ifname string) (Conn, error)
	OpenAnnounce func(ifname string) (Announcer, error)
}

// Speaker runs routers. All methods are safe for concurrent use.
type Speaker struct {
	log   *slog.Logger
	edges Edges
	// onTransition is called in order from the speaker's own goroutine and must
	// not wait.
	onTransition func(Transition)

	commands chan func()
	packets  chan *inbound
	free     chan *inbound
	changed  chan struct{} // buffered, 1: the status is worth a look
	done     chan struct{} // closed when Run returns
	holders  sync.WaitGroup

	// Owned by the goroutine of Run.
	ctx     context.Context
	routers map[string]*router
	ifaces  map[string]*iface
	swept   bool
	limit   limiter
}

// New returns a speaker without routers. onTransition may be nil.
func New(log *slog.Logger, edges Edges, onTransition func(Transition)) *Speaker {
	const queue = 256 // packets read but not yet looked at
	s := &Speaker{
		log: log, edges: edges, onTransition: onTransition,
		commands: make(chan func(), 64),
		packets:  make(chan *inbound, queue),
		free:     make(chan *inbound, queue),
		changed:  make(chan struct{}, 1),
		done:     make(chan struct{}),
		routers:  map[string]*router{},
		ifaces:   map[string]*iface{},
		limit:    limiter{},
	}
	for range queue {
		s.free <- &inbound{}
	}
	return s
}

// Run carries events to the elections until ctx ends. It lets go of nothing by
// itself: for a planned stop call [Speaker.Stop] first.
func (s *Speaker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	s.ctx = ctx
	defer s.holders.Wait()
	defer close(s.done)
	defer cancel()
	defer s.closeIfaces()

	watch := make(chan error, 1)
	go func() { watch <- s.edges.Network.Watch(ctx, s.linkChanged) }()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		deadline := s.deadline()
		if deadline.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(deadline))
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-watch:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("watch links and addresses: %w", err)
		case f := <-s.commands:
			// After a standstill the elections first learn what time it is: a report of
			// the kernel that a lease has ended must not make a router take it again that
			// has lost it.
			if !deadline.IsZero() && time.Since(deadline) > lookFirst {
				s.expire(deadline)
			}
			f()
		case p := <-s.packets:
			s.receive(p)
		case <-timer.C:
			s.expire(deadline)
		}
	}
}

// lookFirst is how late a timer may be before it counts as evidence of a stall.
const lookFirst = 2 * time.Millisecond

// expire lets the elections know the time. Packets that were there before come
// first: after a stall they tell what happened meanwhile, and an election that
// spoke before it looked would speak for a past that is over.
func (s *Speaker) expire(deadline time.Time) {
	for queued := true; queued; {
		select {
		case p := <-s.packets:
			s.receive(p)
		default:
			queued = false
		}
	}
	now := time.Now()
	if now.Sub(deadline) > lookFirst {
		s.pollAll()
		now = time.Now()
	}
	for _, r := range s.routers {
		r.tick(now)
	}
	for _, i := range s.ifaces {
		i.tick(now)
	}
}

// deadline is when the next router or interface wants to be called.
func (s *Speaker) deadline() time.Time {
	var d time.Time
	for _, r := range s.routers {
		d = sooner(d, r.deadline())
	}
	for _, i := range s.ifaces {
		d = sooner(d, i.retryAt)
	}
	return d
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// errStopped is what a command gets when Run has ended.
var errStopped = errors.New("the speaker has stopped")

// call runs f in the speaker's goroutine and waits until it was run.
func (s *Speaker) call(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	select {
	case s.commands <- func() { f(); close(ran) }:
	case <-s.done:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-ran:
		return nil
	case <-s.done:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// post runs f in the speaker's goroutine, some time.
func (s *Speaker) post(f func()) {
	select {
	case s.commands <- f:
	case <-s.done:
	}
}

// Status returns the state of all routers, sorted as configured.
func (s *Speaker) Status(ctx context.Context) (Status, error) {
	var out Status
	err := s.call(ctx, func() { out = s.status() })
	return out, err
}

// Changed tells that something changed in what [Speaker.Status] and
// [Speaker.Will] return, beside counters.
func (s *Speaker) Changed() <-chan struct{} { return s.changed }

func (s *Speaker) note() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Failover hands the addresses of a router to a peer without loss and makes the
// router stand back until [Speaker.Resume]. It returns when a peer has taken
// over and the addresses are gone here, or an error that says why not; then the router stays master.
func (s *Speaker) Failover(ctx context.Context, name string) error {
	if err := s.settle(ctx, name, vrrp.Resign); err != nil {
		return err
	}
	return s.released(ctx)
}

// Resume makes a router take part again after [Speaker.Failover].
func (s *Speaker) Resume(ctx context.Context, name string) error {
	var err error
	called := s.call(ctx, func() {
		r := s.routers[name]
		if r == nil {
			err = unknownRouter(name)
			return
		}
		r.step(vrrp.Event{Kind: vrrp.Resume})
	})
	return errors.Join(called, err)
}

// Stop hands everything over and lets go. It returns when all routers have
// ended and their addresses are gone, or when ctx ends.
func (s *Speaker) Stop(ctx context.Context) error {
	var names []string
	if err := s.call(ctx, func() {
		for name := range s.routers {
			names = append(names, name)
		}
	}); err != nil {
		return err
	}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = s.settle(ctx, name, vrrp.Shutdown) })
	}
	wg.Wait()
	return errors.Join(append(errs, s.released(ctx))...)
}

// settle delivers an event and waits for the end of what it began.
func (s *Speaker) settle(ctx context.Context, name string, kind vrrp.EventKind) error {
	settled := make(chan string, 1)
	var err error
	called := s.call(ctx, func() {
		r := s.routers[name]
		if r == nil {
			err = unknownRouter(name)
			return
		}
		r.waiters = append(r.waiters, settled)
		r.stopped = r.stopped || kind == vrrp.Shutdown
		r.step(vrrp.Event{Kind: kind})
	})
	if err := errors.Join(called, err); err != nil {
		return err
	}
	select {
	case reason := <-settled:
		if reason != "" {
			return fmt.Errorf("router %s: %s", name, reason)
		}
		return nil
	case <-s.done:
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("router %s: hand-over not finished: %w", name, ctx.Err())
	}
}

// released waits until every holder has carried out what it was told.
func (s *Speaker) released(ctx context.Context) error {
	var holders []*holder
	if err := s.call(ctx, func() {
		for _, r := range s.routers {
			holders = append(holders, r.holder)
		}
	}); err != nil {
		return err
	}
	for _, h := range holders {
		if err := h.idle(ctx); err != nil {
			return err
		}
	}
	return nil
}

func unknownRouter(name string) error {
	return fmt.Errorf("no router is called %q", name)
}
