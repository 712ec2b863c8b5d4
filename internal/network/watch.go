package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink"
)

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
		return errors.New("watch the network: somebody watches already")
	}
	defer m.watching.Store(false)
	if err := m.events.listen(true); err != nil {
		return fmt.Errorf("watch the network: %w", err)
	}
	defer m.events.discard()
	defer m.events.listen(false) //nolint:errcheck // the socket is given up if this fails
	stop := context.AfterFunc(ctx, func() { _ = m.events.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	w := &watcher{report: func(Change) {}, heard: &m.heard, self: m.conn.port}
	if err := m.compare(ctx, w); err != nil {
		return endOf(ctx, err)
	}
	w.report = report
	report(Change{Kind: Resync})
	for overflows := 0; ; {
		messages, err := m.events.next()
		if err == nil {
			for i := range messages {
				w.take(messages[i].Header, messages[i].Data)
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
	return fmt.Errorf("watch the network: %w", err)
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
		now, err := m.everything()
		if err == nil {
			w.replace(now)
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

// everything is what there is, of routes and rules ours only.
type everything struct {
	links  []netlink.Link
	addrs  []netlink.Addr
	routes []kernelRoute
	rules  []Rule
}

func (m *Manager) everything() (now everything, err error) {
	if now.links, err = m.lists.LinkList(); err != nil {
		return now, err
	}
	if now.addrs, err = m.lists.AddrList(nil, netlink.FAMILY_ALL); err != nil {
		return now, err
	}
	for _, v6 := range []bool{false, true} {
		routes, err := m.listsConn.routes(v6)
		if err != nil {
			return now, err
		}
		now.routes = append(now.routes, routes...)
		rules, err := m.listsConn.rules(v6)
		if err != nil {
			return now, err
		}
		for _, r := range rules {
			if r.protocol == Protocol {
				now.rules = append(now.rules, r.Rule)
			}
		}
	}
	return now, nil
}
