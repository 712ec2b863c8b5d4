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
	"baton/internal/wire"
)

// Conn carries adverts in and out of one interface.
type Conn interface {
	Receive(buf []byte) (wire.Packet, error)
	Poll(buf []byte) (p wire.Packet, ok bool, err error)
	Sender
}

// Sender carries adverts out of one interface.
type Sender interface {
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
	Sweep(ctx context.Context) (removed []string, err error)
	Link(name string) (network.Link, error)
	Delivers(addr netip.Addr) bool
	Watch(ctx context.Context, report func(network.Change)) error
}

// Edges are the speaker's hands.
type Edges struct {
	Network  Network
	OpenConn func(ifname string, f wire.Family) (Conn, error)
	// OpenSender is for adverts with a virtual hardware address.
	OpenSender func(ifname string, f wire.Family, mac [6]byte) (Sender, error)
	// OpenAnnounce announces the hardware address mac, or the interface's own.
	OpenAnnounce  func(ifname string, mac *[6]byte) (Announcer, error)
	OpenConflicts func(ifname string) (ConflictWatch, error)
	// Alarm makes the timer; nil: the runtime's.
	Alarm func() (Alarm, error)
}

func (e Edges) newAlarm() (Alarm, error) {
	if e.Alarm == nil {
		return newClock(), nil
	}
	return e.Alarm()
}

// Speaker runs routers. All methods are safe for concurrent use.
type Speaker struct {
	log   *slog.Logger
	edges Edges
	// onTransition and onNotice are called in order from the speaker's own goroutine
	// and must not wait.
	onTransition func(Transition)
	onNotice     func(Notice)

	commands chan func()
	packets  chan *inbound
	free     chan *inbound
	changed  chan struct{} // buffered, 1: the status is worth a look
	done     chan struct{} // closed when Run returns
	holders  sync.WaitGroup

	announcers announcers
	kernel     kernel

	// Owned by the goroutine of Run.
	ctx      context.Context
	routers  map[string]*router
	groups   []*group
	ifaces   map[string]*iface
	vips     map[netip.Addr]bool // of all routers but address owners
	schedule schedule
	swept    bool
	limit    limiter
	scrap    [maxPacket]byte // for packets that are looked at in place
}

// New returns a speaker without routers. onTransition and onNotice may be nil.
func New(log *slog.Logger, edges Edges, onTransition func(Transition), onNotice func(Notice)) *Speaker {
	const queue = 256 // packets read but not yet looked at
	s := &Speaker{
		log: log, edges: edges, onTransition: onTransition, onNotice: onNotice,
		announcers: announcers{open: edges.OpenAnnounce, have: map[announcerKey]Announcer{}},
		kernel:     newKernel(),
		commands:   make(chan func(), 64),
		packets:    make(chan *inbound, queue),
		free:       make(chan *inbound, queue),
		changed:    make(chan struct{}, 1),
		done:       make(chan struct{}),
		routers:    map[string]*router{},
		ifaces:     map[string]*iface{},
		vips:       map[netip.Addr]bool{},
		limit:      limiter{},
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
	stopKernel := make(chan struct{})
	go s.kernel.run(s.edges.Network, stopKernel)
	defer func() {
		s.holders.Wait()
		close(stopKernel)
		if err := s.announcers.close(); err != nil {
			s.log.Warn("closing an announcer failed", "error", err)
		}
	}()
	defer close(s.done)
	defer cancel()
	defer s.closeIfaces()

	watch := make(chan error, 1)
	go func() { watch <- s.edges.Network.Watch(ctx, s.linkChanged) }()
	timer, err := s.edges.newAlarm()
	if err != nil {
		return err
	}
	defer timer.Close() //nolint:errcheck // only a timer
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
		case <-timer.C():
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
	s.drain()
	now := time.Now()
	if now.Sub(deadline) > lookFirst {
		s.pollAll()
		now = time.Now()
	}
	for range s.schedule { // each at most once: what is due again comes again
		if len(s.schedule) == 0 || now.Before(s.schedule[0].due) {
			break
		}
		s.schedule[0].tick(now)
	}
	for _, i := range s.ifaces {
		i.tick(now)
	}
}

// drain takes the packets that were read already.
func (s *Speaker) drain() {
	for {
		select {
		case p := <-s.packets:
			s.receive(p)
		default:
			return
		}
	}
}

// readAll takes every packet that has come in.
func (s *Speaker) readAll() {
	s.drain()
	s.pollAll()
}

// deadline is when the next router or interface wants to be called.
func (s *Speaker) deadline() time.Time {
	d := s.schedule.first()
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
func (s *Speaker) post(f func()) { s.tryPost(f) }

// tryPost is post that says whether f will be run: not if Run has ended.
func (s *Speaker) tryPost(f func()) bool {
	select {
	case s.commands <- f:
		return true
	case <-s.done:
		return false
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
