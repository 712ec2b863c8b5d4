package config

import (
	"time"

	"baton/internal/speaker"
	"baton/internal/vrrp"
)

// router is a router while it is built.
type router struct {
	*rawRouter
	at     pos
	out    speaker.Router
	family family // of the first advertised address
}

// version returns 2 or 3, or 0 when it is not known.
func (r *router) version() int {
	switch {
	case r.Version.bad:
		return 0
	case r.Version.v == "2":
		return version2
	}
	return version3
}

// isOwner reports whether the addresses belong to this host.
func (r *router) isOwner() bool { return !r.Priority.bad && r.Priority.v == vrrp.OwnerPriority }

func (b *builder) buildRouters() {
	for i := range b.raw.Routers.items {
		raw := &b.raw.Routers.items[i]
		if raw.bad {
			continue
		}
		r := &router{rawRouter: &raw.v, at: raw.at}
		b.unique(b.routers, "router", r.Name)
		b.buildRouter(r)
		b.cfg.Routers = append(b.cfg.Routers, r.out)
	}
}

// unique reports a name that another one of its kind already has.
func (b *builder) unique(taken map[string]pos, kind string, n value[name]) {
	if !n.ok() {
		return
	}
	if first, twice := taken[string(n.v)]; twice {
		b.add(n.at, "name: %q is taken by another %s at %s", n.v, kind, first)
		return
	}
	taken[string(n.v)] = n.at
}

func (b *builder) buildRouter(r *router) {
	r.out = speaker.Router{
		Name:         string(r.Name.v),
		Interface:    string(r.Interface.v),
		ID:           uint8(r.ID.v),
		Version:      uint8(r.version()),
		Priority:     uint8(r.Priority.v),
		Interval:     time.Duration(r.Interval.v),
		Preempt:      bool(r.Preempt.v),
		PreemptDelay: time.Duration(r.PreemptDelay.v),
		Lease:        time.Duration(r.Lease.v),
		VirtualMAC:   bool(r.VirtualMAC.v),
		GARP: speaker.GARP{
			Repeat:   int(r.GARP.v.Repeat.v),
			Delay:    time.Duration(r.GARP.v.Delay.v),
			Refresh:  time.Duration(r.GARP.v.Refresh.v),
			Interval: time.Duration(r.GARP.v.Interval.v),
		},
	}
	b.buildAddresses(r)
	b.checkVersion(r)
	b.checkInterval(r)
	b.checkPreemption(r)
	b.buildChecksum(r)
	b.buildPaths(r)
	b.checkVirtualMAC(r)
	b.buildAuth(r)
	b.buildRoutes(r)
	b.buildRules(r)
	b.buildConnectionSync(r)
	b.buildTracks(r)
}
