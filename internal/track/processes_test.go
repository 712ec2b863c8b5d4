package track

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"baton/test/lab"
)

// names makes the names of a test's processes, which nobody else's have.
var names struct {
	sync.Mutex
	n int
}

func fresh(prefix string) string {
	names.Lock()
	defer names.Unlock()
	names.n++
	return fmt.Sprintf("%s%d.%d", prefix, os.Getpid(), names.n)
}

// daemon makes an executable of that name that runs until it is killed.
func daemon(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	real, err := exec.LookPath("sleep")
	must(t, err)
	text, err := os.ReadFile(real)
	must(t, err)
	must(t, os.WriteFile(path, text, 0o755))
	return path
}

// launch starts a program and returns what kills it; its zombie is reaped only
// then.
func launch(t *testing.T, args ...string) (kill func()) {
	t.Helper()
	var cmd *exec.Cmd
	lab.Eventually(t, patience, func() error { // another test's fork may have the file open
		cmd = exec.Command(args[0], args[1:]...)
		return cmd.Start()
	})
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	return kill
}

func processOf(name string, interval time.Duration) Object {
	return Object{Router: "web", Name: "p", Weight: -50, Interval: interval, Process: &Process{Name: name}}
}

const soon = 20 * time.Millisecond

// By the kernel's name, by the path, by a path with a link in it, and as a script.
func TestProcess(t *testing.T) {
	name := fresh("p")
	path := daemon(t, name)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(path, link))
	text := filepath.Join(t.TempDir(), fresh("s"))
	must(t, os.WriteFile(text, []byte("#!/bin/sh\nwhile :; do sleep 1; done\n"), 0o755))
	long := daemon(t, fresh("a-name-longer-than-comm"))
	for _, tt := range []struct {
		what, name string
		args       []string
	}{
		{"comm", name, []string{path, "60"}},
		{"path", path, []string{path, "60"}},
		{"path of a link", link, []string{path, "60"}},
		{"called by a link", path, []string{link, "60"}},
		{"script", text, []string{text}},
		{"script by its name", filepath.Base(text), []string{text}},
		{"long name", filepath.Base(long), []string{long, "60"}},
		{"long path", long, []string{long, "60"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			b := track(t, processOf(tt.name, soon))
			b.awaitDetail("web", "p--50", "no process "+tt.name+" runs")
			kill := launch(t, tt.args...)
			b.awaitDetail("web", "p+0", tt.name+" runs as process ")
			kill()
			b.await("web", "p--50")
			b.stop()
			b.told("web", "p--50", "p+0", "p--50")
		})
	}
}

// Its death is known at once and not at the next look, which is in an hour. A
// zombie does not count as alive.
func TestProcessDeath(t *testing.T) {
	path := daemon(t, fresh("p"))
	cmd := exec.Command(path, "60")
	lab.Eventually(t, patience, cmd.Start)
	defer cmd.Wait() //nolint:errcheck // killed
	b := track(t, processOf(path, time.Hour))
	b.await("web", "p+0")
	must(t, cmd.Process.Kill())
	b.await("web", "p--50")
	if text, err := os.ReadFile(procPath(cmd.Process.Pid, "stat")); err != nil || !strings.Contains(string(text), ") Z ") {
		t.Errorf("there is no zombie: %s %v", text, err)
	}
	// Nor does a search find it.
	b.Set([]Object{processOf(path, time.Minute)})
	other := processOf(filepath.Base(path), soon)
	other.Name = "q"
	b.Set([]Object{processOf(path, time.Minute), other})
	b.await("web", "p--50 q--50")
}

// One of several is enough.
func TestProcessAmongMany(t *testing.T) {
	path := daemon(t, fresh("p"))
	var kills []func()
	for range 3 {
		kills = append(kills, launch(t, path, "60"))
	}
	b := track(t, processOf(path, time.Hour))
	b.await("web", "p+0")
	pid := func() string { return b.heard("web")[len(b.heard("web"))-1][0].Detail }
	for _, kill := range kills[:2] {
		before := pid()
		kill()
		lab.Eventually(t, patience, func() error {
			if now := pid(); now == before {
				return fmt.Errorf("still %s", now)
			}
			return nil
		})
	}
	for _, states := range b.heard("web") {
		if shows(states) != "p+0" {
			t.Errorf("%s while one was alive", shows(states))
		}
	}
	kills[2]()
	b.await("web", "p--50")
}

