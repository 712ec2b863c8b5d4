package director

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"baton/internal/api"
	"baton/internal/config"
	"baton/internal/network"
)

const (
	// settingsEvery is how often the kernel's settings are looked at: somebody else
	// (sysctl --system, a container runtime) may have changed them, and interfaces
	// and routes come and go.
	settingsEvery = 10 * time.Second
	// settingsQuiet is how often the same setting is spoken of at most.
	settingsQuiet = time.Minute
)

// settingsWorld is what the keeper of the kernel's settings looks at and tells.
type settingsWorld struct {
	needed func(*config.Config) ([]network.Sysctl, error) // now, in the order to set them
	ensure func(want []network.Sysctl, manage bool) ([]network.SysctlChange, []error)
	ipvs   func() bool // its settings are there
	event  func(api.Event)
	log    *slog.Logger
}

// settings keeps the kernel's settings as the routers and services need them, or
// says what would have to be set. None is ever turned back: something else may
// have come to need it.
type settings struct {
	world    settingsWorld
	problems atomic.Pointer[[]string]

	mu    sync.Mutex // guards the following, and is held while the kernel is asked
	cfg   *config.Config
	known map[string]*setting // by key
}

// setting is what was last seen and told of one.
type setting struct {
	set     bool // by us, so that a difference is somebody else's work
	problem string
	said    string    // the problem that was told last
	told    time.Time // when anything was
	silent  int       // corrections since, of which nothing was said
}

func newSettings(w settingsWorld) *settings {
	return &settings{world: w, known: map[string]*setting{}}
}

// configure puts another configuration into force.
func (k *settings) configure(cfg *config.Config, now time.Time) {
	k.mu.Lock()
	k.cfg = cfg
	k.mu.Unlock()
	k.look(now)
}

// look compares the settings with what is needed, all of them.
func (k *settings) look(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	needed, err := k.world.needed(k.cfg)
	problems := k.ensure(needed, k.cfg.Sysctls == config.SysctlsManage, now)
	host := k.of("this host")
	if host.problem = ""; err != nil {
		host.problem = "which kernel settings are needed is not known completely: " + err.Error()
		problems = append(problems, host.problem)
	}
	k.say(host, "this host", now)
	k.problems.Store(&problems)
}

// once looks at settings that are not kept.
func (k *settings) once(needed []network.Sysctl, manage bool, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ensure(needed, manage, now)
}

// ensure returns in words what is not as needed. The caller holds the mutex.
func (k *settings) ensure(needed []network.Sysctl, manage bool, now time.Time) []string {
	var problems []string
	for _, n := range needed {
		if strings.HasPrefix(n.Key, "net.ipv4.vs.") && !k.world.ipvs() {
			continue // the table's keeper says so, and calls when it is there
		}
		s := k.of(n.Key)
		s.problem = ""
		changes, errs := k.world.ensure([]network.Sysctl{n}, manage)
		switch {
		case len(errs) > 0:
			s.problem = "a kernel setting that the services need cannot be had: " + errs[0].Error()
		case len(changes) > 0 && changes[0].Changed:
			k.changed(s, changes[0], now)
		case len(changes) > 0:
			s.problem = fmt.Sprintf("the kernel setting %s is %s, and not %s as needed: %s; set it, or write sysctls: manage",
				n.Key, changes[0].Old, n.Value, n.Why)
		default:
			s.set = true
		}
		k.say(s, n.Key, now)
		if s.problem != "" {
			problems = append(problems, s.problem)
		}
	}
	return problems
}

// of returns what is known of a setting.
func (k *settings) of(key string) *setting {
	s := k.known[key]
	if s == nil {
		s = &setting{}
		k.known[key] = s
	}
	return s
}

// changed tells of a setting that was set.
func (k *settings) changed(s *setting, c network.SysctlChange, now time.Time) {
	why := c.Why
	if s.set {
		why = "somebody else had changed it; " + why
	}
	s.set = true
	if !s.told.IsZero() && now.Sub(s.told) < settingsQuiet {
		s.silent++
		return
	}
	k.world.log.Info("kernel setting changed", "key", c.Key, "from", c.Old, "to", c.Value, "why", why, "times", s.silent+1)
	k.world.event(api.Event{Kind: api.KindConfig, Name: c.Key, From: c.Old, To: c.Value, Reason: why})
	s.told, s.silent = now, 0
}

// say tells of a problem that is new, or over.
func (k *settings) say(s *setting, key string, now time.Time) {
	if s.problem == s.said || !s.told.IsZero() && now.Sub(s.told) < settingsQuiet {
		return
	}
	e := api.Event{Kind: api.KindConfig, Name: key, From: "as needed", To: "not as needed", Reason: s.problem}
	if s.problem == "" {
		e.From, e.To, e.Reason = e.To, e.From, "it is as the services need it"
		k.world.log.Info("the kernel's settings are as needed again", "key", key)
	} else {
		k.world.log.Warn("the kernel's settings are not as needed", "key", key, "problem", s.problem)
	}
	k.world.event(e)
	s.said, s.told = s.problem, now
}

// run looks at the settings again and again, until ctx ends.
func (k *settings) run(ctx context.Context) {
	tick := time.NewTicker(settingsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			k.look(now)
		}
	}
}

// shown are the problems that there are now.
func (k *settings) shown() []string {
	if p := k.problems.Load(); p != nil {
		return *p
	}
	return nil
}
