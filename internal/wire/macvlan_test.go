package wire

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/ethernet"

	"baton/test/lab"
)

// macvlanOn puts the virtual router's hardware address on an interface of its
// own above eth0, as a router with a virtual MAC does.
func macvlanOn(t testing.TB, h *lab.Host, mode string, prefixes ...string) {
	t.Helper()
	// Without this, the macvlan answers ARP for the addresses of eth0, too.
	h.Sysctl("net.ipv4.conf.all.arp_ignore", "1")
	mac := net.HardwareAddr(virtualMAC[:]).String()
	_, err := h.Run(t.Context(), "ip", "link", "add", "link", "eth0", "name", "vrrp51", "address", mac, "type", "macvlan", "mode", mode)
	must(t, err)
	_, err = h.Run(t.Context(), "ip", "link", "set", "vrrp51", "up")
	must(t, err)
	h.Address("vrrp51", prefixes...)
}

// awaitOnce returns the one packet that there is, and fails when there are more.
func awaitOnce(t *testing.T, what string, c <-chan heard) Packet {
	t.Helper()
	p := await(t, c)
	must(t, p.err)
	silent(t, what+" once more", c)
	return p.Packet
}

// An interface with the virtual MAC, up on both hosts, neither takes adverts away
// nor doubles them: not the peer's own, not those with the virtual MAC as their
// source, to the group or to the peer.
func TestAdvertsBesideAMacvlan(t *testing.T) {
	for _, mode := range []string{"bridge", "vepa"} {
		for _, f := range families {
			t.Run(mode+" "+f.of.String(), func(t *testing.T) {
				_, a, b := pair(t)
				for _, h := range []*lab.Host{a, b} {
					macvlanOn(t, h, mode)
				}
				a.Address("vrrp51", vip4.String()+"/24", vip6.String()+"/64")
				connected(t, a, f.b.String())
				from, to := openOn(t, a, "eth0", f.of), openOn(t, b, "eth0", f.of)
				in, own := listen(to), listen(from)
				for _, dst := range []netip.Addr{Group(f.of), f.b} {
					must(t, from.Send(advert, f.a, dst))
					if p := awaitOnce(t, "b", in); p.Source != f.a || p.Dest != dst || p.TTL != 255 {
						t.Errorf("to %v: received %+v", dst, p)
					}
				}
				must(t, senderOn(t, a, f.of).Send(advert, f.a, Group(f.of)))
				if p := awaitOnce(t, "b", in); p.Source != f.a || p.Dest != Group(f.of) || !bytes.Equal(p.Payload, advert) {
					t.Errorf("with the virtual MAC: received %+v", p)
				}
				silent(t, "the sender itself", own)

				// The other way: the owner of the macvlan with the addresses hears, too.
				must(t, to.Send(advert, f.b, f.a))
				awaitOnce(t, "a", own)
				must(t, senderOn(t, b, f.of).Send(advert, f.b, Group(f.of)))
				awaitOnce(t, "a", own)
			})
		}
	}
}

// The same for the watch: what a switch brings back, or the peer sends with the
// same virtual MAC, is ours, and what is for the macvlan alone is not for eth0.
func TestConflictWatchBesideAMacvlan(t *testing.T) {
	_, a, b := pair(t)
	in := injectorOn(t, b)
	macvlanOn(t, a, "bridge", vip4.String()+"/24", vip6.String()+"/64")
	w := watchOn(t, a, [][6]byte{virtualMAC}, vip4, vip6)
	reports := alarms(w)
	an := announcerOn(t, a, WithSource(virtualMAC))
	connected(t, b, vip4.String()) // resolves, and is resolved
	for _, addr := range []netip.Addr{vip4, vip6} {
		must(t, an.Announce(addr))
		must(t, announcerOn(t, b, WithSource(virtualMAC)).Announce(addr))
	}
	must(t, an.Announce(vip4)) // the switch is to know where the virtual MAC is
	in.send(t, arpClaim(virtualMAC[:], 2, [6]byte{2, 7}, vip4, vip4))
	for _, frame := range [][]byte{
		arpClaim(ethernet.Broadcast, 1, strangerMAC, vip4, vip4), naClaim(strangerMAC, vip6, nil),
	} {
		in.send(t, frame)
		if got := awaitAlarm(t, reports); got.MAC != strangerMAC || got.Count != 1 {
			t.Errorf("reported %+v", got)
		}
	}
	select {
	case got := <-reports:
		t.Errorf("one too many: %+v", got)
	case <-time.After(2 * reportEvery):
	}
}

// With a virtual MAC, neighbours and switches must learn that one from both
// families' announcements: it is the frame's source as well as in its payload.
func TestAnnounceVirtualMACBothFamilies(t *testing.T) {
	l, a, b := pair(t)
	macvlanOn(t, a, "bridge", vip4.String()+"/24", vip6.String()+"/64")
	wire := l.Capture(b, "eth0", "ether src "+net.HardwareAddr(virtualMAC[:]).String())
	an := announcerOn(t, a, WithSource(virtualMAC))
	must(t, an.Announce(vip4))
	must(t, an.Announce(vip6))
	mac := digits(virtualMAC[:])
	for _, want := range [][]byte{
		unhex(t, "ffffffffffff"+mac+" 0806 0001 0800 06 04 0001 "+mac+" 0a000064 000000000000 0a000064"),
		unhex(t, "ffffffffffff"+mac+" 0806 0001 0800 06 04 0002 "+mac+" 0a000064 "+mac+" 0a000064"),
		neighbourAdvertisement(virtualMAC[:], vip6, false),
	} {
		if _, err := wire.Await(time.Second, func(p lab.Packet) bool { return bytes.HasPrefix(p.Data, want) }); err != nil {
			t.Errorf("%v: want %x; seen: %s", err, want, frames(wire))
		}
	}
	// And they lead to the addresses.
	connected(t, b, vip4.String())
	connected(t, b, vip6.String())
	for _, addr := range []netip.Addr{vip4, vip6} {
		if got := knows(t, b, addr); got != net.HardwareAddr(virtualMAC[:]).String() {
			t.Errorf("b sends %v to %s", addr, got)
		}
	}
}
