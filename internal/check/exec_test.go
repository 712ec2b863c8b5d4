package check

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"baton/internal/program"
	"baton/test/lab"
)

// script writes an executable file. Meanwhile nothing forks here: a child would
// have it open for writing for a moment, and the kernel would not run it.
func script(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check.sh")
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.Join(lines, "\n")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// execOf is a check by a command with time enough.
func execOf(e Exec) Spec { return Spec{Timeout: 10 * time.Second, Exec: &e} }

func TestExec(t *testing.T) {
	dir := t.TempDir() // exists, and cannot be run
	for _, tt := range []struct {
		name   string
		script string // becomes the command, where that has none
		check  Exec
		code   Code
		detail string
		weight int // -1: none
	}{
		{name: "good", script: "exit 0", code: EXOK, detail: "ended with exit status 0", weight: -1},
		{name: "bad", script: "exit 1", code: EXERR, detail: "ended with exit status 1", weight: -1},
		{name: "says why", script: "echo checking; echo 'first line' >&2; echo 'no such host' >&2; exit 3", code: EXERR, detail: `exit status 3: "no such host"`, weight: -1},
		{name: "says why on its output", script: "echo 'queue is full'; exit 1", code: EXERR, detail: `exit status 1: "queue is full"`, weight: -1},
		{name: "strange bytes", script: `printf 'a\033[31m\377' ; exit 1`, code: EXERR, detail: `"a\x1b[31m\xff"`, weight: -1},
		{name: "a signal", script: "kill -SEGV $$", code: EXERR, detail: "was ended by signal 11 (segmentation fault)", weight: -1},

		{name: "expected", script: "echo OK", check: Exec{Expect: "OK"}, code: EXOK, weight: -1},
		{name: "expected, with white space", script: "printf '\n OK \n\n'", check: Exec{Expect: "OK"}, code: EXOK, weight: -1},
		{name: "expected, of several lines", script: "echo a; echo b", check: Exec{Expect: "a\nb\n"}, code: EXOK, weight: -1},
		{name: "not expected", script: "echo FAIL", check: Exec{Expect: "OK"}, code: EXERR, detail: `wrote "FAIL", expected "OK"`, weight: -1},
		{name: "more than expected", script: "echo OK then", check: Exec{Expect: "OK"}, code: EXERR, detail: `wrote "OK then"`, weight: -1},
		{name: "nothing where something is expected", script: "exit 0", check: Exec{Expect: "OK"}, code: EXERR, detail: `wrote nothing, expected "OK"`, weight: -1},
		{name: "closed where something is expected", script: "exec >&- 2>&-; exit 0", check: Exec{Expect: "OK"}, code: EXERR, detail: "wrote nothing", weight: -1},
		{name: "expected on the wrong output", script: "echo OK >&2", check: Exec{Expect: "OK"}, code: EXERR, detail: "wrote nothing", weight: -1},
		{name: "expected, but failed", script: "echo OK; exit 1", check: Exec{Expect: "OK"}, code: EXERR, detail: "exit status 1", weight: -1},
		{name: "expected and more than is kept", script: "printf OK; head -c 8192 /dev/zero | tr '\\0' ' '", check: Exec{Expect: "OK"}, code: EXERR, detail: "expected", weight: -1},
		{name: "much output", script: "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2", code: EXOK, weight: -1},

		{name: "weight: as configured", script: "exit 0", check: Exec{WeightFromExit: true}, code: EXOK, weight: -1},
		{name: "weight: failure", script: "exit 1", check: Exec{WeightFromExit: true}, code: EXERR, weight: -1},
		{name: "weight: least", script: "exit 2", check: Exec{WeightFromExit: true}, code: EXOK, detail: "exit status 2: weight 0", weight: 0},
		{name: "weight: most", script: "exit 255", check: Exec{WeightFromExit: true}, code: EXOK, detail: "exit status 255: weight 253", weight: 253},
		{name: "weight: a signal is none", script: "kill -TERM $$", check: Exec{WeightFromExit: true}, code: EXERR, weight: -1},
		{name: "weight and expected", script: "echo no; exit 12", check: Exec{WeightFromExit: true, Expect: "yes"}, code: EXERR, weight: -1},

		{name: "not there", check: Exec{Command: []string{"/nonexistent/check"}}, code: EXERR, detail: "this host cannot run /nonexistent/check: no such file or directory", weight: -1},
		{name: "a folder", check: Exec{Command: []string{dir}}, code: EXERR, detail: "permission denied", weight: -1},
		{name: "no absolute path", check: Exec{Command: []string{"true"}}, code: EXERR, detail: "the command has to begin with an absolute path", weight: -1},
		{name: "no command", check: Exec{Command: []string{}}, code: EXERR, detail: "absolute path", weight: -1},
		{name: "no such user", script: "exit 0", check: Exec{User: "nosuchuser"}, code: EXERR, detail: "there is no user nosuchuser", weight: -1},
		{name: "no such number of a user", script: "exit 0", check: Exec{User: "3999999999"}, code: EXERR, detail: "there is no user 3999999999", weight: -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.check.Command == nil {
				tt.check.Command = []string{script(t, tt.script)}
			}
			s := execOf(tt.check)
			holdAgainst(t, s, tt.code, tt.detail)
			r := Probe(context.Background(), s)
			if r.Weighted != (tt.weight >= 0) || r.Weighted && int(r.Weight) != tt.weight {
				t.Errorf("weight %d, %t; want %d", r.Weight, r.Weighted, tt.weight)
			}
		})
	}
}

