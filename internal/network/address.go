package network

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// put adds an address, or renews its lease.
func (m *Manager) put(a Address, lease time.Duration, had *holding) (key, error) {
	prefix, ok := normal(a.Prefix)
	if !ok {
		return key{}, fmt.Errorf("set address %s on %s: it is not an address with a prefix length", a.Prefix, a.Interface)
	}
	index, err := m.index(a.Interface)
	if err != nil {
		return key{}, fmt.Errorf("set address %s on %s: %w", a.Prefix, a.Interface, err)
	}
	k := key{index, prefix}
	err = m.write(k, a, lease, had)
	if errors.Is(err, unix.EEXIST) {
		// It came after we looked. Look again.
		delete(m.views, k.view())
		err = m.write(k, a, lease, had)
	}
	var foreign *ForeignError
	if err != nil && !errors.As(err, &foreign) {
		err = fmt.Errorf("set address %s on %s: %w%s", a.Prefix, a.Interface, err, remedy(err))
	}
	return k, err
}

// write brings one address into its state.
func (m *Manager) write(k key, a Address, lease time.Duration, had *holding) error {
	v, err := m.view(k.view())
	if err != nil {
		return err
	}
	var found *present
	for _, p := range v.addrs[k.prefix.Addr()] {
		exact := p.prefix == k.prefix
		switch {
		case !m.ours(k.index, p):
			// With another prefix length too: after the release it would still be there.
			return &ForeignError{Address: a, Present: p.prefix.String()}
		case exact && p.label == a.label() || exact && m.held(k, had):
			if lease <= 0 && p.permanent {
				return nil
			}
			found = &p
		case exact || k.prefix.Addr().Is6():
			// The kernel cannot change a label. For IPv6 it identifies an address without
			// its prefix length and cannot change that; IPv4 has both for a moment.
			if err := m.delete(key{k.index, p.prefix}); err != nil {
				return fmt.Errorf("take away %s first: %w", p.prefix, err)
			}
		}
	}
	covered, err := m.covered(k, v, found)
	if err != nil {
		return err
	}
	addr := kernelAddress(k, lease, covered)
	addr.Label = a.label()
	if found != nil {
		err = m.handle.AddrReplace(nil, addr)
	} else {
		// Adding fails where replacing would take over what someone else has set in
		// this moment.
		err = m.handle.AddrAdd(nil, addr)
		m.doubtRoutes(k, v.size == 0)
	}
	if err == nil {
		v.note(present{prefix: k.prefix, label: a.label(), protocol: Protocol, permanent: lease <= 0, routed: !covered})
	}
	return err
}

// label returns the label that the kernel has for an address; IPv6 has none.
func (a Address) label() string {
	switch {
	case a.Prefix.Addr().Unmap().Is6():
		return ""
	case a.Label == "":
		return a.Interface
	}
	return a.Label
}

// covered reports whether the address's network is reached without it. A route
// to the network that came with the address would then be a second one: for
// IPv6 it would get the lease's lifetime and, where a router's advertisement
// made it, end with the VIP, and the host would be cut off from its own network
// until the next advertisement; and on a virtual link it would draw the host's
// traffic away from the parent. Such an address of an IPv4 network is so for
// good: the kernel does not change it.
func (m *Manager) covered(k key, v *view, found *present) (bool, error) {
	link := m.links[k.index]
	switch {
	case link == nil:
		return v.routed[k.prefix.Masked()], nil
	case found != nil:
		return !found.routed, nil
	case k.prefix.Addr().IsLinkLocalUnicast():
		return false, nil // each interface has that network, and answers go back on it
	}
	above, err := m.view(viewKey{link.parent, k.prefix.Addr().Is6()})
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list the addresses of %s: %w", link.Parent, err)
	}
	for _, list := range above.addrs {
		for _, p := range list {
			if p.routed && p.protocol != Protocol && p.prefix.Contains(k.prefix.Addr()) {
				return true, nil
			}
		}
	}
	return false, nil
}

// ours reports whether we set an address that is there. A kernel before 5.18
// keeps no mark; there, it is ours if an owner holds it.
func (m *Manager) ours(index int, p present) bool {
	switch p.protocol {
	case Protocol:
		m.marking = true
		return true
	case 0:
		return !m.marking && m.held(key{index, p.prefix}, nil)
	}
	return false
}

// held reports whether an owner, other than one, holds an address.
func (m *Manager) held(k key, except *holding) bool {
	for _, h := range m.owners {
		if _, ok := h.keys[k]; ok && h != except {
			return true
		}
	}
	return false
}
