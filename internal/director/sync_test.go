package director

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/config"
	"baton/internal/ipvs"
	"baton/internal/link"
	"baton/internal/pool"
	"baton/internal/speaker"
	"baton/internal/vrrp"
	"baton/test/logs"
)

// syncStage is a keeper whose world the test plays, in the time of a bubble.
type syncStage struct {
	t      *testing.T
	keeper *syncKeeper
	log    *logs.Buffer
	began  time.Time
	ctx    context.Context
	end    func()

	mu       sync.Mutex
	runs     ipvs.SyncDaemon // in the kernel
	refuse   error
	opens    error
	asked    int
	index    int
	status   *link.Status
	table    balancer.Status
	refresh  time.Duration
	settled  []bool
	events   []string
	caughtUp []string
	ours     []bool
}

// SetSync implements syncKernel.
func (s *syncStage) SetSync(_ context.Context, want ipvs.SyncDaemon) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.refuse != nil {
		return false, s.refuse
	}
	if want.Role == 0 {
		want = ipvs.SyncDaemon{}
	}
	changed := s.runs != want
	s.runs = want
	return changed, nil
}

// Close implements syncKernel.
func (s *syncStage) Close() error { return nil }

func syncConfig(routers ...string) *config.Config {
	cfg := &config.Config{Sysctls: config.SysctlsManage, Balancer: balancer.Spec{Resync: time.Second}}
	for _, name := range routers {
		cfg.Routers = append(cfg.Routers, speaker.Router{Name: name, PreemptAfterSync: time.Minute})
		cfg.ConnectionSync = append(cfg.ConnectionSync, config.ConnectionSync{
			Router: name, Interface: "eth1", ID: 51, Group: netip.MustParseAddr("224.0.0.81"), Port: 8848, TTL: 1,
		})
	}
	return cfg
}

// onSyncStage runs f in a bubble with a keeper that runs.
func onSyncStage(t *testing.T, cfg *config.Config, ours bool, f func(s *syncStage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &syncStage{t: t, log: new(logs.Buffer), began: time.Now(), index: 3}
		locked := func(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }
		s.keeper = newSyncKeeper(syncWorld{
			open: func(context.Context) (k syncKernel, err error) {
				locked(func() { k, err = s, s.opens })
				return k, err
			},
			index: func(string) (i int, err error) {
				locked(func() { i = s.index })
				if i == 0 {
					return 0, errors.New("no such network interface")
				}
				return i, nil
			},
			routers:  func() (st *link.Status) { locked(func() { st = s.status }); return st },
			services: func() (st balancer.Status) { locked(func() { st = s.table }); return st },
			settle:   func(manage bool) { locked(func() { s.settled = append(s.settled, manage) }) },
			refresh:  func() (d time.Duration) { locked(func() { d = s.refresh }); return d },
			caughtUp: func(router string) error {
				locked(func() { s.caughtUp = append(s.caughtUp, fmt.Sprintf("%s after %s", router, time.Since(s.began))) })
				return nil
			},
			event: func(e api.Event) {
				locked(func() { s.events = append(s.events, fmt.Sprintf("%s: %s → %s: %s", e.Name, e.From, e.To, e.Reason)) })
			},
			remember: func(ours bool) { locked(func() { s.ours = append(s.ours, ours) }) },
			log:      s.log.Logger(),
		}, ours)
		s.keeper.configure(cfg)
		s.ctx, s.end = context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.keeper.run(s.ctx) }()
		f(s)
		s.end()
		<-done
	})
}

func (s *syncStage) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// becomes is a transition of a router.
func (s *syncStage) becomes(router string, from, to vrrp.State) {
	s.keeper.transition(speaker.Transition{At: time.Now(), Router: router, From: from, To: to})
	synctest.Wait()
}

// report is a status of the routers.
func (s *syncStage) report(states map[string]vrrp.State) {
	st := &link.Status{At: time.Now()}
	for name, state := range states {
		st.Routers.Routers = append(st.Routers.Routers, speaker.RouterStatus{
			Spec: speaker.Router{Name: name}, Election: vrrp.Status{State: state},
		})
	}
	s.set(func() { s.status = st })
}

