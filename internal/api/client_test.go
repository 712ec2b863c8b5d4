package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"baton/internal/api"
	"baton/internal/api/apitest"
)

func TestClient(t *testing.T) {
	f := newServer(t)
	socket, _ := f.serve(t)
	c := api.Dial(socket)
	defer c.Close()
	ctx := t.Context()
	f.journal.Append(api.Event{Name: "a", At: apitest.Now})
	f.journal.Append(api.Event{Name: "b", At: apitest.Now.Add(time.Second)})

	s, err := c.Status(ctx)
	if want := api.FromSnapshot(apitest.Snapshot(), apitest.Now); err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("status: %+v, %v", s, err)
	}
	if cfg, err := c.Config(ctx); err != nil || cfg.Hash != "1f2e3d4c5b6a" {
		t.Errorf("config: %+v, %v", cfg, err)
	}
	if list, err := c.Events(ctx, 1, time.Time{}); err != nil || len(list) != 1 || list[0].Name != "b" {
		t.Errorf("events: %+v, %v", list, err)
	}
	if list, err := c.Events(ctx, 0, apitest.Now); err != nil || len(list) != 1 || list[0].Name != "b" {
		t.Errorf("events since: %+v, %v", list, err)
	}
	for what, ask := range map[string]func() (api.Explanation, error){
		"router":  func() (api.Explanation, error) { return c.ExplainRouter(ctx, "web") },
		"service": func() (api.Explanation, error) { return c.ExplainService(ctx, "http") },
		"server":  func() (api.Explanation, error) { return c.ExplainServer(ctx, "http", "10.0.0.11:80") },
	} {
		if doc, err := ask(); err != nil || len(doc.Lines) == 0 {
			t.Errorf("explain %s: %+v, %v", what, doc, err)
		}
	}
	if _, err := c.ExplainRouter(ctx, "a/b c"); err == nil || err.Error() != `there is no router "a/b c"; there is web, lan` {
		t.Error(err)
	}
	if r, err := c.Reload(ctx); err != nil || r.Hash != "0f1e2d3c4b5a" {
		t.Errorf("reload: %+v, %v", r, err)
	}
	if out, err := c.Failover(ctx, api.RouterCommand{All: true}); err != nil || len(out.Routers) != 2 {
		t.Errorf("failover: %+v, %v", out, err)
	}
	f.engine.Refuse("web", errors.New("no"))
	var p *api.Problem
	if _, err := c.Resume(ctx, api.RouterCommand{Router: "web"}); !errors.As(err, &p) || p.Status != 409 || p.Detail != "no" {
		t.Errorf("resume: %v", err)
	}
}

func TestClientUnreachable(t *testing.T) {
	dir := shortTemp(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/dead", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	mute := serveRaw(t, dir+"/mute", func(net.Conn) {})
	for _, tt := range []struct{ socket, want string }{
		{dir + "/none", "there is no such socket: is the daemon running"},
		{dir + "/dead", "nobody answers on the socket"},
		{mute, "it ended the connection before it had answered"},
	} {
		_, err := api.Dial(tt.socket).Status(t.Context())
		if !errors.Is(err, api.ErrUnreachable) || !strings.Contains(err.Error(), tt.socket) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v\nwant %s", err, tt.want)
		}
		if err := api.Dial(tt.socket).Follow(t.Context(), 0, nil); !errors.Is(err, api.ErrUnreachable) {
			t.Error("follow:", err)
		}
	}
}

// TestClientHung: a daemon that takes the connection and never answers.
func TestClientHung(t *testing.T) {
	hung := serveRaw(t, shortTemp(t)+"/s", func(net.Conn) { <-t.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := api.Dial(hung).Status(ctx)
	if !errors.Is(err, api.ErrUnreachable) || !strings.Contains(err.Error(), "it did not answer in time") {
		t.Error(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := api.Dial(hung).Status(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, api.ErrUnreachable) {
		t.Error(err)
	}
}

// TestClientStranger: something else answers on the socket.
func TestClientStranger(t *testing.T) {
	dir := shortTemp(t)
	for i, tt := range []struct {
		handler http.HandlerFunc
		want    string
	}{
		{http.NotFound, "answers 404 Not Found, and not as a baton daemon does: is it one?"},
		{func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, "is not understood"},
	} {
		socket := fmt.Sprintf("%s/%d", dir, i)
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		hs := &http.Server{Handler: tt.handler, ReadHeaderTimeout: time.Second}
		go func() { _ = hs.Serve(l) }()
		_, err = api.Dial(socket).Status(t.Context())
		if err == nil || errors.Is(err, api.ErrUnreachable) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v\nwant %s", err, tt.want)
		}
		_ = hs.Close()
	}
}

// TestClientForbidden runs where the tests are not run by root, whom nothing is
// forbidden; as root it holds the sentence alone.
func TestClientForbidden(t *testing.T) {
	dir := shortTemp(t)
	socket := serveRaw(t, dir+"/s", func(net.Conn) {})
	if err := os.Chmod(socket, 0); err != nil {
		t.Fatal(err)
	}
	_, err := api.Dial(socket).Status(t.Context())
	if !errors.Is(err, api.ErrUnreachable) {
		t.Error(err)
	}
	if os.Getuid() != 0 && !strings.Contains(err.Error(), "be root or a member of the group baton") {
		t.Error(err)
	}
}

// serveRaw accepts connections, reads what comes first, lets f have them, and
// closes them.
func serveRaw(t *testing.T, socket string, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = c.Read(make([]byte, 4096))
				f(c)
				_ = c.Close()
			}()
		}
	}()
	return socket
}
