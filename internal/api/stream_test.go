package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/internal/api"
	"baton/internal/api/apitest"
)

// feed is the body of a stream that is read when the test wants to.
type feed struct {
	header http.Header
	out    *io.PipeWriter
}

func (f *feed) Header() http.Header         { return f.header }
func (f *feed) WriteHeader(int)             {}
func (f *feed) Write(b []byte) (int, error) { return f.out.Write(b) }
func (f *feed) Flush()                      {}

// stream runs GET /api/v1/stream; the result is read line by line.
func (f *fixture) stream(ctx context.Context, lastEvent string) (lines *bufio.Scanner, ended <-chan struct{}) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/stream", nil)
	if lastEvent != "" {
		r.Header.Set("Last-Event-ID", lastEvent)
	}
	in, out := io.Pipe()
	context.AfterFunc(ctx, func() { _ = in.Close() }) // the client is gone: writing to it fails
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.server.ServeHTTP(&feed{http.Header{}, out}, r)
		_ = out.Close()
	}()
	return bufio.NewScanner(in), done
}

// next returns the next lines up to the empty one.
func next(lines *bufio.Scanner) string {
	var out []string
	for lines.Scan() && lines.Text() != "" {
		out = append(out, lines.Text())
	}
	return strings.Join(out, "\n")
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServer(t)
		before := f.journal.Append(api.Event{At: apitest.Now, Kind: api.KindRouter, Name: "before"})
		ctx, cancel := context.WithCancel(t.Context())
		lines, ended := f.stream(ctx, "")
		if got := next(lines); got != "retry: 2000" {
			t.Fatal(got)
		}
		e := f.journal.Append(api.Event{At: apitest.Now, Kind: api.KindRouter, Name: "web", From: "backup", To: "master", Reason: "r"})
		want := fmt.Sprintf("id: %d\ndata: {\"seq\":%d,\"at\":\"2026-01-31T04:05:06Z\",\"kind\":\"router\",\"name\":\"web\",\"from\":\"backup\",\"to\":\"master\",\"reason\":\"r\"}", e.Seq, e.Seq)
		if got := next(lines); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		if got := next(lines); got != ": nothing happened" { // after 15 s of the bubble's clock
			t.Error(got)
		}
		cancel()
		<-ended

		// Who names the last event seen gets what came after it.
		ctx, cancel = context.WithCancel(t.Context())
		lines, ended = f.stream(ctx, fmt.Sprint(before.Seq))
		next(lines)
		if got := next(lines); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		cancel()
		<-ended
	})
}

// TestStreamSlowClient: a client that does not read holds up nobody, is dropped,
// and gets what it missed when it comes back.
func TestStreamSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServer(t)
		ctx, leave := context.WithCancel(t.Context())
		slow, slowEnded := f.stream(ctx, "")
		fast, fastEnded := f.stream(ctx, "")
		next(slow)
		next(fast)
		synctest.Wait()
		for i := range api.StreamBuffer + 10 {
			f.journal.Append(api.Event{Kind: api.KindServer, Name: fmt.Sprint(i)}) // never waits
			if !strings.Contains(next(fast), fmt.Sprintf(`"name":"%d"`, i)) {
				t.Fatal("the other client does not get every event")
			}
		}
		var got []string
		for {
			m := next(slow)
			if m == "" {
				break
			}
			got = append(got, m)
		}
		<-slowEnded
		if last := got[len(got)-1]; !strings.HasPrefix(last, "event: dropped\n") {
			t.Errorf("the last message is %q", last)
		}
		if len(got) > api.StreamBuffer+3 {
			t.Errorf("%d messages waited", len(got))
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(got[len(got)-2], "id: "), "\n")
		again, againEnded := f.stream(ctx, id)
		next(again)
		if m := next(again); !strings.Contains(m, fmt.Sprintf(`"name":"%d"`, len(got)-1)) {
			t.Errorf("after the %dth event comes %s", len(got)-1, m)
		}
		leave()
		<-fastEnded
		<-againEnded
	})
}

