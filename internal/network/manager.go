package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrForeign means that an address is on the interface already and was not set
// by baton. It is left alone.
var ErrForeign = errors.New("was set by someone else")

// Manager changes the kernel's addresses. It is safe for concurrent use.
type Manager struct {
	log *slog.Logger

	mu     sync.Mutex
	handle *netlink.Handle
	owned  map[string]map[Address]bool // by owner: what Set put there
}

// Open connects to the kernel.
func Open(log *slog.Logger) (*Manager, error) {
	nl.EnableErrorMessageReporting = true // the kernel's own words, where it has some
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket for addresses: %w", err)
	}
	return &Manager{log: log, handle: h.RetryInterrupted(), owned: map[string]map[Address]bool{}}, nil
}

// Close closes the connection to the kernel. The addresses stay.
func (m *Manager) Close() { m.handle.Close() }

// Set makes the addresses of an owner those of want: it adds what is missing,
// renews every lease, and removes what the owner had before and wants no more.
// It can be repeated at any time. One failed address does not stop the others;
// the errors are joined.
func (m *Manager) Set(ctx context.Context, owner string, want State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := m.owned[owner]
	has := map[Address]bool{}
	var errs []error
	for _, a := range want.Addresses {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		err := m.add(a, want.Lease, had[a])
		if err == nil {
			has[a] = true
		} else {
			errs = append(errs, err)
		}
		if had[a] {
			has[a] = true // to be removed one day, whatever became of the renewal
		}
	}
	for a := range had {
		if slices.Contains(want.Addresses, a) {
			continue
		}
		if err := m.remove(a); err != nil {
			errs = append(errs, err)
			has[a] = true
		}
	}
	m.owned[owner] = has
	return errors.Join(errs...)
}

// add adds an address or renews its lease.
func (m *Manager) add(a Address, lease time.Duration, ours bool) error {
	link, err := m.handle.LinkByName(a.Interface)
	if err != nil {
		return fmt.Errorf("set address %s: interface %s: %w", a.Prefix, a.Interface, err)
	}
	if !ours {
		if err := m.foreign(link, a); err != nil {
			return err
		}
	}
	if err := m.handle.AddrReplace(link, kernelAddr(a, lease)); err != nil {
		return fmt.Errorf("set address %s on %s: %w%s", a.Prefix, a.Interface, err, remedy(err))
	}
	return nil
}

func remedy(err error) string {
	if errors.Is(err, os.ErrPermission) {
		return ": run baton as root, or give it CAP_NET_ADMIN"
	}
	return ""
}

// kernelAddr is the address as the kernel wants it.
func kernelAddr(a Address, lease time.Duration) *netlink.Addr {
	k := &netlink.Addr{IPNet: ipNet(a.Prefix), Protocol: Protocol}
	if lease > 0 {
		k.ValidLft = int(math.Ceil(lease.Seconds()))
		k.PreferedLft = k.ValidLft
	}
	if a.Prefix.Addr().Is6() {
		// Duplicate address detection would keep a VIP unusable for a second at each
		// takeover; the election has detected the duplicates already.
		k.Flags |= unix.IFA_F_NODAD
	}
	return k
}

func ipNet(p netip.Prefix) *net.IPNet {
	bits := p.Addr().BitLen()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), bits)}
}

// foreign returns an error if the address is there and not ours: replacing it
// would take the administrator's address away when the lease ends.
func (m *Manager) foreign(link netlink.Link, a Address) error {
	present, err := m.handle.AddrList(link, family(a.Prefix.Addr()))
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", a.Interface, err)
	}
	for _, p := range present {
		if addr, ok := netip.AddrFromSlice(p.IP); !ok || addr.Unmap() != a.Prefix.Addr() {
			continue
		}
		if !ours(p) {
			return fmt.Errorf("address %s on %s %w: it is left there and is not released with the router; "+
				"remove it (ip address del %s dev %s) on every director",
				a.Prefix, a.Interface, ErrForeign, p.IPNet, a.Interface)
		}
	}
	return nil
}

// ours reports whether baton set the address. A kernel before 5.18 keeps no
// mark; there, the lease tells.
func ours(p netlink.Addr) bool {
	leased := p.ValidLft > 0 && int64(p.ValidLft) < math.MaxUint32
	return p.Protocol == Protocol || (p.Protocol == 0 && leased)
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// remove deletes an address; one that is gone already is fine.
func (m *Manager) remove(a Address) error {
	link, err := m.handle.LinkByName(a.Interface)
	if gone(err) {
		return nil
	}
	if err == nil {
		err = m.handle.AddrDel(link, &netlink.Addr{IPNet: ipNet(a.Prefix)})
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("remove address %s from %s: %w%s", a.Prefix, a.Interface, err, remedy(err))
	}
	return nil
}

func gone(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.EADDRNOTAVAIL) ||
		errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV)
}

// Remove deletes those of the addresses that baton set. It is for a process that
// cleans up after another one.
func (m *Manager) Remove(ctx context.Context, addresses []Address) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, a := range addresses {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		link, err := m.handle.LinkByName(a.Interface)
		if err == nil {
			err = m.foreign(link, a)
		}
		switch {
		case gone(err), errors.Is(err, ErrForeign):
		case err != nil:
			errs = append(errs, fmt.Errorf("remove address %s from %s: %w", a.Prefix, a.Interface, err))
		default:
			errs = append(errs, m.remove(a))
		}
	}
	return errors.Join(errs...)
}

// Sweep removes the addresses that carry our mark and that nobody wants: what a
// crash left behind. It returns what it removed.
func (m *Manager) Sweep(ctx context.Context, wanted func(Address) bool) ([]Address, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	links, err := m.handle.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	present, err := m.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the addresses: %w", err)
	}
	var removed []Address
	var errs []error
	for _, p := range present {
		prefix, ok := toPrefix(p.IPNet)
		if p.Protocol != Protocol || !ok {
			continue
		}
		a := Address{Prefix: prefix, Interface: names[p.LinkIndex]}
		if wanted(a) {
			continue
		}
		if err := errors.Join(ctx.Err(), m.remove(a)); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, a)
	}
	return removed, errors.Join(errs...)
}

func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits), ok
}

// Link returns what the kernel knows of an interface. An interface that is not
// there is a netlink.LinkNotFoundError.
func (m *Manager) Link(name string) (Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.handle.LinkByName(name)
	var notFound netlink.LinkNotFoundError
	if errors.As(err, &notFound) {
		return Link{}, fmt.Errorf("does not exist; it is waited for (see: ip link): %w", err)
	}
	if err != nil {
		return Link{}, fmt.Errorf("look at it: %w", err)
	}
	attrs := l.Attrs()
	out := Link{Name: attrs.Name, Index: attrs.Index, Up: up(attrs.RawFlags)}
	copy(out.MAC[:], attrs.HardwareAddr)
	addrs, err := m.handle.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return Link{}, fmt.Errorf("list its addresses: %w", err)
	}
	for _, a := range addrs {
		if p, ok := toPrefix(a.IPNet); ok {
			out.Addresses = append(out.Addresses, p)
		}
	}
	return out, nil
}

func up(flags uint32) bool {
	const both = unix.IFF_UP | unix.IFF_RUNNING
	return flags&both == both
}
