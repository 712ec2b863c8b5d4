package director

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/api"
	"baton/internal/link"
)

func TestReloadUnchanged(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	s.start("")
	out, err := s.client(s.socket).Reload(t.Context())
	if err != nil || out.Changed || len(out.Changes) > 0 || out.Hash != s.dirs.cfg.Hash {
		t.Errorf("%+v, %v", out, err)
	}
	s.happened("config", s.config, "nothing changed")
	s.quiet()
}

// Another text that means the same has another hash, and changes nothing.
func TestReloadOfAComment(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	s.start("")
	before := s.status().Config.Hash
	s.write("# a remark", router("web", 51, 150))
	out, err := s.client(s.socket).Reload(t.Context())
	if err != nil || out.Changed || out.Hash == before {
		t.Errorf("%+v, %v", out, err)
	}
	s.quiet()
}

func TestReloadWithChanges(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150), router("lan", 52, 150))
	s.start("")
	s.write("log: {level: warn}", router("web", 51, 90), router("dmz", 53, 150))
	out, err := s.client(s.socket).Reload(t.Context())
	want := []string{"router dmz added", "router web changed", "router lan removed", "global settings changed"}
	if err != nil || !out.Changed || cmp.Diff(want, out.Changes) != "" {
		t.Errorf("%+v, %v", out, err)
	}
	m := s.next()
	if m.Configure == nil || len(m.Configure.Routers) != 2 || m.Configure.Routers[0].Priority != 90 || m.Configure.Routers[1].Name != "dmz" ||
		m.Configure.LogLevel.String() != "WARN" {
		t.Fatalf("pulse was told %+v", m)
	}
	s.happened("config", "router dmz added, router web changed")
	if st := s.status(); st.Config.Hash != out.Hash || st.Config.LastError != "" {
		t.Errorf("status of the configuration: %+v", st.Config)
	}
	s.quiet()
	// The new one is now the last good one.
	var good goodConfig
	if ok, err := s.dirs.store.load(lastGoodFile, &good); err != nil || !ok || good.Config.Hash != out.Hash {
		t.Errorf("kept for a restart: %+v, %v", good, err)
	}
}

// A broken file changes nothing, and all its mistakes are told: to who asked, in
// the status, in the log, and in the history.
func TestReloadOfABrokenFile(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	s.start("")
	before := s.status().Config
	s.write("metrics: {lisen: x}", router("web", 510, 150), router("web", 52, 150))

	_, err := s.dirs.Reload(t.Context())
	var invalid *api.InvalidConfigError
	if !errors.As(err, &invalid) || invalid.Path != s.config || len(invalid.Mistakes) != 4 {
		t.Fatalf("the reload returned %T: %v", err, err)
	}
	for i, want := range []struct{ place, text string }{
		{":5:10", `"listen" is missing in metrics`},
		{":5:11", `unknown key "lisen" in metrics`},
		{":7:38", "id: 510 is out of range"},
		{":8:12", `name: "web" is taken by another router`},
	} {
		if !strings.HasPrefix(invalid.Mistakes[i], s.config+want.place+": "+want.text) {
			t.Errorf("mistake %d is %q, want %s: %s", i, invalid.Mistakes[i], want.place, want.text)
		}
		if log := strings.ReplaceAll(s.log.String(), `\"`, `"`); !strings.Contains(log, "at="+s.config+want.place+` error="`+want.text) {
			t.Errorf("the log does not tell %s %q:\n%s", want.place, want.text, log)
		}
	}
	_, err = s.client(s.socket).Reload(t.Context())
	var problem *api.Problem
	if !errors.As(err, &problem) || problem.Type != api.ProblemInvalidConfig || len(problem.Mistakes) != 4 {
		t.Errorf("the API answered %v", err)
	}
	st := s.status()
	if st.Config.Hash != before.Hash || !st.Config.Loaded.Equal(before.Loaded) || strings.Count(st.Config.LastError, "\n") != 3 ||
		time.Since(st.Config.LastErrorAt) > patience {
		t.Errorf("status of the configuration: %+v", st.Config)
	}
	s.happened("config", "reload refused: 4 mistakes, the first: "+s.config+":5:10")
	s.quiet()

	// It counts as repaired with the next one that succeeds.
	s.write("", router("web", 51, 150))
	if out, err := s.dirs.Reload(t.Context()); err != nil || out.Changed {
		t.Errorf("%+v, %v", out, err)
	}
	if st = s.status(); st.Config.LastError != "" || !st.Config.LastErrorAt.IsZero() {
		t.Errorf("status of the configuration: %+v", st.Config)
	}
	s.quiet()
	must(t, os.Remove(s.config))
	if _, err = s.dirs.Reload(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reload without a file: %v", err)
	}
	s.quiet()
}

