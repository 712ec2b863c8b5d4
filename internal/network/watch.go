package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ChangeKind is the kind of a [Change].
type ChangeKind uint8

// The kinds of change.
const (
	// Resync: everything has to be looked at. It comes first of all, and after each
	// time that changes may have been missed.
	Resync ChangeKind = iota
	// LinkUp: an interface came up, with a carrier.
	LinkUp
	// LinkDown: an interface went down, lost its carrier, or came into being
	// without one.
	LinkDown
	// LinkGone: no interface has this name any more. Its addresses are reported as
	// removed before.
	LinkGone
	// LinkRenamed: an interface has got another name. A LinkGone of the old one has
	// come before.
	LinkRenamed
	// LinkChanged: an interface has got another hardware address.
	LinkChanged
	// AddressAdded: an address can be used from now on.
	AddressAdded
	// AddressRemoved: an address cannot be used any more.
	AddressRemoved
)

var kindNames = [...]string{
	"resync", "link up", "link down", "link gone", "link renamed", "link changed", "address added", "address removed",
}

// String names the kind.
func (k ChangeKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("change %d", k)
}

// Change is something that happened to an interface or an address.
type Change struct {
	Kind      ChangeKind
	Interface string
	Index     int
	OldName   string       // of a renamed interface
	Prefix    netip.Prefix // of an address
	Ours      bool         // the address carries our mark
}

// String describes the change in one line.
func (c Change) String() string {
	s := c.Kind.String()
	if c.Interface != "" {
		s += " " + c.Interface
	}
	if c.OldName != "" {
		s += " (was " + c.OldName + ")"
	}
	if c.Prefix.IsValid() {
		s += " " + c.Prefix.String()
	}
	if c.Ours {
		s += " (ours)"
	}
	return s
}

// resyncPause is the least time between two resyncs, so that a storm of changes
// does not become a storm of dumps.
const resyncPause = 100 * time.Millisecond

// Watch reports changes until ctx ends, from the calling goroutine, in the order
// in which they happened. Its first report is a [Resync]; what existed before is
// not reported. Renewals of leases are no changes. When reports were lost, it
// compares everything, reports the differences and then a Resync. There can be
// one Watch at a time.
//
// It returns nil when ctx ends.
func (m *Manager) Watch(ctx context.Context, report func(Change)) error {
	if !m.watching.CompareAndSwap(false, true) {
		return errors.New("watch links and addresses: somebody watches already")
	}
	defer m.watching.Store(false)
	if err := m.events.listen(true); err != nil {
		return fmt.Errorf("watch links and addresses: %w", err)
	}
	defer m.events.discard()
	defer m.events.listen(false) //nolint:errcheck // the socket is given up if this fails
	stop := context.AfterFunc(ctx, func() { _ = m.events.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	w := &watcher{report: func(Change) {}}
	if err := m.compare(ctx, w); err != nil {
		return endOf(ctx, err)
	}
	w.report = report
	report(Change{Kind: Resync})
	for overflows := 0; ; {
		messages, err := m.events.next()
		if err == nil {
			for i := range messages {
				w.take(messages[i].Header.Type, messages[i].Data)
			}
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// The end of an earlier Watch set the deadline late.
			if err := m.events.file.SetReadDeadline(time.Time{}); err != nil || ctx.Err() != nil {
				return endOf(ctx, err)
			}
			continue
		}
		if !errors.Is(err, errOverflow) {
			return endOf(ctx, err)
		}
		overflows++
		m.log.Warn("the kernel reported changes faster than they were read; comparing everything instead", "overflows", overflows)
		if err := m.resync(ctx, w); err != nil {
			return endOf(ctx, err)
		}
	}
}

func endOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // whatever it is, it came of the end that was asked for
	}
	return fmt.Errorf("watch links and addresses: %w", err)
}

// resync throws the queue away, which is incomplete, and compares.
func (m *Manager) resync(ctx context.Context, w *watcher) error {
	// Let the storm pass for a moment.
	select {
	case <-time.After(resyncPause):
	case <-ctx.Done():
		return ctx.Err()
	}
	m.events.discard()
	if err := m.compare(ctx, w); err != nil {
		return err
	}
	w.report(Change{Kind: Resync})
	return nil
}

