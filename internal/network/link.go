package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link returns what the kernel knows of an interface. One that is not there is
// an [InterfaceError]. IPv6 addresses that are still checked for duplicates are
// left out, because nothing can be sent from them; Watch reports them when they
// are ready.
func (m *Manager) Link(name string) (Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.handle.LinkByName(name)
	var notFound netlink.LinkNotFoundError
	if errors.As(err, &notFound) {
		return Link{}, &InterfaceError{Name: name}
	}
	if err != nil {
		return Link{}, fmt.Errorf("look at interface %s: %w%s", name, err, remedy(err))
	}
	attrs := l.Attrs()
	out := Link{Name: attrs.Name, Index: attrs.Index, Up: isUp(attrs.RawFlags)}
	copy(out.MAC[:], attrs.HardwareAddr)
	list, err := m.handle.AddrList(l, netlink.FAMILY_ALL)
	if gone(err) {
		return Link{}, &InterfaceError{Name: name} // it went just now
	}
	if err != nil {
		return Link{}, fmt.Errorf("list the addresses of %s: %w%s", name, err, remedy(err))
	}
	for i := range list {
		if p, ok := presentAddress(&list[i]); ok && p.usable {
			out.Addresses = append(out.Addresses, p.prefix)
		}
	}
	return out, nil
}

// isUp: administratively up and with a carrier.
func isUp(flags uint32) bool {
	const both = unix.IFF_UP | unix.IFF_RUNNING
	return flags&both == both
}

// Delivers reports whether the kernel takes packets for the address as its own.
// For IPv6 that begins a moment after the address was set. It is true where the
// kernel cannot be asked.
func (m *Manager) Delivers(addr netip.Addr) bool {
	if addr.IsLinkLocalUnicast() {
		return true // on which link, nobody asked
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	routes, err := m.handle.RouteGet(addr.AsSlice())
	if err != nil || len(routes) == 0 {
		return err != nil && !unreachable(err)
	}
	return routes[0].Type == unix.RTN_LOCAL
}

// unreachable reports that there is no route to an address.
func unreachable(err error) bool {
	return errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH)
}
