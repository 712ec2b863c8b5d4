package network

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A view is what an interface had when it was last looked at. Each Set looks
// anew: a renewal must not put a lease on an address that an administrator set
// in place of ours. Only where many addresses make looking costly, and many
// owners of one interface would each do it, a look serves for a moment, or until
// Watch tells that an address is gone.
type view struct {
	at    time.Time
	size  int
	addrs map[netip.Addr][]present
	// routed are the IPv6 networks that the interface has through addresses of
	// others.
	routed map[netip.Prefix]bool
}

const (
	crowded = 128 // addresses; looking at more takes more than some 100 µs
	moment  = 250 * time.Millisecond
)

// viewKey names a view: one dump is of one family of one interface.
type viewKey struct {
	index int
	v6    bool
}

func (k key) view() viewKey { return viewKey{k.index, k.prefix.Addr().Is6()} }

// present is an address that an interface has.
type present struct {
	prefix    netip.Prefix
	label     string // of an IPv4 address
	protocol  int
	permanent bool
	routed    bool // with a route to its network
	usable    bool // not waiting for, or failed in, duplicate address detection
}

// refreshViews forgets what is too old to rely on.
func (m *Manager) refreshViews() {
	for k, v := range m.views {
		if v.size <= crowded || time.Since(v.at) > moment {
			delete(m.views, k)
		}
	}
}

// view looks at an interface, unless it has just been looked at.
func (m *Manager) view(k viewKey) (*view, error) {
	if v := m.views[k]; v != nil {
		return v, nil
	}
	list, err := m.handle.AddrList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: k.index}}, k.family())
	if err != nil {
		return nil, err
	}
	v := &view{at: time.Now(), addrs: make(map[netip.Addr][]present, len(list)), routed: map[netip.Prefix]bool{}}
	for i := range list {
		if p, ok := presentAddress(&list[i]); ok {
			v.note(p)
			if k.v6 && p.protocol != Protocol && p.routed {
				v.routed[p.prefix.Masked()] = true
			}
		}
	}
	m.views[k] = v
	return v, nil
}

func (k viewKey) family() int {
	if k.v6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

// note remembers an address that is there, or its new state.
func (v *view) note(p present) {
	a := p.prefix.Addr()
	for i, q := range v.addrs[a] {
		if q.prefix == p.prefix {
			v.addrs[a][i] = p
			return
		}
	}
	v.addrs[a] = append(v.addrs[a], p)
	v.size++
}

// forget forgets an address that was removed.
func (v *view) forget(prefix netip.Prefix) {
	a := prefix.Addr()
	var rest []present
	for _, q := range v.addrs[a] {
		if q.prefix != prefix {
			rest = append(rest, q)
		}
	}
	v.size -= len(v.addrs[a]) - len(rest)
	v.addrs[a] = rest
}

// presentAddress is the kernel's address in our terms.
func presentAddress(a *netlink.Addr) (present, bool) {
	prefix, ok := toPrefix(a.IPNet)
	const doubtful = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	return present{
		prefix: prefix, label: a.Label, protocol: a.Protocol,
		permanent: uint32(a.ValidLft) == math.MaxUint32, //nolint:gosec // 32 bits in the kernel
		routed:    a.Flags&unix.IFA_F_NOPREFIXROUTE == 0,
		usable:    a.Flags&doubtful == 0 || a.Flags&unix.IFA_F_OPTIMISTIC != 0,
	}, ok
}

// kernelAddress is an address in the kernel's terms. covered: it is not to bring
// a route to its network.
func kernelAddress(k key, lease time.Duration, covered bool) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(k.prefix), LinkIndex: k.index, Protocol: Protocol}
	if lease > 0 {
		a.ValidLft = int(math.Ceil(lease.Seconds()))
		a.PreferedLft = a.ValidLft
	}
	if covered {
		a.Flags |= unix.IFA_F_NOPREFIXROUTE
	}
	if k.prefix.Addr().Is4() {
		if covered {
			a.Broadcast = net.IPv4zero // that of the network is another's, too
		}
		return a
	}
	// Deprecated (RFC 4862 section 5.5.4): it serves whoever asks for it, but the
	// kernel does not choose it as the source of what this host sends itself
	// (RFC 6724 section 5, rule 3). Real servers have the same address for DR and
	// TUN, and drop checks and tunnels that come from it. For IPv4 the kernel
	// prefers the first address of a network by itself.
	a.PreferedLft = 0
	if lease <= 0 {
		a.ValidLft = math.MaxUint32 // for ever; the lifetimes are sent both or not at all
	}
	// Duplicate address detection would keep a VIP unusable for a second at each
	// takeover, and in a split brain for good; the election has decided already.
	a.Flags |= unix.IFA_F_NODAD
	if k.prefix.IsSingleIP() {
		a.Flags |= unix.IFA_F_NOPREFIXROUTE // a /128 has no network
	}
	return a
}

// normal returns the prefix as the kernel would return it.
func normal(p netip.Prefix) (netip.Prefix, bool) {
	a, bits := p.Addr().WithZone(""), p.Bits()
	if a.Is4In6() && bits >= 96 {
		a, bits = a.Unmap(), bits-96
	}
	out := netip.PrefixFrom(a, bits)
	return out, out.IsValid() && !a.IsUnspecified()
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr, bits), ok
}

// index returns the index of an interface.
func (m *Manager) index(name string) (int, error) {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return 0, &InterfaceError{Name: name} // such a name cannot exist
	}
	err = unix.IoctlIfreq(m.ioctl, unix.SIOCGIFINDEX, r)
	if errors.Is(err, unix.ENODEV) {
		return 0, &InterfaceError{Name: name}
	}
	return int(r.Uint32()), os.NewSyscallError("SIOCGIFINDEX", err)
}

// name returns the name of an interface.
func (m *Manager) name(index int) (string, error) {
	r, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	r.SetUint32(uint32(index)) //nolint:gosec // the kernel's own, positive
	if err := unix.IoctlIfreq(m.ioctl, unix.SIOCGIFNAME, r); err != nil {
		return "", os.NewSyscallError("SIOCGIFNAME", err)
	}
	return r.Name(), nil
}
