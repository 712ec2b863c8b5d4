package director

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"baton/internal/api"
	"baton/internal/ipvs"
)

// syncWork is what was last asked of the kernel.
type syncWork struct {
	want   ipvs.SyncDaemon
	again  time.Time                   // when to ask for the same again
	failed bool                        // the last time
	pause  time.Duration               // after another failure
	index  int                         // of the interface that the daemon was started on; 0: not known
	loud   time.Time                   // when a loss was logged last
	wanted map[ipvs.SyncRole]time.Time // when a router needed the role last
}

// The pauses after a failure.
const (
	syncRetryFirst = time.Second
	syncRetryLast  = 30 * time.Second
)

// want is what the daemon has to be now; false: that is not known, or nobody's
// business. The caller holds turn.
func (k *syncKeeper) want(now time.Time) (ipvs.SyncDaemon, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.spec.routers) == 0 {
		clear(k.work.wanted)
		return ipvs.SyncDaemon{}, k.ours
	}
	var role ipvs.SyncRole
	for _, name := range k.spec.routers {
		if r := k.routers[name]; r != nil {
			role |= roleFor(r.state)
		}
	}
	want := k.spec.daemon
	want.Role = role
	for _, r := range []ipvs.SyncRole{ipvs.SyncMaster, ipvs.SyncBackup} {
		if role&r != 0 {
			k.work.wanted[r] = now
		} else if last, ok := k.work.wanted[r]; ok && now.Sub(last) < syncFlush {
			want.Role |= r
		}
	}
	return want, role != 0
}

// keep makes the daemon what it has to be, when that has changed and every few
// seconds. The caller holds turn.
func (k *syncKeeper) keep(ctx context.Context, now time.Time) {
	want, known := k.want(now)
	w := &k.work
	same := want == w.want
	if !known {
		return
	}
	if same && now.Before(w.again) {
		k.tell("") // the routers may have changed their parts
		return
	}
	if !same {
		w.want, w.pause = want, 0
	}
	bounded, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	changed, why, err := k.set(bounded, want)
	if ctx.Err() != nil {
		return // at our own end
	}
	if err != nil {
		w.pause = min(max(2*w.pause, syncRetryFirst), syncRetryLast)
		w.failed, w.again = true, now.Add(w.pause)
		k.became(0, err.Error(), "")
		return
	}
	lost := same && changed && !w.failed
	w.failed, w.pause, w.again = false, 0, now.Add(syncRecheck)
	if want.Role == 0 {
		k.disown()
	}
	k.became(want.Role, "", "")
	if lost {
		k.found(now, want, why)
	}
}

// disown notes that no daemon of ours runs.
func (k *syncKeeper) disown() {
	k.ours, k.work.index = false, 0
	k.world.remember(false)
}

// set brings the daemon about; why is what had happened to one that ran already.
func (k *syncKeeper) set(ctx context.Context, want ipvs.SyncDaemon) (changed bool, why string, err error) {
	if k.kernel == nil {
		kernel, err := k.world.open(ctx)
		if errors.Is(err, ipvs.ErrNoIPVS) && want.Role == 0 {
			return false, "", nil // and so no daemon
		}
		if err != nil {
			return false, "", err
		}
		k.kernel = kernel
	}
	if want.Role == 0 {
		changed, err = k.kernel.SetSync(ctx, want)
		return changed, "", err
	}
	index, err := k.world.index(want.Interface)
	if err != nil {
		return false, "", fmt.Errorf("start the connection sync on %s: %w; make the interface, or name another one in connection_sync", want.Interface, err)
	}
	why = "somebody had stopped the connection sync daemon, or changed its settings; it was started again"
	anew := false
	if k.work.index != 0 && k.work.index != index {
		// The sockets of the daemon belong to an interface that is gone.
		why = "the interface was made anew; the connection sync daemon was started on the new one"
		if anew, err = k.kernel.SetSync(ctx, ipvs.SyncDaemon{}); err != nil {
			return anew, why, err
		}
	}
	if !k.ours {
		k.ours = true
		k.world.remember(true)
	}
	k.settle()
	changed, err = k.kernel.SetSync(ctx, want)
	if err == nil {
		k.work.index = index
	}
	return changed || anew, why, err
}

