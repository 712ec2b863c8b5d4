package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"baton/internal/api"
	"baton/internal/api/apitest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"baton": main})
}

// TestScripts runs the program as a shell does, against a daemon on paper. A
// script finds its socket in $BATON_SOCKET and steers it with "daemon".
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			// A socket's path may have 107 bytes, less than that of a script's folder.
			dir, err := os.MkdirTemp("", "baton")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(dir) })
			d := &paperDaemon{socket: filepath.Join(dir, "s")}
			env.Values[daemonKey{}] = d
			env.Setenv("BATON_SOCKET", d.socket)
			env.Setenv("TZ", "UTC")
			// A program built with the race detector otherwise waits a second at its end.
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			env.Defer(d.stop)
			return d.start()
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"daemon": steer,
			"exits":  exits,
		},
	})
}

type daemonKey struct{}

// paperDaemon serves the API of an engine that does nothing.
type paperDaemon struct {
	socket  string
	engine  *apitest.Engine
	journal *api.Journal
	mu      sync.Mutex
	cancel  context.CancelFunc // nil: stopped
	done    chan error
}

func (d *paperDaemon) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, err := api.Listen(d.socket)
	if err != nil {
		return err
	}
	if d.engine == nil {
		d.engine = apitest.New()
		d.journal = api.NewJournal(100, apitest.Now)
	}
	s := api.NewServer(api.Options{
		Engine: d.engine, Journal: d.journal, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return apitest.Now },
	})
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(context.Background())
	done := make(chan error, 1)
	d.done = done
	go func() { done <- s.Serve(ctx, l) }()
	return nil
}

func (d *paperDaemon) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		d.cancel()
		<-d.done //nolint:errcheck // it was told to end
		d.cancel = nil
	}
}

// steer is "daemon WHAT …" in a script:
//
//	start | stop
//	quiet                  nothing needs attention
//	refuse ROUTER REASON   failover and resume of the router fail
//	invalid | broken       the next reload fails
//	drained SERVICE        the servers of the service that drain have left the table
//	full SERVICE           what is wanted of servers of the service cannot be kept
//	event NAME TO REASON   a router's transition happens
//	forget                 the commands that were given so far
//	asked [COMMAND…]       these commands were given
func steer(ts *testscript.TestScript, _ bool, args []string) {
	d := ts.Value(daemonKey{}).(*paperDaemon)
	switch args[0] {
	case "start":
		ts.Check(d.start())
	case "stop":
		d.stop()
	case "quiet":
		d.engine.Change(func(s *api.Snapshot) {
			s.Config.LastError = ""
			s.Routers.Routers = s.Routers.Routers[:1]
			s.Balancer.Services = s.Balancer.Services[2:]
			s.Balancer.Foreign = nil
			s.Sources = nil
		})
	case "refuse":
		d.engine.Refuse(args[1], errors.New("router "+args[1]+": "+args[2]))
	case "drained":
		d.engine.Drained(args[1])
	case "full":
		d.engine.Refuse(args[1], &api.NotSavedError{Err: errors.New("write /var/lib/baton/overrides.json: no space left on device")})
	case "invalid":
		d.engine.ReloadWith(api.Reloaded{}, &api.InvalidConfigError{Path: "/etc/baton/baton.yaml", Mistakes: []string{
			"/etc/baton/baton.yaml:3:5: 70000 is no port", "/etc/baton/baton.yaml:9:1: unknown key \"sevices\"; did you mean \"services\"?",
		}})
	case "broken":
		d.engine.ReloadWith(api.Reloaded{}, errors.New("listen on 127.0.0.1:9165: address already in use"))
	case "unchanged":
		d.engine.ReloadWith(api.Reloaded{Hash: "1f2e3d4c5b6a", At: apitest.Now}, nil)
	case "event":
		d.journal.Append(api.Event{
			At: apitest.Now, Kind: api.KindRouter, Name: args[1], From: "backup", To: args[2], Reason: args[3],
		})
	case "forget":
		d.engine.Forget()
	case "asked":
		if got, want := strings.Join(d.engine.Asked(), ", "), strings.Join(args[1:], ", "); got != want {
			ts.Fatalf("asked for %q, want %q", got, want)
		}
	default:
		ts.Fatalf("daemon %s: unknown", args[0])
	}
}

// exits is "exits CODE PROGRAM ARG…" in a script: the program ends with that
// code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		got = string(rune('0' + exit.ExitCode()))
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != args[0] {
		ts.Fatalf("%s ended with %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}
