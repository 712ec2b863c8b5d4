package api

import (
	"sync"
	"time"
)

// Journal keeps the latest events and hands new ones to its subscribers. It is
// safe for concurrent use, and no reader can hold up a writer.
type Journal struct {
	mu    sync.Mutex
	seq   uint64  // of the last event
	ring  []Event // the latest, oldest at start once full
	start int
	subs  map[*Subscription]struct{}
}

// NewJournal returns a journal that keeps that many events, at least one. Its
// numbers begin with the clock's microseconds, so that they go on growing when
// the process is restarted.
func NewJournal(capacity int, now time.Time) *Journal {
	return &Journal{
		seq:  uint64(max(now.UnixMicro(), 0)),
		ring: make([]Event, 0, max(capacity, 1)),
		subs: map[*Subscription]struct{}{},
	}
}

// Append adds an event, gives it its number, and returns it. A subscriber that
// has not read what came before is dropped.
func (j *Journal) Append(e Event) Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	e.Seq = j.seq
	j.keep(e)
	for s := range j.subs {
		select {
		case s.events <- e:
		default:
			j.drop(s)
		}
	}
	return e
}

// Restore adds an event of an earlier run, oldest first, before any is appended.
// It keeps its number, so that a reader who has seen it does not get it again.
func (j *Journal) Restore(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq = max(j.seq, e.Seq) // the clock may have been set back since
	j.keep(e)
}

// keep enters an event in place of the oldest; the caller holds the mutex.
func (j *Journal) keep(e Event) {
	if len(j.ring) < cap(j.ring) {
		j.ring = append(j.ring, e)
	} else {
		j.ring[j.start] = e
		j.start = (j.start + 1) % len(j.ring)
	}
}

// Last returns the last n events (all that are kept where n is 0) that happened
// after since, oldest first.
func (j *Journal) Last(n int, since time.Time) []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.collect(func(e Event) bool { return e.At.After(since) })
	if n > 0 && len(out) > n {
		out = out[len(out)-n:]
	}
	return out
}

// Subscription is one reader of new events.
type Subscription struct {
	j      *Journal
	events chan Event
}

// Subscribe returns the events that are kept with a number greater than after,
// and a subscription to those that follow them without a gap. At most buffer
// events wait for a slow reader.
func (j *Journal) Subscribe(after uint64, buffer int) ([]Event, *Subscription) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &Subscription{j: j, events: make(chan Event, max(buffer, 1))}
	j.subs[s] = struct{}{}
	return j.collect(func(e Event) bool { return e.Seq > after }), s
}

// Now returns the number of the last event.
func (j *Journal) Now() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seq
}

// C delivers events. It is closed when the reader was too slow, and after Close.
func (s *Subscription) C() <-chan Event { return s.events }

// Close ends the subscription.
func (s *Subscription) Close() {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	s.j.drop(s)
}

// drop ends a subscription; the caller holds the mutex.
func (j *Journal) drop(s *Subscription) {
	if _, ok := j.subs[s]; ok {
		delete(j.subs, s)
		close(s.events)
	}
}

// collect returns the kept events that are wanted, oldest first; the caller
// holds the mutex.
func (j *Journal) collect(wanted func(Event) bool) []Event {
	out := []Event{}
	for i := range j.ring {
		if e := j.ring[(j.start+i)%len(j.ring)]; wanted(e) {
			out = append(out, e)
		}
	}
	return out
}
