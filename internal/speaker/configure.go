package speaker

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"baton/internal/network"
	"baton/internal/vrrp"
)

// Configure makes the speaker run exactly these routers, in these groups. A
// router whose specification did not change is not touched; one whose interface,
// id, version or mode changed begins anew; one that is gone lets go at once.
func (s *Speaker) Configure(ctx context.Context, specs []Router, groups []SyncGroup) error {
	return s.call(ctx, func() { s.configure(specs, groups) })
}

func (s *Speaker) configure(specs []Router, groups []SyncGroup) {
	s.sweep()
	s.dissolve()
	wanted := map[string]Router{}
	clear(s.vips)
	for _, spec := range specs {
		wanted[spec.Name] = spec
		if spec.Priority == vrrp.OwnerPriority {
			continue // its VIP may be the source of its adverts
		}
		for _, a := range slices.Concat(spec.Addresses, spec.Extra) {
			s.vips[a.Prefix.Addr()] = true
		}
	}
	for name, r := range s.routers {
		if spec, ok := wanted[name]; !ok {
			s.remove(r, "removed from the configuration")
		} else if !sameIdentity(r.spec, spec) {
			s.remove(r, "its interface, id or mode changed in the configuration")
		}
	}
	fresh := map[*iface]bool{}
	for order, spec := range specs {
		r := s.routers[spec.Name]
		switch {
		case r == nil:
			r = s.add(spec)
			r.eachIface(func(i *iface) { fresh[i] = true })
		case !reflect.DeepEqual(r.spec, spec):
			r.reconfigure(spec)
			r.eachIface(func(i *iface) { fresh[i] = true })
		}
		r.order = order
	}
	s.join(groups)
	for i := range fresh {
		i.refresh()
	}
	for _, r := range s.routers {
		r.interfaceChanged() // a group may blame other members now
	}
	s.closeUnused()
	s.note()
}

// sweep removes, once, what a crashed predecessor left behind: by now another
// router may own it.
func (s *Speaker) sweep() {
	if s.swept {
		return
	}
	s.swept = true
	gone, err := s.edges.Network.Sweep(s.ctx)
	if err != nil {
		s.log.Error("looking for addresses left by a predecessor failed", "error", err)
	}
	for _, what := range gone {
		s.log.Warn("removed what a predecessor left behind", "what", what)
	}
}

// sameIdentity reports whether two specs are the same router on the wire.
func sameIdentity(a, b Router) bool {
	return a.Interface == b.Interface && a.ID == b.ID && a.Version == b.Version && a.IPv6() == b.IPv6() &&
		(len(a.Peers) == 0) == (len(b.Peers) == 0) && a.VirtualMAC == b.VirtualMAC
}

func (s *Speaker) add(spec Router) *router {
	r := &router{
		s: s, spec: spec, vips: spec.VIPs(),
		log:         s.log.With("router", spec.Name, "vrid", spec.ID, "interface", spec.Interface),
		transitions: map[string]uint64{}, rejected: map[string]uint64{},
	}
	r.holder = newHolder(s, spec.Name, spec.GARP.Interval, func(held bool, err error) { r.didHold(held, err) })
	s.routers[spec.Name] = r
	r.takeSpec()
	r.weigh(time.Now())
	r.election = vrrp.New(r.electionSpec(), time.Now())
	return r
}

// takeSpec makes everything that follows from the specification.
func (r *router) takeSpec() {
	for _, p := range r.paths {
		p.iface.detach(r)
	}
	r.makePaths()
	for _, p := range r.paths {
		p.iface.attach(r)
	}
	r.lastFrom = append(r.lastFrom, make([]time.Time, max(0, len(r.paths)-len(r.lastFrom)))...)
	r.makeTracks()
}

// remove ends a router at once: its peers take over after their skew.
func (s *Speaker) remove(r *router, why string) {
	r.step(vrrp.Event{Kind: vrrp.Removed, Reason: why})
	r.holder.end()
	for _, p := range r.paths {
		p.iface.detach(r)
	}
	s.schedule.plan(r, time.Time{})
	delete(s.routers, r.spec.Name)
}

func (r *router) reconfigure(spec Router) {
	old := r.spec
	r.spec, r.vips = spec, spec.VIPs()
	r.takeSpec()
	r.holder.setPause(spec.GARP.Interval)
	r.log.Info("router reconfigured", "priority", spec.Priority, "addresses", len(spec.Addresses))
	r.stranger = ""
	if r.wantHeld && !sameHoldings(old, spec) {
		r.hold(time.Now())
	}
}

// sameHoldings reports whether two specs want the same of the kernel.
func sameHoldings(a, b Router) bool {
	return slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Extra, b.Extra) &&
		slices.Equal(a.Routes, b.Routes) && slices.Equal(a.Rules, b.Rules) && a.Lease == b.Lease
}

