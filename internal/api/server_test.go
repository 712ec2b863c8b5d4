package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/internal/api"
	"baton/internal/api/apitest"
)

// fixture is a server with its engine.
type fixture struct {
	engine  *apitest.Engine
	journal *api.Journal
	server  *api.Server
}

func newServer(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{engine: apitest.New(), journal: api.NewJournal(1000, apitest.Now)}
	f.server = api.NewServer(api.Options{
		Engine: f.engine, Journal: f.journal, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "samples\n") }),
		Now:     func() time.Time { return apitest.Now },
	})
	return f
}

// do sends a request; a body is JSON.
func (f *fixture) do(method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	rec := httptest.NewRecorder()
	f.server.ServeHTTP(rec, r)
	return rec
}

func decode[T any](t *testing.T, rec *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, rec.Body)
	}
	return v
}

func TestGet(t *testing.T) {
	f := newServer(t)
	for target, want := range map[string]string{
		"/api/v1/status":                              `"node":"lb-a"`,
		"/api/v1/config":                              `"hash":"1f2e3d4c5b6a"`,
		"/api/v1/events":                              `{"events":[]}`,
		"/api/v1/explain/router/web":                  `Router web (id 51 on eth0) is master since 2026-01-31 00:53:06`,
		"/api/v1/explain/service/http":                `Service http is up`,
		"/api/v1/explain/server/http/10.0.0.11:80":    `Server 10.0.0.11:80 of service http is up`,
		"/api/v1/explain/server/http/10.0.0.11":       `Server 10.0.0.11:80 of service http is up`,
		"/api/v1/explain/server/http/web2":            `Server 10.0.0.12:80 of service http is up`,
		"/api/v1/explain/server/media/10.0.0.13:5000": `Server 10.0.0.13:5000 of service media is up`,
		"/healthz": `{"status":"ok"}`,
		"/readyz":  `{"status":"ready"}`,
		"/metrics": "samples",
	} {
		rec := f.do(http.MethodGet, target, "")
		if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("GET %s: %d %s, want %s", target, rec.Code, rec.Body, want)
		}
		if head := f.do(http.MethodHead, target, ""); head.Code != http.StatusOK {
			t.Errorf("HEAD %s: %d", target, head.Code)
		}
	}
}

func TestProblemDocuments(t *testing.T) {
	f := newServer(t)
	f.engine.Change(func(s *api.Snapshot) { s.NotReady = []string{"the routers have not reported yet"} })
	for _, tt := range []struct {
		method, target, body string
		status               int
		detail               string
	}{
		{"GET", "/", "", 404, "nothing is served at /; /api/v1/openapi.json describes what is"},
		{"GET", "/api/v1/statuses", "", 404, "nothing is served at /api/v1/statuses; /api/v1/openapi.json describes what is"},
		{"GET", "/api/v1/explain/router/wbe", "", 404, `there is no router "wbe"; there is web, lan`},
		{"GET", "/api/v1/explain/service/x", "", 404, `there is no service "x"; there is http, media, marked`},
		{"GET", "/api/v1/explain/server/x/y", "", 404, `there is no service "x"; there is http, media, marked`},
		{"GET", "/api/v1/explain/server/marked/10.0.0.1:80", "", 404, `there is no server of service marked "10.0.0.1:80"; there is 10.0.0.31:25`},
		{"GET", "/api/v1/events?n=many", "", 400, `n is "many", not a number of events; 0 means all that are kept`},
		{"GET", "/api/v1/events?n=-1", "", 400, `n is "-1", not a number of events; 0 means all that are kept`},
		{"GET", "/api/v1/events?since=yesterday", "", 400, `since is "yesterday", not a time as in RFC 3339, such as 2026-01-31T04:05:06Z`},
		{"GET", "/readyz", "", 503, "not ready: the routers have not reported yet"},
		{"POST", "/api/v1/status", "", 405, "/api/v1/status does not take POST, only GET, HEAD"},
		{"DELETE", "/api/v1/reload", "", 405, "/api/v1/reload does not take DELETE, only POST"},
		{"POST", "/api/v1/failover", "", 415, "send the request with Content-Type: application/json"},
		{"POST", "/api/v1/failover", "{", 400, "the request is not understood: unexpected EOF"},
		{"POST", "/api/v1/failover", `{}`, 400, `say either {"router": NAME} or {"all": true}`},
		{"POST", "/api/v1/failover", `{"router":"web","all":true}`, 400, `say either {"router": NAME} or {"all": true}`},
		{"POST", "/api/v1/failover", `{"rooter":"web"}`, 400, `the request is not understood: json: unknown field "rooter"`},
		{"POST", "/api/v1/failover", `{"router":"web"} {}`, 400, "the request is not understood: more than one JSON value"},
		{"POST", "/api/v1/failover", `{"router":"wbe"}`, 404, `there is no router "wbe"; there is web, lan`},
		{"POST", "/api/v1/resume", `{"router":"` + strings.Repeat("x", api.MaxBody) + `"}`, 413, "the request is longer than 65536 bytes"},
	} {
		rec := f.do(tt.method, tt.target, tt.body)
		p := decode[api.Problem](t, rec)
		want := api.Problem{Type: "about:blank", Title: http.StatusText(tt.status), Status: tt.status, Detail: tt.detail}
		if rec.Code != tt.status || !reflect.DeepEqual(p, want) {
			t.Errorf("%s %s: %d %+v, want %+v", tt.method, tt.target, rec.Code, p, want)
		}
		if ct := rec.Header().Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%s %s: Content-Type %s", tt.method, tt.target, ct)
		}
	}
	if asked := f.engine.Asked(); len(asked) > 0 {
		t.Errorf("a refused request was carried out: %v", asked)
	}
	if allow := f.do("PUT", "/api/v1/reload", "").Header().Get("Allow"); allow != "POST" {
		t.Errorf("Allow: %s", allow)
	}
}

