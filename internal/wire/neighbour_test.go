package wire

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"baton/test/lab"
)

// knows returns where a host sends what is for an address; "" if it does not
// know.
func knows(t *testing.T, h *lab.Host, addr netip.Addr) string {
	t.Helper()
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	list, err := h.Netlink().NeighList(linkOf(t, h, "eth0").Attrs().Index, family)
	must(t, err)
	for _, n := range list {
		if a, ok := netip.AddrFromSlice(n.IP); ok && a.Unmap() == addr {
			return n.HardwareAddr.String()
		}
	}
	return ""
}

func awaitOwner(t *testing.T, h *lab.Host, addr netip.Addr, owner *lab.Host) {
	t.Helper()
	want := owner.Link("eth0").MAC().String()
	lab.Eventually(t, 2*time.Second, func() error {
		if got := knows(t, h, addr); got != want {
			return fmt.Errorf("%s sends %s to %q, not to %s (%s)", h, addr, got, owner, want)
		}
		return nil
	})
}

// For some time after an entry has changed (its locktime) a neighbour believes
// no other answer. A takeover may fall into that time, and another one after it:
// our announcements must be believed all the same.
func TestNeighboursLearnWithinTheirLocktime(t *testing.T) {
	l, a, b := pair(t)
	c := l.Host("c")
	c.Connect(l.Bridge("lan"), "eth0", "10.0.0.3/24", "fd00::3/64")
	b.Sysctl("net.ipv4.neigh.eth0.locktime", "6000") // a minute, in hundredths of a second
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience(10*time.Second))
	defer cancel()
	a.Address("eth0", vip4.String()+"/24", vip6.String()+"/64")
	for _, vip := range []netip.Addr{vip4, vip6} {
		_, err := b.Run(ctx, "ping", "-c1", "-W2", vip.String())
		must(t, err)
		awaitOwner(t, b, vip, a)
	}

	// An ordinary answer is not believed now: so the locktime is at work.
	claimed, err := arp.NewPacket(arp.OperationReply, c.Link("eth0").MAC(), vip4, b.Link("eth0").MAC(), families[0].b)
	must(t, err)
	sendARP(t, c, claimed)
	_, err = c.Run(ctx, "ping", "-c1", "-W2", families[0].b.String()) // comes behind it
	must(t, err)
	awaitOwner(t, b, vip4, a)

	from := map[*lab.Host]*Announcer{a: announcerOn(t, a), c: announcerOn(t, c)}
	for _, owner := range []*lab.Host{c, a, c, a, c} {
		for _, vip := range []netip.Addr{vip4, vip6} {
			must(t, from[owner].Announce(vip))
			awaitOwner(t, b, vip, owner)
		}
	}
}

// sendARP sends an ARP packet to whom it is for.
func sendARP(t *testing.T, h *lab.Host, p *arp.Packet) {
	t.Helper()
	body, err := p.MarshalBinary()
	must(t, err)
	frame := ethernet.Frame{
		Destination: p.TargetHardwareAddr, Source: p.SenderHardwareAddr, EtherType: ethernet.EtherTypeARP, Payload: body,
	}
	raw, err := frame.MarshalBinary()
	must(t, err)
	an := announcerOn(t, h)
	_, err = an.conn.WriteTo(raw, &packet.Addr{HardwareAddr: p.TargetHardwareAddr})
	must(t, err)
}

// Without privileges the error says which are missing and how to get them.
func TestWithoutPrivileges(t *testing.T) {
	_, a, _ := pair(t)
	without(t, a, unix.CAP_NET_RAW, func() {
		for _, f := range families {
			c, err := OpenVRRP("eth0", f.of)
			wantRemedy(t, err)
			if err == nil {
				must(t, c.Close())
			}
		}
		an, err := OpenAnnouncer("eth0")
		wantRemedy(t, err)
		if err == nil {
			must(t, an.Close())
		}
	})
}

func wantRemedy(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "eth0") || !strings.Contains(err.Error(), "run baton as root, or give it CAP_NET_RAW") {
		t.Errorf("without privileges: %v", err)
	}
}

// without runs f on a host, on a thread that lacks a capability meanwhile.
func without(t *testing.T, h *lab.Host, capability uint, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all [2]unix.CapUserData
	must(t, unix.Capget(&header, &all[0]))
	fewer := all
	fewer[capability/32].Effective &^= 1 << (capability % 32)
	must(t, h.Do(func() error {
		if err := unix.Capset(&header, &fewer[0]); err != nil {
			return err
		}
		f()
		return unix.Capset(&header, &all[0])
	}))
}
