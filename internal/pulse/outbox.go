package pulse

import (
	"context"
	"sync"

	"baton/internal/link"
	"baton/internal/speaker"
)

// maxEvents is how many events wait for a director that is not there. Older
// ones are dropped first.
const maxEvents = 4096

// outbox holds what the director is to be told. Of status and will only the
// latest counts; events are kept in order until a director has them. Putting
// something in never waits.
type outbox struct {
	mu     sync.Mutex
	events []link.Message
	status *link.Status
	will   *speaker.Will

	ready chan struct{} // buffered, 1: something is there
}

func newOutbox() *outbox {
	return &outbox{ready: make(chan struct{}, 1)}
}

func (o *outbox) event(m link.Message) {
	o.mu.Lock()
	if len(o.events) == maxEvents {
		o.events = o.events[1:]
	}
	o.events = append(o.events, m)
	o.mu.Unlock()
	signal(o.ready)
}

func (o *outbox) setStatus(s link.Status) {
	o.mu.Lock()
	o.status = &s
	o.mu.Unlock()
	signal(o.ready)
}

func (o *outbox) setWill(w speaker.Will) {
	o.mu.Lock()
	o.will = &w
	o.mu.Unlock()
	signal(o.ready)
}

// take waits for something to send and returns it in the order in which it is
// to be sent; false when ctx ended.
func (o *outbox) take(ctx context.Context) ([]link.Message, bool) {
	for {
		o.mu.Lock()
		var out []link.Message
		if o.will != nil {
			out = append(out, link.Message{Will: o.will})
		}
		out = append(out, o.events...)
		if o.status != nil {
			out = append(out, link.Message{Status: o.status})
		}
		o.events, o.status, o.will = nil, nil, nil
		o.mu.Unlock()
		if len(out) > 0 {
			return out, true
		}
		select {
		case <-o.ready:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// putBack returns events that could not be sent, for the next director.
func (o *outbox) putBack(unsent []link.Message) {
	var events []link.Message
	for _, m := range unsent {
		if m.Transition != nil || m.Notice != nil {
			events = append(events, m)
		}
	}
	o.mu.Lock()
	o.events = append(events, o.events...)
	if extra := len(o.events) - maxEvents; extra > 0 {
		o.events = o.events[extra:]
	}
	o.mu.Unlock()
	signal(o.ready)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
