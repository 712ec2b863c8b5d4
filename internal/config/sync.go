package config

import (
	"fmt"
	"slices"
	"time"

	"baton/internal/speaker"
	"baton/internal/vrrp"
)

// syncOwner is the router that has a connection_sync, and where it says so.
type syncOwner struct {
	router string
	sync   ConnectionSync
	at     pos
}

func (b *builder) buildConnectionSync(r *router) {
	s := &r.Sync
	if !s.set || s.bad || !s.v.Interface.ok() {
		return
	}
	out := ConnectionSync{
		Interface: string(s.v.Interface.v),
		ID:        uint8(s.v.ID.v),
		Group:     s.v.Group.v.Addr,
		Port:      uint16(s.v.Port.v),
		TTL:       uint8(s.v.TTL.v),
		MaxLen:    uint16(s.v.MaxLen.v),
	}
	out.Timing = b.syncTiming(&s.v)
	if !s.v.ID.set {
		out.ID = uint8(r.ID.v)
	}
	if len(b.syncs) > 0 && b.syncs[0].sync != out {
		first := b.syncs[0]
		b.add(s.at, "connection_sync: it differs from that of router %q at %s, and the kernel has one sync daemon; write the same in both", first.router, first.at)
	}
	if b.cfg.Balancer.Cold && len(b.syncs) == 0 {
		b.warn(s.at, "connection_sync: with ipvs: {standby: cold} the services come a moment after the addresses, and connections of which a packet comes in between are reset; use standby: warm")
	}
	b.syncs = append(b.syncs, syncOwner{string(r.Name.v), out, s.at})
	out.Router = string(r.Name.v)
	b.cfg.ConnectionSync = append(b.cfg.ConnectionSync, out)
}

// syncTiming follows the kernel, which refuses a period that is not above the
// threshold (proc_do_sync_threshold).
func (b *builder) syncTiming(s *rawConnectionSync) SyncTiming {
	if p := &s.Period; !s.Threshold.bad && !p.bad && p.v > 0 && s.Threshold.v >= p.v {
		at := p.at
		if !p.set {
			at = s.Threshold.at
		}
		b.add(at, "threshold: %d is not less than the period of %d, so the kernel refuses it; allowed: less than the period, or period: 0", s.Threshold.v, p.v)
	}
	return SyncTiming{
		Written:   s.Threshold.set || s.Period.set || s.Refresh.set || s.Retries.set,
		Threshold: uint32(s.Threshold.v),
		Period:    uint32(s.Period.v),
		Refresh:   time.Duration(s.Refresh.v),
		Retries:   uint8(s.Retries.v),
	}
}

// checkSharedSync warns of routers that share the sync daemon and can have
// different owners: it is the master's or a backup's, not both.
func (b *builder) checkSharedSync() {
	for i, s := range b.syncs {
		first := b.syncs[0]
		if i == 0 {
			continue
		}
		group, other := b.grouped[s.router], b.grouped[first.router]
		if group.name == "" || group.name != other.name {
			b.warn(s.at, "connection_sync: it is that of router %q at %s, too; put both routers into one sync group, or their owners may differ while there is one sync daemon", first.router, first.at)
		}
	}
}

func (b *builder) buildSyncGroups() {
	names := make(map[string]pos)
	for i := range b.raw.SyncGroups.items {
		raw := &b.raw.SyncGroups.items[i]
		if raw.bad {
			continue
		}
		g := &raw.v
		b.unique(names, "sync group", g.Name)
		out := speaker.SyncGroup{Name: string(g.Name.v)}
		for j := range g.Routers.items {
			if m := &g.Routers.items[j]; m.ok() && b.joins(g, m) {
				out.Routers = append(out.Routers, string(m.v))
			}
		}
		if n := len(g.Routers.items); g.Routers.set && !g.Routers.bad && n < 2 {
			b.add(g.Routers.at, "routers: a sync group of %d has nothing to keep together; allowed: at least 2 routers", n)
		}
		b.checkMembers(g)
		b.cfg.SyncGroups = append(b.cfg.SyncGroups, out)
	}
}

// joins reports whether a router may be a member of a group.
func (b *builder) joins(g *rawSyncGroup, m *value[name]) bool {
	name := string(m.v)
	if _, known := b.routers[name]; !known {
		b.add(m.at, "routers: there is no router %q%s", name, b.suggestRouter(name))
		return false
	}
	if first, twice := b.grouped[name]; twice {
		b.add(m.at, "routers: %q is in sync group %q already, at %s", name, first.name, first.at)
		return false
	}
	b.grouped[name] = owned{string(g.Name.v), m.at}
	return true
}

// checkMembers refuses members that would not move together: one that preempts
// would drag the others along, and the owner of its addresses never lets go.
func (b *builder) checkMembers(g *rawSyncGroup) {
	var first *speaker.Router
	for i := range g.Routers.items {
		m := &g.Routers.items[i]
		j := slices.IndexFunc(b.cfg.Routers, func(r speaker.Router) bool { return m.ok() && r.Name == string(m.v) })
		if j < 0 {
			continue
		}
		r := &b.cfg.Routers[j]
		if first == nil {
			first = r
			continue
		}
		differs := func(what string, a, b any) string { return fmt.Sprintf("%s %v, but %q %v", what, a, first.Name, b) }
		var found string
		switch {
		case r.Preempt != first.Preempt:
			found = differs("preempt:", r.Preempt, first.Preempt)
		case r.PreemptDelay != first.PreemptDelay:
			found = differs("preempt_delay:", r.PreemptDelay, first.PreemptDelay)
		case (r.Priority == vrrp.OwnerPriority) != (first.Priority == vrrp.OwnerPriority):
			found = differs("priority:", r.Priority, first.Priority)
		default:
			continue
		}
		b.add(m.at, "routers: %q has %s; the routers of a sync group take over together, so this is the same in all of them", r.Name, found)
	}
}
