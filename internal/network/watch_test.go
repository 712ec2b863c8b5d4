package network

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"baton/test/lab"
)

// watch runs a Watch until the test ends; slow makes it a slow reader.
func watch(t testing.TB, m *Manager, slow func(Change)) <-chan Change {
	t.Helper()
	out := make(chan Change, 1<<16)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- m.Watch(ctx, func(c Change) {
			out <- c
			if slow != nil {
				slow(c)
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Watch ended with %v", err)
			}
		case <-time.After(lab.Patience(5 * time.Second)):
			t.Error("Watch does not end")
		}
	})
	expect(t, out, "resync")
	return out
}

// expect waits for these changes, in this order, and for nothing else.
func expect(t testing.TB, c <-chan Change, want ...string) {
	t.Helper()
	for i, w := range want {
		select {
		case got := <-c:
			if got.String() != w {
				t.Fatalf("change %d is %q, want %q", i, got, w)
			}
		case <-time.After(lab.Patience(5 * time.Second)):
			t.Fatalf("no change %q", w)
		}
	}
	select {
	case got := <-c:
		t.Fatalf("one change more: %q", got)
	case <-time.After(150 * time.Millisecond):
	}
}

func TestWatchAddresses(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24")
	changes := watch(t, m, nil)
	want := state(2*time.Second, "10.0.0.100/24 fd00::100/64@eth1")
	must(t, m.Set(t.Context(), "web", want))
	expect(t, changes, "address added eth0 10.0.0.100/24 (ours)", "address added eth1 fd00::100/64 (ours)")
	for range 3 { // renewals
		must(t, m.Set(t.Context(), "web", want))
	}
	expect(t, changes)
	h.Address("eth1", "10.0.0.2/24")
	expect(t, changes, "address added eth1 10.0.0.2/24")
	must(t, h.Netlink().AddrDel(linkOf(t, h, "eth0"), &netlink.Addr{IPNet: ipNet(want.Addresses[0].Prefix)}))
	expect(t, changes, "address removed eth0 10.0.0.100/24 (ours)")
	h.Address("eth0", "10.0.0.100/24")
	expect(t, changes, "address added eth0 10.0.0.100/24")
	// The lease of the other runs out.
	expect(t, changes, "address removed eth1 fd00::100/64 (ours)")
}

// An IPv6 address that duplicate address detection is still at cannot be used.
func TestWatchTentativeAddress(t *testing.T) {
	h, m := host(t)
	h.Sysctl("net.ipv6.conf.eth0.accept_dad", "1")
	h.Sysctl("net.ipv6.conf.all.accept_dad", "1")
	h.Sysctl("net.ipv6.conf.eth0.dad_transmits", "2")
	changes := watch(t, m, nil)
	began := time.Now()
	own, err := netlink.ParseAddr("fd00::1/64")
	must(t, err)
	must(t, h.Netlink().AddrAdd(linkOf(t, h, "eth0"), own))
	l, err := m.Link("eth0")
	must(t, err)
	for _, p := range l.Addresses {
		if p.String() == "fd00::1/64" {
			t.Error("Link lists a tentative address")
		}
	}
	expect(t, changes, "address added eth0 fd00::1/64")
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("reported as usable after %v", took)
	}
}

