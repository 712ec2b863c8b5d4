package network

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// A VIP on a virtual link and the parent's own address are in one subnet, and
// the kernel, left to itself, answers on any interface for any of its addresses.
// What follows makes each answer for its own:
//
//   - arp_ignore 1: an ARP request is answered only for an address of the very
//     interface that it came in by. On the parent this keeps the VIP's answers to
//     the virtual address, on the link the parent's to the parent's. IPv6 has it
//     so anyway.
//   - arp_announce 2: an ARP request names an address of the interface that it
//     leaves by. Answers to clients leave by the parent, with the VIP as their
//     source; a request for the client's address that named the VIP as its sender
//     would teach the client the parent's hardware address for it.
//   - rp_filter 2 on the link: packets come in by the link, and the way back is
//     the parent: 1 would drop them all. The kernel takes the higher one of this
//     and of "all", so that 0 would not do where that is 1.
//   - forwarding and disable_ipv6 on the link as on the parent: what comes in for
//     the VIP's clients is routed, or not, as it would be there.
//   - accept_ra and autoconf 0 on the link: a router's advertisement must not give
//     the host a second way out and an address made from the virtual one.
//
// Settings of the parent are restored with the last link on it; until then, they
// are noted in the links' aliases.

// was is what the parent's settings were, by the last part of their names.
type was map[string]string

var parentSettings = []Sysctl{
	{Key: "arp_ignore", Value: "1", Why: "only the interface with the virtual hardware address answers for the addresses on it"},
	{Key: "arp_announce", Value: "2", Why: "no address of an interface with a virtual hardware address is announced with the parent's"},
}

// String is the form in an alias, beginning with a space.
func (w was) String() string {
	var b strings.Builder
	for _, s := range parentSettings {
		if v, ok := w[s.Key]; ok {
			b.WriteString(" " + s.Key + "=" + v)
		}
	}
	return b.String()
}

func parseWas(alias string) was {
	w := was{}
	for f := range strings.FieldsSeq(strings.TrimPrefix(alias, linkMark)) {
		if k, v, ok := strings.Cut(f, "="); ok {
			w[k] = v
		}
	}
	return w
}

func parentKey(parent, leaf string) string { return "net/ipv4/conf/" + parent + "/" + leaf }

// parentWas returns what the settings of a parent were before its first link.
func (m *Manager) parentWas(index int, name string) (was, error) {
	if w, known := m.parents[index]; known {
		return w, nil
	}
	links, err := m.handle.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if isOurs(l) && l.Attrs().ParentIndex == index {
			m.learnParent(index, l.Attrs().Alias) // a predecessor's
			return m.parents[index], nil
		}
	}
	w := was{}
	err = m.ns.do(func() error {
		var errs []error
		for _, s := range parentSettings {
			value, err := ReadSysctl(parentKey(name, s.Key))
			errs = append(errs, err)
			if err == nil {
				w[s.Key] = value
			}
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return nil, err
	}
	m.parents[index] = w
	return w, nil
}

func (m *Manager) learnParent(index int, alias string) {
	if _, known := m.parents[index]; !known {
		m.parents[index] = parseWas(alias)
	}
}

// settle gives a link and its parent the settings that they need.
func (m *Manager) settle(v *virtual) error {
	err := m.ns.do(func() error {
		var want []Sysctl
		for _, s := range parentSettings {
			s.Key = parentKey(v.Parent, s.Key)
			if old, err := ReadSysctl(s.Key); err == nil && strings.HasSuffix(s.Key, "/arp_ignore") && old == "2" {
				continue // stricter still
			}
			want = append(want, s)
		}
		changes, errs := EnsureSysctls(want, true)
		for _, c := range changes {
			m.log.Info("kernel setting changed", "key", c.Key, "from", c.Old, "to", c.Value, "why", c.Why)
		}
		own, err := linkSettings(v.VirtualLink)
		_, more := EnsureSysctls(own, true)
		return errors.Join(append(append(errs, err), more...)...)
	})
	if err != nil {
		return fmt.Errorf("interface %s: %w", v.Name, err)
	}
	v.proved = time.Now()
	return nil
}

// linkSettings are those of the link itself.
func linkSettings(v VirtualLink) ([]Sysctl, error) {
	const why = "the interface has a virtual hardware address"
	v4, v6 := "net/ipv4/conf/"+v.Name+"/", "net/ipv6/conf/"+v.Name+"/"
	out := []Sysctl{
		{v4 + "arp_ignore", "1", why},
		{v4 + "arp_announce", "2", why},
		{v4 + "rp_filter", "2", why},
	}
	var errs []error
	copied := []string{"net/ipv4/conf/%s/forwarding"}
	if _, err := ReadSysctl(v6 + "accept_ra"); err == nil {
		copied = append(copied, "net/ipv6/conf/%s/forwarding", "net/ipv6/conf/%s/disable_ipv6")
		out = append(out, Sysctl{v6 + "accept_ra", "0", why}, Sysctl{v6 + "autoconf", "0", why})
	} else if !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
		errs = append(errs, err)
	}
	for _, key := range copied {
		value, err := ReadSysctl(fmt.Sprintf(key, v.Parent))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, Sysctl{fmt.Sprintf(key, v.Name), value, why})
	}
	return out, errors.Join(errs...)
}

// leaveParents restores the settings of those parents that have no link any
// more, whoever's.
func (m *Manager) leaveParents(parents ...int) error {
	needed := map[int]bool{}
	for _, v := range m.links {
		needed[v.parent] = true
	}
	var links []netlink.Link
	looked := false
	var errs []error
	for _, index := range parents {
		w := m.parents[index]
		if needed[index] || w == nil {
			continue
		}
		if !looked {
			var err error
			if links, err = m.handle.LinkList(); err != nil {
				return fmt.Errorf("look for other virtual links: %w%s", err, remedy(err))
			}
			looked = true
		}
		for _, l := range links {
			needed[index] = needed[index] || (isOurs(l) && l.Attrs().ParentIndex == index)
		}
		if needed[index] {
			continue
		}
		delete(m.parents, index)
		name, err := m.name(index)
		if err != nil {
			continue // it is gone itself
		}
		errs = append(errs, m.ns.do(func() error { return m.restore(name, w) }))
	}
	return errors.Join(errs...)
}

// restore gives a parent back the settings that it had, but for those that
// someone else has changed since.
func (m *Manager) restore(parent string, w was) error {
	var errs []error
	for _, s := range parentSettings {
		key, old := parentKey(parent, s.Key), w[s.Key]
		if now, err := ReadSysctl(key); err != nil || old == "" || now != s.Value || now == old {
			continue // nothing to restore, or nowhere
		}
		err := WriteSysctl(key, old)
		if err == nil {
			m.log.Info("kernel setting restored", "key", key, "from", s.Value, "to", old)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
