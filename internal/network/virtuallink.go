package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkMark begins the alias of an interface that we made: links have no protocol
// number. Behind it stand the parent's settings as they were (see parent.go), so
// that a successor can restore them.
const linkMark = "baton"

// linkCheck is how long a link that was found right is believed to be so, as to
// what others hardly ever change: its type, its address, its settings. Whether
// it is there, and up, is looked at each time.
const linkCheck = 10 * time.Second

// virtual is a virtual link that is there.
type virtual struct {
	VirtualLink
	index  int
	parent int // index of Parent
	lower  int // of the interface below in the kernel: Parent, or what that stands on itself
	proved time.Time
}

// ensureLink makes the link, or finds that it is there. It does not bring it up.
// An error beside a link is about settings.
func (m *Manager) ensureLink(want VirtualLink, had *holding) (*virtual, error) {
	index, err := m.index(want.Name)
	if err == nil {
		if v := m.links[index]; v != nil && v.VirtualLink == want && time.Since(v.proved) < linkCheck {
			return v, nil
		}
		var v *virtual
		if v, err = m.takeLink(index, want, had); v != nil {
			return v, m.settle(v)
		}
	}
	if errors.Is(err, ErrNoInterface) {
		err = nil // so make it
	}
	if err == nil {
		var v *virtual
		if v, err = m.createLink(want); err == nil {
			return v, m.settle(v)
		}
	}
	var foreign *ForeignLinkError
	if !errors.As(err, &foreign) {
		err = fmt.Errorf("make interface %s with the virtual hardware address %s on %s: %w%s",
			want.Name, net.HardwareAddr(want.MAC[:]), want.Parent, err, linkRemedy(err))
	}
	return nil, err
}

// takeLink takes the link of that name if it is ours and right, and removes it
// if it is ours and wrong. Both results are nil if one has to be made.
func (m *Manager) takeLink(index int, want VirtualLink, had *holding) (*virtual, error) {
	l, err := m.handle.LinkByIndex(index)
	if gone(err) {
		return nil, nil //nolint:nilnil // documented
	}
	if err != nil {
		return nil, err
	}
	if !isOurs(l) {
		return nil, &ForeignLinkError{Link: want, Present: describeLink(l)}
	}
	parent, err := m.index(want.Parent)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", want.Parent, err)
	}
	lower := parent
	if v := m.links[index]; v != nil && v.parent == parent {
		lower = v.lower
	}
	a := l.Attrs()
	if a.ParentIndex == lower && string(a.HardwareAddr) == string(want.MAC[:]) && l.(*netlink.Macvlan).Mode == netlink.MACVLAN_MODE_BRIDGE {
		m.learnParent(parent, a.Alias)
		v := &virtual{VirtualLink: want, index: index, parent: parent, lower: lower}
		m.links[index] = v
		return v, nil
	}
	for owner, h := range m.owners {
		if h != had && h.link == index {
			return nil, fmt.Errorf("router %s has it as %s: give one of them another name", owner, describeLink(l))
		}
	}
	return nil, m.deleteLink(index)
}

// isOurs reports whether we, or a predecessor, made an interface.
func isOurs(l netlink.Link) bool {
	_, macvlan := l.(*netlink.Macvlan)
	word, _, _ := strings.Cut(l.Attrs().Alias, " ")
	return macvlan && word == linkMark
}

func describeLink(l netlink.Link) string {
	a := l.Attrs()
	s := "a " + l.Type() + " with " + a.HardwareAddr.String()
	if a.ParentIndex != 0 {
		s += fmt.Sprintf(" on interface %d", a.ParentIndex)
	}
	return s
}