func TestUnknownAmongMany(t *testing.T) {
	f := newServer(t)
	f.engine.Change(func(s *api.Snapshot) {
		many := slices.Repeat(s.Routers.Routers[:1], 25)
		s.Routers.Routers = many
		s.Balancer.Services = nil
	})
	p := decode[api.Problem](t, f.do("GET", "/api/v1/explain/router/x", ""))
	if !strings.HasSuffix(p.Detail, " and 5 more") {
		t.Error(p.Detail)
	}
	p = decode[api.Problem](t, f.do("GET", "/api/v1/explain/service/x", ""))
	if p.Detail != `there is no service "x"; the configuration names none` {
		t.Error(p.Detail)
	}
}

func TestEvents(t *testing.T) {
	f := newServer(t)
	for i := range 150 {
		f.journal.Append(api.Event{At: apitest.Now.Add(time.Duration(i) * time.Second), Kind: api.KindRouter, Name: fmt.Sprint(i)})
	}
	for query, want := range map[string][2]string{ // first and last
		"":                                {"50", "149"},
		"?n=3":                            {"147", "149"},
		"?n=0":                            {"0", "149"},
		"?since=2026-01-31T04:07:06Z":     {"121", "149"},
		"?since=2026-01-31T04:07:06Z&n=2": {"148", "149"},
	} {
		list := decode[api.Events](t, f.do("GET", "/api/v1/events"+query, "")).Events
		if got := [2]string{list[0].Name, list[len(list)-1].Name}; got != want {
			t.Errorf("%q: from %s to %s, want %v", query, got[0], got[1], want)
		}
	}
}

