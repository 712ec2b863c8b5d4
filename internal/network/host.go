package network

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Host is a connection to the kernel for what is set once and stays until it is
// taken away: no owners, no leases, and a mark that the caller chooses. A real
// server is prepared by it; a [Manager] is for what moves between directors.
//
// It works in the network namespace that it was opened in. It is not safe for
// concurrent use.
type Host struct {
	handle  *netlink.Handle
	conn    *conn // for messages that the library cannot write
	generic *conn // the same for generic netlink
}

// Interface is an interface of this host.
type Interface struct {
	Name  string
	Index int
	Kind  string // as ip(8) names it: ipip, sit, ip6tnl, …; device: a plain one
	Alias string
	Up    bool // administratively (IFF_UP)
}

// HostAddress is an address of this host.
type HostAddress struct {
	Prefix    netip.Prefix
	Interface string
	Label     string // of an IPv4 address; empty: the interface's name
	Mark      uint8  // IFA_PROTO; a kernel before 5.18 does not keep it
	// Local gives an IPv4 address the scope "host": it is never chosen as the source
	// of packets to others. For an IPv6 address, whose scope cannot be chosen, to be
	// deprecated (RFC 4862 section 5.5.4) comes to the same. Whoever binds to the
	// address can use it all the same.
	Local bool
}

// OpenHost connects to the kernel, in the network namespace of the calling
// thread. Looking needs no privileges; changing needs CAP_NET_ADMIN.
func OpenHost() (*Host, error) {
	nl.EnableErrorMessageReporting = true // the kernel's own words, where it has some
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w%s", err, remedy(err))
	}
	h = h.RetryInterrupted().DisableVFInfoCollection()
	c, err := openConn()
	g, errGeneric := openConnTo(unix.NETLINK_GENERIC)
	out := &Host{handle: h, conn: c, generic: g}
	if err = errors.Join(err, errGeneric, h.SetSocketTimeout(socketTimeout)); err != nil {
		out.Close()
		return nil, fmt.Errorf("open a netlink socket: %w%s", err, remedy(err))
	}
	return out, nil
}

// Close closes the connection. What was set stays.
func (h *Host) Close() {
	_ = h.handle.Close()
	h.conn.close()
	h.generic.close()
}

// Interfaces lists the interfaces.
func (h *Host) Interfaces() ([]Interface, error) {
	links, err := h.handle.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w%s", err, remedy(err))
	}
	out := make([]Interface, 0, len(links))
	for _, l := range links {
		a := l.Attrs()
		out = append(out, Interface{
			Name: a.Name, Index: a.Index, Kind: l.Type(), Alias: a.Alias, Up: a.RawFlags&unix.IFF_UP != 0,
		})
	}
	return out, nil
}

// Addresses lists the addresses of all interfaces and both families.
func (h *Host) Addresses() ([]HostAddress, error) {
	links, err := h.Interfaces()
	if err != nil {
		return nil, err
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Index] = l.Name
	}
	list, err := h.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the addresses: %w%s", err, remedy(err))
	}
	var out []HostAddress
	for i := range list {
		a := &list[i]
		prefix, ok := toPrefix(a.IPNet)
		name := names[a.LinkIndex]
		if !ok || name == "" {
			continue // its interface came or went just now
		}
		out = append(out, HostAddress{
			Prefix: prefix, Interface: name, Label: a.Label, Mark: uint8(a.Protocol), //nolint:gosec // 8 bits in the kernel
			Local: a.Scope == unix.RT_SCOPE_HOST || (prefix.Addr().Is6() && a.Flags&unix.IFA_F_DEPRECATED != 0),
		})
	}
	return out, nil
}

// AddAddress adds an address that is not there. Duplicate address detection is
// off: of an address that many hosts share it would tell nothing else.
func (h *Host) AddAddress(a HostAddress) error {
	l, err := h.link(a.Interface)
	if err == nil {
		addr := &netlink.Addr{IPNet: ipNet(a.Prefix), Label: a.Label, Protocol: int(a.Mark)}
		switch {
		case a.Prefix.Addr().Is6():
			addr.Flags = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE
			if a.Local {
				addr.ValidLft = math.MaxUint32 // for ever; preferred for 0 s: deprecated
			}
		case a.Local:
			addr.Scope = unix.RT_SCOPE_HOST
		}
		err = h.handle.AddrAdd(l, addr)
	}
	if err != nil {
		return fmt.Errorf("add address %s to %s: %w%s", a.Prefix, a.Interface, err, remedy(err))
	}
	return nil
}

// RemoveAddress removes an address. One that is not there is no error.
func (h *Host) RemoveAddress(prefix netip.Prefix, ifname string) error {
	l, err := h.link(ifname)
	if err == nil {
		err = h.handle.AddrDel(l, &netlink.Addr{IPNet: ipNet(prefix)})
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("remove address %s from %s: %w%s", prefix, ifname, err, remedy(err))
	}
	return nil
}

// SetUp brings an interface up or down.
func (h *Host) SetUp(ifname string, up bool) error {
	l, err := h.link(ifname)
	word := "up"
	switch {
	case err != nil:
	case up:
		err = h.handle.LinkSetUp(l)
	default:
		word = "down"
		err = h.handle.LinkSetDown(l)
	}
	if err != nil {
		return fmt.Errorf("bring interface %s %s: %w%s", ifname, word, err, remedy(err))
	}
	return nil
}

// RemoveInterface removes an interface with everything on it. One that is not
// there is no error.
func (h *Host) RemoveInterface(ifname string) error {
	l, err := h.link(ifname)
	if err == nil {
		err = h.handle.LinkDel(l)
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("remove interface %s: %w%s", ifname, err, remedy(err))
	}
	return nil
}

func (h *Host) link(name string) (netlink.Link, error) {
	l, err := h.handle.LinkByName(name)
	var notFound netlink.LinkNotFoundError
	if errors.As(err, &notFound) {
		return nil, ErrNoInterface
	}
	return l, err
}
