package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"baton/internal/link"
	"baton/internal/speaker"
)

// pulseLink is the director's side of the link to pulse.
type pulseLink struct {
	conn *link.Conn
	log  *slog.Logger

	status   atomic.Pointer[link.Status]
	news     chan struct{} // closed and made anew when a status comes; guarded by mu
	restarts atomic.Int64

	mu      sync.Mutex
	will    speaker.Will
	nextID  uint64
	replies map[uint64]chan link.Reply
	gone    chan struct{} // closed when the link has ended
}

func newPulseLink(conn *link.Conn, log *slog.Logger) *pulseLink {
	return &pulseLink{conn: conn, log: log, replies: map[uint64]chan link.Reply{}, gone: make(chan struct{}), news: make(chan struct{})}
}

func (p *pulseLink) hello() error {
	if err := p.conn.Send(link.Message{Hello: &link.Hello{Version: link.Version}}); err != nil {
		return fmt.Errorf("greet pulse: %w", err)
	}
	return nil
}

func (p *pulseLink) configure(c link.Configure) error {
	if err := p.conn.Send(link.Message{Configure: &c}); err != nil {
		return fmt.Errorf("give pulse its routers: %w", err)
	}
	return nil
}

// tracked gives pulse the state of what a router tracks.
func (p *pulseLink) tracked(t link.Tracked) error {
	if err := p.conn.Send(link.Message{Tracked: &t}); err != nil {
		return fmt.Errorf("tell pulse what router %s tracks: %w", t.Router, err)
	}
	return nil
}

// synced tells pulse that a router's connection table has caught up.
func (p *pulseLink) synced(router string) error {
	if err := p.conn.Send(link.Message{Synced: &link.Synced{Router: router}}); err != nil {
		return fmt.Errorf("tell pulse that the connections of router %s are in sync: %w", router, err)
	}
	return nil
}

func (p *pulseLink) reloaded(err error) {
	m := link.Reloaded{}
	if err != nil {
		m.Error = err.Error()
	}
	if err := p.conn.Send(link.Message{Reloaded: &m}); err != nil {
		p.log.Warn("telling pulse the outcome of the reload failed", "error", err)
	}
}

func (p *pulseLink) lastWill() speaker.Will {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.will
}

// freshAge is how old a status may be that somebody asks for, and freshWait how
// long to wait for a newer one.
const freshAge, freshWait = 200 * time.Millisecond, 200 * time.Millisecond

// fresh returns the state of the routers, asking pulse if what is known is not
// new; nil: nothing is known.
func (p *pulseLink) fresh() *link.Status {
	p.mu.Lock()
	news := p.news
	p.mu.Unlock()
	if s := p.status.Load(); s != nil && time.Since(s.At) < freshAge {
		return s
	}
	if err := p.conn.Send(link.Message{Ask: &link.Ask{}}); err == nil {
		select {
		case <-news:
		case <-p.gone:
		case <-time.After(freshWait):
		}
	}
	return p.status.Load()
}

// command asks pulse to do something for a router and waits for the outcome.
func (p *pulseLink) command(ctx context.Context, action link.Action, router string) error {
	answer := make(chan link.Reply, 1)
	p.mu.Lock()
	p.nextID++
	id := p.nextID
	p.replies[id] = answer
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.replies, id)
		p.mu.Unlock()
	}()
	if err := p.conn.Send(link.Message{Command: &link.Command{ID: id, Action: action, Router: router}}); err != nil {
		return fmt.Errorf("tell pulse to %s router %s: %w", action, router, err)
	}
	select {
	case r := <-answer:
		if r.Error != "" {
			return errors.New(r.Error)
		}
		return nil
	case <-p.gone:
		return errors.New("pulse ended before it answered")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errOtherVersion means that the program was replaced while pulse went on.
var errOtherVersion = errors.New("restart baton to finish the upgrade")

// handler is what pulse's messages are for.
type handler interface {
	routerChanged(t speaker.Transition)
	routerNoticed(n speaker.Notice)
	greeted(h link.Hello)
	order(o link.Order)
}

// listen carries pulse's messages to h until pulse orders a stop, which is a nil
// error, or is gone.
func (p *pulseLink) listen(h handler) error {
	defer close(p.gone)
	for {
		m, err := p.conn.Receive()
		if err != nil {
			if !ended(err) {
				p.log.Error("the link to pulse failed", "error", err)
			}
			return err
		}
		switch {
		case m.Hello != nil:
			if m.Hello.Version != link.Version {
				return fmt.Errorf("pulse speaks version %d of the link and this director %d: %w", m.Hello.Version, link.Version, errOtherVersion)
			}
			p.restarts.Store(int64(m.Hello.Restarts))
			h.greeted(*m.Hello)
		case m.Will != nil:
			p.mu.Lock()
			p.will = *m.Will
			p.mu.Unlock()
		case m.Status != nil:
			p.status.Store(m.Status)
			p.mu.Lock()
			close(p.news)
			p.news = make(chan struct{})
			p.mu.Unlock()
		case m.Transition != nil:
			h.routerChanged(*m.Transition)
		case m.Notice != nil:
			h.routerNoticed(*m.Notice)
		case m.Reply != nil:
			p.answer(*m.Reply)
		case m.Order == link.OrderStop:
			return nil
		case m.Order != "":
			h.order(m.Order)
		}
	}
}

func (p *pulseLink) answer(r link.Reply) {
	p.mu.Lock()
	c := p.replies[r.ID]
	p.mu.Unlock()
	if c != nil {
		c <- r
	}
}
