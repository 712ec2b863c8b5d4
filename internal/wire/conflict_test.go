package wire

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/ethernet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"baton/test/lab"
)

// watchOn watches for the addresses on a host.
func watchOn(t testing.TB, h *lab.Host, own [][6]byte, addrs ...netip.Addr) *ConflictWatch {
	t.Helper()
	var w *ConflictWatch
	must(t, h.Do(func() (err error) {
		w, err = OpenConflictWatch("eth0")
		return err
	}))
	t.Cleanup(func() { _ = w.Close() })
	must(t, w.Watch(addrs, own))
	return w
}

// alarm is what a Receive brought.
type alarm struct {
	Conflict
	err error
}

// alarms receives in the background until the watch ends.
func alarms(w *ConflictWatch) <-chan alarm {
	out := make(chan alarm, 1024)
	go func() {
		defer close(out)
		for {
			c, err := w.Receive()
			out <- alarm{c, err}
			if err != nil {
				return
			}
		}
	}()
	return out
}

func awaitAlarm(t testing.TB, c <-chan alarm) alarm {
	t.Helper()
	select {
	case a, ok := <-c:
		if !ok {
			t.Fatal("the watch has ended")
		}
		return a
	case <-time.After(lab.Patience(5 * time.Second)):
		t.Fatal("no conflict was reported")
		return alarm{}
	}
}

// injector sends frames as they are.
type injector struct {
	raw   syscall.RawConn
	frame []byte
	err   error
	write func(fd uintptr)
}

func injectorOn(t testing.TB, h *lab.Host) *injector {
	t.Helper()
	var an *Announcer
	must(t, h.Do(func() (err error) {
		an, err = OpenAnnouncer("eth0")
		return err
	}))
	t.Cleanup(func() { _ = an.Close() })
	i := &injector{raw: an.raw}
	i.write = func(fd uintptr) { _, i.err = unix.Write(int(fd), i.frame) }
	return i
}

func (i *injector) send(t testing.TB, frame []byte) {
	i.frame = frame
	if err := errors.Join(i.raw.Control(i.write), i.err); err != nil {
		t.Fatal(err)
	}
}

// arpClaim is a request (1) or reply (2) in which from says that addr is at mac.
func arpClaim(dst net.HardwareAddr, op byte, mac [6]byte, addr, target netip.Addr) []byte {
	body := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, mac[:]...)
	body = append(append(append(body, addr.AsSlice()...), make([]byte, 6)...), target.AsSlice()...)
	frame := append(append([]byte(nil), dst...), mac[:]...)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_ARP)
	return append(append(frame, body...), make([]byte, 18)...)
}

// naClaim is an unsolicited advertisement after a change to its IPv6 packet.
func naClaim(mac [6]byte, addr netip.Addr, change func(ip []byte)) []byte {
	frame := neighbourAdvertisement(net.HardwareAddr(mac[:]), addr, false)
	if change != nil {
		change(frame[sizeEthernet:])
	}
	return frame
}

// tagged puts a frame into a VLAN.
func tagged(frame []byte, id uint16) []byte {
	tag := binary.BigEndian.AppendUint16([]byte{0x81, 0x00}, id)
	return slices.Concat(frame[:12], tag, frame[12:])
}

