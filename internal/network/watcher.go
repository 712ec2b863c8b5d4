package network

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// watcher knows the last state, and reports what differs from it.
type watcher struct {
	report func(Change)
	heard  *heard
	self   uint32 // the port of the manager's own changes
	links  map[int]knownLink
	addrs  map[int]map[netip.Prefix]bool // by interface: usable addresses, and whether they are ours
	routes map[routeKey]kernelRoute      // ours
	rules  map[Rule]bool                 // ours
}

// heard is of what Watch has heard that it is gone, or may be, while Set may
// believe that it is there.
type heard struct {
	addresses atomic.Bool
	routes    atomic.Bool // or rules
}

// take looks at one report of the kernel.
func (w *watcher) take(head syscall.NlMsghdr, data []byte) {
	switch head.Type {
	case unix.RTM_NEWROUTE:
		if k, ok := parseRoute(data); ok && k.protocol == Protocol {
			w.routes[k.routeKey] = k
		}
	case unix.RTM_DELROUTE:
		if k, ok := parseRoute(data); ok && k.protocol == Protocol {
			w.routeGone(k, head.Pid == w.self)
		}
	case unix.RTM_NEWRULE:
		if r, ok := parseRule(data); ok && r.protocol == Protocol {
			w.rules[r.Rule] = true
		}
	case unix.RTM_DELRULE:
		if r, ok := parseRule(data); ok && r.protocol == Protocol {
			w.ruleGone(r.Rule, head.Pid == w.self)
		}
	case unix.RTM_NEWLINK:
		if index, l, ok := parseLink(data); ok {
			w.link(index, l)
		}
	case unix.RTM_DELLINK:
		if index, _, ok := parseLink(data); ok {
			w.linkGone(index)
		}
	case unix.RTM_NEWADDR:
		if index, p, ok := parseAddress(data); ok {
			w.address(index, p)
		}
	case unix.RTM_DELADDR:
		if index, p, ok := parseAddress(data); ok {
			w.addressGone(index, p.prefix)
		}
	}
}

func (w *watcher) routeGone(k kernelRoute, byUs bool) {
	if _, known := w.routes[k.routeKey]; !known {
		return
	}
	delete(w.routes, k.routeKey)
	if byUs {
		return
	}
	w.heard.routes.Store(true)
	ifname := w.links[k.oif].name
	w.report(Change{Kind: RouteRemoved, Interface: ifname, Index: k.oif, Route: k.ourTerms(ifname)})
}

func (w *watcher) ruleGone(r Rule, byUs bool) {
	if !w.rules[r] {
		return
	}
	delete(w.rules, r)
	if byUs {
		return
	}
	w.heard.routes.Store(true)
	w.report(Change{Kind: RuleRemoved, Rule: r})
}

// doubtInterface: IPv4 routes go with their interface, unreported.
func (w *watcher) doubtInterface(index int) {
	for _, k := range w.routes {
		if k.oif == index {
			w.heard.routes.Store(true)
			return
		}
	}
}

// doubtAddress: nor are they reported when they go with an address.
func (w *watcher) doubtAddress(a key) {
	alone := true
	for p := range w.addrs[a.index] {
		alone = alone && !p.Addr().Is4()
	}
	for _, k := range w.routes {
		if k.wentWith(a, alone) {
			w.heard.routes.Store(true)
			return
		}
	}
}

func (w *watcher) link(index int, l knownLink) {
	old, known := w.links[index]
	if known && old.up && !l.up {
		w.doubtInterface(index)
	}
	w.links[index] = l
	if known && old.name != l.name {
		w.report(Change{Kind: LinkGone, Interface: old.name, Index: index})
		w.report(Change{Kind: LinkRenamed, Interface: l.name, Index: index, OldName: old.name})
	}
	switch {
	case l.up && (!known || !old.up):
		w.report(Change{Kind: LinkUp, Interface: l.name, Index: index})
	case !l.up && (!known || old.up):
		w.report(Change{Kind: LinkDown, Interface: l.name, Index: index})
	}
	if known && old.mac != l.mac {
		w.report(Change{Kind: LinkChanged, Interface: l.name, Index: index})
	}
}

