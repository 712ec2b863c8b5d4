package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"baton/internal/network"
	"baton/internal/vrrp"
)

// Configure makes the speaker run exactly these routers. A router whose
// specification did not change is not touched; one whose interface, id, version
// or mode changed begins anew; one that is gone lets go at once.
func (s *Speaker) Configure(ctx context.Context, specs []Router) error {
	return s.call(ctx, func() { s.configure(specs) })
}

func (s *Speaker) configure(specs []Router) {
	s.sweep()
	wanted := map[string]bool{}
	for _, spec := range specs {
		wanted[spec.Name] = true
	}
	for name, r := range s.routers {
		if !wanted[name] {
			s.remove(r, "removed from the configuration")
		}
	}
	for order, spec := range specs {
		r := s.routers[spec.Name]
		if r != nil && !sameIdentity(r.spec, spec) {
			s.remove(r, "its interface, id or mode changed in the configuration")
			r = nil
		}
		if r == nil {
			r = s.add(spec)
		} else {
			r.reconfigure(spec)
		}
		r.order = order
	}
	s.closeUnused()
}

// sweep removes, once, the addresses that a crashed predecessor left behind: by
// now another router may own them.
func (s *Speaker) sweep() {
	if s.swept {
		return
	}
	s.swept = true
	gone, err := s.edges.Network.Sweep(s.ctx, func(network.Address) bool { return false })
	if err != nil {
		s.log.Error("looking for addresses left by a predecessor failed", "error", err)
	}
	for _, a := range gone {
		s.log.Warn("removed an address that a predecessor left behind",
			"address", a.Prefix, "interface", a.Interface)
	}
}

// sameIdentity reports whether two specs are the same router on the wire.
func sameIdentity(a, b Router) bool {
	return a.Interface == b.Interface && a.ID == b.ID && a.Version == b.Version &&
		(len(a.Peers) == 0) == (len(b.Peers) == 0)
}

func (s *Speaker) add(spec Router) *router {
	r := &router{
		s: s, spec: spec, vips: spec.VIPs(),
		log:         s.log.With("router", spec.Name, "vrid", spec.ID, "interface", spec.Interface),
		transitions: map[string]uint64{}, rejected: map[string]uint64{},
	}
	r.holder = newHolder(s, spec.Name, spec.GARP.Interval, func(held bool, err error) { r.didHold(held, err) })
	r.iface = s.ifaces[spec.Interface]
	if r.iface == nil {
		r.iface = &iface{s: s, name: spec.Interface}
		s.ifaces[spec.Interface] = r.iface
		r.iface.problem = "not looked at yet"
	}
	s.routers[spec.Name] = r
	r.election = vrrp.New(r.electionSpec(), time.Now())
	r.iface.refresh()
	return r
}

// remove ends a router at once: its peers take over after their skew.
func (s *Speaker) remove(r *router, why string) {
	r.step(vrrp.Event{Kind: vrrp.Failed, Reason: why})
	r.holder.close()
	delete(s.routers, r.spec.Name)
}

func (r *router) reconfigure(spec Router) {
	if reflect.DeepEqual(r.spec, spec) {
		return
	}
	old := r.spec
	r.spec, r.vips = spec, spec.VIPs()
	r.holder.setPause(spec.GARP.Interval)
	r.log.Info("router reconfigured", "priority", spec.Priority, "addresses", len(spec.Addresses))
	r.stranger = ""
	r.interfaceChanged()
	addressesChanged := !slices.Equal(old.Addresses, spec.Addresses) || old.Lease != spec.Lease
	if r.wantHeld && addressesChanged {
		r.hold(time.Now())
	}
}

// interfaceChanged makes the election follow what is known of the interface.
func (r *router) interfaceChanged() {
	if r.stopped {
		return
	}
	problem := r.iface.problem
	if problem == "" {
		problem = r.findSource()
	}
	if problem != "" {
		r.step(vrrp.Event{Kind: vrrp.Failed, Reason: problem})
		return
	}
	spec := r.electionSpec()
	r.step(vrrp.Event{Kind: vrrp.Configured, Spec: &spec})
	switch r.election.State() {
	case vrrp.Init:
		r.step(vrrp.Event{Kind: vrrp.Startup})
	case vrrp.Fault:
		r.step(vrrp.Event{Kind: vrrp.Recovered})
	}
}

// findSource sets the source of our adverts, or returns why there is none.
func (r *router) findSource() string {
	if r.spec.Source.IsValid() {
		if !r.iface.has(r.spec.Source) {
			return fmt.Sprintf("the source address %s is not on interface %s yet", r.spec.Source, r.spec.Interface)
		}
		r.source = r.spec.Source
		return ""
	}
	if r.source.IsValid() && r.iface.has(r.source) && !r.s.isVIP(r.source) {
		return ""
	}
	source, ok := r.iface.primary(r.s.isVIP)
	if !ok {
		return fmt.Sprintf("interface %s has no IPv4 address of its own to send adverts from: give it one", r.spec.Interface)
	}
	r.source = source
	return ""
}

// isVIP reports whether any router has the address as a VIP; an owner's
// (priority 255) own address is one and still a source.
func (s *Speaker) isVIP(a netip.Addr) bool {
	for _, r := range s.routers {
		if r.spec.Priority != vrrp.OwnerPriority && slices.Contains(r.vips, a) {
			return true
		}
	}
	return false
}

// applyChange follows a change that the kernel reported.
func (s *Speaker) applyChange(c network.Change) {
	for _, r := range s.routers {
		if r.wantHeld && r.misses(c) {
			r.log.Warn("an address was taken away by someone else; putting it back", "address", c.Prefix,
				"on", c.Interface)
			r.hold(time.Now())
			r.holder.tell(1)
		}
	}
	if s.isVIP(c.Prefix.Addr()) {
		return // our own doing: every renewal of a lease is reported
	}
	for _, i := range s.ifaces {
		if i.name == c.Interface || i.name == c.OldName || c.Kind == network.Resync {
			i.refresh()
		}
	}
}

func (s *Speaker) closeUnused() {
	for name, i := range s.ifaces {
		used := false
		for _, r := range s.routers {
			used = used || r.iface == i
		}
		if !used {
			i.closeConn()
			delete(s.ifaces, name)
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

// misses reports whether the change took one of this router's addresses away.
func (r *router) misses(c network.Change) bool {
	if c.Kind != network.AddressRemoved {
		return false
	}
	return slices.ContainsFunc(r.spec.Addresses, func(a network.Address) bool {
		return a.Interface == c.Interface && a.Prefix.Addr() == c.Prefix.Addr()
	})
}
