package director

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"baton/internal/api"
	"baton/internal/config"
	"baton/internal/link"
	"baton/internal/network"
	"baton/internal/speaker"
	"baton/internal/vrrp"
)

func TestStart(t *testing.T) {
	s := newStage(t)
	s.write("log: {level: debug, format: json}", router("web", 51, 150), router("lan", 52, 100))
	c := s.start("")
	if len(c.Routers) != 2 || c.Routers[0].Name != "web" || c.Routers[0].Priority != 150 || c.Routers[1].Name != "lan" {
		t.Errorf("routers given: %+v", c.Routers)
	}
	if c.LogLevel.String() != "DEBUG" || c.LogFormat != "json" {
		t.Errorf("log given: %v %s", c.LogLevel, c.LogFormat)
	}
	if want := filepath.Join(s.dir, "state", lastGoodFile); c.LastGood != want {
		t.Errorf("last good file given: %s, want %s", c.LastGood, want)
	}
	s.happened("process", "director", "→running", "started")

	st := s.status()
	if st.Node != "lb-a" || st.Version != "1.2.3" || st.Config.Hash == "" || st.Config.LastError != "" {
		t.Errorf("status: %+v", st)
	}
	// What pulse reports is shown; a report that is too old is called so.
	at := time.Now()
	report := func(at time.Time) {
		s.send(link.Message{Status: &link.Status{At: at, Routers: speaker.Status{Routers: []speaker.RouterStatus{{
			Spec: c.Routers[0], Election: vrrp.Status{State: vrrp.Master, Since: at, Reason: "why not"},
		}}}}})
		s.send(link.Message{Transition: &speaker.Transition{At: at, Router: "web", From: vrrp.Backup, To: vrrp.Master, Reason: at.String()}})
		s.happened("router web backup→master", at.String())
	}
	report(at)
	if st = s.status(); len(st.Routers) != 1 || st.Routers[0].State != "master" || strings.Contains(strings.Join(st.Problems, "\n"), "pulse has not reported") {
		t.Errorf("status: %+v", st)
	}
	report(at.Add(-time.Minute))
	if st = s.status(); !strings.Contains(strings.Join(st.Problems, "\n"), "pulse has not reported for 1m0s") {
		t.Errorf("problems: %q", st.Problems)
	}
	must(t, s.stop())
}

// A planned stop ends everything, in order, and without an error.
func TestPlannedStop(t *testing.T) {
	s := newStage(t)
	scrape := free(t)
	s.write(fmt.Sprintf("metrics: {listen: %q}", scrape), router("web", 51, 150))
	s.start("")
	s.send(link.Message{Will: &speaker.Will{States: holding("10.0.0.51/24", "eth0")}})
	if _, err := get(t, scrape); err != nil {
		t.Error(err)
	}
	must(t, s.stop())
	if did := s.edges.all(); did != "" {
		t.Errorf("the will of a living pulse was executed: %s", did)
	}
	if _, err := s.client(s.socket).Status(t.Context()); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("the API after the stop: %v", err)
	}
	if _, err := os.Lstat(s.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket after the stop: %v", err)
	}
	if _, err := get(t, scrape); err == nil {
		t.Error("the metrics listener outlives the stop")
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "state", eventsFile))
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, `"planned stop"`) {
		t.Errorf("the last line of the history is %s", last)
	}
}

// goodbye is an advert with priority 0, as pulse leaves it for its heir.
func goodbye() speaker.WillAdvert {
	return speaker.WillAdvert{
		Interface: "eth0", Source: netip.MustParseAddr("10.0.0.1"), Dest: vrrp.GroupIPv4,
		Codec: vrrp.CodecOptions{VRID: 51, Version: 3, Interval: time.Second},
		Advert: vrrp.Advert{
			VRID: 51, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.51")},
		},
	}
}

func holding(prefix, ifname string) []network.State {
	return []network.State{{Addresses: []network.Address{{Prefix: netip.MustParsePrefix(prefix), Interface: ifname}}}}
}