// interfaceChanged makes the election follow what is known of the interfaces
// and of everything that is tracked.
func (r *router) interfaceChanged() {
	if r.stopped {
		return
	}
	now := time.Now()
	r.lookAtTracks(now)
	r.weigh(now)
	for n, p := range r.paths {
		if !p.iface.looked {
			continue
		}
		was := p.problem
		p.problem = r.look(p)
		if n > 0 && was != p.problem {
			r.pathChanged(now, p)
		}
	}
	if state := r.election.State(); !state.Listens() {
		if r.waiting = r.pending(); r.waiting != "" {
			return
		}
	}
	problem := r.broken
	if problem == "" {
		problem = r.paths[0].problem
	}
	if problem == "" {
		problem = r.senderProblem()
	}
	if problem == "" {
		problem = r.trackFault()
	}
	if problem != "" {
		r.step(vrrp.Event{Kind: vrrp.Failed, Reason: problem})
		return
	}
	spec := r.electionSpec()
	r.step(vrrp.Event{Kind: vrrp.Configured, Spec: &spec})
	r.waiting = ""
	switch r.election.State() {
	case vrrp.Init:
		if r.waiting = r.trackUnknown(); r.waiting == "" {
			r.step(vrrp.Event{Kind: vrrp.Startup})
		}
	case vrrp.Fault:
		r.step(vrrp.Event{Kind: vrrp.Recovered})
	}
}

// pathChanged reports that a further path for adverts works, or does not.
func (r *router) pathChanged(now time.Time, p *path) {
	state, why := "works", "adverts go and come on "+p.iface.name
	if p.problem != "" {
		state, why = "lost", p.problem
	}
	r.log.Info("heartbeat path changed", "on", p.iface.name, "to", state, "reason", why)
	r.s.tell(Notice{At: now, Router: r.spec.Name, From: "heartbeat on " + p.iface.name, To: state, Reason: why})
}

// senderKey names the sender of a router with a virtual hardware address.
func (r *router) senderKey() (senderKey, bool) {
	return senderKey{family: r.family(), mac: r.virtualLink().MAC}, r.spec.VirtualMAC
}

// senderProblem says why adverts cannot leave with the virtual hardware address,
// or is empty.
func (r *router) senderProblem() string {
	k, ok := r.senderKey()
	if !ok {
		return ""
	}
	return r.paths[0].iface.senders[k].problem
}

// pending says what is being looked at or opened, so that the router cannot
// start yet, or is empty.
func (r *router) pending() string {
	i := r.paths[0].iface
	if k := i.socket(r.family()); !i.looked || i.problem == "" && k.conn == nil && k.problem == "" {
		return "interface " + i.name + " is being looked at"
	}
	if k, ok := r.senderKey(); ok && i.problem == "" && i.senders[k].Sender == nil && i.senders[k].problem == "" {
		return "the socket for the virtual hardware address is being opened"
	}
	return ""
}

// eachIface calls f with every interface that the router sends on or tracks.
func (r *router) eachIface(f func(*iface)) {
	for _, p := range r.paths {
		f(p.iface)
	}
	for _, t := range r.tracks {
		if t.iface != nil {
			f(t.iface)
		}
	}
}

func (r *router) uses(i *iface) (used bool) {
	r.eachIface(func(j *iface) { used = used || i == j })
	return used
}

// applyChange follows a change that the kernel reported.
func (s *Speaker) applyChange(c network.Change) {
	for _, r := range s.routers {
		switch {
		case r.wantHeld && r.misses(c):
			r.restore(c)
		case !r.wantHeld && c.Kind == network.LinkUp && r.spec.VirtualMAC && c.Interface == r.virtualLink().Name:
			r.release() // a backup must not send anything from there
		}
	}
	if s.vips[c.Prefix.Addr()] || c.Kind == network.RouteRemoved || c.Kind == network.RuleRemoved {
		return // our own doing: every takeover is reported
	}
	for _, i := range s.ifaces {
		if i.name != c.Interface && i.name != c.OldName && c.Kind != network.Resync {
			continue
		}
		switch c.Kind {
		case network.LinkDown:
			i.lost(fmt.Sprintf("interface %s is down or has no carrier", i.name))
		case network.LinkGone:
			i.lost(fmt.Sprintf("interface %s: %v", i.name, &network.InterfaceError{Name: i.name}))
		}
		i.refresh()
	}
}

// restore puts back what somebody else took away.
func (r *router) restore(c network.Change) {
	r.hold(time.Now())
	if c.Kind == network.Resync {
		return // reports were lost; perhaps nothing is missing
	}
	if c.Kind == network.AddressRemoved || c.Kind == network.LinkGone {
		r.holder.tell(1)
	}
	if !r.s.limit.allow(r.spec.Name + "/restore/" + c.String()) {
		return
	}
	r.log.Warn("taken away by someone else; putting it back", "what", c.String())
	r.s.tell(Notice{
		At: time.Now(), Router: r.spec.Name, From: c.String(), To: "restored",
		Reason: "someone else took it away while this director owns it",
	})
}

// misses reports whether the change took away something of this router's.
func (r *router) misses(c network.Change) bool {
	return c.Kind == network.Resync || r.state().state.Lost(c)
}

func (s *Speaker) closeUnused() {
	for name, i := range s.ifaces {
		used := false
		for _, r := range s.routers {
			used = used || r.uses(i)
		}
		if !used {
			i.closeConns()
			delete(s.ifaces, name)
			continue
		}
		for _, f := range families {
			if i.socket(f).users == 0 {
				i.closeConn(f)
			}
		}
	}
}

func (s *Speaker) status() Status {
	out := Status{Routers: make([]RouterStatus, 0, len(s.routers))}
	routers := make([]*router, 0, len(s.routers))
	for _, r := range s.routers {
		routers = append(routers, r)
	}
	slices.SortFunc(routers, func(a, b *router) int { return a.order - b.order })
	for _, r := range routers {
		out.Routers = append(out.Routers, r.status())
	}
	return out
}

// linkChanged is called by the network when the kernel reports a change.
func (s *Speaker) linkChanged(c network.Change) {
	s.post(func() { s.applyChange(c) })
}
