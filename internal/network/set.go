package network

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Set makes the kernel have what an owner wants: it adds what is missing, renews
// every lease, and removes what the owner had before and wants no more; an empty
// state releases everything. It can be repeated at any time: what is in place is
// not written again, but for leases. It restores what someone else removed, and
// adopts what an earlier process left.
//
// The order is that in which one thing rests on another: the link, its addresses,
// routes that have them as their source, rules that lead to the routes' table;
// back the other way when they are released.
//
// What someone else set is left alone and reported as a [ForeignError] or one of
// its siblings, a missing interface as an [InterfaceError]. One failure does not
// stop the rest; the errors are joined.
//
// What two owners want stays until the second one releases it.
func (m *Manager) Set(ctx context.Context, owner string, want State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refresh()
	had := m.owners[owner]
	if had == nil {
		had = &holding{}
	}
	s := setting{m: m, ctx: ctx, owner: owner, want: want, had: had}
	s.has = &holding{lease: want.Lease, keys: make(map[key]Address, len(want.Addresses))}
	s.putLink()
	s.putAddresses()
	s.putRoutes()
	s.putRules()
	m.owners[owner] = s.has
	s.fail(m.release(ctx, had, s.has))
	if s.has.empty() {
		delete(m.owners, owner)
	}
	return errors.Join(s.errs...)
}

// refresh forgets what is too old to rely on.
func (m *Manager) refresh() {
	m.refreshViews()
	m.seenRoutes.refresh()
	m.seenRules.refresh()
	unwatched := !m.watching.Load()
	if m.heard.addresses.Swap(false) || unwatched {
		clear(m.views)
	}
	if m.heard.routes.Swap(false) || unwatched {
		m.seenRoutes, m.seenRules = looks[kernelRoute]{}, looks[kernelRule]{}
	}
}

// setting is one Set under way.
type setting struct {
	m     *Manager
	ctx   context.Context
	owner string
	want  State
	had   *holding
	has   *holding
	errs  []error
	// refused is the name of the link if it cannot be used. The reason stands
	// among the errors; those that follow from it are not added.
	refused string
}

func (s *setting) fail(err error) {
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

// ended reports whether the context has, with a first error about it.
func (s *setting) ended() bool {
	err := s.ctx.Err()
	if err != nil && !errors.Is(errors.Join(s.errs...), err) {
		s.fail(fmt.Errorf("set what %s wants: %w", s.owner, err))
	}
	return err != nil
}

// keep reports whether something that could not be set is held all the same:
// nothing that we had is given up because its renewal failed.
func keep(err error, had bool) bool {
	return err == nil || (had && !errors.Is(err, ErrForeign))
}

func (s *setting) putLink() {
	if s.want.Link == nil || s.ended() {
		if s.want.Link != nil {
			s.has.link = s.had.link
		}
		return
	}
	v, err := s.m.ensureLink(*s.want.Link, s.had)
	s.fail(err)
	if v == nil {
		s.refused = s.want.Link.Name
		if keep(err, true) {
			s.has.link = s.had.link
		}
		return
	}
	s.has.link = v.index
	if slices.ContainsFunc(s.want.Addresses, func(a Address) bool { return a.Interface == v.Name }) {
		s.fail(s.m.setUp(v, true))
	}
}

func (s *setting) putAddresses() {
	for _, a := range s.want.Addresses {
		if s.ended() {
			return
		}
		if a.Interface == s.refused {
			continue
		}
		k, err := s.m.put(a, s.want.Lease, s.had)
		s.fail(err)
		if _, had := s.had.keys[k]; keep(err, had) {
			s.has.keys[k] = a
		}
	}
}

func (s *setting) putRoutes() {
	for _, r := range s.want.Routes {
		if s.ended() {
			return
		}
		if r.Interface != "" && r.Interface == s.refused {
			continue
		}
		k, err := s.m.putRoute(r, s.had, s.has)
		s.fail(err)
		if keep(err, containsRoute(s.had.routes, k.routeKey)) && !slices.Contains(s.has.routes, k) {
			s.has.routes = append(s.has.routes, k)
		}
	}
}

func (s *setting) putRules() {
	for _, want := range s.want.Rules {
		if s.ended() {
			return
		}
		r, err := s.m.putRule(want)
		s.fail(err)
		if keep(err, slices.Contains(s.had.rules, r)) && !slices.Contains(s.has.rules, r) {
			s.has.rules = append(s.has.rules, r)
		}
	}
}
