package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// release removes what an owner had and has no more, in the order that [Manager.Set]
// describes. What cannot be removed stays with the owner, to be removed the next
// time.
func (m *Manager) release(ctx context.Context, had, has *holding) error {
	if err := ctx.Err(); err != nil {
		has.inherit(had)
		return err
	}
	errs := []error{
		m.releaseRules(had, has),
		m.releaseRoutes(had, has),
		m.releaseLink(had, has),
		m.releaseAddresses(ctx, had, has),
	}
	return errors.Join(errs...)
}

// inherit takes over what another holding has and this one has not.
func (h *holding) inherit(had *holding) {
	if h.link == 0 {
		h.link = had.link
	}
	for k, a := range had.keys {
		if _, has := h.keys[k]; !has {
			h.keys[k] = a
		}
	}
	for _, r := range had.routes {
		if !containsRoute(h.routes, r.routeKey) {
			h.routes = append(h.routes, r)
		}
	}
	for _, r := range had.rules {
		if !slices.Contains(h.rules, r) {
			h.rules = append(h.rules, r)
		}
	}
}

func (m *Manager) releaseAddresses(ctx context.Context, had, has *holding) error {
	var errs []error
	var from []int
	looked := false
	for _, k := range sorted(had.keys) {
		if _, keep := has.keys[k]; keep || m.held(k, has) {
			continue
		}
		if !looked {
			// What is removed must be ours at this moment, not a moment ago.
			clear(m.views)
			looked = true
		}
		err := ctx.Err()
		if err == nil {
			var removed bool
			removed, err = m.remove(k)
			if removed && k.prefix.Addr().Is4() {
				from = append(from, k.index)
			}
		}
		if err != nil {
			errs = append(errs, removeError(k.prefix, had.keys[k].Interface, err))
			has.keys[k] = had.keys[k]
		}
	}
	return errors.Join(append(errs, m.repair(from))...)
}

// sorted returns keys in a stable order, so that the same change makes the same
// calls.
func sorted(keys map[key]Address) []key {
	out := make([]key, 0, len(keys))
	for k := range keys {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b key) int {
		if a.index != b.index {
			return a.index - b.index
		}
		if c := a.prefix.Addr().Compare(b.prefix.Addr()); c != 0 {
			return c
		}
		return a.prefix.Bits() - b.prefix.Bits()
	})
	return out
}

func removeError(prefix netip.Prefix, ifname string, err error) error {
	return fmt.Errorf("remove address %s from %s: %w%s", prefix, ifname, err, remedy(err))
}

// remove deletes an address if it is there and ours.
func (m *Manager) remove(k key) (removed bool, err error) {
	v, err := m.view(k.view())
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, p := range v.addrs[k.prefix.Addr()] {
		// One that is held no longer, on a kernel without marks, has no sign of being
		// ours any more; our having held it until now is the sign.
		unmarked := !m.marking && p.protocol == 0
		if p.prefix == k.prefix && (unmarked || m.ours(k.index, p)) {
			return true, m.delete(k)
		}
	}
	return false, nil
}

// delete deletes an address; one that is gone already is fine.
func (m *Manager) delete(k key) error {
	err := m.handle.AddrDel(nil, &netlink.Addr{IPNet: ipNet(k.prefix), LinkIndex: k.index})
	if err != nil && !gone(err) {
		return err
	}
	if v := m.views[k.view()]; v != nil {
		v.forget(k.prefix)
	}
	return nil
}

// repair puts back what is held and went away beside a removed IPv4 address. With
// promote_secondaries off, the kernel removes with the first one of a subnet all
// others of that subnet, and with the last one of an interface all its routes.
func (m *Manager) repair(interfaces []int) error {
	if len(interfaces) == 0 {
		return nil
	}
	slices.Sort(interfaces)
	var errs []error
	for _, index := range slices.Compact(interfaces) {
		at := viewKey{index: index, v6: false}
		delete(m.views, at)
		v, err := m.view(at)
		if err != nil {
			if !gone(err) {
				errs = append(errs, err)
			}
			continue
		}
		if v.size == 0 {
			m.repairRoutes(key{index, netip.PrefixFrom(netip.IPv4Unspecified(), 0)}, true)
		}
		for _, owner := range m.owners {
			for _, k := range sorted(owner.keys) {
				if k.view() != at || len(v.addrs[k.prefix.Addr()]) > 0 {
					continue
				}
				alone := v.size == 0
				_, err := m.put(owner.keys[k], owner.lease, owner)
				errs = append(errs, err)
				m.repairRoutes(k, alone)
			}
		}
	}
	return errors.Join(errs...)
}