func (s *syncStage) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// role fails the test unless the kernel's daemon has that role.
func (s *syncStage) role(when string, want ipvs.SyncRole) {
	s.t.Helper()
	s.set(func() {
		if s.runs.Role != want {
			s.t.Errorf("%s: the kernel has %s, want %s", when, s.runs.Role, want)
		}
		if want != 0 && (s.runs.Interface != "eth1" || s.runs.ID != 51 || s.runs.Port != 8848) {
			s.t.Errorf("%s: the kernel has %+v", when, s.runs)
		}
	})
}

// told fails the test unless an event has all the parts.
func (s *syncStage) told(parts ...string) {
	s.t.Helper()
	if s.count(parts...) == 0 {
		s.set(func() { s.t.Errorf("no event has %q: %q", parts, s.events) })
	}
}

func (s *syncStage) count(parts ...string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(e, p) }) {
			n++
		}
	}
	return n
}

// heard is what pulse was told.
func (s *syncStage) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.caughtUp)
}

// requests is how often the kernel was asked.
func (s *syncStage) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

const bothRoles = ipvs.SyncMaster | ipvs.SyncBackup

func TestSyncFollowsTheRouter(t *testing.T) {
	onSyncStage(t, syncConfig("web"), false, func(s *syncStage) {
		s.after(10 * time.Second)
		s.role("before anything is known", 0)
		s.set(func() {
			if s.asked != 0 || s.ours != nil {
				t.Errorf("the kernel was asked %d times", s.asked)
			}
		})
		s.becomes("web", vrrp.Init, vrrp.Backup)
		s.role("as backup", ipvs.SyncBackup)
		s.becomes("web", vrrp.Backup, vrrp.Master) // at once, no tick
		s.role("at the takeover", bothRoles)
		if got := s.keeper.shown()["web"]; got != (api.ConnectionSync{Interface: "eth1", ID: 51, Role: "master"}) {
			t.Errorf("shown as %+v", got)
		}
		s.after(syncFlush + syncTick)
		s.role("as master", ipvs.SyncMaster)
		s.becomes("web", vrrp.Master, vrrp.Backup)
		s.role("as the owner before", bothRoles)
		s.after(syncFlush + syncTick)
		s.role("as backup again", ipvs.SyncBackup)
		s.becomes("web", vrrp.Backup, vrrp.Fault)
		s.role("in fault", ipvs.SyncBackup)
		s.set(func() {
			if !slices.Equal(s.settled, []bool{true}) || !slices.Equal(s.ours, []bool{true}) {
				t.Errorf("settings %v, ours %v", s.settled, s.ours)
			}
		})
		s.told("web: sync off → sync backup", "on eth1, id 51", "which is backup")
		s.told("web: sync backup → sync master", "which is master")
		s.told("web: sync master → sync backup")
		if n := s.count(); n != 3 {
			t.Errorf("%d events", n)
		}
	})
}

// A director that starts beside a pulse that runs learns the states from the
// status, and finds the daemon that its predecessor has left.
func TestSyncAtTheDirectorsStart(t *testing.T) {
	onSyncStage(t, syncConfig("web"), true, func(s *syncStage) {
		s.set(func() {
			s.runs = ipvs.SyncDaemon{Role: ipvs.SyncMaster, Interface: "eth1", ID: 51, Group: netip.MustParseAddr("224.0.0.81"), Port: 8848, TTL: 1}
		})
		s.report(map[string]vrrp.State{"web": vrrp.Master, "other": vrrp.Backup})
		s.after(syncTick)
		s.role("as master", ipvs.SyncMaster)
		if got := s.keeper.shown(); len(got) != 1 || got["web"].Role != "master" || got["web"].Restarts != 0 {
			t.Errorf("shown as %+v", got)
		}
	})
}

// The status corrects what no transition told of, but one that is older than it
// looks does not undo a transition.
func TestSyncBelievesTheStatusLater(t *testing.T) {
	onSyncStage(t, syncConfig("web"), false, func(s *syncStage) {
		s.report(map[string]vrrp.State{"web": vrrp.Backup})
		s.after(syncTick)
		s.becomes("web", vrrp.Backup, vrrp.Master)
		s.after(syncSettled - syncTick)
		s.role("with an old status", bothRoles)
		s.after(time.Second)
		s.role("when the status goes on to say so", bothRoles)
		s.after(syncFlush + time.Second)
		s.role("after the change", ipvs.SyncBackup)
	})
}

