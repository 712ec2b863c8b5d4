package pulse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"baton/internal/link"
	"baton/internal/network"
	"baton/internal/speaker"
	"baton/internal/wire"
	"baton/test/lab"
)

// childMode makes the test binary play a child of pulse. childDir is where it
// leaves what it saw.
const (
	childMode = "BATON_PULSE_CHILD"
	childDir  = "BATON_PULSE_DIR"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		os.Exit(child(mode))
	}
	goleak.VerifyTestMain(m)
}

// child is a director as the mode says, and returns its exit status.
func child(mode string) int {
	if class, found := strings.CutPrefix(mode, "class"); found {
		return classChild(class)
	}
	conn, err := link.FromFile(os.NewFile(3, "link"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 9
	}
	version := link.Version
	switch mode {
	case "refuse":
		return ExitRefused
	case "die":
		return 7
	case "stranger":
		version = 99
	}
	err = errors.Join(
		conn.Send(link.Message{Hello: &link.Hello{Version: version}}),
		conn.Send(link.Message{Configure: &link.Configure{LogFormat: "text", LastGood: "/last/good", Routers: []speaker.Router{{
			Name: "web", Interface: "eth0", ID: 51, Version: 3, Priority: 100, Interval: 50 * time.Millisecond,
			Addresses: []network.Address{{Prefix: netip.MustParsePrefix("10.0.0.100/24"), Interface: "eth0"}},
			GARP:      speaker.GARP{Repeat: 1},
		}}}}),
		conn.Send(link.Message{Command: &link.Command{ID: 5, Action: link.Failover, Router: "nobody"}}),
		conn.Send(link.Message{Command: &link.Command{ID: 6, Action: "dance", Router: "web"}}),
	)
	for err == nil {
		var m link.Message
		if m, err = conn.Receive(); err == nil {
			note("message", m)
		}
		if m.Order == link.OrderStop {
			return 0
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) {
		note("end", "EOF")
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 9
}

// note appends a line to what this child has seen.
func note(kind string, v any) {
	f, err := os.OpenFile(filepath.Join(os.Getenv(childDir), kind+"."+strconv.Itoa(os.Getpid())), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if err := json.NewEncoder(f).Encode(v); err != nil {
		panic(err)
	}
}

// troupe starts the children of a pulse, each in its mode; the last mode is for
// all that follow.
type troupe struct {
	t     *testing.T
	dir   string
	modes []string

	mu       sync.Mutex
	commands []*exec.Cmd
	started  []time.Time
	good     []string
}

func newTroupe(t *testing.T, modes ...string) *troupe {
	return &troupe{t: t, dir: t.TempDir(), modes: modes}
}

func (r *troupe) next(lastGood string) *exec.Cmd {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.commands)
	cmd := exec.Command(os.Args[0]) //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), childMode+"="+r.modes[min(n, len(r.modes)-1)], childDir+"="+r.dir)
	cmd.Stderr = os.Stderr
	r.commands, r.started, r.good = append(r.commands, cmd), append(r.started, time.Now()), append(r.good, lastGood)
	return cmd
}

func (r *troupe) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.commands)
}

// pids are those of the children that wrote something, oldest first.
func (r *troupe) pids() []int {
	files, err := filepath.Glob(filepath.Join(r.dir, "message.*"))
	if err != nil {
		r.t.Fatal(err)
	}
	order := map[int]int{} // how many came before each
	var out []int
	for _, f := range files {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(f), "."))
		if m := r.messages(pid); err == nil && len(m) > 0 && m[0].Hello != nil {
			order[pid] = m[0].Hello.Restarts
			out = append(out, pid)
		}
	}
	slices.SortFunc(out, func(a, b int) int { return order[a] - order[b] })
	return out
}

// messages are what a child has received so far.
func (r *troupe) messages(pid int) []link.Message {
	f, err := os.Open(filepath.Join(r.dir, "message."+strconv.Itoa(pid)))
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []link.Message
	for d := json.NewDecoder(f); ; {
		var m link.Message
		if d.Decode(&m) != nil {
			return out // the end, or a line that is just being written
		}
		out = append(out, m)
	}
}