// settle brings the kernel's settings about, once for a configuration: they
// are there when IPVS is.
func (k *syncKeeper) settle() {
	k.mu.Lock()
	manage, settled := k.spec.manage, k.spec.settled
	k.spec.settled = true
	k.mu.Unlock()
	if !settled {
		k.world.settle(manage)
	}
}

// became takes note of what runs, and why no more; why may be empty.
func (k *syncKeeper) became(running ipvs.SyncRole, problem, why string) {
	k.mu.Lock()
	before := k.problem
	k.running, k.problem = running, problem
	for _, r := range k.routers {
		if running&ipvs.SyncBackup == 0 {
			r.catch = catchUp{}
		}
	}
	k.mu.Unlock()
	switch {
	case problem == before:
	case problem != "":
		k.world.log.Error("connections are not synchronised; trying again", "problem", problem)
	default:
		k.world.log.Info("connections can be synchronised again")
	}
	k.tell(cmp.Or(why, problem))
}

// tell enters into the history what the daemon does for the routers by now.
func (k *syncKeeper) tell(why string) {
	k.mu.Lock()
	var events []api.Event
	for name, r := range k.routers {
		role, reason := ipvs.SyncRole(0), "connection_sync is not configured any more"
		if slices.Contains(k.spec.routers, name) {
			role = k.roleOf(name)
			reason = fmt.Sprintf("the connection sync daemon on %s, id %d, follows the router, which is %s",
				k.spec.daemon.Interface, k.spec.daemon.ID, r.state)
		}
		if role == r.told {
			continue
		}
		events = append(events, api.Event{
			Kind: api.KindRouter, Name: name, From: "sync " + r.told.String(), To: "sync " + role.String(), Reason: cmp.Or(why, reason),
		})
		r.told = role
	}
	k.mu.Unlock()
	slices.SortFunc(events, func(a, b api.Event) int { return cmp.Compare(a.Name, b.Name) })
	for _, e := range events {
		k.world.log.Info("connection sync", "router", e.Name, "from", e.From, "to", e.To, "reason", e.Reason)
		k.world.event(e)
	}
}

// found tells that a daemon was lost, once a minute.
func (k *syncKeeper) found(now time.Time, want ipvs.SyncDaemon, why string) {
	k.mu.Lock()
	k.lost++
	n := k.lost
	for _, r := range k.routers {
		r.catch = catchUp{} // what came meanwhile is not here
	}
	routers := slices.Clone(k.spec.routers)
	k.mu.Unlock()
	if !k.work.loud.IsZero() && now.Sub(k.work.loud) < time.Minute {
		return
	}
	k.work.loud = now
	k.world.log.Warn("the connection sync daemon was lost, and runs again", "reason", why, "interface", want.Interface, "role", want.Role.String(), "times", n)
	for _, name := range routers {
		k.world.event(api.Event{Kind: api.KindRouter, Name: name, From: "sync off", To: "sync " + want.Role.String(), Reason: why})
	}
}

// stop is the planned stop: where the services are withdrawn, the daemon ends,
// too. Without, it runs on. A daemon that was master a moment ago is given the time
// to send what it has gathered.
func (k *syncKeeper) stop(ctx context.Context, withdraw bool) error {
	k.turn.Lock()
	defer k.turn.Unlock()
	k.ended = true
	if !withdraw || !k.ours {
		return nil
	}
	if last, ok := k.work.wanted[ipvs.SyncMaster]; ok && time.Since(last) < syncFlush {
		select {
		case <-time.After(syncFlush - time.Since(last)):
		case <-ctx.Done():
		}
	}
	if _, _, err := k.set(ctx, ipvs.SyncDaemon{}); err != nil {
		return fmt.Errorf("%w; it may still run, and \"ipvsadm --stop-daemon\" ends it", err)
	}
	k.disown()
	k.became(0, "", "planned stop")
	return nil
}
