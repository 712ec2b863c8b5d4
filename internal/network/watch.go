package network

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// ChangeKind is the kind of a [Change].
type ChangeKind uint8

// The kinds of change.
const (
	// Resync: changes may have been missed; everything has to be looked at.
	Resync ChangeKind = iota
	// LinkChanged: an interface came, went, or changed its flags or name.
	LinkChanged
	AddressAdded
	AddressRemoved
)

// Change is something that happened to an interface or an address.
type Change struct {
	Kind      ChangeKind
	Interface string
	Index     int
	Prefix    netip.Prefix // of an address
}

// watchBuffer is the size of the sockets' queues: some thousands of changes.
const watchBuffer = 4 << 20

// Watch reports changes until ctx ends, from one goroutine. The first report is
// a [Resync]. When the kernel's queue overflowed it subscribes anew and reports
// a Resync again.
func (m *Manager) Watch(ctx context.Context, report func(Change)) error {
	for first := true; ; first = false {
		err := m.watchOnce(ctx, report)
		if ctx.Err() != nil {
			return nil
		}
		if first && err != nil {
			return err
		}
		m.log.Warn("the kernel's reports of links and addresses broke off; subscribing again", "error", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Manager) watchOnce(ctx context.Context, report func(Change)) error {
	done := make(chan struct{})
	defer close(done)
	var failure error
	failed := make(chan error, 2)
	note := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	links := make(chan netlink.LinkUpdate, 256)
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{
		ErrorCallback: note, ReceiveBufferSize: watchBuffer, ReceiveBufferForceSize: true,
	}); err != nil {
		return fmt.Errorf("subscribe to interfaces: %w", err)
	}
	defer drain(links)
	addrs := make(chan netlink.AddrUpdate, 256)
	if err := netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{
		ErrorCallback: note, ReceiveBufferSize: watchBuffer, ReceiveBufferForceSize: true,
	}); err != nil {
		return fmt.Errorf("subscribe to addresses: %w", err)
	}
	defer drain(addrs)
	report(Change{Kind: Resync})
	for {
		select {
		case <-ctx.Done():
			return nil
		case failure = <-failed:
			return failure
		case l, ok := <-links:
			if !ok {
				return failure
			}
			report(Change{Kind: LinkChanged, Interface: l.Attrs().Name, Index: l.Attrs().Index})
		case a, ok := <-addrs:
			if !ok {
				return failure
			}
			report(m.addressChange(a))
		}
	}
}

// drain lets the subscription's goroutine, which may wait to hand over an
// update, see that it is no longer wanted.
func drain[T any](c <-chan T) {
	go func() {
		for range c { //nolint:revive // thrown away
		}
	}()
}

func (m *Manager) addressChange(a netlink.AddrUpdate) Change {
	c := Change{Kind: AddressRemoved, Index: a.LinkIndex}
	if a.NewAddr {
		c.Kind = AddressAdded
	}
	c.Prefix, _ = toPrefix(&a.LinkAddress)
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, err := m.handle.LinkByIndex(a.LinkIndex); err == nil {
		c.Interface = l.Attrs().Name
	}
	return c
}
