package check

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// openPoller returns a poller, and what it reports.
func openPoller(t *testing.T) (*poller, <-chan finished) {
	t.Helper()
	results := make(chan finished, 4)
	p, err := newPoller(func(batch []finished) {
		for _, f := range batch {
			results <- f
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, results
}

// poll runs a probe by a poller of its own.
func poll(t *testing.T, s Spec) Result {
	t.Helper()
	p, results := openPoller(t)
	defer p.close()
	p.start(&job{Job: &Job{Spec: s}, place: -1}, time.Now())
	select {
	case f := <-results:
		return f.result
	case <-time.After(s.Timeout + 10*time.Second):
		t.Error("the poller says nothing")
		return Result{}
	}
}

// Answers in the forms that servers send them. Each is also examined by the other
// way of probing; see examine.
func TestPlainHTTPAnswers(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	check := HTTP{ExpectBody: "hello"}
	for _, tt := range []struct {
		name   string
		server func(net.Conn)
		check  HTTP
		code   Code
		detail string
	}{
		{"length", say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), check, L7OK, "HTTP status 200"},
		{"until the end", say("HTTP/1.0 200 OK\r\n\r\nhello"), check, L7OK, ""},
		{"chunks", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), check, L7OK, ""},
		{"chunks with a trailer", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"), check, L7OK, ""},
		{"chunks without end", then(say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), hang), check, L7TOUT, "the body was not complete"},
		{"chunks broken off", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), check, L7RSP, "in the middle of the body"},
		{"left open", then(say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), hang), check, L7OK, ""},
		{"bare newlines", say("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"), check, L7OK, ""},
		{"interim answers", say("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), check, L7OK, ""},
		{"no body", then(say("HTTP/1.1 204 No Content\r\n\r\n"), hang), HTTP{}, L7OK, "HTTP status 204"},
		{"head", then(say("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"), hang), HTTP{Method: "HEAD"}, L7OK, ""},
		{"too long to be read", say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + long), check, L7RSP, "the start of its body (65536 bytes) does not contain"},
		{"longer than wanted", say("HTTP/1.1 200 OK\r\n\r\nhello" + long), HTTP{ExpectBody: "hello", MaxBody: 5}, L7OK, ""},
		{"cut", say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), check, L7RSP, "in the middle of the body (after 5 bytes)"},
		{"wrong status", say("HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n"), check, L7STS, "HTTP status 500, expected 200-299"},
		{"switches protocols", then(say("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), hang), HTTP{}, L7STS, "HTTP status 101"},
		{"two lengths", say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), check, L7RSP, "is not HTTP"},
		{"bad length", say("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"), check, L7RSP, "is not HTTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Spec{Target: serve(t, answering(tt.server)), Timeout: 500 * time.Millisecond, HTTP: &tt.check}
			holdAgainst(t, s, tt.code, tt.detail)
		})
	}
}

// A thousand jobs whose targets work, refuse or hang, run by one poller: every
// one gets its verdict, and what is dropped in the middle leaves nothing behind.
func TestPollerRunsMany(t *testing.T) {
	good, bad, silent := serve(t, hang), refusing(t), blackHole(t)
	page := serve(t, answering(say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
	jobs := make(map[string]*Job)
	want := make(map[string]Code)
	for i := range 1000 {
		s := Spec{Timeout: 300 * time.Millisecond, FWMark: 0}
		var code Code
		switch i % 4 {
		case 0:
			s.Target, s.TCP, code = good, &TCP{}, L4OK
		case 1:
			s.Target, s.TCP, code = bad, &TCP{}, L4CON
		case 2:
			s.Target, s.TCP, code = silent, &TCP{}, L4TOUT
		case 3:
			s.Target, s.HTTP, code = page, &HTTP{}, L7OK
		}
		id := string(rune('a'+i%4)) + strings.Repeat("x", i/4)
		jobs[id], want[id] = &Job{Spec: s, Schedule: Schedule{Interval: time.Second, Rise: 1, Fall: 1}}, code
	}
	r := NewRunner(Options{})
	r.Set(jobs)
	ended := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- r.Run(ctx, func(Verdict) {}) }()
	deadline := time.Now().Add(20 * time.Second)
	for id := range jobs {
		for st, _ := r.Status(id); st.Last.Code != want[id]; st, _ = r.Status(id) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s (%s), want %s", id, st.Last.Code, st.Last.Detail, want[id])
			}
			time.Sleep(time.Millisecond)
		}
	}
	// Gone while it is under way: neither counted as running nor reported.
	time.Sleep(600 * time.Millisecond) // into the next round
	r.Set(map[string]*Job{"one": jobs["a"]})
	for r.Stats().Running > 1 {
		if time.Now().After(deadline) {
			t.Fatalf("%d probes run still", r.Stats().Running)
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, target := range []netip.AddrPort{good, page} {
		if n := connectedTo(t, target); n > 0 {
			t.Errorf("%d connections to %s are left", n, target)
		}
	}
}

// Where another harvests, the poller's own loop keeps still, and where it stops the
// loop takes over what is under way.
func TestPollerLeavesTheHarvest(t *testing.T) {
	p, reported := openPoller(t)
	defer p.close()
	start := func(target netip.AddrPort) {
		s := Spec{Target: target, TCP: &TCP{}, Timeout: 300 * time.Millisecond}
		p.start(&job{Job: &Job{Spec: s}, place: -1}, time.Now())
	}
	good := serve(t, hang)
	p.leave(true)
	left := false
	for range 20 { // it may be late in hearing that
		start(good)
		time.Sleep(20 * time.Millisecond)
		results, _ := p.harvest()
		if left = len(results) == 1 && results[0].result.Code == L4OK; left {
			break
		}
		<-reported
	}
	if !left {
		t.Error("the loop harvests although that is left to others")
	}
	start(blackHole(t))
	p.leave(false)
	select {
	case f := <-reported:
		if f.result.Code != L4TOUT {
			t.Errorf("%s, want %s", f.result.Code, L4TOUT)
		}
	case <-time.After(10 * time.Second):
		t.Error("what was under way when the loop took over is not ended")
	}
}
