package notify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
	"baton/test/logs"
)

func scripts(t *testing.T) (*Scripts, *logs.Buffer) {
	t.Helper()
	log := new(logs.Buffer)
	s := New(log.Logger())
	t.Cleanup(s.Close)
	return s, log
}

// sh is a command by a shell.
func sh(queue, script string, env ...string) Command {
	return Command{Queue: queue, What: "service " + queue, Args: []string{"/bin/sh", "-c", script}, Env: env}
}

func contents(file string) string {
	b, _ := os.ReadFile(file) // none yet is empty
	return string(b)
}

// waitFor waits until a file has as many lines as are wanted, and returns it.
func waitFor(t *testing.T, file string, lines int) string {
	t.Helper()
	lab.Eventually(t, 20*time.Second, func() error {
		if got := contents(file); strings.Count(got, "\n") < lines {
			return fmt.Errorf("has %q", got)
		}
		return nil
	})
	return contents(file)
}

func TestCommandsRunInOrder(t *testing.T) {
	s, log := scripts(t)
	file := filepath.Join(t.TempDir(), "out")
	var want strings.Builder
	for i := range waiting { // the first are slower
		s.Tell(sh("web", fmt.Sprintf("sleep 0.0%d; echo $STATE >>%s", max(3-i, 0), file), fmt.Sprintf("STATE=%d", i)))
		fmt.Fprintln(&want, i)
	}
	if got := waitFor(t, file, waiting); got != want.String() {
		t.Errorf("ran as %q, want %q", got, want.String())
	}
	if log.String() != "" {
		t.Errorf("the log has %s", log)
	}
}

// A queue that hangs holds up neither who tells it nor the others, and its last
// command is not lost.
func TestAQueueThatHangs(t *testing.T) {
	s, log := scripts(t)
	s.timeout = lab.Patience(2 * time.Second)
	dir := t.TempDir()
	pids, last, other := filepath.Join(dir, "pids"), filepath.Join(dir, "last"), filepath.Join(dir, "other")
	s.Tell(sh("web", "sleep 60 & echo $$ $! >"+pids+"; echo starting; echo 'waits for the router' >&2; wait"))
	started := waitFor(t, pids, 1)
	start := time.Now()
	for i := range 3 * waiting {
		s.Tell(sh("web", fmt.Sprintf("echo %d >>%s", i, last)))
	}
	if took := time.Since(start); took > lab.Patience(100*time.Millisecond) {
		t.Errorf("telling took %s", took)
	}
	s.Tell(sh("other", "echo done >"+other))
	waitFor(t, other, 1)
	if got := waitFor(t, last, waiting); !strings.HasSuffix(got, fmt.Sprintf("%d\n", 3*waiting-1)) || strings.Count(got, "\n") != waiting {
		t.Errorf("ran %q, want the last %d", got, waiting)
	}
	for _, want := range []string{"did not end within", "waits for the router", "commands are left out"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	if n := strings.Count(log.String(), "left out"); n != 1 {
		t.Errorf("it was said %d times that commands are left out", n)
	}
	for _, pid := range strings.Fields(started) {
		lab.Eventually(t, 10*time.Second, func() error {
			if state := contents("/proc/" + pid + "/stat"); state != "" && !strings.Contains(state, ") Z ") {
				return fmt.Errorf("process %s lives: %s", pid, state)
			}
			return nil
		})
	}
}

func TestFailuresAreLogged(t *testing.T) {
	for name, tt := range map[string]struct {
		c    Command
		want string
	}{
		"status":     {sh("a", "echo one; echo 'no route' >&2; exit 3"), `it ended with exit status 3" output="\"no route\""`},
		"output":     {sh("a", "echo one; echo two; exit 1"), `output="\"two\""`},
		"signal":     {sh("a", "kill -9 $$"), "ended by signal 9"},
		"no program": {Command{Queue: "a", What: "x", Args: []string{"/nonexistent"}}, "cannot run it: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			s, log := scripts(t)
			s.Tell(tt.c)
			lab.Eventually(t, 10*time.Second, func() error {
				if !strings.Contains(log.String(), tt.want) {
					return fmt.Errorf("the log has %q", log)
				}
				return nil
			})
		})
	}
}

// What has been told before the end still runs, if it is quick.
func TestClose(t *testing.T) {
	s, _ := scripts(t)
	file := filepath.Join(t.TempDir(), "out")
	s.Tell(sh("a", "sleep 0.1; echo 1 >>"+file))
	s.Tell(sh("a", "echo 2 >>"+file))
	s.Close()
	if got := contents(file); got != "1\n2\n" {
		t.Errorf("ran %q", got)
	}
	s.Tell(sh("a", "echo 3 >>"+file))
	s.Close()
	if got := contents(file); got != "1\n2\n" {
		t.Errorf("after the end ran %q", got)
	}
}
