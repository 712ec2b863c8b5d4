package network

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// putRoute sets a route, unless it is there.
func (m *Manager) putRoute(r Route, had, has *holding) (kernelRoute, error) {
	k, err := r.kernelTerms()
	if err == nil && r.Interface != "" {
		k.oif, err = m.index(r.Interface)
	}
	if err == nil {
		err = m.routeClash(k, had, has)
	}
	if err == nil {
		err = unix.EEXIST
		if !m.seenRoutes.has(k.v6()) && !containsRoute(had.routes, k.routeKey) {
			// A takeover: most likely it is not there, and looking may take long.
			err = m.requestRoute(k, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
		}
		if errors.Is(err, unix.EEXIST) {
			err = m.writeRoute(r, k)
		}
		if errors.Is(err, unix.EEXIST) {
			// It came after we looked. Look again.
			m.seenRoutes = looks[kernelRoute]{}
			if err = m.writeRoute(r, k); errors.Is(err, unix.EEXIST) {
				err = &ForeignRouteError{Route: r}
			}
		}
	}
	var foreign *ForeignRouteError
	if err != nil && !errors.As(err, &foreign) {
		err = fmt.Errorf("set route %s: %w%s", r, err, routeRemedy(err, r))
	}
	return k, err
}

// routeClash reports another owner's route in the same place: setting both would
// replace one by the other for ever.
func (m *Manager) routeClash(k kernelRoute, had, has *holding) error {
	for _, h := range m.owners {
		if h != had && clash(h.routes, k) {
			return fmt.Errorf("another router has a different one to %s with metric %d in table %d: give one another metric or table",
				k.to, k.metric, k.table)
		}
	}
	if clash(has.routes, k) {
		return errors.New("the router has two for this destination: give one another metric or table")
	}
	return nil
}

func clash(list []kernelRoute, k kernelRoute) bool {
	return slices.ContainsFunc(list, func(o kernelRoute) bool { return o.routeKey == k.routeKey && o != k })
}

// writeRoute brings one route into its state. EEXIST: what is in its place is
// not ours.
func (m *Manager) writeRoute(r Route, k kernelRoute) error {
	seen, err := m.seenRoutes.get(k.v6(), m.conn.routes)
	if err != nil {
		return fmt.Errorf("look at the routes: %w", err)
	}
	flags := unix.NLM_F_CREATE | unix.NLM_F_EXCL
	for _, there := range seen.list {
		if k.same(there) {
			return nil
		}
		if k.routeKey == there.routeKey {
			flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE // ours, as it was wanted before
		}
	}
	if err := m.requestRoute(k, flags); err != nil {
		return err
	}
	if r.Interface == "" {
		m.seenRoutes = looks[kernelRoute]{} // the kernel knows the interface
		return nil
	}
	forgetRoute(seen, k.routeKey)
	k.protocol = Protocol
	seen.list = append(seen.list, k)
	return nil
}

func (m *Manager) requestRoute(k kernelRoute, flags int) error {
	head, attrs := k.message()
	return m.conn.do(unix.RTM_NEWROUTE, flags, head, attrs...)
}

// releaseRoutes removes, last first, the routes that an owner had and has no
// more. The kernel compares the mark: a route that someone else has set in its
// place stays.
func (m *Manager) releaseRoutes(had, has *holding) error {
	var errs []error
	for i := len(had.routes) - 1; i >= 0; i-- {
		k := had.routes[i]
		if containsRoute(has.routes, k.routeKey) || m.routeHeld(k, has) {
			continue
		}
		if err := m.deleteRoute(k); err != nil {
			errs = append(errs, m.routeError(k, err))
			has.routes = append(has.routes, k) // to be removed the next time
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) routeError(k kernelRoute, err error) error {
	ifname, _ := m.name(k.oif) // without it, the rest says enough
	return fmt.Errorf("remove route %s: %w%s", k.ourTerms(ifname), err, remedy(err))
}

func (m *Manager) routeHeld(k kernelRoute, except *holding) bool {
	for _, h := range m.owners {
		if h != except && containsRoute(h.routes, k.routeKey) {
			return true
		}
	}
	return false
}

func containsRoute(list []kernelRoute, k routeKey) bool {
	return slices.ContainsFunc(list, func(o kernelRoute) bool { return o.routeKey == k })
}

// deleteRoute deletes a route that carries our mark; one that is gone is fine.
func (m *Manager) deleteRoute(k kernelRoute) error {
	head, attrs := k.message()
	err := m.conn.do(unix.RTM_DELROUTE, 0, head, attrs...)
	if err != nil && !gone(err) {
		return err
	}
	for _, seen := range m.seenRoutes {
		if seen != nil {
			forgetRoute(seen, k.routeKey)
		}
	}
	return nil
}

// wentWith reports whether a route goes when an address goes: the kernel removes
// those that have it as their source, or, for IPv6, takes their source from them.
// With the last IPv4 address of an interface (alone) it removes all its routes.
func (k kernelRoute) wentWith(a key, alone bool) bool {
	return k.source == a.prefix.Addr() || (alone && k.oif == a.index && !k.v6() && a.prefix.Addr().Is4())
}

// doubtRoutes forgets the routes that may have gone with an address.
func (m *Manager) doubtRoutes(a key, alone bool) {
	for _, seen := range m.seenRoutes {
		if seen != nil {
			seen.list = slices.DeleteFunc(seen.list, func(k kernelRoute) bool { return k.wentWith(a, alone) })
		}
	}
}

// repairRoutes puts back the routes that went with an address. One that cannot be
// put back misses something that others took away; its owner hears of that from
// Watch, and of the error when it sets its state again.
func (m *Manager) repairRoutes(a key, alone bool) {
	m.doubtRoutes(a, alone)
	for _, h := range m.owners {
		for _, k := range h.routes {
			if k.wentWith(a, alone) {
				ifname, _ := m.name(k.oif)
				_ = m.writeRoute(k.ourTerms(ifname), k)
			}
		}
	}
}

// forgetRoute forgets a route that was removed or replaced.
func forgetRoute(seen *look[kernelRoute], k routeKey) {
	seen.list = slices.DeleteFunc(seen.list, func(there kernelRoute) bool { return there.routeKey == k })
}