func TestWatchLinks(t *testing.T) {
	h, m := host(t)
	h.Address("eth1", "10.0.0.1/24")
	h.Sysctl("net.ipv6.conf.eth1.disable_ipv6", "1")
	h.Sysctl("net.ipv6.conf.default.disable_ipv6", "1")
	changes := watch(t, m, nil)
	h.Link("eth1").Down()
	expect(t, changes, "link down eth1")
	h.Link("eth1").Up()
	expect(t, changes, "link up eth1")
	must(t, h.Netlink().LinkSetHardwareAddr(linkOf(t, h, "eth1"), []byte{2, 0, 0, 0, 0, 9}))
	expect(t, changes, "link changed eth1")
	must(t, h.Netlink().LinkSetDown(linkOf(t, h, "eth1")))
	must(t, h.Netlink().LinkSetName(linkOf(t, h, "eth1"), "lan1"))
	expect(t, changes, "link down eth1", "link gone eth1", "link renamed lan1 (was eth1)")
	must(t, h.Netlink().LinkDel(linkOf(t, h, "lan1")))
	expect(t, changes, "address removed lan1 10.0.0.1/24", "link gone lan1")

	add := netlink.NewLinkAttrs()
	add.Name = "new"
	must(t, h.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: add}))
	expect(t, changes, "link down new")
	// A port that leaves a bridge is reported as a deleted link, of the bridge's
	// family. It is not gone.
	must(t, h.Netlink().LinkSetMaster(linkOf(t, h, "eth0"), linkOf(t, h, "new")))
	must(t, h.Netlink().LinkSetNoMaster(linkOf(t, h, "eth0")))
	deadline := time.After(500 * time.Millisecond)
	for waiting := true; waiting; {
		select {
		case c := <-changes: // the bridge takes its port's hardware address and gives it back
			if c.Interface == "eth0" {
				t.Errorf("leaving a bridge is reported as %q", c)
			}
		case <-deadline:
			waiting = false
		}
	}
}

// When the kernel's queue overflows, reports are lost; what they said is not.
func TestWatchOverflow(t *testing.T) {
	h, m := host(t)
	h.Sysctl("net.ipv4.conf.all.promote_secondaries", "1")
	must(t, m.events.raw.Control(func(fd uintptr) { m.events.queue(int(fd), 4096) }))
	proceed := make(chan struct{})
	blocked := false
	changes := watch(t, m, func(c Change) {
		if c.Kind != Resync && !blocked {
			blocked = true
			<-proceed
		}
	})
	known := map[string]bool{}
	const n = 300
	add := func(i int) string {
		a := fmt.Sprintf("10.0.%d.%d/24", i/200, i%200+1)
		h.Address("eth0", a)
		return a
	}
	want := map[string]bool{}
	for i := range n {
		want[add(i)] = true
	}
	for i := range n / 2 { // and some go again before anybody has looked
		a := fmt.Sprintf("10.0.%d.%d/24", i/200, i%200+1)
		must(t, h.Netlink().AddrDel(linkOf(t, h, "eth0"), &netlink.Addr{IPNet: ipNet(state(0, a).Addresses[0].Prefix)}))
		delete(want, a)
	}
	close(proceed)
	resyncs := 0
	take := func(wait time.Duration) bool {
		select {
		case c := <-changes:
			switch c.Kind {
			case Resync:
				resyncs++
			case AddressAdded:
				known[c.Prefix.String()] = true
			case AddressRemoved:
				delete(known, c.Prefix.String())
			}
			return true
		case <-time.After(wait):
			return false
		}
	}
	for take(lab.Patience(time.Second)) {
	}
	if resyncs == 0 {
		t.Error("a queue of 4 KiB took all reports: this test shows nothing")
	}
	if len(known) != len(want) {
		t.Errorf("%d addresses are known, %d are there", len(known), len(want))
	}
	for a := range want {
		if !known[a] {
			t.Errorf("%s is not known", a)
		}
	}
	// It goes on in the ordinary way.
	h.Address("eth1", "192.0.2.1/24")
	expect(t, changes, "address added eth1 192.0.2.1/24")
}

func TestWatchOnlyOnceAtATime(t *testing.T) {
	_, m := host(t)
	ctx, cancel := context.WithCancel(t.Context())
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- m.Watch(ctx, func(Change) { close(started) }) }()
	<-started
	if err := m.Watch(t.Context(), func(Change) {}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second Watch: %v", err)
	}
	cancel()
	must(t, <-ended)
	watch(t, m, nil) // and again afterwards

	ended2 := m.Watch(ctx, func(Change) { t.Error("reported after its end") })
	if ended2 != nil && !errors.Is(ended2, context.Canceled) && !strings.Contains(ended2.Error(), "already") {
		t.Errorf("with an ended context: %v", ended2)
	}
}
