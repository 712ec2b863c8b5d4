package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Manager changes the kernel's addresses. It is safe for concurrent use.
type Manager struct {
	log *slog.Logger

	mu      sync.Mutex
	handle  *netlink.Handle
	ioctl   int // a socket for questions about interfaces
	owners  map[string]*holding
	views   map[viewKey]*view
	marking bool // the kernel keeps marks

	watching atomic.Bool
	events   *events
	lists    *netlink.Handle // for Watch: a long dump must not hold up Set
}

// holding is what one owner has on the interfaces.
type holding struct {
	lease time.Duration
	keys  map[key]string // and the interface's name when it was set
}

// key is an address as the kernel identifies it.
type key struct {
	index  int // of the interface
	prefix netip.Prefix
}

// Open connects to the kernel, in the network namespace of the calling thread.
// Changing anything needs CAP_NET_ADMIN.
func Open(log *slog.Logger) (*Manager, error) {
	nl.EnableErrorMessageReporting = true // the kernel's own words, where it has some
	m := &Manager{log: log, ioctl: -1, owners: map[string]*holding{}, views: map[viewKey]*view{}, marking: keepsMarks()}
	var err error
	if m.handle, err = openHandle(); err == nil {
		m.lists, err = openHandle()
	}
	if err == nil {
		m.events, err = openEvents()
	}
	if err == nil {
		m.ioctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		err = os.NewSyscallError("socket", err)
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("open the netlink sockets for addresses: %w%s", err, remedy(err))
	}
	return m, nil
}

// keepsMarks reports whether the kernel is 5.18 or newer. Distributions have
// given the mark to older ones; that shows when the first one is read back.
func keepsMarks() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 5 || (major == 5 && minor >= 18))
}

func openHandle() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	// A dump during a change would otherwise be incomplete, with an error.
	h = h.RetryInterrupted().DisableVFInfoCollection()
	// Strict checking makes the kernel obey the interface given with a dump of
	// addresses (since 4.20); without it every dump is of all interfaces.
	return h, errors.Join(h.SetStrictCheck(true), h.SetSocketTimeout(10*time.Second))
}

// Close closes the connection to the kernel. The addresses stay. A Watch must
// have ended before.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range []*netlink.Handle{m.handle, m.lists} {
		if h != nil {
			_ = h.Close()
		}
	}
	if m.events != nil {
		_ = m.events.file.Close()
	}
	if m.ioctl >= 0 {
		_ = unix.Close(m.ioctl)
		m.ioctl = -1
	}
}

// Set makes the addresses of an owner those of want: it adds what is missing,
// renews every lease, and removes what the owner had before and wants no more;
// an empty state releases everything. It can be repeated at any time: without a
// lease, what is in place is not written again. It restores what someone else
// removed, and adopts what an earlier process left.
//
// An address that someone else set is left alone and reported as a
// [ForeignError], a missing interface as an [InterfaceError]. One failed address
// does not stop the others; the errors are joined.
//
// An address that two owners want stays until the second one releases it.
func (m *Manager) Set(ctx context.Context, owner string, want State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refresh()
	had := m.owners[owner]
	has := &holding{lease: want.Lease, keys: make(map[key]string, len(want.Addresses))}

	var errs []error
	for _, a := range want.Addresses {
		if err := ctx.Err(); err != nil {
			errs = append(errs, fmt.Errorf("set the addresses of %s: %w", owner, err))
			break
		}
		k, err := m.put(a, want.Lease)
		if err != nil {
			errs = append(errs, err)
			// Nothing that we had is given up because its renewal failed.
			if had == nil || had.keys[k] == "" || errors.Is(err, ErrForeign) {
				continue
			}
		}
		has.keys[k] = a.Interface
	}
	m.owners[owner] = has
	errs = append(errs, m.release(ctx, had, has))
	if len(has.keys) == 0 {
		delete(m.owners, owner)
	}
	return errors.Join(errs...)
}

// put adds an address, or renews its lease.
func (m *Manager) put(a Address, lease time.Duration) (key, error) {
	prefix, ok := normal(a.Prefix)
	if !ok {
		return key{}, fmt.Errorf("set address %s on %s: it is not an address with a prefix length", a.Prefix, a.Interface)
	}
	index, err := m.index(a.Interface)
	if err != nil {
		return key{}, fmt.Errorf("set address %s on %s: %w", a.Prefix, a.Interface, err)
	}
	k := key{index, prefix}
	err = m.write(k, a, lease)
	if errors.Is(err, unix.EEXIST) {
		// It came after we looked. Look again.
		delete(m.views, k.view())
		err = m.write(k, a, lease)
	}
	var foreign *ForeignError
	if err != nil && !errors.As(err, &foreign) {
		err = fmt.Errorf("set address %s on %s: %w%s", a.Prefix, a.Interface, err, remedy(err))
	}
	return k, err
}

// write brings one address into its state.
func (m *Manager) write(k key, a Address, lease time.Duration) error {
	v, err := m.view(k.view())
	if err != nil {
		return err
	}
	found := false
	for _, p := range v.addrs[k.prefix.Addr()] {
		exact := p.prefix == k.prefix
		switch {
		case !m.ours(k.index, p):
			// With another prefix length too: after the release it would still be there.
			return &ForeignError{Address: a, Present: p.prefix.String()}
		case exact && lease <= 0 && p.permanent:
			return nil
		case exact:
			found = true
		case k.prefix.Addr().Is6():
			// For IPv6 the kernel identifies an address without its prefix length and
			// cannot change that; IPv4 has both for a moment.
			if err := m.delete(key{k.index, p.prefix}); err != nil {
				return fmt.Errorf("take away %s first: %w", p.prefix, err)
			}
		}
	}
	addr := kernelAddress(k, lease, v.routed[k.prefix.Masked()])
	if found {
		err = m.handle.AddrReplace(nil, addr)
	} else {
		// Adding fails where replacing would take over what someone else has set in
		// this moment.
		err = m.handle.AddrAdd(nil, addr)
	}
	if err == nil {
		v.note(present{prefix: k.prefix, protocol: Protocol, permanent: lease <= 0})
	}
	return err
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
