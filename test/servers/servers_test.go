package servers

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/internal/check"
	"baton/test/lab"
)

const (
	address = "127.0.0.1"
	// startup is how long a server may take until it answers.
	startup = 30 * time.Second
	// enough is more time than any server needs for an answer, also on a busy host.
	enough = 10 * time.Second
	// brief is what a server that stands still gets.
	brief = 300 * time.Millisecond
)

// question is a check and the codes that fit its result.
type question struct {
	port  uint16
	check check.Spec
	codes []check.Code
	says  string // the detail contains this
}

// daemon is a server.
type daemon struct {
	name string
	// prepare writes what the server needs into a folder and returns its command.
	prepare func(s *stand) []string
	right   func(s *stand) []question
	wrong   func(s *stand) []question
}

// stand is where one server runs.
type stand struct {
	*testing.T
	host *lab.Host
	dir  string // of files; everybody may look into it
}

func (s *stand) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// path names something in the folder.
func (s *stand) path(name string) string { return filepath.Join(s.dir, name) }

// file writes a file; DIR in it is the folder.
func (s *stand) file(name, text string) string {
	s.Helper()
	s.must(os.WriteFile(s.path(name), []byte(strings.ReplaceAll(text, "DIR", s.dir)), 0o644))
	return s.path(name)
}

// folder makes a folder that everybody may write to.
func (s *stand) folder(name string) string {
	s.Helper()
	s.must(os.Mkdir(s.path(name), 0o755))
	s.must(os.Chmod(s.path(name), 0o777))
	return s.path(name)
}

// first returns the file that a pattern means.
func (s *stand) first(pattern string) string {
	s.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		s.Fatalf("there is no %s: run \"test/deps servers\" (%v)", pattern, err)
	}
	return found[len(found)-1]
}

// run runs a command to its end.
func (s *stand) run(args ...string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(time.Minute))
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// ask runs a probe on the server's host.
func (s *stand) ask(q question, timeout time.Duration) (r check.Result) {
	s.Helper()
	q.check.Target = netip.AddrPortFrom(netip.MustParseAddr(address), q.port)
	q.check.Timeout = timeout
	s.must(s.host.Do(func() error {
		r = check.Probe(context.Background(), q.check)
		return nil
	}))
	return r
}

// judge returns nil if the result of a question is one that fits.
func (q question) judge(r check.Result, codes ...check.Code) error {
	if !slices.Contains(codes, r.Code) || !strings.Contains(r.Detail, q.says) {
		return fmt.Errorf("%s at port %d: %s: %s; want %v %q", q.check.Kind(), q.port, r.Code, r.Detail, codes, q.says)
	}
	return nil
}

func TestServers(t *testing.T) {
	for _, d := range daemons {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			dir, err := os.MkdirTemp("", "baton-servers-") // not the test's, into which only root may look
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			s := &stand{T: t, host: l.Host(d.name), dir: dir}
			s.must(os.Chmod(dir, 0o755))
			d.test(s, l)
		})
	}
}

func (d *daemon) test(s *stand, l *lab.Lab) {
	process := s.host.Start(lab.Proc{Args: d.prepare(s), Dir: s.dir})
	s.must(l.Err())
	right := d.right(s)
	for _, q := range right {
		lab.Eventually(s.T, startup, func() error {
			if !process.Running() {
				s.Fatalf("%s has ended", d.name)
			}
			return q.judge(s.ask(q, lab.Patience(enough)), q.codes...)
		})
	}
	for _, q := range d.wrong(s) {
		timeout := lab.Patience(enough)
		if slices.Contains(q.codes, check.L7TOUT) {
			timeout = brief
		}
		if err := q.judge(s.ask(q, timeout), q.codes...); err != nil {
			s.Error(err)
		}
	}
	process.Freeze()
	for _, q := range right {
		if err := q.stale().judge(s.ask(q, brief), q.stale().codes...); err != nil {
			s.Errorf("it stands still: %v", err)
		}
	}
	process.Thaw()
	lab.Eventually(s.T, startup, func() error { // it has what came meanwhile to work off
		return right[0].judge(s.ask(right[0], lab.Patience(enough)), right[0].codes...)
	})
	process.Kill()
	for _, q := range right {
		q.says = ""
		lab.Eventually(s.T, startup, func() error { // a process that is just dying may take a datagram with it
			return q.judge(s.ask(q, lab.Patience(time.Second)), check.L4CON)
		})
	}
}

// stale is what comes of the question where the server stands still.
func (q question) stale() question {
	q.says, q.codes = "", []check.Code{check.L7TOUT, check.L6TOUT}
	if q.check.TCP != nil && *q.check.TCP == (check.TCP{}) {
		q.codes = []check.Code{check.L4OK} // the kernel answers for whoever stands still
	}
	return q
}