func TestExecWithoutAnInterpreter(t *testing.T) {
	path := script(t)
	if err := os.WriteFile(path, []byte("exit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	holdAgainst(t, execOf(Exec{Command: []string{path}}), EXERR, "exec format error; a script has to begin with a line like #!/bin/sh")
}

func TestExecPlaceholders(t *testing.T) {
	args := []string{"/bin/sh", "-c", `echo "$*"`, "sh", "%h", "%p", "%v", "%w", "%h:%p", "100%%", "%d", "%%h"}
	for _, tt := range []struct {
		name, target, vip, want string
	}{
		{"IPv4", "10.0.0.11:80", "10.0.0.100", "10.0.0.11 80 10.0.0.100 5 10.0.0.11:80 100% %d %h"},
		{"IPv6", "[fd00::b]:8080", "fd00::100", "fd00::b 8080 fd00::100 5 fd00::b:8080 100% %d %h"},
		{"firewall mark", "10.0.0.11:80", "", "10.0.0.11 80  5 10.0.0.11:80 100% %d %h"},
		{"no target", "", "", "%h %p %v %w %h:%p 100%% %d %%h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var vip netip.Addr
			if tt.vip != "" {
				vip = netip.MustParseAddr(tt.vip)
			}
			e := Exec{Command: args, Expect: tt.want}.With(vip, 5)
			s := Spec{Timeout: 10 * time.Second, Exec: e}
			if tt.target != "" {
				s.Target = netip.MustParseAddrPort(tt.target)
			}
			holdAgainst(t, s, EXOK, "")
		})
	}
}

// Services with the same server share a probe unless its command wants to know
// of the service.
func TestExecWith(t *testing.T) {
	vip := netip.MustParseAddr("10.0.0.100")
	for arg, want := range map[string]Exec{
		"%h":    {},
		"%%v":   {},
		"-w=%w": {Weight: 7},
		"%v":    {VIP: vip},
		"%%%v":  {VIP: vip},
	} {
		want.Command = []string{"/bin/true", arg}
		if got := (Exec{Command: want.Command}).With(vip, 7); !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, want %+v", arg, *got, want)
		}
	}
}

