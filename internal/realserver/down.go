package realserver

import (
	"fmt"
	"net/netip"
	"slices"

	"baton/internal/network"
)

// planDown returns what has to be undone when VIPs are not wanted any more:
// everything that was done for them and that no other VIP needs. What somebody else
// has changed or uses by now is left and noted.
func planDown(vips []netip.Addr, f Found, r Record) plan {
	p := plan{record: r, found: f}
	var known []netip.Addr
	for _, vip := range vips {
		if p.knows(vip) {
			known = append(known, vip)
		} else {
			p.note("%s is not set up here", vip)
		}
	}
	p.record.VIPs = slices.DeleteFunc(slices.Clone(r.VIPs), func(s Spec) bool { return slices.Contains(known, s.VIP) })
	needed := map[string]bool{}
	for _, s := range p.record.VIPs {
		for _, id := range s.needs() {
			needed[id] = true
		}
	}
	p.orphans(known)
	going := map[string]bool{} // interfaces that will be removed
	for _, s := range r.Done {
		going[s.Interface] = going[s.Interface] || (s.Op == Create && !needed[s.id()])
	}
	for _, s := range slices.Backward(r.Done) {
		if !needed[s.id()] {
			p.take(s, going)
		}
	}
	return p
}

// knows reports whether there is anything of a VIP.
func (p *plan) knows(vip netip.Addr) bool {
	_, ok := p.record.find(Spec{VIP: vip})
	return ok || slices.ContainsFunc(p.found.at(vip), marked)
}

// needs are the ids of the steps that a VIP rests on.
func (s Spec) needs() []string {
	steps := []Step{s.addStep()}
	for _, k := range s.settings() {
		steps = append(steps, Step{Op: Set, Key: k.key()})
	}
	if s.Forward == TUN {
		steps = append(steps, Step{Op: Up, Interface: s.Device}, Step{Op: Create, Interface: s.Device})
	}
	if s.Tunnel == GUE {
		steps = append(steps, Step{Op: Open, Port: s.Port, Outer: s.Outer})
	}
	var ids []string
	for _, step := range steps {
		ids = append(ids, step.id())
	}
	return ids
}

// orphans removes our addresses that the record does not know, because it was
// lost: what was before them is not known any more.
func (p *plan) orphans(vips []netip.Addr) {
	for _, vip := range vips {
		for _, a := range p.found.at(vip) {
			s := Step{Op: Delete, Address: a.Prefix, Interface: a.Interface}
			if marked(a) && !p.record.did(s) {
				p.do(s)
				p.note("there is no record of what was before %s was set up: kernel settings, tunnel interfaces and ports are left as they are",
					vip)
			}
		}
	}
}

// take plans to undo one step, if there is anything to undo.
func (p *plan) take(s Step, going map[string]bool) {
	back, can := s.undo()
	drop := func() {
		p.record.Done = slices.DeleteFunc(slices.Clone(p.record.Done), func(d Step) bool { return d.id() == s.id() })
	}
	if !can || p.found.undone(s) || goesWith(s, going) {
		drop()
		return
	}
	if why := p.found.keeps(s); why != "" {
		p.note("%s", why)
		drop()
		return
	}
	p.steps = append(p.steps, back)
	p.found = p.found.with(back)
	drop()
}

// goesWith reports whether what a step changed goes with one of the interfaces.
func goesWith(s Step, going map[string]bool) bool {
	for name, goes := range going {
		if goes && (s.Op == Up && s.Interface == name || s.Op == Set && s.Key == confKey(name, leafOf(s.Key))) {
			return true
		}
	}
	return false
}

// undone reports whether a step's effect is not there (any more).
func (f Found) undone(s Step) bool {
	i, there := f.Interfaces[s.Interface]
	switch s.Op {
	case Create:
		return !there
	case Up:
		return !there || !i.Up
	case Set:
		now, ok := f.Sysctls[s.Key]
		return !ok || now == s.From
	case Open:
		return !slices.Contains(f.Ports, network.ReceivePort{Port: s.Port, IPv6: s.Outer == Inet6})
	case Add:
		return !slices.ContainsFunc(f.Addresses, func(a network.HostAddress) bool {
			return a.Prefix == s.Address && a.Interface == s.Interface
		})
	}
	return true
}

// keeps says why a step is not undone although its effect is there.
func (f Found) keeps(s Step) string {
	switch s.Op {
	case Set:
		if now := f.Sysctls[s.Key]; now != s.To {
			return fmt.Sprintf("%s is left at %s: it was %s before, and somebody else has changed it since", spell(s.Key), now, s.From)
		}
	case Create, Up:
		for _, a := range f.Addresses {
			if a.Interface == s.Interface && !byKernel(a.Prefix) {
				return fmt.Sprintf("interface %s is left as it is: somebody else uses it by now, it has the address %s", s.Interface, a.Prefix)
			}
		}
		if i := f.Interfaces[s.Interface]; s.Op == Create && i.Alias != alias {
			return fmt.Sprintf("interface %s is left: it is not the one that baton made", s.Interface)
		}
	case Add:
		for _, a := range f.Addresses {
			if a.Prefix == s.Address && a.Interface == s.Interface && a.Mark != Mark && (a.Mark != 0 || f.Marks) {
				return fmt.Sprintf("address %s on %s is left: somebody else has set it since", s.Address, s.Interface)
			}
		}
	}
	return ""
}

// byKernel reports whether the kernel gives such an address to a tunnel interface
// by itself: a link-local one, or, to sit0, the IPv4 addresses of this host in
// ::/96 (RFC 4291 section 2.5.5.1).
func byKernel(p netip.Prefix) bool {
	a := p.Addr()
	return a.Is6() && (a.IsLinkLocalUnicast() || netip.PrefixFrom(netip.IPv6Unspecified(), 96).Contains(a))
}