func TestConflictsAreReported(t *testing.T) {
	_, a, b := pair(t)
	in := injectorOn(t, b)
	reports := alarms(watchOn(t, a, [][6]byte{virtualMAC}, vip4, vip6))
	ours := [6]byte(a.Link("eth0").MAC())
	number := byte(0)
	other := func() [6]byte { // so that none is held back as a repetition
		number++
		return [6]byte{0x02, 0, 0, 0, 1, number}
	}
	peer, us := families[0].b, net.HardwareAddr(ours[:])
	all := ethernet.Broadcast
	fix := func(ip []byte) { // the checksum after a change
		p := checksummed(Packet{
			Source: netip.AddrFrom16([16]byte(ip[8:])), Dest: netip.AddrFrom16([16]byte(ip[24:])), Payload: ip[40:],
		})
		copy(ip[40:], p.Payload)
	}
	for _, tt := range []struct {
		name  string
		frame func(mac [6]byte) []byte
		kind  ConflictKind // 0: not reported
	}{
		{"request", func(m [6]byte) []byte { return arpClaim(all, 1, m, vip4, peer) }, ARPRequest},
		{"gratuitous request", func(m [6]byte) []byte { return arpClaim(all, 1, m, vip4, vip4) }, ARPRequest},
		{"gratuitous reply", func(m [6]byte) []byte { return arpClaim(all, 2, m, vip4, vip4) }, ARPReply},
		{"request to us", func(m [6]byte) []byte { return arpClaim(us, 1, m, vip4, families[0].a) }, ARPRequest},
		{"reply to us", func(m [6]byte) []byte { return arpClaim(us, 2, m, vip4, families[0].a) }, ARPReply},
		{"solicited advertisement", func(m [6]byte) []byte {
			f := naClaim(m, vip6, func(ip []byte) {
				copy(ip[24:], families[1].a.AsSlice())
				ip[44] |= flagSolicited
				fix(ip)
			})
			copy(f, us)
			return f
		}, NeighbourAdvertisement},
		{"in the VLAN 0, which is none", func(m [6]byte) []byte { return tagged(arpClaim(all, 1, m, vip4, vip4), 0) }, ARPRequest},
		{"in a VLAN", func(m [6]byte) []byte { return tagged(arpClaim(all, 1, m, vip4, vip4), 7) }, 0},
		{"probe", func(m [6]byte) []byte { return arpClaim(all, 1, m, netip.IPv4Unspecified(), vip4) }, 0},
		{"request for a watched address", func(m [6]byte) []byte { return arpClaim(all, 1, m, peer, vip4) }, 0},
		{"other address", func(m [6]byte) []byte { return arpClaim(all, 1, m, netip.MustParseAddr("10.0.0.101"), vip4) }, 0},
		{"to another host", func(m [6]byte) []byte { return arpClaim(strangerMAC[:], 2, m, vip4, peer) }, 0},
		// From this one on the switch may think that our hardware address is at the other
		// port: nothing for us alone arrives any more.
		{"our own, looped back", func([6]byte) []byte { return arpClaim(all, 1, ours, vip4, vip4) }, 0},
		{"our virtual router's", func([6]byte) []byte { return arpClaim(all, 2, virtualMAC, vip4, vip4) }, 0},
		{"cut short", func(m [6]byte) []byte { return arpClaim(all, 1, m, vip4, vip4)[:14+27] }, 0},
		{"empty", func(m [6]byte) []byte { return arpClaim(all, 1, m, vip4, vip4)[:15] }, 0},

		{"advertisement", func(m [6]byte) []byte { return naClaim(m, vip6, nil) }, NeighbourAdvertisement},
		{"advertisement from afar", func(m [6]byte) []byte { return naClaim(m, vip6, func(ip []byte) { ip[7] = 254 }) }, 0},
		{"advertisement with a wrong checksum", func(m [6]byte) []byte { return naClaim(m, vip6, func(ip []byte) { ip[42] ^= 1 }) }, 0},
		{"advertisement of another address", func(m [6]byte) []byte { return naClaim(m, netip.MustParseAddr("fd00::101"), nil) }, 0},
		{"advertisement of one with the same end", func(m [6]byte) []byte { return naClaim(m, netip.MustParseAddr("fd01::100"), nil) }, 0},
		{"advertisement in a VLAN", func(m [6]byte) []byte { return tagged(naClaim(m, vip6, nil), 7) }, 0},
		{"our own advertisement", func([6]byte) []byte { return naClaim(ours, vip6, nil) }, 0},
		{"our virtual router's advertisement", func([6]byte) []byte { return naClaim(virtualMAC, vip6, nil) }, 0},
		{"solicitation", func(m [6]byte) []byte {
			return naClaim(m, vip6, func(ip []byte) { ip[40] = 135; fix(ip) })
		}, 0},
		{"advertisement cut short", func(m [6]byte) []byte { return naClaim(m, vip6, nil)[:14+40+20] }, 0},
	} {
		mac := other()
		in.send(t, tt.frame(mac))
		if tt.kind == 0 {
			// What was to be ignored is known to be when a later one is there.
			mac = other()
			frame := arpClaim(all, 1, mac, vip4, vip4)
			if strings.Contains(tt.name, "advertisement") || tt.name == "solicitation" {
				frame = naClaim(mac, vip6, nil)
			}
			in.send(t, frame)
		}

		got := awaitAlarm(t, reports)
		must(t, got.err)
		if got.MAC != mac || (tt.kind != 0 && got.Kind != tt.kind) || got.Count != 1 || time.Since(got.At) > lab.Patience(5*time.Second) {
			t.Fatalf("%s: reported %+v; want %v from %x", tt.name, got.Conflict, tt.kind, mac)
		}
		if want := map[bool]netip.Addr{true: vip6, false: vip4}[got.Kind == NeighbourAdvertisement]; got.Addr != want {
			t.Errorf("%s: about %v, want %v", tt.name, got.Addr, want)
		}
		time.Sleep(2 * reportEvery / claimants) // no more than so many at once
	}
	link := linkOf(t, a, "eth0").Attrs()
	if link.Promisc != 0 || link.Allmulti != 0 {
		t.Error("the interface is promiscuous")
	}
}

