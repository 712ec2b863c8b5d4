package pulse

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/link"
	"baton/internal/network"
	"baton/internal/speaker"
)

func event(n int) link.Message {
	return link.Message{Transition: &speaker.Transition{Router: fmt.Sprint(n)}}
}

// show writes messages in short.
func show(messages []link.Message) []string {
	out := []string{}
	for _, m := range messages {
		switch {
		case m.Will != nil:
			out = append(out, fmt.Sprintf("will%d", m.Will.Addresses()))
		case m.Status != nil:
			out = append(out, fmt.Sprintf("status%d", m.Status.At.Unix()))
		case m.Transition != nil:
			out = append(out, m.Transition.Router)
		default:
			out = append(out, string(m.Order))
		}
	}
	return out
}

func wantNext(t *testing.T, o *outbox, want ...string) {
	t.Helper()
	messages, ok := o.take(t.Context())
	if d := cmp.Diff(want, show(messages)); d != "" || !ok {
		t.Errorf("taken (-want +got), %v:\n%s", ok, d)
	}
}

// wantNothing checks that a take would wait.
func wantNothing(t *testing.T, o *outbox) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if messages, ok := o.take(ended); ok {
		t.Errorf("something is left: %v", show(messages))
	}
}

// The will first, then what happened, in order, then how it is now. Of will and
// status only the latest counts.
func TestOutboxOrder(t *testing.T) {
	o := newOutbox()
	o.setStatus(link.Status{At: time.Unix(1, 0)})
	o.event(event(1))
	o.setWill(speaker.Will{States: []network.State{{Addresses: make([]network.Address, 1)}}})
	o.event(link.Message{Order: link.OrderReload})
	o.event(event(2))
	o.setStatus(link.Status{At: time.Unix(2, 0)})
	o.setWill(speaker.Will{States: []network.State{{Addresses: make([]network.Address, 2)}}})
	wantNext(t, o, "will2", "1", "reload", "2", "status2")
	wantNothing(t, o)
	o.event(event(3))
	wantNext(t, o, "3")
	wantNothing(t, o)
}

// What could not be sent goes first to the next director: only events, since
// will and status are sent anew, and an order was for the one that is gone.
func TestOutboxPutBack(t *testing.T) {
	o := newOutbox()
	o.setWill(speaker.Will{})
	for n := 1; n <= 3; n++ {
		o.event(event(n))
	}
	o.event(link.Message{Order: link.OrderDump})
	messages, _ := o.take(t.Context())
	o.event(event(4))
	o.putBack(messages[2:]) // the will and 1 were sent
	wantNext(t, o, "2", "3", "4")
	wantNothing(t, o)
}

// A waiting reader hears of what was put back at once, not with the next event.
func TestOutboxPutBackWakes(t *testing.T) {
	wantWaking(t, "1", func(o *outbox) { o.putBack([]link.Message{event(1)}) })
}

// However long no director is there, the memory is bounded, and the latest
// events are kept.
func TestOutboxIsBounded(t *testing.T) {
	o := newOutbox()
	for n := range maxEvents + 10 {
		o.event(event(n))
	}
	messages, _ := o.take(t.Context())
	if got := show(messages); len(got) != maxEvents || got[0] != "10" || got[maxEvents-1] != fmt.Sprint(maxEvents+9) {
		t.Errorf("%d events kept, from %s to %s", len(got), got[0], got[len(got)-1])
	}
	o.event(event(-1))
	o.putBack(messages)
	messages, _ = o.take(t.Context())
	if got := show(messages); len(got) != maxEvents || got[0] != "11" || got[maxEvents-1] != "-1" {
		t.Errorf("%d events after putting back, from %s to %s", len(got), got[0], got[len(got)-1])
	}
}

func TestOutboxWakesAReader(t *testing.T) {
	wantWaking(t, "1", func(o *outbox) { o.event(event(1)) })
	wantWaking(t, "status7", func(o *outbox) { o.setStatus(link.Status{At: time.Unix(7, 0)}) })
	wantWaking(t, "will0", func(o *outbox) { o.setWill(speaker.Will{}) })
}

// wantWaking checks that put wakes a reader that waits already.
func wantWaking(t *testing.T, want string, put func(*outbox)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o, taken := newOutbox(), []string(nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			messages, _ := o.take(ctx)
			taken = show(messages)
		}()
		synctest.Wait() // the reader waits
		put(o)
		synctest.Wait()
		if d := cmp.Diff([]string{want}, taken); d != "" {
			t.Errorf("taken (-want +got):\n%s", d)
		}
		cancel()
	})
}