// createLink makes a link that is down.
//
// Its mode is bridge, which matters where frames with the virtual address come
// in from another host: from a rival that believes to be master, too. In private
// mode the kernel takes a multicast frame with the source address of such an
// interface for its own come back, and hands it to that interface alone
// (macvlan_handle_frame): the parent, where adverts are received, would never
// hear of the rival. In bridge mode the parent gets it. What bridge mode adds
// otherwise, a short way between the links of one parent, harms nobody.
func (m *Manager) createLink(want VirtualLink) (*virtual, error) {
	parent, err := m.index(want.Parent)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", want.Parent, err)
	}
	was, err := m.parentWas(parent, want.Parent)
	if err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = want.Name, parent, want.MAC[:]
	l := &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
	if err := m.handle.LinkAdd(l); err != nil {
		return nil, err
	}
	// The kernel takes neither together with a new interface.
	err = m.handle.LinkSetAlias(l, linkMark+was.String())
	if err == nil {
		// Otherwise it would get a link-local address and look for routers.
		const none = 1 // IN6_ADDR_GEN_MODE_NONE
		err = m.handle.LinkSetIP6AddrGenMode(l, none)
		if errors.Is(err, unix.EAFNOSUPPORT) {
			err = nil // no IPv6 here
		}
	}
	there, errLook := m.handle.LinkByIndex(l.Index)
	if err = errors.Join(err, errLook); err != nil {
		return nil, errors.Join(err, m.handle.LinkDel(l))
	}
	v := &virtual{VirtualLink: want, index: l.Index, parent: parent, lower: there.Attrs().ParentIndex}
	m.links[v.index] = v
	return v, nil
}

// deleteLink deletes an interface, and everything on it, if it is ours.
func (m *Manager) deleteLink(index int) error {
	l, err := m.handle.LinkByIndex(index)
	if err == nil && isOurs(l) {
		err = m.handle.LinkDel(l)
	}
	if err != nil && !gone(err) {
		return err
	}
	for _, k := range []viewKey{{index, false}, {index, true}} {
		delete(m.views, k)
	}
	delete(m.links, index)
	return nil
}

// setUp brings a link up or down.
func (m *Manager) setUp(v *virtual, up bool) error {
	is, err := m.administrativelyUp(v.Name)
	if err != nil || is == up {
		return err
	}
	l := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: v.index}}
	if up {
		err = m.handle.LinkSetUp(l)
	} else {
		err = m.handle.LinkSetDown(l)
	}
	if err != nil {
		return fmt.Errorf("bring interface %s %s: %w%s", v.Name, map[bool]string{true: "up", false: "down"}[up], err, linkRemedy(err))
	}
	return nil
}

func (m *Manager) administrativelyUp(name string) (bool, error) {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return false, &InterfaceError{Name: name}
	}
	if err := unix.IoctlIfreq(m.ioctl, unix.SIOCGIFFLAGS, r); err != nil {
		return false, os.NewSyscallError("SIOCGIFFLAGS", err)
	}
	return r.Uint16()&unix.IFF_UP != 0, nil
}

// releaseLink takes down a link on which no owner wants addresses any more, and
// deletes it if no owner wants it at all. The interface goes down before its
// addresses are removed: going away must not make it speak once more, in a
// multicast report for example, when the next master has its address already.
func (m *Manager) releaseLink(had, has *holding) error {
	index := had.link
	if has.link != 0 {
		index = has.link
	}
	var errs []error
	if had.link != 0 && had.link != has.link {
		errs = append(errs, m.dropLink(had, has))
	}
	if v := m.links[index]; v != nil && has.link != 0 && !m.occupied(index) {
		errs = append(errs, m.setUp(v, false))
	}
	return errors.Join(errs...)
}

// dropLink deletes a link that one owner does not want any more.
func (m *Manager) dropLink(had, has *holding) error {
	v := m.links[had.link]
	if v == nil {
		return nil // recreated, or removed with its parent
	}
	for _, h := range m.owners {
		if h != had && h.link == v.index {
			return nil
		}
	}
	if err := m.deleteLink(v.index); err != nil {
		if has.link == 0 {
			has.link = v.index // to be removed the next time
		}
		return fmt.Errorf("remove interface %s: %w%s", v.Name, err, linkRemedy(err))
	}
	return m.leaveParents(v.parent)
}

// occupied reports whether an owner has addresses on an interface.
func (m *Manager) occupied(index int) bool {
	for _, h := range m.owners {
		for k := range h.keys {
			if k.index == index {
				return true
			}
		}
	}
	return false
}

// linkRemedy is remedy for interfaces.
func linkRemedy(err error) string {
	switch {
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EADDRINUSE):
		return ": an interface that is part of a bridge or bond cannot carry another one, nor can two on one parent " +
			"have the same hardware address (ip -d link): set virtual_mac: false, or name the bridge or bond itself"
	case errors.Is(err, unix.EOPNOTSUPP):
		return ": is the kernel module macvlan there (modprobe macvlan)?"
	case errors.Is(err, unix.EACCES):
		return ""
	}
	return remedy(err)
}
