package pulse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/internal/link"
	"baton/internal/vrrp"
	"baton/test/lab"
)

// The very first director that refuses its configuration ends everything; it is
// not started again.
func TestFirstDirectorRefuses(t *testing.T) {
	r := newTroupe(t, "refuse")
	run := running(t, r, newHost(), nil, nil)
	if err := run.wait(); !errors.Is(err, ErrRefused) {
		t.Errorf("Run returns %v", err)
	}
	if n := r.count(); n != 1 {
		t.Errorf("%d directors were started", n)
	}
}

// One that dies before it has configured anything is tried again, and the next
// one may still refuse.
func TestSecondDirectorRefuses(t *testing.T) {
	r := newTroupe(t, "die", "refuse", "serve")
	run := running(t, r, newHost(), nil, nil)
	if err := run.wait(); !errors.Is(err, ErrRefused) {
		t.Errorf("Run returns %v", err)
	}
	if n := r.count(); n != 2 {
		t.Errorf("%d directors were started", n)
	}
}

// Once routers run, a broken file on disk does not end them.
func TestLaterRefusalIsNoReasonToEnd(t *testing.T) {
	r, h := newTroupe(t, "serve", "refuse", "serve"), newHost()
	run := running(t, r, h, nil, nil)
	pid, m := r.serving(0, "a status as master", master)
	if m.Status.Routers.Routers[0].Spec.Name != "web" {
		t.Errorf("status %+v", m.Status)
	}
	kill(t, pid)
	_, hello := r.serving(1, "a hello", func(m link.Message) bool { return m.Hello != nil })
	if hello.Hello.Restarts != 2 || hello.Hello.LastExit != "exit status 2" || hello.Hello.Version != link.Version {
		t.Errorf("the third director was greeted with %+v", hello.Hello)
	}
	if !h.holds() {
		t.Error("the VIP went with the directors")
	}
	if err := run.stop(); err != nil {
		t.Errorf("Run returns %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.good[0] != "" || r.good[1] != "/last/good" || r.good[2] != "/last/good" {
		t.Errorf("last good configurations given: %q", r.good)
	}
}

// The pauses between starts grow.
func TestRestartsBackOff(t *testing.T) {
	r := newTroupe(t, "die")
	run := running(t, r, newHost(), nil, nil)
	lab.Eventually(t, 20*time.Second, func() error {
		if n := r.count(); n < 5 {
			return fmt.Errorf("%d starts", n)
		}
		return nil
	})
	if err := run.stop(); err != nil {
		t.Errorf("Run returns %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	wait := firstRestart
	for i := 1; i < len(r.started); i++ {
		if gap := r.started[i].Sub(r.started[i-1]); gap < wait {
			t.Errorf("start %d came %v after the one before; want at least %v", i, gap, wait)
		}
		wait = min(2*wait, maxRestart)
	}
}

// What happened while no director was there is told to the next one.
func TestEventsWaitForADirector(t *testing.T) {
	r, h := newTroupe(t, "serve", "die", "die", "serve"), newHost()
	running(t, r, h, nil, nil)
	pid, _ := r.serving(0, "a status as master", master)
	kill(t, pid)
	lab.Eventually(t, 10*time.Second, func() error {
		if r.count() < 2 {
			return errors.New("the director is not yet gone")
		}
		return nil
	})
	h.setUp(false)
	lab.Eventually(t, 5*time.Second, func() error {
		if h.holds() {
			return errors.New("the router has not noticed")
		}
		return nil
	})
	h.setUp(true)
	// The transitions come in order, and the will and a status with them.
	next, _ := r.serving(1, "the return of the router", func(m link.Message) bool {
		return m.Transition != nil && m.Transition.From == vrrp.Backup && m.Transition.To == vrrp.Master
	})
	var told []string
	will := false
	for _, m := range r.messages(next) {
		if m.Transition != nil {
			told = append(told, m.Transition.From.String()+"→"+m.Transition.To.String())
		}
		will = will || m.Will != nil
	}
	if got := strings.Join(told, " "); !strings.HasPrefix(got, "master→fault fault→backup backup→master") {
		t.Errorf("the next director was told: %s", got)
	}
	if !will {
		t.Error("the next director has no will")
	}
}

// Signals reach the director as orders, commands are answered, and a planned
// stop hands over before the director is told.
func TestConversation(t *testing.T) {
	r, h := newTroupe(t, "serve"), newHost()
	reload, dump := make(chan struct{}), make(chan struct{})
	run := running(t, r, h, reload, dump)
	pid, _ := r.serving(0, "a status as master", master)
	reload <- struct{}{}
	dump <- struct{}{}
	r.serving(0, "the order to reload", func(m link.Message) bool { return m.Order == link.OrderReload })
	r.serving(0, "the order to dump", func(m link.Message) bool { return m.Order == link.OrderDump })
	_, m := r.serving(0, "an answer", func(m link.Message) bool { return m.Reply != nil && m.Reply.ID == 5 })
	if m.Reply.Error != `no router is called "nobody"` {
		t.Errorf("failover of nobody: %q", m.Reply.Error)
	}
	_, m = r.serving(0, "an answer", func(m link.Message) bool { return m.Reply != nil && m.Reply.ID == 6 })
	if !strings.Contains(m.Reply.Error, `does not know the action "dance"`) {
		t.Errorf("an unknown action: %q", m.Reply.Error)
	}
	_, m = r.serving(0, "a will", func(m link.Message) bool { return m.Will != nil && len(m.Will.Adverts) == 1 })
	if m.Will.Addresses() != 1 || m.Will.Adverts[0].Advert.Priority != 0 {
		t.Errorf("the will of a master: %+v", m.Will)
	}
	if err := run.stop(); err != nil {
		t.Errorf("Run returns %v", err)
	}
	if h.holds() {
		t.Error("the VIP is still there after a planned stop")
	}
	messages := r.messages(pid)
	if last := messages[len(messages)-1]; last.Order != link.OrderStop {
		t.Errorf("the last message is %+v, not the order to stop", last)
	}
	if n := r.count(); n != 1 {
		t.Errorf("%d directors were started", n)
	}
}

// A director of another version is not listened to: it sees the end of the link.
func TestDirectorOfAnotherVersion(t *testing.T) {
	r, h := newTroupe(t, "stranger"), newHost()
	running(t, r, h, nil, nil)
	lab.Eventually(t, 10*time.Second, func() error {
		ends, err := filepath.Glob(filepath.Join(r.dir, "end.*"))
		if err == nil && len(ends) == 0 {
			err = errors.New("the link was not closed")
		}
		return err
	})
	if h.holds() {
		t.Error("its configuration was applied")
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// classChild proves what Favour and Unfavour do; its exit status is 0 when all
// is as it should be.
func classChild(which string) int {
	wrong := func(format string, args ...any) int {
		fmt.Fprintf(os.Stderr, "child %s: %s\n", which, fmt.Sprintf(format, args...))
		return 1
	}
	if got := classes(); which == "-child" && got != "RR" {
		return wrong("a child of a favoured process has %s threads", got)
	}
	if which == "-child" {
		if status, err := os.ReadFile("/proc/self/status"); err != nil || !strings.Contains(string(status), "\nTHP_enabled:\t0\n") {
			return wrong("a child of a favoured process has huge pages (%v)", err)
		}
		if err := Unfavour(); err != nil {
			return wrong("Unfavour: %v", err)
		}
		if got := classes(); got != "NORMAL" {
			return wrong("after Unfavour there are %s threads", got)
		}
		return 0
	}
	// More threads than one, before and after.
	busy := make(chan struct{})
	for range 8 {
		go func() { _, _ = os.ReadFile("/proc/self/stat"); <-busy }()
	}
	if err := Favour(); err != nil {
		return wrong("Favour: %v", err)
	}
	close(busy)
	if got := classes(); got != "RR" {
		return wrong("after Favour there are %s threads", got)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || strings.Contains(string(status), "VmLck:\t       0 kB") {
		return wrong("no memory is locked (%v)", err)
	}
	cmd := troupeCommand("class-child")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return wrong("its child: %v", err)
	}
	return 0
}

// classes names the scheduling classes that the threads of this process have.
func classes() string {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err.Error()
	}
	seen := map[string]bool{}
	for _, thread := range threads {
		stat, err := os.ReadFile(filepath.Join("/proc/self/task", thread.Name(), "stat"))
		if err != nil {
			continue // it has just ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		policy, err := strconv.Atoi(fields[38]) // field 41 of proc(5), counted from the third
		if err != nil {
			return err.Error()
		}
		seen[map[int]string{0: "NORMAL", 2: "RR"}[policy]] = true
	}
	var out []string
	for class := range seen {
		out = append(out, class)
	}
	return strings.Join(out, " and ")
}
