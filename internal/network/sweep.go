package network

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
)

// Remove deletes what the states name and carries our mark, whoever set it. It is
// for a process that cleans up after another one. What is not there, or not ours,
// is no error. Addresses go first, with the links that they are on: the sooner
// they are gone, the shorter there are two owners; a route left for a moment does
// no harm.
func (m *Manager) Remove(ctx context.Context, states ...State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.views)
	var errs []error
	var parents []int
	for _, s := range states {
		if s.Link != nil {
			parent, err := m.removeMarkedLink(s.Link.Name)
			errs = append(errs, err)
			if parent != 0 {
				parents = append(parents, parent)
			}
		}
	}
	for _, s := range states {
		for _, a := range s.Addresses {
			if err := ctx.Err(); err != nil {
				return errors.Join(append(errs, fmt.Errorf("remove addresses: %w", err))...)
			}
			if err := m.removeMarked(a); err != nil {
				errs = append(errs, removeError(a.Prefix, a.Interface, err))
			}
		}
	}
	for _, s := range states {
		errs = append(errs, m.removeMarkedRules(s.Rules), m.removeMarkedRoutes(s.Routes))
	}
	return errors.Join(append(errs, m.leaveParents(parents...))...)
}

// removeMarkedLink deletes a link of ours and returns its parent's index.
func (m *Manager) removeMarkedLink(name string) (int, error) {
	index, err := m.index(name)
	var l netlink.Link
	if err == nil {
		l, err = m.handle.LinkByIndex(index)
	}
	if gone(err) || (err == nil && !isOurs(l)) {
		return 0, nil
	}
	if err == nil {
		m.learnParent(l.Attrs().ParentIndex, l.Attrs().Alias)
		err = m.deleteLink(index)
	}
	if err != nil {
		return 0, fmt.Errorf("remove interface %s: %w%s", name, err, linkRemedy(err))
	}
	return l.Attrs().ParentIndex, nil
}

func (m *Manager) removeMarked(a Address) error {
	prefix, ok := normal(a.Prefix)
	index, err := m.index(a.Interface)
	if !ok || gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	k := key{index, prefix}
	v, err := m.view(k.view())
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range v.addrs[k.prefix.Addr()] {
		if p.prefix == k.prefix && p.protocol == Protocol {
			return m.delete(k)
		}
	}
	return nil
}

func (m *Manager) removeMarkedRules(rules []Rule) error {
	var errs []error
	for _, want := range slices.Backward(rules) {
		r, err := want.kernelTerms()
		if err != nil {
			continue // it could never be set
		}
		if err := m.removeRule(r); err != nil {
			errs = append(errs, fmt.Errorf("remove rule %s: %w%s", want, err, remedy(err)))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) removeMarkedRoutes(routes []Route) error {
	var errs []error
	for _, r := range slices.Backward(routes) {
		k, err := r.kernelTerms()
		if err == nil && r.Interface != "" {
			k.oif, err = m.index(r.Interface)
		}
		if err != nil {
			continue // it could never be set, or is gone with its interface
		}
		if err := m.deleteRoute(k); err != nil {
			errs = append(errs, m.routeError(k, err))
		}
	}
	return errors.Join(errs...)
}

// Sweep removes what carries our mark and no owner holds: what a crash left
// behind. It returns, for the log, what it removed.
func (m *Manager) Sweep(ctx context.Context) (removed []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.views)
	m.seenRoutes, m.seenRules = looks[kernelRoute]{}, looks[kernelRule]{}
	s := sweep{m: m, ctx: ctx}
	s.rules()
	s.routes()
	s.links()
	s.addresses()
	return s.removed, errors.Join(s.errs...)
}

// sweep is one Sweep under way.
type sweep struct {
	m       *Manager
	ctx     context.Context
	removed []string
	errs    []error
}

func (s *sweep) look(what string, err error) {
	s.errs = append(s.errs, fmt.Errorf("look for %s left by a predecessor: %w%s", what, err, remedy(err)))
}

// remove removes one thing and notes the outcome.
func (s *sweep) remove(what string, remove func() error) {
	err := s.ctx.Err()
	if err == nil {
		err = remove()
	}
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("remove %s, left by a predecessor: %w%s", what, err, remedy(err)))
		return
	}
	s.removed = append(s.removed, what)
}

func (s *sweep) rules() {
	for _, v6 := range []bool{false, true} {
		all, err := s.m.conn.rules(v6)
		if err != nil {
			s.look("rules", err)
			continue
		}
		for _, there := range all {
			held := func(r Rule) bool { return r.same(there) }
			if there.protocol != Protocol || there.other ||
				s.m.anyOwner(func(h *holding) bool { return slices.ContainsFunc(h.rules, held) }) {
				continue
			}
			s.remove("rule "+there.Rule.String(), func() error { return s.m.removeRule(there.Rule) })
		}
	}
}

func (s *sweep) routes() {
	for _, v6 := range []bool{false, true} {
		all, err := s.m.conn.routes(v6)
		if err != nil {
			s.look("routes", err)
			continue
		}
		for _, there := range all {
			if there.other || s.m.routeHeld(there, nil) {
				continue
			}
			ifname, _ := s.m.name(there.oif)
			s.remove("route "+there.ourTerms(ifname).String(), func() error { return s.m.deleteRoute(there) })
		}
	}
}

func (s *sweep) links() {
	all, err := s.m.handle.LinkList()
	if err != nil {
		s.look("interfaces", err)
		return
	}
	var parents []int
	for _, l := range all {
		a := l.Attrs()
		if !isOurs(l) || s.m.anyOwner(func(h *holding) bool { return h.link == a.Index }) {
			continue
		}
		s.m.learnParent(a.ParentIndex, a.Alias)
		s.remove("interface "+a.Name, func() error {
			parents = append(parents, a.ParentIndex)
			return s.m.deleteLink(a.Index)
		})
	}
	if err := s.m.leaveParents(parents...); err != nil {
		s.errs = append(s.errs, err)
	}
}

func (s *sweep) addresses() {
	all, err := s.m.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		s.look("addresses", err)
		return
	}
	var from []int
	for i := range all {
		p, ok := presentAddress(&all[i])
		k := key{all[i].LinkIndex, p.prefix}
		if !ok || p.protocol != Protocol || s.m.held(k, nil) {
			continue
		}
		name, err := s.m.name(k.index)
		if gone(err) {
			continue // and its addresses with it
		}
		s.remove("address "+p.prefix.String()+" on "+name, func() error {
			if p.prefix.Addr().Is4() {
				from = append(from, k.index)
			}
			return s.m.delete(k)
		})
	}
	if err := s.m.repair(from); err != nil {
		s.errs = append(s.errs, err)
	}
}

func (m *Manager) anyOwner(f func(*holding) bool) bool {
	for _, h := range m.owners {
		if f(h) {
			return true
		}
	}
	return false
}
