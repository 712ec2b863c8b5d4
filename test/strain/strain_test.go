package strain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"baton/internal/api"
	"baton/test/lab"
)

const patience = 20 * time.Second

// stage is a host with the servers and baton.
type stage struct {
	*testing.T
	host  *lab.Host
	dir   string
	farm  *farm
	baton *lab.Process
}

// prepare makes a host of which only the servers run.
func prepare(t *testing.T) *stage {
	t.Helper()
	l := lab.New(t)
	s := &stage{T: t, host: l.Host("lb")}
	var err error
	s.dir, err = os.MkdirTemp("", "baton-strain-") // not the test's: an unprivileged baton has to read it
	s.must(err)
	t.Cleanup(func() { _ = os.RemoveAll(s.dir) })
	s.must(os.Chmod(s.dir, 0o777))
	s.farm = newFarm(t, s.host)
	s.must(l.Err())
	return s
}

// file makes a file, which can be run if it is a program.
func (s *stage) file(name, text string) (path string) {
	s.Helper()
	path = filepath.Join(s.dir, name)
	s.must(os.WriteFile(path, []byte(text), 0o755))
	return path
}

// start runs baton with a check of ten servers that is to be stuck, by a command
// line in front of the program if there is one.
func (s *stage) start(stuck string, front ...string) {
	s.Helper()
	built, err := os.ReadFile(filepath.Join("..", "..", "bin", "baton"))
	if err != nil {
		s.Fatalf("%v: run \"make build\" first, or make test-netns", err)
	}
	program := s.file("baton", string(built))
	s.baton = s.host.Start(lab.Proc{Args: append(front, program, "run", "-c", s.file("baton.yaml", config(s.dir, stuck)))})
	lab.Eventually(s.T, patience, s.farm.all)
}

// each runs a command for each process of baton, PID in it being its number.
func (s *stage) each(command string) {
	s.Helper()
	for _, pid := range s.baton.Tree() {
		_, err := s.host.Run(context.Background(), "sh", "-c", strings.ReplaceAll(command, "PID", strconv.Itoa(pid)))
		s.must(err)
	}
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// failed returns nil when the ten servers are down, each for a reason that has this
// text.
func (s *stage) failed(text string) error { return s.stuckAre("down", text) }

func (s *stage) stuckAre(state, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(5*time.Second))
	defer cancel()
	client := api.Dial(filepath.Join(s.dir, "baton.sock"))
	defer client.Close()
	st, err := client.Status(ctx)
	if err != nil {
		return err
	}
	for _, svc := range st.Services {
		for _, srv := range svc.Servers {
			if svc.Name == "stuck" && (srv.State != state || !strings.Contains(srv.Reason, text)) {
				return fmt.Errorf("server %s of %s is %s: %s", srv.Address, svc.Name, srv.State, srv.Reason)
			}
		}
	}
	return nil
}

// processes are those whose command line holds a text.
func processes(text string) (pids []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range dirs {
		if line, err := os.ReadFile(path); err == nil && strings.Contains(string(line), text) {
			pids = append(pids, strings.Split(path, "/")[2])
		}
	}
	return pids
}

// Ten programs never end, do not mind SIGTERM, and have children that do not mind
// either.
func TestHungPrograms(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	path := s.file("hang", "#!/bin/sh\ntrap '' TERM\n"+
		`for i in 1 2 3; do sh -c "trap '' TERM; while :; do sleep 1000; done" "$0-child" & done`+"\nwhile :; do sleep 1000; done\n")
	s.start(`exec: {command: [` + path + `, "%h"]}`)
	s.farm.watch(t)
	lab.Eventually(t, patience, func() error { return s.failed("did not end within 1s and was killed") })
	// Of each run there are the program and three children, of which none is left
	// when the next one begins.
	if n := len(processes(path)); n > 10*4 {
		t.Errorf("there are %d processes of ten programs", n)
	}
	s.must(s.baton.Stop(lab.Patience(patience)))
	if left := processes(path); len(left) > 0 {
		t.Errorf("after baton has ended there are still %v", left)
	}
}

// A resolver takes questions and never answers.
func TestSilentResolver(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	silent, err := s.host.ListenPacket("udp4", "0.0.0.0:53")
	s.must(err)
	defer silent.Close()
	s.start("dns: {name: example.net}")
	s.farm.watch(t)
	lab.Eventually(t, patience, func() error { return s.failed("did not answer within 1s") })
}

// The accounts cannot be looked up: /etc/passwd is a pipe into which nobody writes,
// which is as a file system that hangs.
func TestAccountsThatCannotBeLookedUp(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	s.start("exec: {command: [/bin/true], user: nobody}", "unshare", "-m", "--propagation", "private")
	pipe := filepath.Join(s.dir, "passwd")
	s.must(unix.Mkfifo(pipe, 0o644))
	s.each("nsenter -m -t PID sh -c 'test -p /etc/passwd || mount --bind " + pipe + " /etc/passwd'")
	s.farm.watch(t)
	lab.Eventually(t, patience, func() error { return s.failed("/bin/true") })
	s.must(s.baton.Stop(lab.Patience(patience)))
}

// The programs cannot be read: their file system does not answer, for which stands
// a virus scanner that does not.
func TestProgramsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	path := s.file("program", "#!/bin/sh\n")
	scanner, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC, unix.O_RDONLY)
	if err == nil {
		err = unix.FanotifyMark(scanner, unix.FAN_MARK_ADD, unix.FAN_OPEN_PERM, unix.AT_FDCWD, path)
	}
	if err != nil {
		t.Fatalf("the kernel lets no scanner decide about %s (it needs CONFIG_FANOTIFY_ACCESS_PERMISSIONS, as Debian's has): %v", path, err)
	}
	answer := sync.OnceFunc(func() { _ = unix.Close(scanner) }) // lets them all go on
	defer answer()
	s.start("exec: {command: [" + path + `, "%h"]}`)
	s.farm.watch(t)
	lab.Eventually(t, patience, func() error { return s.failed(path) })
	answer()
	lab.Eventually(t, patience, func() error { return s.stuckAre("up", "exit status 0") })
	s.must(s.baton.Stop(lab.Patience(patience)))
	if left := processes(path); len(left) > 0 {
		t.Errorf("after baton has ended there are still %v", left)
	}
}

// This host can start no other process, and no thread.
func TestFullProcessTable(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	s.start("exec: {command: [/bin/true]}", "setpriv", "--reuid", "64321", "--regid", "64321", "--clear-groups",
		"--inh-caps", "+net_admin,+net_raw", "--ambient-caps", "+net_admin,+net_raw")
	lab.Eventually(t, patience, func() error { return s.stuckAre("up", "") })
	s.each("setpriv --reuid 64321 --regid 64321 --clear-groups prlimit --pid PID --nproc=1:")
	s.farm.watch(t)
	lab.Eventually(t, patience, func() error { return s.failed("resource temporarily unavailable") })
	s.each("setpriv --reuid 64321 --regid 64321 --clear-groups prlimit --pid PID --nproc=1000:")
	lab.Eventually(t, patience, func() error { return s.stuckAre("up", "exit status 0") })
	s.must(s.baton.Stop(lab.Patience(patience)))
}