// Hosts as they are: what a kernel sends when it takes the address.
func TestConflictWithAKernel(t *testing.T) {
	_, a, b := pair(t)
	a.Address("eth0", vip4.String()+"/24", vip6.String()+"/64")
	w := watchOn(t, a, nil, vip4, vip6)
	an := announcerOn(t, a)
	must(t, errors.Join(an.Announce(vip4), an.Announce(vip6)))
	reports := alarms(w)
	select {
	case got := <-reports:
		t.Fatalf("our own announcement is reported: %+v", got)
	case <-time.After(100 * time.Millisecond):
	}

	for _, addr := range []string{vip4.String() + "/24", vip6.String() + "/64"} {
		parsed, err := netlink.ParseAddr(addr)
		must(t, err)
		parsed.Flags = unix.IFA_F_NODAD // else it would ask first, and give in
		must(t, b.Netlink().AddrAdd(linkOf(t, b, "eth0"), parsed))
	}
	// It asks for somebody from its new address, which is a request from there.
	_, _ = b.Run(t.Context(), "ping", "-c1", "-W1", "-I", vip4.String(), "10.0.0.9")
	got := awaitAlarm(t, reports)
	if got.Addr != vip4 || got.MAC != [6]byte(b.Link("eth0").MAC()) || got.Kind != ARPRequest {
		t.Errorf("reported %+v", got)
	}
	// Duplicate address detection is answered with an advertisement to all.
	a.Sysctl("net.ipv6.conf.eth0.accept_dad", "1")
	a.Sysctl("net.ipv6.conf.eth0.dad_transmits", "1")
	_, err := a.Run(t.Context(), "ip", "addr", "del", vip6.String()+"/64", "dev", "eth0")
	must(t, err)
	_, err = a.Run(t.Context(), "ip", "addr", "add", vip6.String()+"/64", "dev", "eth0")
	must(t, err)
	for got.Kind != NeighbourAdvertisement {
		got = awaitAlarm(t, reports)
		must(t, got.err)
	}
	if got.Addr != vip6 || got.MAC != [6]byte(b.Link("eth0").MAC()) {
		t.Errorf("reported %+v", got)
	}
}