// A program finds nothing of ours: no secrets in the environment, no
// descriptors, no input.
func TestExecSurroundings(t *testing.T) {
	t.Setenv("BATON_SECRET", "swordfish")
	held := filepath.Join(t.TempDir(), "held")
	f, err := os.Create(held)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, tt := range map[string]struct{ script, want string }{
		"environment":   {"env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | cut -d= -f1 | sort | xargs", "HOME LANG LOGNAME PATH SHELL USER"},
		"descriptors":   {"ls -l /proc/$$/fd | grep -c " + held + " || true", "0"},
		"input":         {"wc -c", "0"},
		"folder":        {"pwd", "/"},
		"process group": {`ps -o pgid= -p $$ | tr -d ' ' | sed "s/^$$\$/own/"`, "own"},
	} {
		t.Run(name, func(t *testing.T) {
			holdAgainst(t, execOf(Exec{Command: []string{script(t, tt.script)}, Expect: tt.want}), EXOK, "")
		})
	}
}

func TestExecUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root; run: sudo make test")
	}
	// The scripts of other tests lie in folders that only root may enter.
	sh := func(text string) []string { return []string{"/bin/sh", "-c", text} }
	holdAgainst(t, execOf(Exec{Command: sh("id -un; id -G"), User: "nobody", Expect: "nobody\n65534"}), EXOK, "")
	holdAgainst(t, execOf(Exec{Command: sh("id -u"), User: "65534", Expect: "65534"}), EXOK, "")
	holdAgainst(t, execOf(Exec{Command: sh("echo $HOME $USER"), User: "daemon", Expect: "/usr/sbin daemon"}), EXOK, "")
	holdAgainst(t, execOf(Exec{Command: sh("id -u"), User: "root", Expect: "0"}), EXOK, "")
}

// pids reads the process numbers that a script wrote into a file.
func pids(t *testing.T, path string, n int) []int {
	t.Helper()
	var out []int
	lab.Eventually(t, 10*time.Second, func() error {
		out = nil
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, word := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return err
			}
			out = append(out, pid)
		}
		if len(out) < n {
			return fmt.Errorf("%d of %d processes have begun", len(out), n)
		}
		return nil
	})
	return out
}

// gone waits until none of the processes runs. Those that lost their parent may
// be zombies of somebody else's for a while; none is one of ours.
func gone(t *testing.T, pids []int) {
	t.Helper()
	lab.Eventually(t, 10*time.Second, func() error {
		for _, pid := range pids {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil {
				continue
			}
			_, fields, _ := strings.Cut(string(stat), ") ")
			if parent := strings.Fields(fields)[1]; fields[0] != 'Z' || parent == strconv.Itoa(os.Getpid()) {
				return fmt.Errorf("process %d is still there, in state %c, and %s is its parent", pid, fields[0], parent)
			}
		}
		return nil
	})
}