// When pulse dies, the director does what it would have done: the adverts first.
func TestWill(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	s.start("")
	s.send(link.Message{Will: &speaker.Will{States: holding("10.0.0.9/24", "eth9")}})
	s.send(link.Message{Will: &speaker.Will{
		Adverts: []speaker.WillAdvert{goodbye()},
		States:  holding("10.0.0.51/24", "eth0"),
	}})
	must(t, s.pulse.Close())
	if err := s.end(); !errors.Is(err, errPulseGone) {
		t.Errorf("the director ended with %v", err)
	}
	want := "send 31330001 from 10.0.0.1 to 224.0.0.18 on eth0, remove 10.0.0.51/24 from eth0"
	if did := s.edges.all(); did != want {
		t.Errorf("done: %s\nwant: %s", did, want)
	}
	s.happened("process pulse running→dead", "1 adverts with priority 0 sent, 1 addresses removed")
}

// What cannot be said is no reason to keep the addresses.
func TestWillWithoutASocket(t *testing.T) {
	s := newStage(t)
	s.edges.refuse = errors.New("no sockets today")
	s.write("", router("web", 51, 150))
	s.start("")
	s.send(link.Message{Will: &speaker.Will{
		Adverts: []speaker.WillAdvert{goodbye()},
		States:  holding("10.0.0.51/24", "eth0"),
	}})
	must(t, s.pulse.Close())
	if err := s.end(); !errors.Is(err, errPulseGone) {
		t.Errorf("the director ended with %v", err)
	}
	if did := s.edges.all(); did != "remove 10.0.0.51/24 from eth0" {
		t.Errorf("done: %s", did)
	}
	s.happened("process pulse", "could not be executed completely", "no sockets today")
}

// A pulse of another version is not dead: it is left alone, and the error says
// what to do.
func TestPulseOfAnotherVersion(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	must(t, s.open(""))
	s.run()
	s.send(link.Message{Will: &speaker.Will{States: holding("10.0.0.51/24", "eth0")}})
	s.send(link.Message{Hello: &link.Hello{Version: 99}})
	err := s.end()
	if err == nil || !strings.Contains(err.Error(), "version 99") || !strings.Contains(err.Error(), "restart baton") {
		t.Errorf("the director ended with %v", err)
	}
	if did := s.edges.all(); did != "" {
		t.Errorf("the will of a living pulse was executed: %s", did)
	}
}

func TestRestartedDirectorSaysSo(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	must(t, s.open(""))
	s.run()
	s.send(link.Message{Hello: &link.Hello{Version: link.Version, Restarts: 3, LastExit: "signal: killed"}})
	s.happened("process director dead→running", "restarted after the director before it ended: signal: killed")
	if n := s.dirs.pulse.restarts.Load(); n != 3 {
		t.Errorf("%d restarts are counted", n)
	}
}

// Commands go to pulse, and its answer comes back through the API.
func TestCommands(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	s.start("")
	c := s.client(s.socket)
	type outcome struct {
		out api.Outcomes
		err error
	}
	ask := func(do func(context.Context, api.RouterCommand) (api.Outcomes, error)) (link.Command, <-chan outcome) {
		done := make(chan outcome, 1)
		go func() {
			out, err := do(context.Background(), api.RouterCommand{Router: "web"})
			done <- outcome{out, err}
		}()
		m := s.next()
		if m.Command == nil || m.Command.Router != "web" {
			t.Fatalf("pulse was told %+v", m)
		}
		return *m.Command, done
	}
	// The API knows the routers from pulse's report.
	s.send(link.Message{Status: &link.Status{At: time.Now(), Routers: speaker.Status{Routers: []speaker.RouterStatus{{Spec: speaker.Router{Name: "web"}}}}}})
	s.send(link.Message{Transition: &speaker.Transition{Router: "web", Reason: "barrier"}})
	s.happened("barrier")

	cmd, done := ask(c.Failover)
	if cmd.Action != link.Failover {
		t.Errorf("pulse was told to %s", cmd.Action)
	}
	s.send(link.Message{Reply: &link.Reply{ID: cmd.ID + 100}}) // of nobody's command
	s.send(link.Message{Reply: &link.Reply{ID: cmd.ID}})
	if o := <-done; o.err != nil || len(o.out.Routers) != 1 || o.out.Routers[0].Error != "" {
		t.Errorf("failover: %+v, %v", o.out, o.err)
	}
	s.happened("router web", "→failover", "at an operator's wish")

	cmd, done = ask(c.Resume)
	s.send(link.Message{Reply: &link.Reply{ID: cmd.ID, Error: "not today"}})
	if o := <-done; o.err == nil || !strings.Contains(o.err.Error(), "not today") {
		t.Errorf("a refused resume: %+v, %v", o.out, o.err)
	}

	done2 := make(chan error, 1)
	go func() { done2 <- s.dirs.Failover(context.Background(), "web") }()
	s.next()
	must(t, s.pulse.Close())
	if err := <-done2; err == nil || !strings.Contains(err.Error(), "pulse ended before it answered") {
		t.Errorf("a command to a pulse that dies: %v", err)
	}
}

