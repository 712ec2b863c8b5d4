//go:build vm

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"baton/test/scene"
)

// visit is how long a visitor that keeps its connection stays.
const visit = 800 * time.Millisecond

// visitors are clients with a connection for each request, and such that keep
// theirs for many, as browsers do. A request that fails is not repeated, which
// net/http would do.
type visitors struct {
	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex
	answered map[string]int // by server
	failed   []error
}

func visitAll(s *scene.Scene) *visitors {
	v := &visitors{stop: make(chan struct{}), answered: map[string]int{}}
	for _, stay := range []time.Duration{0, 0, visit, visit} {
		v.done.Go(func() {
			for {
				select {
				case <-v.stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				if err := v.one(s, stay); err != nil {
					v.mu.Lock()
					v.failed = append(v.failed, fmt.Errorf("%s: %w", time.Now().Format("15:04:05.000"), err))
					v.mu.Unlock()
				}
			}
		})
	}
	return v
}

// one is one connection.
func (v *visitors) one(s *scene.Scene, stay time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := s.Client.Dial(ctx, "tcp4", scene.Service.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for end := time.Now().Add(stay); ; time.Sleep(50 * time.Millisecond) {
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: baton.test\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return fmt.Errorf("on the connection from %s: %w", conn.LocalAddr(), err)
		}
		name, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		v.mu.Lock()
		v.answered[strings.TrimSpace(string(name))]++
		v.mu.Unlock()
		if !time.Now().Before(end) {
			return nil
		}
	}
}

// end ends the visits and fails the test if a request failed.
func (v *visitors) end(t *testing.T) {
	t.Helper()
	close(v.stop)
	v.done.Wait()
	t.Logf("answered requests by server: %v; %d failed", v.answered, len(v.failed))
	if len(v.failed) > 0 {
		t.Errorf("%d requests failed: %v", len(v.failed), errors.Join(v.failed[:min(len(v.failed), 5)]...))
	}
}

// takeOut drains a web server on both directors and waits until it is empty.
func takeOut(t *testing.T, s *scene.Scene, r *scene.RealServer) {
	t.Helper()
	d := s.Directors[0]
	baton(t, s.Directors[1], "server", "drain", "http", r.Name)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := d.Baton(ctx, "server", "drain", "http", r.Name, "--reason", "rolling restart", "--wait=30s")
	must(t, err)
	if !strings.Contains(out, "is draining") || !strings.Contains(out, "has left the table after") {
		t.Errorf("baton server drain says\n%s", out)
	}
	must(t, notInTable(d, r))
}

// TestRollingRestart restarts all real servers, one after the other, as the guide
// says, and no client notices.
func TestRollingRestart(t *testing.T) {
	// The kernel remembers a closed connection for up to two minutes; here 3 s do.
	s := start(t, scene.Options{Extra: "    drain_timeout: 3s\n"})
	clients := visitAll(s)
	time.Sleep(visit)
	began := time.Now()
	for _, r := range s.Real {
		takeOut(t, s, r)
		r.Kill()
		stopped := time.Now()
		time.Sleep(200 * time.Millisecond)
		restart(t, s, r)
		for _, d := range s.Directors {
			baton(t, d, "server", "enable", "http", r.Name)
		}
		eventually(t, func() error { return inTable(s.Directors[0], r) })
		t.Logf("%s was down for %s and serves again %s after the first drain", r.Name,
			time.Since(stopped).Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond))
	}
	time.Sleep(visit)
	clients.end(t)
	for _, r := range s.Real {
		if clients.answered[r.Name] == 0 {
			t.Errorf("%s served nobody", r.Name)
		}
	}
	events := baton(t, s.Directors[0], "events", "-n", "100")
	for _, want := range []string{": drain: by root", "up → draining: drained by root", "draining → removed: ", ": enable: by root", "→ up: its check passes"} {
		if !strings.Contains(events, want) {
			t.Errorf("baton events has no %q:\n%s", want, events)
		}
	}
}