func TestReload(t *testing.T) {
	f := newServer(t)
	rec := f.do("POST", "/api/v1/reload", "")
	if r := decode[api.Reloaded](t, rec); rec.Code != 200 || r.Hash != "0f1e2d3c4b5a" || !r.Changed || len(r.Changes) != 2 {
		t.Errorf("%d %+v", rec.Code, r)
	}

	f.engine.ReloadWith(api.Reloaded{Hash: "x"}, nil)
	if body := f.do("POST", "/api/v1/reload", "").Body.String(); !strings.Contains(body, `"changes":[]`) {
		t.Error(body)
	}

	mistakes := []string{"/etc/baton/baton.yaml:1:1: no", "/etc/baton/baton.yaml:2:1: neither"}
	f.engine.ReloadWith(api.Reloaded{}, fmt.Errorf("reload: %w", &api.InvalidConfigError{Path: "/etc/baton/baton.yaml", Mistakes: mistakes}))
	rec = f.do("POST", "/api/v1/reload", "")
	p := decode[api.Problem](t, rec)
	if rec.Code != 422 || p.Type != api.ProblemInvalidConfig || !slices.Equal(p.Mistakes, mistakes) ||
		!strings.Contains(p.Detail, "baton check -c /etc/baton/baton.yaml") {
		t.Errorf("%d %+v", rec.Code, p)
	}

	f.engine.ReloadWith(api.Reloaded{}, errors.New("listen: address in use"))
	rec = f.do("POST", "/api/v1/reload", "")
	if p := decode[api.Problem](t, rec); rec.Code != 500 || p.Detail != "the reload failed: listen: address in use" {
		t.Errorf("%d %+v", rec.Code, p)
	}
}

func TestInvalidConfigErrorText(t *testing.T) {
	e := &api.InvalidConfigError{Path: "f", Mistakes: []string{"a", "b"}}
	if e.Error() != "a\nb" {
		t.Error(e)
	}
	e.Mistakes = nil
	if e.Error() != "the configuration f is invalid" {
		t.Error(e)
	}
}

func TestCommands(t *testing.T) {
	f := newServer(t)
	f.engine.Refuse("lan", errors.New("no peer took over"))
	rec := f.do("POST", "/api/v1/failover", `{"router":"web"}`)
	if out := decode[api.Outcomes](t, rec); rec.Code != 200 || !reflect.DeepEqual(out.Routers, []api.Outcome{{Router: "web"}}) {
		t.Errorf("%d %+v", rec.Code, out)
	}
	rec = f.do("POST", "/api/v1/failover", `{"router":"lan"}`)
	p := decode[api.Problem](t, rec)
	if rec.Code != 409 || p.Type != api.ProblemHandoverFailed || p.Detail != "no peer took over" || p.Title != "The addresses were not handed over" {
		t.Errorf("%d %+v", rec.Code, p)
	}
	rec = f.do("POST", "/api/v1/resume", `{"all":true}`)
	p = decode[api.Problem](t, rec)
	want := []api.Outcome{{Router: "web"}, {Router: "lan", Error: "no peer took over"}}
	if rec.Code != 409 || p.Detail != "failed for 1 of 2 routers" || !reflect.DeepEqual(p.Routers, want) {
		t.Errorf("%d %+v", rec.Code, p)
	}
	if got := f.engine.Asked(); !slices.Equal(got, []string{"failover lan", "failover web", "resume lan", "resume web"}) {
		t.Error(got)
	}
	f.engine.Change(func(s *api.Snapshot) { s.Routers.Routers = nil })
	if rec := f.do("POST", "/api/v1/failover", `{"all":true}`); rec.Code != 404 {
		t.Error(rec.Code, rec.Body)
	}
}

// TestCommandOutlivesItsClient: a reload is not stopped half-way by Ctrl-C.
func TestCommandOutlivesItsClient(t *testing.T) {
	f := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, target := range []string{"/api/v1/reload", "/api/v1/failover"} {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(`{"router":"web"}`))
		r.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		f.server.ServeHTTP(rec, r)
		if rec.Code != 200 {
			t.Errorf("%s: %d %s", target, rec.Code, rec.Body)
		}
	}
}

func TestMetricsAbsent(t *testing.T) {
	s := api.NewServer(api.Options{Engine: apitest.New(), Journal: api.NewJournal(1, apitest.Now), Log: slog.New(slog.DiscardHandler)})
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != 404 {
		t.Error(rec.Code)
	}
}

// serve runs the server on a unix socket until the test ends.
func (f *fixture) serve(t *testing.T) (socket string, stop func() error) {
	t.Helper()
	socket = shortTemp(t) + "/baton.sock"
	l, err := api.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ctx, l) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return socket, stop
}

func TestServeEndsWithTheListener(t *testing.T) {
	f := newServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := f.server.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
