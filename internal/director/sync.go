package director

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/config"
	"baton/internal/ipvs"
	"baton/internal/link"
	"baton/internal/speaker"
	"baton/internal/vrrp"
)

const (
	// syncTick is how often the routers' status and the time are looked at.
	// Transitions come beside it, at once.
	syncTick = 500 * time.Millisecond
	// syncRecheck is how soon a daemon that somebody has stopped runs again.
	syncRecheck = time.Second
	// syncFlush is how long a change of roles takes. A master daemon sends a
	// connection after up to two seconds (IPVS_SYNC_FLUSH_TIME) and looks for such
	// once a second (IPVS_SYNC_CHECK_PERIOD); what it has not sent when it is
	// stopped is lost. So the owner before sends on for that long, and the new one
	// listens on.
	syncFlush = 3 * time.Second
	// syncSettled is when a status is surely newer than the last transition that was
	// heard of: both come over the same link, but a status is older than it looks.
	syncSettled = 2 * time.Second
	// syncPatience bounds what is asked of the kernel at a time.
	syncPatience = 10 * time.Second
)

// syncKernel is what the keeper needs of the kernel; [ipvs.Kernel] is the real
// one.
type syncKernel interface {
	SetSync(ctx context.Context, want ipvs.SyncDaemon) (changed bool, err error)
	Close() error
}

// syncWorld is what the keeper looks at and tells.
type syncWorld struct {
	open     func(ctx context.Context) (syncKernel, error)
	index    func(ifname string) (int, error) // of an interface
	routers  func() *link.Status              // nil: not known yet
	services func() balancer.Status
	settle   func(manage bool)         // brings the kernel's settings about
	refresh  func() time.Duration      // sync_refresh_period
	caughtUp func(router string) error // tells pulse
	event    func(api.Event)
	remember func(ours bool) // for the next run: a daemon may be ours
	log      *slog.Logger
}

// syncKeeper makes the kernel's connection sync daemon follow the routers: a
// master where they are master, a backup where they are not.
//
// There is one daemon in each role for all of them. Routers of one sync group
// have one state; where others differ, both daemons run for good, and each
// connection is told by the director that owns its router. Whatever daemon runs
// while connection_sync is configured is taken for ours, and whatever runs
// without it is left alone.
type syncKeeper struct {
	world syncWorld
	wake  chan struct{} // capacity 1

	mu      sync.Mutex // guards the following; never held while the kernel is asked
	spec    syncSpec
	routers map[string]*syncRouter // all that were heard of
	running ipvs.SyncRole          // as far as is known
	problem string
	lost    uint64 // times that a daemon was found stopped or changed

	turn   sync.Mutex // guards the following, and is held while the kernel is asked
	ended  bool
	ours   bool // a daemon may be ours
	kernel syncKernel
	work   syncWork
}

// syncRouter is a router as it was last heard of.
type syncRouter struct {
	state vrrp.State
	at    time.Time     // when its last transition was heard of
	told  ipvs.SyncRole // that the history knows
	catch catchUp
	done  bool // pulse knows that the connections are here
}

func newSyncKeeper(w syncWorld, ours bool) *syncKeeper {
	return &syncKeeper{
		world: w, ours: ours, wake: make(chan struct{}, 1), routers: map[string]*syncRouter{},
		work: syncWork{wanted: map[ipvs.SyncRole]time.Time{}},
	}
}

// configure puts another configuration into force.
func (k *syncKeeper) configure(cfg *config.Config) {
	k.mu.Lock()
	k.spec = syncSpecOf(cfg)
	k.mu.Unlock()
	k.poke()
}

// transition takes a router's change of state. It waits for nothing.
func (k *syncKeeper) transition(t speaker.Transition) {
	k.mu.Lock()
	k.become(t.Router, t.To)
	k.routers[t.Router].at = time.Now()
	k.mu.Unlock()
	k.poke()
}

func (k *syncKeeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// become enters a router's state. A router that rejoins the election has to wait
// for the connections anew. The caller holds the mutex.
func (k *syncKeeper) become(name string, to vrrp.State) {
	r := k.routers[name]
	if r == nil {
		r = &syncRouter{}
		k.routers[name] = r
	}
	if to == vrrp.Backup && r.state != vrrp.Master {
		r.catch, r.done = catchUp{}, false
	}
	r.state = to
}

// follow corrects by the status of the routers what no transition told of: at the
// director's start all of it.
func (k *syncKeeper) follow(now time.Time) {
	status := k.world.routers()
	if status == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range status.Routers.Routers {
		r := k.routers[s.Spec.Name]
		if r == nil || r.state != s.Election.State && now.Sub(r.at) >= syncSettled {
			k.become(s.Spec.Name, s.Election.State)
		}
	}
}

// run works until ctx ends, and leaves the daemon as it is then.
func (k *syncKeeper) run(ctx context.Context) {
	defer k.close()
	tick := time.NewTicker(syncTick)
	defer tick.Stop()
	for {
		k.step(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-tick.C:
		}
	}
}

// step does what is due.
func (k *syncKeeper) step(ctx context.Context, now time.Time) {
	k.follow(now)
	k.turn.Lock()
	defer k.turn.Unlock()
	if k.ended {
		return
	}
	k.keep(ctx, now)
	k.watch(now)
}

func (k *syncKeeper) close() {
	k.turn.Lock()
	defer k.turn.Unlock()
	if k.kernel == nil {
		return
	}
	if err := k.kernel.Close(); err != nil {
		k.world.log.Debug("close the handle of the connection sync daemon", "error", err)
	}
	k.kernel = nil
}

// shown is the state of the daemon for each router that it follows.
func (k *syncKeeper) shown() map[string]api.ConnectionSync {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make(map[string]api.ConnectionSync, len(k.spec.routers))
	for _, name := range k.spec.routers {
		out[name] = api.ConnectionSync{
			Interface: k.spec.daemon.Interface, ID: k.spec.daemon.ID,
			Role: k.roleOf(name).String(), Problem: k.problem, Restarts: k.lost,
		}
	}
	return out
}

// roles is what the daemon is, for each router that it follows.
func (k *syncKeeper) roles() map[string]ipvs.SyncRole {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make(map[string]ipvs.SyncRole, len(k.spec.routers))
	for _, name := range k.spec.routers {
		out[name] = k.running
	}
	return out
}

// losses is how often a daemon was found stopped or changed.
func (k *syncKeeper) losses() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost
}

// roleOf is what the daemon does for a router now. The caller holds the mutex.
func (k *syncKeeper) roleOf(name string) ipvs.SyncRole {
	if r := k.routers[name]; r != nil {
		return roleFor(r.state) & k.running
	}
	return 0
}

// roleFor is what the daemon has to do for a router in that state.
func roleFor(s vrrp.State) ipvs.SyncRole {
	if s == vrrp.Master {
		return ipvs.SyncMaster
	}
	return ipvs.SyncBackup
}