func (w *watcher) linkGone(index int) {
	l, known := w.links[index]
	if !known {
		return
	}
	for _, p := range sortedPrefixes(w.addrs[index]) {
		w.addressGone(index, p)
	}
	delete(w.addrs, index)
	delete(w.links, index)
	w.doubtInterface(index)
	w.report(Change{Kind: LinkGone, Interface: l.name, Index: index})
}

func (w *watcher) address(index int, p present) {
	if !p.usable {
		w.addressGone(index, p.prefix) // a duplicate was found
		return
	}
	ours := p.protocol == Protocol
	if was, known := w.addrs[index][p.prefix]; known {
		if was == ours {
			return // renewed
		}
		w.addressGone(index, p.prefix) // someone else has taken it, or we from him
	}
	if w.addrs[index] == nil {
		w.addrs[index] = map[netip.Prefix]bool{}
	}
	w.addrs[index][p.prefix] = ours
	w.report(Change{Kind: AddressAdded, Interface: w.links[index].name, Index: index, Prefix: p.prefix, Ours: ours})
}

func (w *watcher) addressGone(index int, prefix netip.Prefix) {
	ours, known := w.addrs[index][prefix]
	if !known {
		return
	}
	delete(w.addrs[index], prefix)
	w.heard.addresses.Store(true)
	w.doubtAddress(key{index, prefix})
	w.report(Change{Kind: AddressRemoved, Interface: w.links[index].name, Index: index, Prefix: prefix, Ours: ours})
}

// replace takes a whole new state.
func (w *watcher) replace(now everything) {
	if w.links == nil {
		w.links, w.addrs = map[int]knownLink{}, map[int]map[netip.Prefix]bool{}
		w.routes, w.rules = map[routeKey]kernelRoute{}, map[Rule]bool{}
	}
	w.heard.addresses.Store(true)
	w.heard.routes.Store(true)
	w.replaceRoutes(now.routes, now.rules)
	links, addrs := now.links, now.addrs
	exists := map[int]bool{}
	for _, l := range links {
		exists[l.Attrs().Index] = true
	}
	has := map[key]bool{}
	for i := range addrs {
		if p, ok := presentAddress(&addrs[i]); ok && p.usable {
			has[key{addrs[i].LinkIndex, p.prefix}] = true
		}
	}
	// What is gone first: another interface may have its name, or its address, now.
	for _, index := range sortedKeys(w.links) {
		if !exists[index] {
			w.linkGone(index)
		}
	}
	for _, index := range sortedKeys(w.addrs) {
		for _, p := range sortedPrefixes(w.addrs[index]) {
			if !has[key{index, p}] {
				w.addressGone(index, p)
			}
		}
	}
	for _, l := range links {
		a := l.Attrs()
		k := knownLink{name: a.Name, up: isUp(a.RawFlags)}
		copy(k.mac[:], a.HardwareAddr)
		w.link(a.Index, k)
	}
	for i := range addrs {
		if p, ok := presentAddress(&addrs[i]); ok && p.usable {
			w.address(addrs[i].LinkIndex, p)
		}
	}
}

func (w *watcher) replaceRoutes(routes []kernelRoute, rules []Rule) {
	there := map[routeKey]bool{}
	for _, k := range routes {
		there[k.routeKey] = true
	}
	for _, k := range w.routes {
		if !there[k.routeKey] {
			w.routeGone(k, false)
		}
	}
	for _, k := range routes {
		w.routes[k.routeKey] = k
	}
	for r := range w.rules {
		if !slices.Contains(rules, r) {
			w.ruleGone(r, false)
		}
	}
	for _, r := range rules {
		w.rules[r] = true
	}
}

func sortedKeys[V any](m map[int]V) []int {
	out := make([]int, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sortedPrefixes(m map[netip.Prefix]bool) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(m))
	for p := range m {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return out
}
