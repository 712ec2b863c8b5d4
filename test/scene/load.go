package scene

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Curl makes n requests through the VIP, each on a connection of its own, and
// counts who answered.
func (s *Scene) Curl(n int) (map[string]int, error) { return s.CurlAt(Service, n) }

// CurlAt is Curl for another service than the scene's first.
func (s *Scene) CurlAt(service netip.AddrPort, n int) (map[string]int, error) {
	out, err := s.Client.Run(context.Background(), "curl", "--silent", "--show-error", "--fail", "--max-time", "10",
		"--header", "Connection: close", fmt.Sprintf("http://%s/[1-%d]", service, n))
	counts := map[string]int{}
	for _, name := range strings.Fields(out) {
		counts[name]++
	}
	return counts, err
}

// Load is requests that go on while something else happens.
type Load struct {
	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex
	requests []Request
}

// Request is one request and what became of it.
type Request struct {
	At     time.Time
	Took   time.Duration
	Server string // who answered
	Err    error
}

// requestTimeout is the client's patience: not longer than an outage that has to
// be seen.
const requestTimeout = time.Second

// Load begins to make requests through the VIP, one after the other in each of
// some workers, each on a connection of its own.
func (s *Scene) Load(workers int, pause time.Duration) *Load {
	return s.PatientLoad(workers, pause, requestTimeout)
}

// PatientLoad is Load with clients that wait longer for an answer: for what takes
// an emulated processor more time than there is between two outages.
func (s *Scene) PatientLoad(workers int, pause, patience time.Duration) *Load {
	l := &Load{stop: make(chan struct{})}
	for range workers {
		l.done.Go(func() {
			client := s.Client.Client(patience)
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(pause):
				}
				r := get(client)
				l.mu.Lock()
				l.requests = append(l.requests, r)
				l.mu.Unlock()
			}
		})
	}
	return l
}

func get(client *http.Client) Request {
	r := Request{At: time.Now()}
	resp, err := client.Get("http://" + VIP.String() + "/")
	if err == nil {
		var body []byte
		body, err = io.ReadAll(io.LimitReader(resp.Body, 4096))
		err = errors.Join(err, resp.Body.Close())
		r.Server = strings.TrimSpace(string(body))
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
	}
	r.Took, r.Err = time.Since(r.At), err
	return r
}

// Stop ends the load and returns all requests, in order of their begin.
func (l *Load) Stop() Requests {
	close(l.stop)
	l.done.Wait()
	return l.requests
}

// Requests are what a load saw.
type Requests []Request

// Failed are the requests that began at or after since and failed.
func (r Requests) Failed(since time.Time) Requests {
	var out Requests
	for _, q := range r {
		if q.Err != nil && !q.At.Before(since) {
			out = append(out, q)
		}
	}
	return out
}

// Outage is the longest time between the ends of two successful requests.
func (r Requests) Outage() time.Duration {
	var last time.Time
	var longest time.Duration
	for _, q := range r {
		if q.Err != nil {
			continue
		}
		end := q.At.Add(q.Took)
		if !last.IsZero() && end.Sub(last) > longest {
			longest = end.Sub(last)
		}
		if end.After(last) {
			last = end
		}
	}
	return longest
}

// By counts the requests that were answered since a time, by server.
func (r Requests) By(since time.Time) map[string]int {
	out := map[string]int{}
	for _, q := range r {
		if q.Err == nil && !q.At.Before(since) {
			out[q.Server]++
		}
	}
	return out
}

// First is the first error, for a message.
func (r Requests) First() string {
	if len(r) == 0 {
		return "none"
	}
	return r[0].Err.Error()
}

// Print writes the requests, a line each, with times counted from since.
func (r Requests) Print(since time.Time) {
	for _, q := range r {
		fmt.Printf("  +%s took %s: %v\n", q.At.Sub(since).Round(time.Millisecond), q.Took.Round(time.Millisecond), q.Err)
	}
}