// compare brings the watcher up to date by a dump of everything. Reports that
// come meanwhile are queued, and repeat at worst what the dump has told.
func (m *Manager) compare(ctx context.Context, w *watcher) error {
	for {
		links, err := m.lists.LinkList()
		var addrs []netlink.Addr
		if err == nil {
			addrs, err = m.lists.AddrList(nil, netlink.FAMILY_ALL)
		}
		if err == nil {
			w.replace(links, addrs)
			return nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
		// Ten times over something changed during the dump.
		select {
		case <-time.After(resyncPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watcher knows the last state, and reports what differs from it.
type watcher struct {
	report func(Change)
	links  map[int]knownLink
	addrs  map[int]map[netip.Prefix]bool // by interface: usable addresses, and whether they are ours
}

// take looks at one report of the kernel.
func (w *watcher) take(kind uint16, data []byte) {
	switch kind {
	case unix.RTM_NEWLINK:
		if index, l, ok := parseLink(data); ok {
			w.link(index, l)
		}
	case unix.RTM_DELLINK:
		if index, _, ok := parseLink(data); ok {
			w.linkGone(index)
		}
	case unix.RTM_NEWADDR:
		if index, p, ok := parseAddress(data); ok {
			w.address(index, p)
		}
	case unix.RTM_DELADDR:
		if index, p, ok := parseAddress(data); ok {
			w.addressGone(index, p.prefix)
		}
	}
}

func (w *watcher) link(index int, l knownLink) {
	old, known := w.links[index]
	w.links[index] = l
	if known && old.name != l.name {
		w.report(Change{Kind: LinkGone, Interface: old.name, Index: index})
		w.report(Change{Kind: LinkRenamed, Interface: l.name, Index: index, OldName: old.name})
	}
	switch {
	case l.up && (!known || !old.up):
		w.report(Change{Kind: LinkUp, Interface: l.name, Index: index})
	case !l.up && (!known || old.up):
		w.report(Change{Kind: LinkDown, Interface: l.name, Index: index})
	}
	if known && old.mac != l.mac {
		w.report(Change{Kind: LinkChanged, Interface: l.name, Index: index})
	}
}

func (w *watcher) linkGone(index int) {
	l, known := w.links[index]
	if !known {
		return
	}
	for _, p := range sortedPrefixes(w.addrs[index]) {
		w.addressGone(index, p)
	}
	delete(w.addrs, index)
	delete(w.links, index)
	w.report(Change{Kind: LinkGone, Interface: l.name, Index: index})
}

func (w *watcher) address(index int, p present) {
	if !p.usable {
		w.addressGone(index, p.prefix) // a duplicate was found
		return
	}
	ours := p.protocol == Protocol
	if was, known := w.addrs[index][p.prefix]; known {
		if was == ours {
			return // renewed
		}
		w.addressGone(index, p.prefix) // someone else has taken it, or we from him
	}
	if w.addrs[index] == nil {
		w.addrs[index] = map[netip.Prefix]bool{}
	}
	w.addrs[index][p.prefix] = ours
	w.report(Change{Kind: AddressAdded, Interface: w.links[index].name, Index: index, Prefix: p.prefix, Ours: ours})
}

func (w *watcher) addressGone(index int, prefix netip.Prefix) {
	ours, known := w.addrs[index][prefix]
	if !known {
		return
	}
	delete(w.addrs[index], prefix)
	w.report(Change{Kind: AddressRemoved, Interface: w.links[index].name, Index: index, Prefix: prefix, Ours: ours})
}

// replace takes a whole new state.
func (w *watcher) replace(links []netlink.Link, addrs []netlink.Addr) {
	if w.links == nil {
		w.links, w.addrs = map[int]knownLink{}, map[int]map[netip.Prefix]bool{}
	}
	exists := map[int]bool{}
	for _, l := range links {
		exists[l.Attrs().Index] = true
	}
	has := map[key]bool{}
	for i := range addrs {
		if p, ok := presentAddress(&addrs[i]); ok && p.usable {
			has[key{addrs[i].LinkIndex, p.prefix}] = true
		}
	}
	// What is gone first: another interface may have its name, or its address, now.
	for _, index := range sortedKeys(w.links) {
		if !exists[index] {
			w.linkGone(index)
		}
	}
	for _, index := range sortedKeys(w.addrs) {
		for _, p := range sortedPrefixes(w.addrs[index]) {
			if !has[key{index, p}] {
				w.addressGone(index, p)
			}
		}
	}
	for _, l := range links {
		a := l.Attrs()
		k := knownLink{name: a.Name, up: isUp(a.RawFlags)}
		copy(k.mac[:], a.HardwareAddr)
		w.link(a.Index, k)
	}
	for i := range addrs {
		if p, ok := presentAddress(&addrs[i]); ok && p.usable {
			w.address(addrs[i].LinkIndex, p)
		}
	}
}

func sortedKeys[V any](m map[int]V) []int {
	out := make([]int, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sortedPrefixes(m map[netip.Prefix]bool) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(m))
	for p := range m {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return out
}
