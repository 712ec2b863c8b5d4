package director

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/pool"
	"baton/test/logs"
)

// webService is a service whose servers need no checks.
const webService = `services:
  - name: web
    address: 10.0.0.100:80
    check: {none: {}}
    servers: [{address: 10.0.0.1:80, name: one}, 10.0.0.2:80, 10.0.0.2:81]
`

// onService starts a director with a service and waits until it knows its servers.
func onService(s *stage) {
	s.t.Helper()
	s.start("")
	s.eventually(func() bool { return len(s.status().Services) == 1 && len(s.status().Services[0].Servers) > 0 })
}

func (s *stage) eventually(is func() bool) {
	s.t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			s.t.Fatalf("still not\n%s", s.log)
		}
	}
}

func (s *stage) override(server string, p api.ServerPatch) api.Overridden {
	s.t.Helper()
	out, err := s.client(s.socket).Override(s.t.Context(), "web", server, p)
	must(s.t, err)
	return out
}

// server is one server of web in the status.
func (s *stage) server(address string) api.RealServer {
	s.t.Helper()
	srv, err := s.client(s.socket).Server(s.t.Context(), "web", address)
	must(s.t, err)
	return srv
}

func ptr[T any](v T) *T { return &v }

// What an operator wants holds over a reload and over a restart.
func TestOverridesAreKept(t *testing.T) {
	s := newStage(t)
	s.write(webService, router("web", 51, 150))
	onService(s)
	out := s.override("one", api.ServerPatch{State: api.ServerDraining, Reason: "new disk"})
	if !out.Changed || out.Server.State != "draining" || !slices.Equal(out.Notes, []string{"this director's overrides are its own: say the same to its peer"}) {
		t.Errorf("%+v", out)
	}
	s.override("10.0.0.2:81", api.ServerPatch{Weight: ptr(uint32(7))})
	if again := s.override("one", api.ServerPatch{State: api.ServerDraining}); again.Changed || len(again.Notes) != 1 || !strings.Contains(again.Notes[0], "new disk") {
		t.Errorf("the same again: %+v", again)
	}
	s.happened("server web", "→drain by", ": new disk")
	s.happened("server web up→draining drained by", ": new disk")
	s.happened("server web", "→weight 7 by")
	wanted := func(when string) {
		t.Helper()
		one, two := s.server("one"), s.server("10.0.0.2:81")
		if one.State != "draining" || one.Override == nil || one.Override.Reason != "new disk" || !strings.Contains(one.Reason, "drained by "+one.Override.By) {
			t.Errorf("%s: %+v", when, one)
		}
		if two.Override == nil || two.Override.Weight == nil || *two.Override.Weight != 7 || !strings.Contains(two.Reason, "its weight is 7 instead of 1, set by") {
			t.Errorf("%s: %+v", when, two)
		}
	}
	wanted("at first")
	s.write(strings.Replace(webService, "web\n", "web\n    scheduler: rr\n", 1), router("web", 51, 150))
	_, err := s.client(s.socket).Reload(t.Context())
	must(t, err)
	wanted("after a reload")
	must(t, s.stop())
	onService(s)
	wanted("after a restart")
	s.happened("server web →draining drained by", "new disk")
	if out := s.override("one", api.ServerPatch{State: api.ServerEnabled}); out.Server.State != "up" || out.Server.Override != nil {
		t.Errorf("enabled: %+v", out)
	}
	s.override("10.0.0.2:81", api.ServerPatch{Reset: true})
	b, err := os.ReadFile(filepath.Join(s.dir, "state", overridesFile))
	if must(t, err); string(b) != `{"version":1,"overrides":[]}` {
		t.Errorf("kept: %s", b)
	}
	must(t, s.stop())
}

// mayMount reports whether the test may mount file systems, which anybody may in
// namespaces of their own. Where it may not yet, it runs the test once more in such,
// and the outcome is that of the other run.
func mayMount(t *testing.T) bool {
	t.Helper()
	const inside = "BATON_TEST_MAY_MOUNT"
	if os.Getenv(inside) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v") //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in namespaces of its own: %v\n%s", err, out)
	}
	return false
}

