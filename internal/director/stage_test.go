package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"baton/internal/api"
	"baton/internal/link"
	"baton/internal/network"
	"baton/internal/speaker"
	"baton/internal/wire"
	"baton/test/logs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come; on no machine is it
// needed.
const patience = 20 * time.Second

// stage is a director with a pulse that the test plays.
type stage struct {
	t      *testing.T
	dir    string
	config string
	socket string
	log    *logs.Buffer
	edges  *edges

	pulse *link.Conn // the test's end
	dirs  *Director
	ended chan error

	messages chan link.Message
}

func newStage(t *testing.T) *stage {
	t.Helper()
	// Not t.TempDir: its path may be too long for a socket.
	dir, err := os.MkdirTemp("", "baton-director-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return &stage{
		t: t, dir: dir, config: filepath.Join(dir, "baton.yaml"), socket: filepath.Join(dir, "sock"),
		log: new(logs.Buffer), edges: &edges{},
	}
}

// router is a line of the configuration.
func router(name string, id, priority int) string {
	return fmt.Sprintf("  - {name: %s, interface: eth0, id: %d, priority: %d, addresses: [10.0.0.%d/24]}\n", name, id, priority, id%256)
}

// write writes the configuration: global lines first, then routers.
func (s *stage) write(globals string, routers ...string) {
	s.t.Helper()
	text := "node: lb-a\nstate_dir: " + s.dir + "/state\nipvs: {sysctls: leave, on_stop: keep}\n"
	if !strings.Contains(globals, "api:") {
		text += "api: {socket: " + s.socket + "}\n"
	}
	text += globals + "\nrouters:\n" + strings.Join(routers, "")
	must(s.t, os.WriteFile(s.config, []byte(text), 0o600))
}

// open makes a director; nothing runs yet.
func (s *stage) open(lastGood string) error {
	s.t.Helper()
	conn, theirs, err := link.Pair()
	must(s.t, err)
	end, err := link.FromFile(theirs)
	must(s.t, err)
	d, err := New(s.config, Options{
		Version: "1.2.3", Log: s.log.Logger(), SetLog: func(slog.Level, string) {},
		Link: end, LastGood: lastGood, Heir: speaker.Heir{OpenConn: s.edges.open, Remover: s.edges},
	})
	if err != nil {
		must(s.t, errors.Join(conn.Close(), end.Close()))
		return err
	}
	s.pulse, s.dirs = conn, d
	s.t.Cleanup(func() { _ = end.Close() })
	return nil
}

// start makes a director and runs it, and has greeted it and got its routers
// when it returns.
func (s *stage) start(lastGood string) link.Configure {
	s.t.Helper()
	must(s.t, s.open(lastGood))
	s.run()
	if m := s.next(); m.Hello == nil || m.Hello.Version != link.Version {
		s.t.Fatalf("the first message is no hello: %+v", m)
	}
	m := s.next()
	if m.Configure == nil {
		s.t.Fatalf("the second message does not configure: %+v", m)
	}
	s.send(link.Message{Hello: &link.Hello{Version: link.Version}})
	return *m.Configure
}

// run runs the director and reads what it says.
func (s *stage) run() {
	s.t.Helper()
	s.ended, s.messages = make(chan error, 1), make(chan link.Message, 1024)
	ended, messages, conn, d := s.ended, s.messages, s.pulse, s.dirs
	go func() { ended <- d.Run(context.Background()) }()
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(messages)
		for {
			m, err := conn.Receive()
			if err != nil {
				return
			}
			messages <- m
		}
	})
	s.t.Cleanup(func() {
		_ = conn.Close() // if the test has not yet ended it
		reading.Wait()
		if err := s.end(); err != nil && !errors.Is(err, errPulseGone) {
			s.t.Errorf("the director ended with %v", err)
		}
	})
}

// end waits for the end of Run and returns what it returned, to the first who
// asks.
func (s *stage) end() error {
	s.t.Helper()
	select {
	case err, first := <-s.ended:
		if first {
			close(s.ended)
		}
		return err
	case <-time.After(patience):
		s.t.Fatalf("the director does not end\n%s", s.log)
		return nil
	}
}

// stop is a planned stop.
func (s *stage) stop() error {
	s.t.Helper()
	s.send(link.Message{Order: link.OrderStop})
	return s.end()
}

func (s *stage) send(m link.Message) {
	s.t.Helper()
	must(s.t, s.pulse.Send(m))
}

// next returns the director's next message, without its questions: this pulse
// says how it is when it likes.
func (s *stage) next() link.Message {
	s.t.Helper()
	late := time.After(patience)
	for {
		select {
		case m, ok := <-s.messages:
			if !ok {
				s.t.Fatalf("the director has hung up\n%s", s.log)
			}
			if m.Ask == nil {
				return m
			}
		case <-late:
			s.t.Fatalf("the director says nothing\n%s", s.log)
		}
	}
}

// quiet fails the test if the director has said anything: a command, and its
// answer, must be next.
func (s *stage) quiet() {
	s.t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.dirs.Resume(context.Background(), "web") }()
	m := s.next()
	if m.Command == nil {
		s.t.Fatalf("the director said something: %+v", m)
	}
	s.send(link.Message{Reply: &link.Reply{ID: m.Command.ID}})
	must(s.t, <-done)
}

// client speaks to the API.
func (s *stage) client(socket string) *api.Client {
	c := api.Dial(socket)
	s.t.Cleanup(c.Close)
	return c
}

func (s *stage) status() api.Status {
	s.t.Helper()
	st, err := s.client(s.socket).Status(s.t.Context())
	must(s.t, err)
	return st
}

// happened waits for an event whose text has all the parts.
func (s *stage) happened(parts ...string) api.Event {
	s.t.Helper()
	var events []api.Event
	for began := time.Now(); time.Since(began) < patience; time.Sleep(time.Millisecond) {
		events = s.dirs.history.journal.Last(0, time.Time{})
		for _, e := range events {
			text := fmt.Sprintf("%s %s %s→%s %s", e.Kind, e.Name, e.From, e.To, e.Reason)
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) }) {
				return e
			}
		}
	}
	s.t.Fatalf("no event has %q: %+v", parts, events)
	return api.Event{}
}

// edges record how a will is carried out.
type edges struct {
	mu     sync.Mutex
	did    []string
	refuse error // to open a socket
}

func (e *edges) note(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.did = append(e.did, what)
}

func (e *edges) all() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.did, ", ")
}

func (e *edges) open(ifname string, _ wire.Family) (speaker.Conn, error) {
	if e.refuse != nil {
		return nil, e.refuse
	}
	return &willConn{e, ifname}, nil
}

// Remove implements speaker.Remover.
func (e *edges) Remove(_ context.Context, states ...network.State) error {
	for _, s := range states {
		for _, a := range s.Addresses {
			e.note("remove " + a.Prefix.String() + " from " + a.Interface)
		}
	}
	return nil
}

type willConn struct {
	e      *edges
	ifname string
}

func (c *willConn) Send(payload []byte, src, dst netip.Addr) error {
	c.e.note(fmt.Sprintf("send %x from %s to %s on %s", payload[:4], src, dst, c.ifname))
	return nil
}
func (c *willConn) Receive([]byte) (wire.Packet, error)    { return wire.Packet{}, net.ErrClosed }
func (c *willConn) Poll([]byte) (wire.Packet, bool, error) { return wire.Packet{}, false, nil }
func (c *willConn) Close() error                           { return nil }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
