package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// release removes what an owner had and has no more. What cannot be removed
// stays with the owner, to be removed the next time.
func (m *Manager) release(ctx context.Context, had, has *holding) error {
	if had == nil {
		return nil
	}
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
			if removed, err = m.remove(k); removed && k.prefix.Addr().Is4() {
				from = append(from, k.index)
			}
		}
		if err != nil {
			errs = append(errs, removeError(k.prefix, had.keys[k], err))
			has.keys[k] = had.keys[k]
		}
	}
	return errors.Join(append(errs, m.repair(from))...)
}

// sorted returns keys in a stable order, so that the same change makes the same
// calls.
func sorted(keys map[key]string) []key {
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

// repair puts back the held addresses that went away beside a removed one. With
// promote_secondaries off, the kernel removes with the first IPv4 address of a
// subnet all others of that subnet.
func (m *Manager) repair(interfaces []int) error {
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
		for _, owner := range m.owners {
			for _, k := range sorted(owner.keys) {
				if k.view() != at || len(v.addrs[k.prefix.Addr()]) > 0 {
					continue
				}
				_, err := m.put(Address{Prefix: k.prefix, Interface: owner.keys[k]}, owner.lease)
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// Remove deletes those of the addresses that carry our mark, whoever set them.
// It is for a process that cleans up after another one. An address that is not
// there, or not ours, is no error.
func (m *Manager) Remove(ctx context.Context, addresses []Address) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.views)
	var errs []error
	for _, a := range addresses {
		if err := ctx.Err(); err != nil {
			errs = append(errs, fmt.Errorf("remove addresses: %w", err))
			break
		}
		prefix, ok := normal(a.Prefix)
		index, err := m.index(a.Interface)
		if !ok || gone(err) {
			continue
		}
		if err == nil {
			err = m.removeMarked(key{index, prefix})
		}
		if err != nil {
			errs = append(errs, removeError(a.Prefix, a.Interface, err))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) removeMarked(k key) error {
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

// Sweep removes the addresses that carry our mark, that no owner holds and that
// wanted (nil: nothing) does not want: what a crash left behind. It returns what
// it removed.
func (m *Manager) Sweep(ctx context.Context, wanted func(Address) bool) ([]Address, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.views)
	all, err := m.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("look for addresses left by a predecessor: %w%s", err, remedy(err))
	}
	var removed []Address
	var errs []error
	var from []int
	for i := range all {
		p, ok := presentAddress(&all[i])
		if !ok || p.protocol != Protocol {
			continue
		}
		k := key{all[i].LinkIndex, p.prefix}
		name, err := m.name(k.index)
		if gone(err) {
			continue // and its addresses with it
		}
		a := Address{Prefix: p.prefix, Interface: name}
		if m.held(k, nil) || (wanted != nil && wanted(a)) {
			continue
		}
		if err := errors.Join(ctx.Err(), m.delete(k)); err != nil {
			errs = append(errs, removeError(a.Prefix, a.Interface, err))
			continue
		}
		removed = append(removed, a)
		if p.prefix.Addr().Is4() {
			from = append(from, k.index)
		}
	}
	return removed, errors.Join(append(errs, m.repair(from))...)
}
