package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
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