// A program that does not end in time goes, whatever it does against it, with
// all that it has started.
func TestExecTimeout(t *testing.T) {
	for name, tt := range map[string]struct {
		script    string
		processes int
		stubborn  bool // SIGTERM does not end it
	}{
		"sleeps":                    {"echo $$ >FILE; exec sleep 60", 1, false},
		"waits for a child":         {"sleep 60 & echo $$ $! >FILE; wait", 2, false},
		"ignores SIGTERM":           {"trap '' TERM; echo $$ >FILE; while :; do sleep 60; done", 1, true},
		"ends well at SIGTERM":      {"trap 'exit 0' TERM; sleep 60 & echo $$ $! >FILE; wait", 2, false},
		"children ignore it, too":   {"trap '' TERM; sleep 60 & a=$!; sleep 60 & echo $$ $a $! >FILE; wait", 3, true},
		"closes its outputs":        {"exec >&- 2>&- <&-; echo $$ >FILE; exec sleep 60", 1, false},
		"fills its output":          {"echo $$ >FILE; exec yes", 1, false},
		"fills its error output":    {"echo $$ >FILE; exec yes >&2", 1, false},
		"stops itself":              {"echo $$ >FILE; kill -STOP $$; exec sleep 60", 1, true},
		"complains and then sleeps": {"echo 'still connecting' >&2; echo $$ >FILE; exec sleep 60", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pids")
			s := execOf(Exec{Command: []string{script(t, strings.ReplaceAll(tt.script, "FILE", file))}})
			s.Timeout = lab.Patience(700 * time.Millisecond)
			start := time.Now()
			r := Probe(context.Background(), s)
			if r.Code != EXTOUT || !strings.Contains(r.Detail, "and was killed") {
				t.Errorf("%s: %s", r.Code, r.Detail)
			}
			if name == "complains and then sleeps" && !strings.HasSuffix(r.Detail, `: "still connecting"`) {
				t.Errorf("does not say what the program said: %s", r.Detail)
			}
			took := time.Since(start)
			if r.Took < s.Timeout || took > s.Timeout+program.KillGrace+margin {
				t.Errorf("took %s, by itself %s; timeout %s", took, r.Took, s.Timeout)
			}
			// What the killing took is not the program's time; see Runner.stalled.
			if tt.stubborn && took-r.Took < program.KillGrace {
				t.Errorf("took %s, by itself %s, without the %s that it was left to end", took, r.Took, program.KillGrace)
			}
			gone(t, pids(t, file, tt.processes))
		})
	}
}

// What a program leaves behind when it ends goes with it, and must not delay the
// verdict by holding the outputs open.
func TestExecLeavesNothingBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	path := script(t, "sleep 60 & echo $! >"+file, "exit 0")
	holdAgainst(t, execOf(Exec{Command: []string{path}}), EXOK, "exit status 0")
	gone(t, pids(t, file, 1))
}

// A daemon that left the process group is not ours to kill, and keeps nothing of
// ours from ending.
func TestExecIgnoresDaemons(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	path := script(t, "setsid sh -c 'echo $$ >"+file+"; exec sleep 60' &", "while ! test -s "+file+"; do sleep 0.01; done", "echo OK")
	holdAgainst(t, execOf(Exec{Command: []string{path}, Expect: "OK"}), EXOK, "")
	all := pids(t, file, 1)
	if err := unix.Kill(all[0], unix.SIGKILL); err != nil {
		t.Errorf("the daemon is gone: %v", err)
	}
}

func TestExecEndsWithItsContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	s := execOf(Exec{Command: []string{script(t, "sleep 60 & echo $$ $! >"+file+"; wait")}})
	s.Timeout = time.Minute
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan Result)
	go func() { ended <- Probe(ctx, s) }()
	all := pids(t, file, 2)
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the probe goes on")
	}
	gone(t, all)
}

func TestExecKeepsNoDescriptor(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	s := execOf(Exec{Command: []string{script(t, "echo OK")}})
	Probe(context.Background(), s)
	before := count()
	for range 20 {
		Probe(context.Background(), s)
		Probe(context.Background(), execOf(Exec{Command: []string{"/nonexistent"}}))
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// A program that is written anew while it is run is waited for.
func TestExecReplacedScript(t *testing.T) {
	path := script(t, "exit 0")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		f.Close()
	}()
	holdAgainst(t, execOf(Exec{Command: []string{path}}), EXOK, "")
}

// A program that cannot even be read, as on a file system that hangs, holds up its
// own check alone, and is not tried again meanwhile. A pipe without a writer stands
// for it.
func TestExecThatCannotBeRead(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o700); err != nil {
		t.Fatal(err)
	}
	interpreted := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(interpreted, []byte("#! "+pipe+" -x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, interpreted} {
		s := execOf(Exec{Command: []string{path}})
		s.Timeout = 200 * time.Millisecond
		holdAgainst(t, s, EXTOUT, "could not be started within 200ms")
		holdAgainst(t, s, EXTOUT, "still hangs since an earlier run")
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // which lets the reader go on
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}