// serving waits until the nth child that serves (from 0) has got a message that
// matches.
func (r *troupe) serving(n int, what string, match func(link.Message) bool) (pid int, m link.Message) {
	r.t.Helper()
	lab.Eventually(r.t, 10*time.Second, func() error {
		pids := r.pids()
		if len(pids) <= n {
			return fmt.Errorf("%d children serve, waiting for number %d", len(pids), n)
		}
		pid = pids[n]
		for _, m = range r.messages(pid) {
			if match(m) {
				return nil
			}
		}
		return fmt.Errorf("child %d (process %d) has not received %s", n, pid, what)
	})
	return pid, m
}

func master(m link.Message) bool {
	return m.Status != nil && len(m.Status.Routers.Routers) == 1 && m.Status.Routers.Routers[0].Held
}

// performance is a pulse at work.
type performance struct {
	cancel context.CancelFunc
	wait   func() error // for the end of Run, which returned this
}

// stop is the planned stop.
func (p *performance) stop() error {
	p.cancel()
	return p.wait()
}

// running runs a pulse, until the test ends at the latest.
func running(t *testing.T, r *troupe, h *host, reload, dump <-chan struct{}) *performance {
	t.Helper()
	p := New(Options{
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), SetLog: func(slog.Level, string) {},
		Director: r.next, Reload: reload, Dump: dump,
		Edges: speaker.Edges{
			Network:  h,
			OpenConn: func(string, wire.Family) (speaker.Conn, error) { return &conn{closed: make(chan struct{})}, nil },
			OpenAnnounce: func(string, *[6]byte) (speaker.Announcer, error) {
				return announcer{}, nil
			},
			OpenConflicts: func(string) (speaker.ConflictWatch, error) { return nil, errors.New("no conflicts here") },
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	run := &performance{cancel: cancel, wait: sync.OnceValue(func() error {
		select {
		case err := <-ended:
			return err
		case <-time.After(lab.Patience(30 * time.Second)):
			return errors.New("Run does not end")
		}
	})}
	t.Cleanup(func() { _ = run.stop() })
	return run
}

// host is a network with one interface.
type host struct {
	mu     sync.Mutex
	up     bool
	held   bool
	report chan network.Change
}

func newHost() *host { return &host{up: true, report: make(chan network.Change)} }

func (h *host) Set(_ context.Context, _ string, want network.State) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = len(want.Addresses) > 0
	return nil
}

func (h *host) holds() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held
}

func (h *host) Delivers(netip.Addr) bool { return true }

func (h *host) Sweep(context.Context) ([]string, error) {
	return nil, nil
}

func (h *host) Link(name string) (network.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return network.Link{Name: name, Index: 2, Up: h.up, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}, nil
}

func (h *host) Watch(ctx context.Context, report func(network.Change)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-h.report:
			report(c)
		}
	}
}

// setUp changes the carrier and reports it.
func (h *host) setUp(up bool) {
	h.mu.Lock()
	h.up = up
	h.mu.Unlock()
	kind := network.LinkDown
	if up {
		kind = network.LinkUp
	}
	h.report <- network.Change{Kind: kind, Interface: "eth0", Index: 2}
}

// conn is a wire that nobody else is on.
type conn struct {
	once   sync.Once
	closed chan struct{}
}

func (c *conn) Receive([]byte) (wire.Packet, error) {
	<-c.closed
	return wire.Packet{}, net.ErrClosed
}
func (c *conn) Poll([]byte) (wire.Packet, bool, error)    { return wire.Packet{}, false, nil }
func (c *conn) Send([]byte, netip.Addr, netip.Addr) error { return nil }
func (c *conn) Close() error                              { c.once.Do(func() { close(c.closed) }); return nil }

type announcer struct{}

func (announcer) Announce(netip.Addr) error { return nil }
func (announcer) Close() error              { return nil }
