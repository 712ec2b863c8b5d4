package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	// maxStreams bounds the open streams of all clients together.
	maxStreams = 64
	// streamBuffer is how many events wait for a client that does not read.
	streamBuffer = 256
	// streamWrite is how long one write to a client may take.
	streamWrite = 10 * time.Second
	// streamRetry is what a browser is told to wait before it connects again.
	streamRetry = 2 * time.Second
)

// getStream sends events as they happen (server-sent events). A client that
// names the last event it has seen (Last-Event-ID, as browsers do by themselves)
// first gets those that it missed. One that does not keep up is told so and
// dropped: it can connect again, and nobody else waits for it.
func (s *Server) getStream(w http.ResponseWriter, r *http.Request) {
	after, problem := lastEventID(r, s.journal)
	if problem != nil {
		problem.write(w)
		return
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		newProblem(http.StatusServiceUnavailable,
			fmt.Sprintf("%d streams are open, and no more are served: close some", maxStreams)).write(w)
		return
	}
	missed, sub := s.journal.Subscribe(after, streamBuffer)
	defer sub.Close()
	untimed(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // a proxy must not collect events
	if r.Method == http.MethodHead {
		return
	}
	out := stream{w: w, rc: http.NewResponseController(w)}
	if err := out.open(missed); err != nil {
		return // the client is gone
	}
	s.follow(r, &out, sub)
}

func (s *Server) follow(r *http.Request, out *stream, sub *Subscription) {
	end := closing(r.Context())
	quiet := time.NewTicker(s.keepAlive)
	defer quiet.Stop()
	for {
		var err error
		select {
		case <-r.Context().Done():
			return
		case <-end:
			return
		case <-quiet.C:
			err = out.write(": nothing happened\n\n")
		case e, ok := <-sub.C():
			if !ok {
				// Best effort: it is likely that the client does not read this either.
				_ = out.write("event: dropped\ndata: {\"detail\":\"too slow: events were lost; connect again\"}\n\n")
				return
			}
			err = out.event(e)
		}
		if err != nil {
			return // the client is gone, or too slow to take even one write
		}
	}
}

// lastEventID is what the client has seen; without it, everything up to now.
func lastEventID(r *http.Request, j *Journal) (uint64, *Problem) {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		return j.Now(), nil
	}
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0, newProblem(http.StatusBadRequest,
			fmt.Sprintf("Last-Event-ID is %q, not the number of an event", id))
	}
	return n, nil
}

// stream is one open answer.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s *stream) open(missed []Event) error {
	if err := s.write(fmt.Sprintf("retry: %d\n\n", streamRetry.Milliseconds())); err != nil {
		return err
	}
	for _, e := range missed {
		if err := s.event(e); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) event(e Event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return s.write(fmt.Sprintf("id: %d\ndata: %s\n\n", e.Seq, data))
}

// write sends one piece at once, within its time.
func (s *stream) write(text string) error {
	// An error means a writer without deadlines, as in tests.
	_ = s.rc.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.rc.Flush()
}