// The order comes from pulse on SIGHUP, and its outcome goes back.
func TestReloadByOrder(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	s.start("")
	s.send(link.Message{Order: link.OrderReload})
	if m := s.next(); m.Reloaded == nil || m.Reloaded.Error != "" {
		t.Errorf("pulse was told %+v", m)
	}
	s.write("", router("web", 0, 150))
	s.send(link.Message{Order: link.OrderReload})
	if m := s.next(); m.Reloaded == nil || !strings.Contains(m.Reloaded.Error, "id: 0 is out of range") {
		t.Errorf("pulse was told %+v", m)
	}
}

func TestReloadCannotMoveTheStateDirectory(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	s.start("")
	text, err := os.ReadFile(s.config)
	must(t, err)
	must(t, os.WriteFile(s.config, []byte(strings.Replace(string(text), "/state\n", "/elsewhere\n", 1)), 0o600))
	if _, err := s.dirs.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "state_dir cannot be changed") || !strings.Contains(err.Error(), "restart baton") {
		t.Errorf("%v", err)
	}
	if st := s.status(); !strings.Contains(st.Config.LastError, "state_dir") {
		t.Errorf("status of the configuration: %+v", st.Config)
	}
	s.quiet()
}

// free is an address that nobody listens on now.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a local socket
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

func TestReloadMovesTheListeners(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	s.start("")
	metrics, second := free(t), filepath.Join(s.dir, "second")
	s.write(fmt.Sprintf("metrics: {listen: %q}\napi: {socket: %s}", metrics, second), router("web", 51, 150))
	// Through the socket that goes: its answer must still come.
	if out, err := s.client(s.socket).Reload(t.Context()); err != nil || !out.Changed {
		t.Fatalf("%+v, %v", out, err)
	}
	if text, err := get(t, metrics); err != nil || !strings.Contains(text, "baton_build_info") {
		t.Errorf("metrics: %v", err)
	}
	if _, err := s.client(second).Status(t.Context()); err != nil {
		t.Errorf("the new socket: %v", err)
	}
	s.closes(func() error { _, err := os.Lstat(s.socket); return err })

	// And off again.
	s.write(fmt.Sprintf("api: {socket: %s}", second), router("web", 51, 150))
	if out, err := s.client(second).Reload(t.Context()); err != nil || !out.Changed {
		t.Fatalf("%+v, %v", out, err)
	}
	s.closes(func() error { _, err := get(t, metrics); return err })
	s.quiet()
	must(t, s.stop())
	if _, err := os.Lstat(second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket after the stop: %v", err)
	}
}

// closes waits until a listener is gone: that happens in the background.
func (s *stage) closes(reach func() error) {
	s.t.Helper()
	for began := time.Now(); reach() == nil; time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			s.t.Fatal("the old listener is still there")
		}
	}
}

// A listener that cannot be had refuses the whole reload.
func TestReloadOntoABusyPort(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	s.start("")
	busy, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a local socket
	must(t, err)
	defer busy.Close()
	second := filepath.Join(s.dir, "second")
	s.write(fmt.Sprintf("metrics: {listen: %q}\napi: {socket: %s}", busy.Addr(), second), router("web", 51, 90))
	_, err = s.client(s.socket).Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), busy.Addr().String()) || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("%v", err)
	}
	if st := s.status(); !strings.Contains(st.Config.LastError, "address already in use") {
		t.Errorf("status of the configuration: %+v", st.Config)
	}
	if _, err := os.Lstat(second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket of a refused configuration: %v", err)
	}
	s.quiet()

	// A socket that cannot be had, too.
	s.write("api: {socket: "+s.config+"}", router("web", 51, 90))
	if _, err := s.dirs.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("%v", err)
	}
	s.status()
	s.quiet()
}