func TestSyncIsTriedAgain(t *testing.T) {
	onSyncStage(t, syncConfig("web"), false, func(s *syncStage) {
		refusal := errors.New("start the connection sync backup on eth1: the kernel has no memory for it")
		s.set(func() { s.refuse = refusal })
		s.becomes("web", vrrp.Init, vrrp.Backup)
		if got := s.keeper.shown()["web"]; got.Role != "off" || got.Problem != refusal.Error() {
			t.Errorf("shown as %+v", got)
		}
		s.after(time.Minute)
		s.set(func() {
			if s.asked < 5 || s.asked > 8 {
				t.Errorf("the kernel was asked %d times in a minute", s.asked)
			}
		})
		if n := strings.Count(s.log.String(), refusal.Error()); n != 1 {
			t.Errorf("the refusal was logged %d times", n)
		}
		s.becomes("web", vrrp.Backup, vrrp.Master) // something else is tried at once
		s.set(func() { s.asked = 0 })
		s.after(3 * time.Second)
		s.set(func() {
			if s.asked == 0 {
				t.Error("a new role was not tried soon")
			}
			s.refuse = nil
		})
		s.after(syncRetryLast)
		s.role("when the kernel takes it", ipvs.SyncMaster)
		s.told("sync off → sync master")
		if got := s.keeper.shown()["web"]; got.Problem != "" || got.Restarts != 0 {
			t.Errorf("shown as %+v", got)
		}
	})
}

func TestSyncIsStartedAgain(t *testing.T) {
	onSyncStage(t, syncConfig("web"), false, func(s *syncStage) {
		s.becomes("web", vrrp.Init, vrrp.Backup)
		for i := range 5 {
			s.after(2 * time.Second)
			s.set(func() { s.runs = ipvs.SyncDaemon{} })
			s.after(syncRecheck + syncTick)
			s.role(fmt.Sprintf("stopped for the %d. time", i+1), ipvs.SyncBackup)
		}
		if got := s.keeper.shown()["web"]; got.Restarts != 5 || got.Role != "backup" {
			t.Errorf("shown as %+v", got)
		}
		if n := s.count("sync off → sync backup", "somebody had stopped"); n != 1 {
			t.Errorf("told %d times in a minute", n)
		}
		s.after(time.Minute)
		s.set(func() { s.runs.ID = 9 })
		s.after(syncRecheck + syncTick)
		s.role("changed", ipvs.SyncBackup)
		if n := s.count("somebody had stopped"); n != 2 {
			t.Errorf("told %d times", n)
		}
	})
}

func TestSyncInterface(t *testing.T) {
	onSyncStage(t, syncConfig("web"), false, func(s *syncStage) {
		s.set(func() { s.index = 0 })
		s.becomes("web", vrrp.Init, vrrp.Backup)
		if got := s.keeper.shown()["web"]; !strings.Contains(got.Problem, "start the connection sync on eth1: no such network interface; make") {
			t.Errorf("shown as %+v", got)
		}
		s.set(func() { s.index = 4 })
		s.after(2 * time.Second)
		s.role("with the interface", ipvs.SyncBackup)
		before := s.requests()
		s.set(func() { s.index = 5 })
		s.after(syncRecheck + syncTick)
		s.role("with another one", ipvs.SyncBackup)
		if n := s.requests() - before; n != 2 { // stopped and started
			t.Errorf("the kernel was asked %d times", n)
		}
		s.told("sync off → sync backup", "the interface was made anew")
	})
}