// A process that becomes another program is not the same any more.
func TestProcessExec(t *testing.T) {
	other, dir := daemon(t, fresh("q")), t.TempDir()
	shell, now := filepath.Join(dir, fresh("p")), filepath.Join(dir, "now")
	must(t, os.Symlink("/bin/sh", shell))
	launch(t, shell, "-c", "until test -e "+now+"; do sleep 0.01; done; exec "+other+" 60")
	b := track(t, processOf(filepath.Base(shell), soon))
	b.await("web", "p+0")
	put(t, now, "")
	b.await("web", "p--50")
	if found, err := search([]program{newProgram(other)}); len(found[other]) != 1 || err != nil {
		t.Errorf("it runs no more: %v %v", found, err)
	}
}

// The processes of several names at once, and no descriptor left behind.
func TestProcesses(t *testing.T) {
	count := func() (n int) {
		list, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		for _, e := range list {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(to, "pidfd") {
				n++
			}
		}
		return n
	}
	before := count() // exec.Cmd has some of its own
	var objects []Object
	var want []string
	for i := range 5 {
		path := daemon(t, fresh("p"))
		if i%2 == 0 {
			cmd := exec.Command(path, "60")
			lab.Eventually(t, patience, cmd.Start)
			defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
			before++
			want = append(want, strconv.Itoa(i)+"+0")
		} else {
			want = append(want, strconv.Itoa(i)+"--50")
		}
		o := processOf(path, soon)
		o.Name = strconv.Itoa(i)
		objects = append(objects, o)
	}
	b := track(t, objects...)
	b.await("web", strings.Join(want, " "))
	if n := count(); n != before+3 {
		t.Errorf("%d pidfds, want %d", n, before+3)
	}
	b.Set(objects[1:3])
	b.await("web", strings.Join(want[1:3], " "))
	lab.Eventually(t, patience, func() error {
		if n := count(); n != before+1 {
			return fmt.Errorf("%d pidfds, want %d", n, before+1)
		}
		return nil
	})
	b.stop()
	if n := count(); n != before {
		t.Errorf("%d pidfds after the stop, want %d", n, before)
	}
}

// Where the kernel gives no pidfd, the next look tells.
func TestProcessWithoutPidfd(t *testing.T) {
	path := daemon(t, fresh("p"))
	kill := launch(t, path, "60")
	p := newProgram(path)
	found, err := search([]program{p})
	must(t, err)
	h, ok := (*deaths)(nil).hold(p, found[path])
	if !ok || h.pidfd != -1 || !alive(h) {
		t.Fatalf("%+v, %t", h, ok)
	}
	kill()
	if alive(h) {
		t.Error("the dead process lives")
	}
	if _, ok := (*deaths)(nil).hold(p, []int{h.pid, os.Getpid()}); ok {
		t.Error("another process is taken for it")
	}
}

func TestParseStat(t *testing.T) {
	stat := func(name, state string) string {
		return "123 (" + name + ") " + state + " 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1 1\n"
	}
	for text, want := range map[string]uint64{
		stat("nginx", "S"):        987654,
		stat("a (b) Z 1) c", "R"): 987654,
		stat("nginx", "Z"):        0,
		stat("nginx", "X"):        0,
		"":                        0,
		"123 (nginx":              0,
		"123 (nginx)":             0,
		"123 (nginx) S 1":         0,
	} {
		if born, ok := parseStat([]byte(text)); born != want || ok != (want != 0) {
			t.Errorf("%q: %d, %t; want %d", text, born, ok, want)
		}
	}
	if born, ok := bornAt(unix.Getpid()); born == 0 || !ok {
		t.Errorf("this process: %d, %t", born, ok)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("123 (x) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1"))
	f.Fuzz(func(_ *testing.T, text []byte) { parseStat(text) })
}
