package director

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"baton/internal/api"
	"baton/internal/config"
	"baton/internal/sourcenat"
)

const (
	natRetryFirst = time.Second
	natRetryLast  = 30 * time.Second
	// natQuiet is how often a repair is told of at most.
	natQuiet = time.Minute
)

// natTable is what the keeper needs of the kernel; [sourcenat.Table] is the real
// one.
type natTable interface {
	Apply(want sourcenat.State) (changed bool, err error)
}

// natWorld is what the keeper of the source NAT looks at and tells.
type natWorld struct {
	open     func() (natTable, error)
	event    func(api.Event)
	remember func(ours bool) // for the next run: the table may be ours
	log      *slog.Logger
}

// natKeeper keeps the nftables table for services with source_nat. Without such a
// service, and without a table that an earlier run has left, it asks the kernel
// nothing: nftables may not be there at all.
type natKeeper struct {
	world natWorld
	wake  chan struct{} // capacity 1

	state struct { // what is shown
		sync.Mutex
		problem string
		repairs uint64
	}

	mu       sync.Mutex // guards the following, and is held while the kernel is asked
	want     sourcenat.State
	services string // that it is for
	every    time.Duration
	table    natTable
	ours     bool // a table may be ours
	ended    bool
	inForce  bool // the kernel had what is wanted
	again    time.Time
	pause    time.Duration // after another failure
	loud     time.Time     // when a repair was told of last
	silent   int           // repairs since
}

func newNATKeeper(w natWorld, ours bool) *natKeeper {
	return &natKeeper{world: w, ours: ours, wake: make(chan struct{}, 1)}
}

// configure puts another configuration into force, in the kernel, too, if it can
// be.
func (k *natKeeper) configure(cfg *config.Config, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var names []string
	for _, s := range cfg.Balancer.Services {
		if s.SourceNAT {
			names = append(names, s.Name)
		}
	}
	k.want, k.services = sourcenat.StateOf(cfg.Balancer.Services), strings.Join(names, ", ")
	k.every = max(time.Second, cfg.Balancer.Resync)
	k.inForce, k.again, k.pause = false, time.Time{}, 0
	k.keep(now)
	select {
	case k.wake <- struct{}{}: // the interval may have changed
	default:
	}
}

// run looks at the table again and again, until ctx ends, and leaves it as it is
// then.
func (k *natKeeper) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
		timer.Reset(time.Until(k.step(time.Now())))
	}
}

// step does what is due and returns when to call again.
func (k *natKeeper) step(now time.Time) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !now.Before(k.again) {
		k.keep(now)
	}
	return k.again
}

// keep makes the table what is wanted. The caller holds the mutex.
func (k *natKeeper) keep(now time.Time) {
	k.again = now.Add(k.every)
	if k.ended || k.want.Empty() && !k.ours {
		k.became("")
		return
	}
	changed, err := k.apply(k.want)
	if err != nil {
		k.pause = min(max(2*k.pause, natRetryFirst), natRetryLast)
		k.again = now.Add(k.pause)
		k.became(k.failure(err))
		return
	}
	k.pause = 0
	k.became("")
	k.tell(changed, now)
	k.inForce = true
	if k.want.Empty() {
		k.ours = false
		k.world.remember(false)
	}
}

func (k *natKeeper) apply(want sourcenat.State) (changed bool, err error) {
	if k.table == nil {
		if k.table, err = k.world.open(); err != nil {
			return false, err
		}
	}
	if !k.ours {
		k.ours = true
		k.world.remember(true)
	}
	return k.table.Apply(want)
}

func (k *natKeeper) failure(err error) string {
	if k.want.Empty() {
		return fmt.Sprintf("what source_nat had set up cannot be removed: %v", err)
	}
	return fmt.Sprintf("source_nat is not in force for %s: %v", k.services, err)
}

// became takes note of what is wrong, or that nothing is.
func (k *natKeeper) became(problem string) {
	k.state.Lock()
	before := k.state.problem
	k.state.problem = problem
	k.state.Unlock()
	switch {
	case problem == before:
	case problem != "":
		k.world.log.Error("source NAT is not as wanted; trying again", "problem", problem)
		k.event("as wanted", "not as wanted", problem)
	default:
		k.world.log.Info("source NAT is as wanted again")
		k.event("not as wanted", "as wanted", "")
	}
}

// tell tells of what was done to the table.
func (k *natKeeper) tell(changed bool, now time.Time) {
	switch {
	case !changed && !k.inForce && !k.want.Empty():
		k.world.log.Info("source NAT is in force, as found", "services", k.services)
	case !changed:
	case k.want.Empty():
		k.world.log.Info("source NAT is withdrawn: no service has source_nat any more")
		k.event("in force", "", "no service has source_nat any more")
	case !k.inForce:
		k.world.log.Info("source NAT is in force", "services", k.services, "table", k.want.String())
		k.event("", "in force", "for "+k.services)
	default:
		k.repaired(now)
	}
}

// repaired tells, once a minute, that somebody else had changed the table.
func (k *natKeeper) repaired(now time.Time) {
	k.state.Lock()
	k.state.repairs++
	k.state.Unlock()
	k.silent++
	if !k.loud.IsZero() && now.Sub(k.loud) < natQuiet {
		return
	}
	const why = "somebody had changed or removed the table, as \"nft flush ruleset\" does; it is there again"
	k.world.log.Warn("source NAT was repaired", "table", "inet "+sourcenat.TableName, "reason", why, "times", k.silent)
	k.event("changed", "in force", why)
	k.loud, k.silent = now, 0
}

func (k *natKeeper) event(from, to, reason string) {
	k.world.event(api.Event{Kind: api.KindConfig, Name: "nftables inet " + sourcenat.TableName, From: from, To: to, Reason: reason})
}

// stop is the planned stop: where the services are withdrawn, the table goes, too.
func (k *natKeeper) stop(withdraw bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	if !withdraw || !k.ours {
		return nil
	}
	if _, err := k.apply(sourcenat.State{}); err != nil {
		return fmt.Errorf("withdraw the source NAT: %w; \"nft delete table inet %s\" does it", err, sourcenat.TableName)
	}
	k.ours = false
	k.world.remember(false)
	return nil
}

// shown is what is wrong, or empty, and how often the table was repaired.
func (k *natKeeper) shown() (problem string, repairs uint64) {
	k.state.Lock()
	defer k.state.Unlock()
	return k.state.problem, k.state.repairs
}