func TestDump(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	s.start("")
	s.send(link.Message{Order: link.OrderDump})
	s.send(link.Message{Transition: &speaker.Transition{Router: "web", Reason: "barrier"}})
	s.happened("barrier")
	if log := s.log.String(); !strings.Contains(log, "msg=state") || !strings.Contains(log, `\"node\":\"lb-a\"`) {
		t.Errorf("the log has no state:\n%s", log)
	}
}

// A restarted director goes on with the last good configuration when the file is
// broken by then; only if it is one of this program for this file.
func TestLastGood(t *testing.T) {
	s := newStage(t)
	s.write("", router("web", 51, 150))
	good := s.start("").LastGood
	first := s.dirs.cfg
	must(t, s.stop())
	s.write("", router("web", 510, 150))

	if err := s.open(""); !errors.As(err, new(config.Errors)) {
		t.Errorf("a broken file at the very first start: %v", err)
	}
	c := s.start(good)
	if d := cmp.Diff(first.Routers, c.Routers, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("other routers than those of the last good configuration (-want +got):\n%s", d)
	}
	st := s.status()
	if !strings.Contains(st.Config.LastError, "id: 510 is out of range") || st.Config.Hash != first.Hash {
		t.Errorf("status of the configuration: %+v", st.Config)
	}
	if text := strings.Join(st.Problems, "\n"); !strings.Contains(text, "still in force") {
		t.Errorf("problems: %s", text)
	}
	// Repaired on disk, it needs only a reload; the same routers are not sent again.
	s.write("", router("web", 51, 150))
	if out, err := s.dirs.Reload(t.Context()); err != nil || out.Changed {
		t.Errorf("reload of the repaired file: %+v, %v", out, err)
	}
	if st = s.status(); st.Config.LastError != "" {
		t.Errorf("status of the configuration: %+v", st.Config)
	}
	s.quiet()
	must(t, s.stop())

	s.write("", router("web", 510, 150))
	text, err := os.ReadFile(good)
	must(t, err)
	for name, change := range map[string]string{
		"another version": strings.Replace(string(text), "1.2.3", "1.2.2", 1),
		"another file":    strings.Replace(string(text), "/baton.yaml", "/other.yaml", 1),
		"cut":             string(text[:len(text)/2]),
		"empty":           "",
	} {
		must(t, os.WriteFile(good, []byte(change), 0o600))
		if err := s.open(good); !errors.As(err, new(config.Errors)) {
			t.Errorf("last good of %s: %v", name, err)
		}
	}
	must(t, os.Remove(good))
	if err := s.open(good); !errors.As(err, new(config.Errors)) {
		t.Errorf("last good is gone: %v", err)
	}
}

// Without a state directory the service goes on; only its memory suffers.
func TestStateDirectoryCannotBeWritten(t *testing.T) {
	s := newStage(t)
	must(t, os.WriteFile(filepath.Join(s.dir, "state"), []byte("in the way"), 0o600))
	s.write("", router("web", 51, 150))
	s.start("")
	s.send(link.Message{Transition: &speaker.Transition{Router: "web", From: vrrp.Init, To: vrrp.Backup, Reason: "hello"}})
	s.happened("router web init→backup")
	s.write("", router("web", 51, 151))
	if _, err := s.dirs.Reload(t.Context()); err != nil {
		t.Errorf("reload: %v", err)
	}
	log := s.log.String()
	for _, want := range []string{
		"the event history cannot be kept on disk; it goes on in memory",
		"the configuration could not be kept for a restart; going on",
	} {
		if n := strings.Count(log, want); n < 1 || n > 2 {
			t.Errorf("the log says %d times %q:\n%s", n, want, log)
		}
	}
	must(t, s.stop())
}

func get(t *testing.T, address string) (string, error) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/metrics") //nolint:noctx // the client has a limit
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}