func TestSyncLeavesTheConfiguration(t *testing.T) {
	onSyncStage(t, syncConfig("web"), false, func(s *syncStage) {
		s.becomes("web", vrrp.Init, vrrp.Master)
		s.role("configured", ipvs.SyncMaster)
		s.keeper.configure(&config.Config{})
		synctest.Wait()
		s.role("not configured", 0)
		s.told("sync master → sync off", "not configured any more")
		if len(s.keeper.shown()) != 0 {
			t.Errorf("shown: %+v", s.keeper.shown())
		}
		// From now on it is somebody else's.
		s.set(func() { s.runs.Role = ipvs.SyncMaster })
		s.after(time.Minute)
		s.set(func() {
			if s.runs.Role != ipvs.SyncMaster || !slices.Equal(s.ours, []bool{true, false}) {
				t.Errorf("runs %+v, ours %v", s.runs, s.ours)
			}
		})
		s.keeper.configure(syncConfig("web"))
		synctest.Wait()
		s.role("configured again", ipvs.SyncMaster)
	})
}

// What an earlier run has left is stopped, and what never was ours is not.
func TestSyncOfAnEarlierRun(t *testing.T) {
	for _, ours := range []bool{true, false} {
		onSyncStage(t, &config.Config{}, ours, func(s *syncStage) {
			s.set(func() { s.runs = ipvs.SyncDaemon{Role: ipvs.SyncBackup, Interface: "eth1"}; s.asked = 0 })
			s.keeper.poke()
			s.after(time.Minute)
			s.set(func() {
				if runs := s.runs.Role != 0; runs == ours && s.asked > 0 || ours != slices.Equal(s.ours, []bool{false}) {
					t.Errorf("ours %t: asked %d times, remembered %v, runs %+v", ours, s.asked, s.ours, s.runs)
				}
			})
		})
	}
	onSyncStage(t, &config.Config{}, true, func(s *syncStage) {
		s.set(func() { s.opens = fmt.Errorf("%w: not loaded", ipvs.ErrNoIPVS) })
		s.after(time.Minute)
		s.keeper.turn.Lock()
		defer s.keeper.turn.Unlock()
		if s.keeper.ours || strings.Contains(s.log.String(), "level=ERROR") {
			t.Errorf("a kernel without IPVS has no daemon\n%s", s.log)
		}
	})
}

func TestSyncPlannedStop(t *testing.T) {
	for _, withdraw := range []bool{true, false} {
		onSyncStage(t, syncConfig("web"), false, func(s *syncStage) {
			s.becomes("web", vrrp.Init, vrrp.Backup)
			if err := s.keeper.stop(t.Context(), withdraw); err != nil {
				t.Error(err)
			}
			s.becomes("web", vrrp.Backup, vrrp.Master) // nobody looks any more
			s.after(time.Minute)
			if withdraw {
				s.role("withdrawn", 0)
				s.told("sync backup → sync off", "planned stop")
			} else {
				s.role("kept", ipvs.SyncBackup)
			}
		})
	}
	onSyncStage(t, syncConfig("web"), false, func(s *syncStage) {
		s.becomes("web", vrrp.Init, vrrp.Backup)
		s.set(func() { s.refuse = errors.New("stop the connection sync backup: no answer") })
		if err := s.keeper.stop(t.Context(), true); err == nil || !strings.Contains(err.Error(), "ipvsadm --stop-daemon") {
			t.Errorf("error %v", err)
		}
	})
}

// Two routers with different owners: each director is master for the one and
// backup for the other.
func TestSyncTwoOwners(t *testing.T) {
	onSyncStage(t, syncConfig("web", "lan"), false, func(s *syncStage) {
		s.becomes("web", vrrp.Init, vrrp.Master)
		s.becomes("lan", vrrp.Init, vrrp.Backup)
		s.after(time.Minute)
		s.role("with two owners", bothRoles)
		if got := s.keeper.shown(); got["web"].Role != "master" || got["lan"].Role != "backup" {
			t.Errorf("shown as %+v", got)
		}
		s.becomes("web", vrrp.Master, vrrp.Backup)
		s.becomes("lan", vrrp.Backup, vrrp.Master)
		s.after(syncTick)
		s.told("web: sync master → sync backup")
		s.told("lan: sync backup → sync master")
	})
}

// tableOf is a table with so many connections.
func tableOf(n uint32) balancer.Status {
	server := func(active, inactive uint32) []balancer.ServerStatus {
		return []balancer.ServerStatus{{Active: active, Inactive: inactive}}
	}
	return balancer.Status{Services: []balancer.ServiceStatus{
		{Keys: []pool.Key{{Protocol: pool.TCP}}, Servers: server(n, 1000*uint32(time.Now().Unix()%1000))},
		{Keys: []pool.Key{{Protocol: pool.UDP}}, Servers: server(0, n)},
	}}
}