// TestOverridesAreKept: what an operator wants of servers outlasts everything but
// the operator.
func TestOverridesAreKept(t *testing.T) {
	s := build(t, scene.Options{More: fmt.Sprintf(chatService, "nat", "10.0.1")})
	for _, r := range s.Real {
		repeater(t, r)
	}
	must(t, s.Start())
	must(t, s.Ready(patience))
	d := s.Directors[0]
	open := dialChat(t, s)
	must(t, open.answered())
	drained := open.server(d)
	out := baton(t, d, "server", "drain", "chat", drained, "--reason", "new disk")
	if !strings.Contains(out, "is draining: it has ") {
		t.Errorf("baton server drain says %s", out)
	}
	baton(t, d, "server", "weight", "http", "web3", "7")
	baton(t, d, "server", "disable", "http", "web2")

	held := func(when string, connected bool) {
		t.Helper()
		eventually(t, func() error { // the director may just have begun
			have, err := kernelTable(d.Host)
			if err != nil {
				return err
			}
			web := have.find("tcp 10.0.0.100:80")
			if w := web.server("10.0.1.13:80"); w == nil || w.Weight != 7 || web.server("10.0.1.12:80") != nil {
				return fmt.Errorf("%s: http is\n%s", when, ipvsadm(t, d, "-Ln"))
			}
			if c := have.find("tcp 10.0.0.100:7001").server(drained); connected && (c == nil || c.Weight != 0) || c != nil && c.Weight > 0 {
				return fmt.Errorf("%s: chat is\n%s", when, ipvsadm(t, d, "-Ln"))
			}
			srv, err := served(t, d, drained)
			if err == nil && (srv.State != "draining" || srv.Override == nil || srv.Override.By != "root" || srv.Override.Reason != "new disk") {
				err = fmt.Errorf("%s: %+v", when, srv)
			}
			return err
		})
		if connected {
			if err := open.answered(); err != nil {
				t.Errorf("%s: the connection to the draining server: %v", when, err)
			}
		}
	}
	held("at first", true)
	marks := filepath.Join(filepath.Dir(d.Config), "maintenance")
	edit(t, d, "metrics:", "maintenance_dir: "+marks+"\nmetrics:")
	if st := hangUp(t, d, reloaded); st.LastError != "" {
		t.Fatal(st.LastError)
	}
	held("after a reload", true)
	pid, err := d.Child()
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, func() error {
		if now, err := d.Child(); err != nil || now == pid {
			return fmt.Errorf("no new director: %w", err)
		}
		_, err := d.Status()
		return err
	})
	held("after the director's death", true)
	must(t, d.Stop()) // the peer, which was told nothing, takes over, and with it the connections end
	must(t, open.Close())
	d.Start()
	eventually(t, func() error { return owner(s, d) })
	held("after a restart", false)

	// A file drains beside all that, in a folder that comes with it.
	must(t, os.Mkdir(marks, 0o755))
	must(t, os.WriteFile(filepath.Join(marks, "10.0.1.11:80"), nil, 0o644))
	eventually(t, func() error { return notInTable(d, s.Real[0]) })
	if text := baton(t, d, "explain", "server", "http", "web1"); !strings.Contains(text, "is draining since") || !strings.Contains(text, "file "+marks+"/10.0.1.11:80 exists since") {
		t.Errorf("baton explain server:\n%s", text)
	}
	must(t, os.Remove(filepath.Join(marks, "10.0.1.11:80")))
	eventually(t, func() error { return inTable(d, s.Real[0]) })

	for _, server := range []string{"web2", "web3"} {
		baton(t, d, "server", "reset", "http", server)
	}
	baton(t, d, "server", "enable", "chat", drained)
	must(t, s.Ready(patience))
	if text := baton(t, d, "status", "--json"); strings.Contains(text, `"override"`) {
		t.Errorf("all is taken back, and status says\n%s", text)
	}
	agree(t, d)
}
