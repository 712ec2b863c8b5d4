package director

import (
	"fmt"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/ipvs"
	"baton/internal/pool"
	"baton/internal/vrrp"
)

const (
	// syncCalm is how many samples in a row, a second or more apart, have to show no
	// growth. Where little happens a master sends every three seconds only, and
	// between two messages no table grows.
	syncCalm = 5
	// syncGrowth is the growth from one sample to the next that is none: one part in
	// so many.
	syncGrowth = 100
	// syncLeast is how long a table is at least waited for, whatever the settings
	// say.
	syncLeast = 10 * time.Second
)

// catchUp judges by its size whether a connection table has caught up with the
// master's. The sync protocol has no beginning and no end: a master tells of a
// connection when packets of it come, at most once in a refresh period. So a
// table that has listened for a period, and the time that a message takes, has
// heard of every connection that is in use; and that it has stopped growing shows
// that no more come than go.
type catchUp struct {
	since time.Time // the daemon listens; zero: not yet
	last  time.Time // the last sample
	most  uint64    // connections at a time
	calm  int       // samples in a row without growth
}

// sample takes the number of connections at a time. What counts is by how much
// the largest number so far is exceeded: connections come and go.
func (c *catchUp) sample(now time.Time, n uint64) {
	if c.since.IsZero() {
		c.since, c.last, c.most = now, now, n
		return
	}
	if n > c.most+c.most/syncGrowth {
		c.calm = 0
	} else {
		c.calm++
	}
	c.last, c.most = now, max(c.most, n)
}

// done reports whether the table has caught up, when it had to listen at least so
// long.
func (c *catchUp) done(least time.Duration) bool {
	return c.calm >= syncCalm && c.last.Sub(c.since) >= least
}

// watch tells pulse of the routers whose connections are here. The caller holds
// turn.
func (k *syncKeeper) watch(now time.Time) {
	k.mu.Lock()
	var routers []string
	for _, name := range k.spec.routers {
		r := k.routers[name]
		if r == nil || r.done || !k.spec.waits[name] || k.roleOf(name) != ipvs.SyncBackup || r.state != vrrp.Backup {
			continue
		}
		if now.Sub(r.catch.last) >= k.spec.every {
			routers = append(routers, name)
		}
	}
	k.mu.Unlock()
	if len(routers) == 0 {
		return
	}
	n, ok := connections(k.world.services())
	if !ok {
		return
	}
	least := max(k.world.refresh(), syncLeast) + syncFlush
	for _, name := range routers {
		k.mu.Lock()
		c := &k.routers[name].catch
		c.sample(now, n)
		done := c.done(least)
		k.routers[name].done = done
		took := now.Sub(c.since)
		k.mu.Unlock()
		if done {
			k.tellCaughtUp(name, n, took)
		}
	}
}

func (k *syncKeeper) tellCaughtUp(router string, n uint64, took time.Duration) {
	if err := k.world.caughtUp(router); err != nil {
		k.world.log.Debug("that the connections are in sync was not told", "router", router, "error", err)
		return // pulse is gone
	}
	reason := fmt.Sprintf("the table has stopped growing at %d connections, %s after the sync daemon began to listen",
		n, took.Round(time.Second))
	k.world.log.Info("connections are in sync", "router", router, "reason", reason)
	k.world.event(api.Event{Kind: api.KindRouter, Name: router, From: "", To: "in sync", Reason: reason})
}

// connections counts those that a takeover would break: of TCP and SCTP the
// established ones, because those that are closed pile up for minutes, and of all
// else every one, because the kernel calls none of them active. false: the table
// is not known.
func connections(s balancer.Status) (n uint64, ok bool) {
	if s.Problem != "" {
		return 0, false
	}
	for _, svc := range s.Services {
		idle := len(svc.Keys) > 0 && (svc.Keys[0].Protocol == pool.UDP || svc.Keys[0].FWMark != 0)
		servers := svc.Servers
		if svc.FallbackServer != nil {
			servers = append(servers[:len(servers):len(servers)], *svc.FallbackServer)
		}
		for i := range servers {
			n += uint64(servers[i].Active)
			if idle {
				n += uint64(servers[i].Inactive)
			}
		}
	}
	return n, true
}
