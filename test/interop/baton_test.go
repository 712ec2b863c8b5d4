package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/internal/api"
	"baton/test/lab"
)

// executable returns the binary under test: BATON_BIN, or what "make build" made.
func executable(t testing.TB) string {
	t.Helper()
	path := os.Getenv("BATON_BIN")
	if path == "" {
		path = filepath.Join("..", "..", "bin", "baton")
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v: run \"make build\" first, or make test-netns", err)
	}
	return path
}

// batonProgram is what is tested.
type batonProgram struct{ path string }

// newBaton is a member without a host, with the last number of its address.
func newBaton(t testing.TB, number int) *member {
	t.Helper()
	return &member{program: batonProgram{path: executable(t)}, number: number}
}

func (batonProgram) name() string { return "baton" }

func (b batonProgram) configure(m *member) {
	m.pair.t.Helper()
	mode := m.pair.mode
	text := fmt.Sprintf(`node: baton
state_dir: %[1]s/state
api: {socket: %[1]s/sock}
metrics: {listen: 127.0.0.1:9165}
routers:
  - name: web
    interface: eth0
    id: 51
    version: %[2]d
    priority: %[3]d
    advert_interval: %[4]s
    addresses: ["%[5]s"]
%[6]s`, m.dir, mode.version, m.priority, m.interval, mode.vip(), lines("    ", mode.baton))
	if m.priority != 255 {
		text += fmt.Sprintf("    preempt: %v\n", !m.nopreempt)
	}
	if mode.unicast {
		text += fmt.Sprintf("    source: \"%s\"\n    peers: [\"%s\"]\n",
			mode.address(m.number), mode.address(m.pair.other(m).number))
	}
	if m.password != "" {
		file := filepath.Join(m.dir, "password")
		must(m.pair.t, os.WriteFile(file, []byte(m.password+"\n"), 0o600))
		text += fmt.Sprintf("    auth: {password_file: %s}\n", file)
	}
	must(m.pair.t, os.WriteFile(m.config(), []byte(text), 0o600))
}

func (m *member) config() string { return filepath.Join(m.dir, "baton.yaml") }
func (m *member) socket() string { return filepath.Join(m.dir, "sock") }

func (b batonProgram) command(m *member) lab.Proc {
	return lab.Proc{Args: []string{b.path, "run", "-c", m.config()}}
}

// run runs "baton ARGS…" against the daemon.
func (b batonProgram) run(m *member, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(30*time.Second))
	defer cancel()
	return m.host.Run(ctx, b.path, append(args, "--socket", m.socket())...)
}

// status asks the daemon for its router.
func (batonProgram) status(m *member) (api.Router, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c := api.Dial(m.socket())
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return api.Router{}, err
	}
	if len(s.Routers) != 1 {
		return api.Router{}, fmt.Errorf("baton has %d routers", len(s.Routers))
	}
	return s.Routers[0], nil
}

func (b batonProgram) state(m *member) (string, error) {
	r, err := b.status(m)
	return r.State, err
}

func (b batonProgram) rejected(m *member) (map[string]uint64, error) {
	r, err := b.status(m)
	return r.Adverts.Rejected, err
}

// command runs a command of baton's.
func (p *pair) command(args ...string) string {
	p.t.Helper()
	out, err := batonProgram{executable(p.t)}.run(p.baton, args...)
	must(p.t, err)
	return out
}

// router is what baton's status says of its router.
func (p *pair) router() api.Router {
	p.t.Helper()
	r, err := batonProgram{}.status(p.baton)
	must(p.t, err)
	return r
}

// metrics is what Prometheus would get of baton.
func (p *pair) metrics() string {
	p.t.Helper()
	resp, err := p.baton.host.Client(lab.Patience(5 * time.Second)).Get("http://127.0.0.1:9165/metrics")
	must(p.t, err)
	text, err := io.ReadAll(resp.Body)
	must(p.t, errors.Join(err, resp.Body.Close()))
	return string(text)
}

// reload has baton apply the member's settings of now.
func (p *pair) reload() {
	p.t.Helper()
	const done = "configuration reloaded"
	before := strings.Count(p.baton.proc.Output(), done)
	p.baton.configure(p.baton)
	p.baton.signal(syscall.SIGHUP)
	lab.Eventually(p.t, 5*time.Second, func() error {
		if strings.Count(p.baton.proc.Output(), done) == before {
			return errors.New("baton has not reloaded")
		}
		return nil
	})
}