// Without a place to keep it nothing is done.
func TestOverrideThatCannotBeKept(t *testing.T) {
	if !mayMount(t) {
		return
	}
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"the disk is full": func(t *testing.T, dir string) {
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
			must(t, os.WriteFile(filepath.Join(dir, overridesFile), []byte(`{"version":1,"overrides":[]}`), 0o600))
			full := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 1<<20), 0o600)
			if !errors.Is(full, syscall.ENOSPC) {
				t.Fatal(full)
			}
		},
		"it is no folder": func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir))
			must(t, os.WriteFile(dir, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.write(webService, router("web", 51, 150))
			onService(s)
			state := filepath.Join(s.dir, "state")
			s.override("one", api.ServerPatch{Weight: ptr(uint32(5))})
			spoil(t, state)
			_, err := s.client(s.socket).Override(t.Context(), "web", "one", api.ServerPatch{State: api.ServerDraining})
			var p *api.Problem
			if !errors.As(err, &p) || p.Status != 507 || !strings.Contains(p.Detail, "nothing was changed, because it could not be kept") || !strings.Contains(p.Detail, state) {
				t.Errorf("%v", err)
			}
			if one := s.server("one"); one.State != "up" || one.Override.State != "" || *one.Override.Weight != 5 {
				t.Errorf("it was done all the same: %+v", one)
			}
			if left, err := filepath.Glob(filepath.Join(state, "*.json.*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

const goodOverride = `{"service":"web","server":"10.0.0.1:80","state":"disabled","stated":{"by":"alice","at":"2026-01-02T15:04:00Z"}}`

// A start goes on without what is damaged, and says so.
func TestStartWithDamagedOverrides(t *testing.T) {
	s := newStage(t)
	s.write(webService, router("web", 51, 150))
	state := filepath.Join(s.dir, "state")
	must(t, os.Mkdir(state, 0o700))
	must(t, os.WriteFile(filepath.Join(state, overridesFile), []byte(`{"version":1,"overrides":[`+goodOverride+`,{"service":"web"}]}`), 0o600))
	must(t, os.WriteFile(filepath.Join(state, overridesFile+".123"), []byte("half writ"), 0o600)) // a crash
	onService(s)
	if one := s.server("one"); one.State != "disabled" {
		t.Errorf("what is good does not hold: %+v", one)
	}
	if p := strings.Join(s.status().Problems, "\n"); !strings.Contains(p, "operators' overrides were lost (1 are left)") || !strings.Contains(p, overridesFile+".broken-") {
		t.Errorf("problems\n%s", p)
	}
	if _, err := os.Stat(filepath.Join(state, overridesFile+".123")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the crash left is still there: %v", err)
	}
	must(t, s.stop())
	onService(s) // and the next time all is well
	if one := s.server("one"); one.State != "disabled" || strings.Contains(strings.Join(s.status().Problems, "\n"), "overrides") {
		t.Errorf("at the next start: %+v", one)
	}
	must(t, s.stop())
}

// A file that is damaged is kept aside, and what can be read of it holds.
func TestDamagedOverrides(t *testing.T) {
	for text, want := range map[string]int{
		`{"version":1,"overrides":[` + goodOverride + `,{"service":"web"}]}`:    1,
		`{"version":1,"overrides":[` + goodOverride + `,` + goodOverride + `]}`: 1,
		`{"version":1,"overrides":[` + goodOverride:                             0,
		`{"version":2,"overrides":[` + goodOverride + `]}`:                      0,
		"\x00\x00\x00": 0,
		"":             0,
	} {
		s := store{dir: t.TempDir()}
		must(t, os.WriteFile(s.path(overridesFile), []byte(text), 0o600))
		list, err := s.loadOverrides(time.Now())
		if err == nil || len(list) != want {
			t.Errorf("%q: %d overrides, %v", text, len(list), err)
		}
		aside, err := filepath.Glob(s.path(overridesFile) + ".broken-*")
		if err != nil || len(aside) != 1 {
			t.Fatalf("%q: kept aside: %v %v", text, aside, err)
		}
		if b, err := os.ReadFile(aside[0]); err != nil || string(b) != text {
			t.Errorf("kept aside: %q %v", b, err)
		}
		if list, err := s.loadOverrides(time.Now()); err != nil || len(list) != want {
			t.Errorf("%q, the next time: %d overrides, %v", text, len(list), err)
		}
	}
}

// A crash at whatever point of a save leaves the old or the new.
func TestSaveIsAtomic(t *testing.T) {
	s := store{dir: t.TempDir()}
	old := []balancer.Override{anOverride(1)}
	must(t, s.saveOverrides(old))
	before, err := os.ReadFile(s.path(overridesFile))
	must(t, err)
	many := make([]balancer.Override, 1000)
	for i := range many {
		many[i] = anOverride(i)
	}
	done := make(chan error)
	go func() {
		for range 50 {
			if err := errors.Join(s.saveOverrides(many), s.saveOverrides(old)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		// What is there at any moment is what a crash at that moment leaves.
		b, err := os.ReadFile(s.path(overridesFile))
		must(t, err)
		if list, err := parseOverrides(b); err != nil || len(list) != 1 && len(list) != len(many) {
			t.Fatalf("%d overrides, %v", len(list), err)
		}
		select {
		case err := <-done:
			must(t, err)
			if b, err := os.ReadFile(s.path(overridesFile)); err != nil || string(b) != string(before) {
				t.Errorf("%s, %v", b, err)
			}
			return
		default:
		}
	}
}

// A process that is killed at any moment of a save leaves the old or the new, and
// the next start removes what is half written.
func TestKilledWhileSaving(t *testing.T) {
	const variable = "BATON_TEST_SAVES_IN"
	one, two := []balancer.Override{anOverride(1)}, []balancer.Override{anOverride(1), anOverride(2)}
	if dir := os.Getenv(variable); dir != "" { // the process that is killed
		for s := (store{dir: dir}); ; {
			if err := errors.Join(s.saveOverrides(one), s.saveOverrides(two)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := store{dir: t.TempDir()}
	must(t, s.saveOverrides(one))
	left := 0
	for i := range 20 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWhileSaving$")
		cmd.Env = append(os.Environ(), variable+"="+s.dir)
		must(t, cmd.Start())
		began, err := os.Stat(s.path(overridesFile))
		must(t, err)
		for start := time.Now(); ; { // until it has begun
			now, err := os.Stat(s.path(overridesFile))
			if must(t, err); !os.SameFile(began, now) {
				break
			}
			if time.Since(start) > patience {
				t.Fatal("nothing is saved")
			}
		}
		time.Sleep(time.Duration(i) * 300 * time.Microsecond)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		list, err := s.loadOverrides(time.Now())
		if err != nil || len(list) != 1 && len(list) != 2 {
			t.Fatalf("kill %d left %d overrides, %v", i, len(list), err)
		}
		halves, err := filepath.Glob(s.path("*.json.[0-9]*"))
		must(t, err)
		left += len(halves)
		must(t, s.sweep())
		if files, err := os.ReadDir(s.dir); err != nil || len(files) != 1 {
			t.Fatalf("after the sweep %v are there, %v", files, err)
		}
	}
	t.Logf("20 kills left %d files half written", left)
}

func anOverride(n int) balancer.Override {
	note := balancer.Note{By: "alice", At: time.Unix(1767366240, 0).UTC(), Reason: "new disk"}
	return balancer.Override{
		Service: "web", Server: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(n+1)),
		State: balancer.Draining, Stated: note, Weight: ptr(uint32(n)), Weighed: note,
	}
}

func FuzzOverrides(f *testing.F) {
	for _, text := range []string{
		`{"version":1,"overrides":[]}`, `{"version":1}`, `[]`, `{"version":1,"overrides":[{"service":"web","server":"[fd00::1]:80","weight":0}]}`,
		`{"version":1,"overrides":[{"service":"web","server":"10.0.0.1:80","state":"up"},{"service":"web","server":"10.0.0.1:80","state":"draining"},{"service":"web","server":"10.0.0.1:80","state":"disabled"}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseOverrides(b)
		if err != nil && err.Error() == "" {
			t.Error("an error without a word")
		}
		// What was understood is understood again, and is the same.
		text, err := json.Marshal(overridesDoc[balancer.Override]{overridesVersion, list})
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := parseOverrides(text)
		if err != nil || len(again) != len(list) {
			t.Fatalf("%d of %d are left: %v", len(again), len(list), err)
		}
		for i := range list {
			if again[i].Place() != list[i].Place() || again[i].State != list[i].State || !reflect.DeepEqual(again[i].Weight, list[i].Weight) {
				t.Errorf("%+v became %+v", list[i], again[i])
			}
		}
	})
}

// paperOperator is an operator with a balancer on paper.
func paperOperator(t *testing.T, log *logs.Buffer) (*operator, *balancer.Status, *[]api.Event) {
	var events []api.Event
	o, problem := newOperator(store{dir: t.TempDir()}, log.Logger(), func(e api.Event) { events = append(events, e) }, time.Now())
	if problem != "" {
		t.Fatal(problem)
	}
	st := &balancer.Status{Services: []balancer.ServiceStatus{{Name: "web", Up: true, Weight: 1, Servers: []balancer.ServerStatus{
		{Address: netip.MustParseAddrPort("10.0.0.1:80"), State: balancer.Up, Weight: 1, InKernel: true, Active: 2},
	}}}}
	o.status = func() balancer.Status { return *st }
	o.wish = func(context.Context, balancer.Wishes) error { return nil }
	return o, st, &events
}

// An override waits for its server for a week, also over restarts.
func TestOverrideWithoutItsServer(t *testing.T) {
	var log logs.Buffer
	o, st, events := paperOperator(t, &log)
	place := pool.Place{Service: "web", Server: netip.MustParseAddrPort("10.0.0.1:80")}
	now := time.Date(2026, 1, 2, 15, 4, 0, 0, time.UTC)
	_, err := o.override(t.Context(), api.OverrideCommand{Place: place, By: "alice", ServerPatch: api.ServerPatch{State: api.ServerDraining}}, now)
	must(t, err)
	o.review(t.Context(), now)
	if len(o.shown()) != 0 {
		t.Errorf("its server is there, and it waits: %+v", o.shown())
	}
	servers := st.Services[0].Servers
	st.Services = []balancer.ServiceStatus{{Name: "web"}}
	gone := now.Add(time.Hour)
	o.review(t.Context(), gone)
	if a := o.shown(); len(a) != 1 || !a[0].Absent.Equal(gone) || !a[0].Until.Equal(gone.Add(absentLimit)) {
		t.Fatalf("%+v", a)
	}
	o.review(t.Context(), gone.Add(absentLimit-time.Minute))
	// A restart meanwhile.
	next, problem := newOperator(o.store, o.log, o.event, now)
	if a := next.shown(); problem != "" || len(a) != 1 || !a[0].Absent.Equal(gone) {
		t.Fatalf("%s %+v", problem, a)
	}
	next.status, next.wish = o.status, o.wish
	// It comes back, and is gone again.
	st.Services[0].Servers = servers
	next.review(t.Context(), gone.Add(absentLimit-time.Second))
	if len(next.shown()) != 0 || len(next.list) != 1 {
		t.Errorf("%+v", next.list)
	}
	st.Services[0].Servers = nil
	gone = gone.Add(2 * absentLimit)
	next.review(t.Context(), gone)
	next.review(t.Context(), gone.Add(absentLimit))
	if len(next.list) != 0 || len(next.shown()) != 0 {
		t.Errorf("after its time: %+v", next.list)
	}
	if list, err := next.store.loadOverrides(now); err != nil || len(list) != 0 {
		t.Errorf("kept: %+v %v", list, err)
	}
	last := (*events)[len(*events)-1]
	if last.To != "override forgotten" || !strings.Contains(last.Reason, "in no service for 168h0m0s; it was: drained by alice") {
		t.Errorf("%+v", last)
	}
	if n := strings.Count(log.String(), "an override waits for a server"); n != 2 {
		t.Errorf("logged %d times that it waits:\n%s", n, &log)
	}
}

func TestNotes(t *testing.T) {
	at := netip.MustParseAddrPort("10.0.0.1:80")
	service := func(edit func(*balancer.ServiceStatus, *balancer.ServerStatus)) balancer.ServiceStatus {
		s := balancer.ServiceStatus{Name: "web", Scheduler: "wlc", Up: true, Weight: 1, Quorum: pool.Quorum{Min: 1}}
		srv := balancer.ServerStatus{Address: at, State: balancer.Up, InKernel: true, Weight: 1, ConfiguredWeight: 1, Active: 2, Inactive: 1}
		edit(&s, &srv)
		s.Servers = []balancer.ServerStatus{srv}
		return s
	}
	as := func(*balancer.ServiceStatus, *balancer.ServerStatus) {}
	down := func(s *balancer.ServiceStatus, srv *balancer.ServerStatus) {
		s.Up, s.Weight, srv.State = false, 0, balancer.Draining
	}
	for name, tt := range map[string]struct {
		patch  api.ServerPatch
		before func(*balancer.ServiceStatus, *balancer.ServerStatus)
		after  func(*balancer.ServiceStatus, *balancer.ServerStatus)
		want   []string
	}{
		"the last one":                     {api.ServerPatch{State: "draining"}, as, down, []string{"it was the last live server of service web: nobody serves now"}},
		"the last one, and it had gone so": {api.ServerPatch{State: "draining"}, down, down, nil},
		"the last one beside a fallback": {api.ServerPatch{State: "draining"}, as, func(s *balancer.ServiceStatus, srv *balancer.ServerStatus) {
			down(s, srv)
			s.FallbackActive, s.Fallback = true, netip.MustParseAddrPort("10.0.0.9:80")
		}, []string{"it was the last live server of service web: the fallback 10.0.0.9:80 serves now"}},
		"the quorum": {
			api.ServerPatch{State: "draining"},
			func(s *balancer.ServiceStatus, _ *balancer.ServerStatus) { s.Weight = 3 },
			func(s *balancer.ServiceStatus, _ *balancer.ServerStatus) { s.Up, s.Weight, s.Quorum.Min = false, 1, 2 },
			[]string{"service web has lost its quorum by it (1 of 2): the servers that are left serve on"},
		},
		"disabled": {api.ServerPatch{State: "disabled"}, as, func(_ *balancer.ServiceStatus, srv *balancer.ServerStatus) {
			srv.State, srv.InKernel = balancer.Disabled, false
		}, []string{"the 3 connections that it had are cut"}},
		"drained with dh": {api.ServerPatch{State: "draining"}, as, func(s *balancer.ServiceStatus, srv *balancer.ServerStatus) {
			s.Scheduler, srv.State, srv.InKernel = "dh", balancer.Draining, false
		}, []string{"with the scheduler dh a server without new clients cannot keep its place: the 3 connections that it had are cut"}},
		"enabled, and down": {api.ServerPatch{State: "enabled"}, down, func(s *balancer.ServiceStatus, srv *balancer.ServerStatus) {
			down(s, srv)
			srv.State, srv.Reason = balancer.Down, "its check is failing"
		}, []string{"it is down all the same: its check is failing"}},
		"enabled, with a weight": {api.ServerPatch{State: "enabled"}, down, func(_ *balancer.ServiceStatus, srv *balancer.ServerStatus) {
			o := anOverride(4)
			o.State, srv.Override = "", &o
		}, []string{`its weight is still 4 instead of 1; "baton server reset" takes that back, too`}},
		"weight 0 with dh": {api.ServerPatch{Weight: ptr(uint32(0))}, as, func(s *balancer.ServiceStatus, _ *balancer.ServerStatus) { s.Scheduler = "dh" }, []string{
			`with the scheduler dh the clients of a server of weight 0 are refused, not sent to others; "baton server drain" takes it out`,
		}},
		"a weight while it drains": {api.ServerPatch{Weight: ptr(uint32(5))}, down, down, []string{"the weight counts when it is up; now it is draining"}},
	} {
		c := api.OverrideCommand{Place: pool.Place{Service: "web", Server: at}, ServerPatch: tt.patch}
		if got := changedNotes(c, service(tt.before), service(tt.after)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// A server that a source makes come and go comes back as it was wanted, and so does
// one that has a file.
func TestOverridesOfDiscoveredServers(t *testing.T) {
	s, file := found(t, "[10.9.0.2, 10.9.0.3, 10.9.0.4]")
	dir := s.marksDir(t, "marks")
	touch(t, dir, "10.9.0.3:80")
	text, err := os.ReadFile(s.config)
	must(t, err)
	must(t, os.WriteFile(s.config, append([]byte("maintenance_dir: "+dir+"\n"), text...), 0o600))
	s.start("")
	const all = "10.9.0.1:80*1 , 10.9.0.2:80*1 file /servers.yaml, 10.9.0.3:80*1 file /servers.yaml, 10.9.0.4:80*1 file /servers.yaml"
	s.hasServers(all)
	c := s.client(s.socket)
	_, err = c.Override(t.Context(), "http", "10.9.0.2", api.ServerPatch{State: api.ServerDisabled, Reason: "new disk"})
	must(t, err)
	held := func(when string) {
		t.Helper()
		two, err := c.Server(t.Context(), "http", "10.9.0.2")
		must(t, err)
		three, err := c.Server(t.Context(), "http", "10.9.0.3")
		must(t, err)
		if two.State != "disabled" || two.Override == nil || three.State != "draining" || three.Held == "" {
			t.Errorf("%s: %+v\n%+v", when, two, three)
		}
	}
	held("at first")
	must(t, os.WriteFile(file, []byte("[10.9.0.3, 10.9.0.4]"), 0o600))
	s.hasServers("10.9.0.1:80*1 , 10.9.0.3:80*1 file /servers.yaml, 10.9.0.4:80*1 file /servers.yaml")
	s.eventually(func() bool { return len(s.status().Absent) > 0 })
	if absent := s.status().Absent; len(absent) != 1 || absent[0].Server != "10.9.0.2:80" || absent[0].Override.Reason != "new disk" {
		t.Errorf("absent: %+v", absent)
	}
	must(t, os.WriteFile(file, []byte("[10.9.0.2, 10.9.0.3, 10.9.0.4]"), 0o600))
	s.hasServers(all)
	held("when they are back")
	s.eventually(func() bool { return len(s.status().Absent) == 0 })
	must(t, s.stop())
}