func TestStreamLimits(t *testing.T) {
	f := newServer(t)
	if rec := httptest.NewRecorder(); true {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/stream", nil)
		r.Header.Set("Last-Event-ID", "the last")
		f.server.ServeHTTP(rec, r)
		if p := decode[api.Problem](t, rec); rec.Code != 400 || p.Detail != `Last-Event-ID is "the last", not the number of an event` {
			t.Errorf("%d %+v", rec.Code, p)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all []<-chan struct{}
	for range api.MaxStreams {
		lines, ended := f.stream(ctx, "")
		next(lines)
		all = append(all, ended)
	}
	rec := f.do(http.MethodGet, "/api/v1/stream", "")
	if rec.Code != 503 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	cancel()
	for _, ended := range all {
		<-ended
	}
	// The places are free again.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	lines, ended := f.stream(ctx, "")
	if got := next(lines); got != "retry: 2000" {
		t.Error(got)
	}
	cancel()
	<-ended
}

func TestFollow(t *testing.T) {
	f := newServer(t)
	f.server.SetKeepAlive(time.Millisecond) // comments are no events
	socket, stop := f.serve(t)
	first := f.journal.Append(api.Event{Name: "first"})
	f.journal.Append(api.Event{Name: "second"})
	got := make(chan string, 10)
	done := make(chan error, 1)
	go func() {
		done <- api.Dial(socket).Follow(t.Context(), first.Seq, func(e api.Event) { got <- e.Name })
	}()
	if name := <-got; name != "second" {
		t.Error(name)
	}
	time.Sleep(20 * time.Millisecond)
	f.journal.Append(api.Event{Name: "third", Reason: strings.Repeat("x", 100_000)})
	if name := <-got; name != "third" {
		t.Error(name)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, api.ErrUnreachable) {
		t.Error(err)
	}

	// The end of one listener, as by a reload, is not the end of streams on another.
	socket, _ = f.serve(t)
	seen := f.journal.Now()
	go func() {
		done <- api.Dial(socket).Follow(t.Context(), seen, func(e api.Event) { got <- e.Name })
	}()
	time.Sleep(20 * time.Millisecond)
	f.journal.Append(api.Event{Name: "fourth"})
	select {
	case name := <-got:
		if name != "fourth" {
			t.Error(name)
		}
	case err := <-done:
		t.Error(err)
	}
}

func TestJournal(t *testing.T) {
	j := api.NewJournal(3, apitest.Now)
	j.Restore(api.Event{Seq: 7, Name: "old"})
	if got := j.Now(); got != uint64(apitest.Now.UnixMicro()) {
		t.Error(got)
	}
	for _, name := range []string{"a", "b", "c"} {
		j.Append(api.Event{Name: name, At: apitest.Now})
	}
	names := func(list []api.Event) (out []string) {
		for _, e := range list {
			out = append(out, e.Name)
		}
		return out
	}
	if got := names(j.Last(0, time.Time{})); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Error(got)
	}
	j.Append(api.Event{Name: "d", At: apitest.Now})
	if got := names(j.Last(2, time.Time{})); !slices.Equal(got, []string{"c", "d"}) {
		t.Error(got)
	}
	list, sub := j.Subscribe(j.Now()-1, 1)
	if got := names(list); !slices.Equal(got, []string{"d"}) {
		t.Error(got)
	}
	e := j.Append(api.Event{Name: "e"})
	if got := <-sub.C(); got != e {
		t.Error(got)
	}
	sub.Close()
	sub.Close()
	if _, ok := <-sub.C(); ok {
		t.Error("a closed subscription delivers")
	}
	j.Append(api.Event{Name: "f"})

	// The clock was set back: numbers grow all the same.
	j = api.NewJournal(3, time.Unix(0, 0))
	j.Restore(api.Event{Seq: 1000})
	if e := j.Append(api.Event{}); e.Seq != 1001 {
		t.Error(e.Seq)
	}
}