func TestSyncCatchesUp(t *testing.T) {
	for _, tt := range []struct {
		name     string
		refresh  time.Duration
		table    func(second int) balancer.Status
		min, max time.Duration // 0: never
	}{
		{"no connections", 0, func(int) balancer.Status { return tableOf(0) }, syncLeast + syncFlush, syncLeast + syncFlush + 3*time.Second},
		{"many connections", 10 * time.Second, func(int) balancer.Status { return tableOf(500000) }, 13 * time.Second, 16 * time.Second},
		{"long refresh period", 20 * time.Second, func(int) balancer.Status { return tableOf(9) }, 23 * time.Second, 26 * time.Second},
		{"grows for half a minute", 0, func(s int) balancer.Status { return tableOf(uint32(min(s, 30)) * 1000) }, 35 * time.Second, 40 * time.Second},
		{"grows", 0, func(s int) balancer.Status { return tableOf(uint32(s) * 10) }, 0, 0},
		{"comes and goes", 0, func(s int) balancer.Status { return tableOf(1000 + uint32(s%3)*100) }, syncLeast + syncFlush, syncLeast + syncFlush + 5*time.Second},
		{"not known", 0, func(int) balancer.Status { return balancer.Status{Problem: "no IPVS"} }, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onSyncStage(t, syncConfig("web"), false, func(s *syncStage) {
				s.set(func() { s.refresh, s.table = tt.refresh, tt.table(0) })
				s.becomes("web", vrrp.Init, vrrp.Backup)
				took := time.Duration(0)
				for i := 1; i <= 60; i++ {
					s.after(time.Second)
					s.set(func() {
						s.table = tt.table(i)
						if took == 0 && len(s.caughtUp) > 0 {
							took = time.Since(s.began)
						}
					})
				}
				if took < tt.min || took > tt.max || len(s.heard()) > 1 {
					t.Errorf("%q, not between %s and %s", s.heard(), tt.min, tt.max)
				}
				if took > 0 {
					s.told("web:  → in sync", "the table has stopped growing at")
				}
			})
		})
	}
}

// The wait begins anew when the router does, and when the daemon was away.
func TestSyncCatchesUpAnew(t *testing.T) {
	onSyncStage(t, syncConfig("web", "lan"), false, func(s *syncStage) {
		s.set(func() { s.table = tableOf(7) })
		s.becomes("web", vrrp.Init, vrrp.Backup)
		s.after(10 * time.Second)
		s.set(func() { s.runs = ipvs.SyncDaemon{} })
		s.after(10 * time.Second)
		if len(s.heard()) != 0 {
			t.Errorf("with a daemon that was stopped meanwhile: %q", s.heard())
		}
		s.after(10 * time.Second)
		if len(s.heard()) != 1 {
			t.Errorf("half a minute later: %q", s.heard())
		}
		s.becomes("web", vrrp.Backup, vrrp.Master)
		s.becomes("web", vrrp.Master, vrrp.Backup) // it has them all
		s.after(30 * time.Second)
		if len(s.heard()) != 1 {
			t.Errorf("after being master: %q", s.heard())
		}
		s.becomes("web", vrrp.Backup, vrrp.Fault)
		s.becomes("web", vrrp.Fault, vrrp.Backup)
		s.set(func() { s.refuse = errors.New("no") })
		s.after(30 * time.Second)
		if len(s.heard()) != 1 {
			t.Errorf("without a daemon: %q", s.heard())
		}
		s.set(func() { s.refuse = nil })
		s.after(time.Minute)
		if len(s.heard()) != 2 {
			t.Errorf("with the daemon again: %q", s.heard())
		}
	})
	cfg := syncConfig("web")
	cfg.Routers[0].PreemptAfterSync = 0
	onSyncStage(t, cfg, false, func(s *syncStage) {
		s.becomes("web", vrrp.Init, vrrp.Backup)
		s.after(time.Minute)
		if len(s.heard()) != 0 {
			t.Errorf("nobody waits: %q", s.heard())
		}
	})
}
