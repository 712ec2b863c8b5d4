package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"baton/test/lab"
)

func senderOn(t testing.TB, h *lab.Host, f Family) *Sender {
	t.Helper()
	var s *Sender
	must(t, h.Do(func() (err error) {
		s, err = OpenSender("eth0", f, virtualMAC)
		return err
	}))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// RFC 9568 section 7.2, RFC 1112 section 6.4, RFC 2464 section 7.
func TestSenderFrames(t *testing.T) {
	l, a, b := pair(t)
	for _, f := range families {
		s := senderOn(t, a, f.of)
		wire := l.Capture(b, "eth0", "proto 112 or ip6 proto 112")
		in := listen(openOn(t, b, "eth0", f.of))
		own := listen(openOn(t, a, "eth0", f.of))
		for id := range uint16(2) {
			must(t, s.Send(advert, f.a, Group(f.of)))
			// That it arrives shows that the other kernel believes the headers.
			p := await(t, in)
			must(t, p.err)
			if p.Source != f.a || p.Dest != Group(f.of) || p.TTL != 255 || !bytes.Equal(p.Payload, advert) {
				t.Errorf("received %+v", p.Packet)
			}
			want := unhex(t, "333300000012 00005e000133 86dd 6c000000 000c 70 ff "+
				"fd00 0000 0000 0000 0000 0000 0000 0001  ff02 0000 0000 0000 0000 0000 0000 0012")
			if f.of == IPv4 {
				want = unhex(t, "01005e000012 00005e000133 0800 45c0 0020 0000 0000 ff70 0000 0a000001 e0000012")
				ip := want[14:]
				binary.BigEndian.PutUint16(ip[4:], id+1)
				binary.BigEndian.PutUint16(ip[10:], referenceChecksum(ip))
			}
			want = append(want, advert...)
			if _, err := wire.Await(time.Second, func(p lab.Packet) bool { return bytes.HasPrefix(p.Data, want) }); err != nil {
				t.Errorf("%v: want %x; seen: %s", err, want, frames(wire))
			}
		}
		silent(t, "the sending host", own)
	}
}

// referenceChecksum is RFC 1071 in its plainest form: carries are added as they
// come up.
func referenceChecksum(b []byte) uint16 {
	var sum uint16
	for i := 0; i < len(b); i += 2 {
		before := sum
		if sum += binary.BigEndian.Uint16(b[i:]); sum < before {
			sum++
		}
	}
	return 0xffff - sum
}

func TestSenderErrorsSayWhatToDo(t *testing.T) {
	_, a, b := pair(t)
	four, six := senderOn(t, a, IPv4), senderOn(t, a, IPv6)
	from, from6 := families[0].a, families[1].a
	open := func(ifname string, mac [6]byte) error {
		return a.Do(func() error {
			s, err := OpenSender(ifname, IPv4, mac)
			if err == nil {
				err = s.Close()
			}
			return err
		})
	}
	for _, tt := range []struct {
		name string
		err  error
		want []string
	}{
		{"unicast", four.Send(advert, from, families[0].b), []string{"10.0.0.2", "eth0", "only a group", "ordinary VRRP socket"}},
		{"unicast IPv6", six.Send(advert, from6, families[1].b), []string{"fd00::2", "only a group"}},
		{"other family", four.Send(advert, from6, groupIPv6), []string{"the socket is for IPv4"}},
		{"mixed families", six.Send(advert, from, groupIPv6), []string{"the socket is for IPv6"}},
		{"no source", four.Send(advert, netip.Addr{}, groupIPv4), []string{"needs both addresses"}},
		{"no destination", four.Send(advert, from, netip.Addr{}), []string{"needs both addresses"}},
		{"source is a group", four.Send(advert, groupIPv4, groupIPv4), []string{"not the address of a host"}},
		{"nothing", four.Send(nil, from, groupIPv4), []string{"nothing to send"}},
		{"longer than the MTU", four.Send(make([]byte, 1481), from, groupIPv4), []string{"1481 bytes", "ip link set mtu"}},
		{"longer than the MTU, IPv6", six.Send(make([]byte, 1461), from6, groupIPv6), []string{"1461 bytes", "ip link set mtu"}},
		{"longer than any packet", four.Send(make([]byte, 1<<16), from, groupIPv4), []string{"65536 bytes", "MTU"}},
		{"no such interface", open("eth7", virtualMAC), []string{"eth7", "ip link"}},
		{"no Ethernet", open("lo", virtualMAC), []string{"lo", "no Ethernet"}},
		{"a group's MAC", open("eth0", [6]byte{1, 0, 0x5e, 0, 0, 18}), []string{"01:00:5e:00:00:12", "one host"}},
		{"no MAC", open("eth0", [6]byte{}), []string{"one host"}},
	} {
		if tt.err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(tt.err.Error(), want) {
				t.Errorf("%s: %q does not contain %q", tt.name, tt.err, want)
			}
		}
	}
	in := listen(openOn(t, b, "eth0", IPv4)) // the longest that fits does arrive
	must(t, four.Send(make([]byte, 1480), from, groupIPv4))
	if p := await(t, in); len(p.Payload) != 1480 {
		t.Errorf("%d bytes arrived", len(p.Payload))
	}
	without(t, a, unix.CAP_NET_RAW, func() {
		s, err := OpenSender("eth0", IPv6, virtualMAC)
		wantRemedy(t, err)
		if err == nil {
			must(t, s.Close())
		}
	})
}

func TestSenderInterfaceDownUpGone(t *testing.T) {
	_, a, b := pair(t)
	s := senderOn(t, a, IPv4)
	in := listen(openOn(t, b, "eth0", IPv4))
	send := func() error { return s.Send(advert, families[0].a, groupIPv4) }
	must(t, a.Netlink().LinkSetDown(linkOf(t, a, "eth0")))
	if err := send(); !errors.Is(err, ErrInterfaceDown) || !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "eth0") {
		t.Errorf("while it is down: %v", err)
	}
	must(t, a.Netlink().LinkSetUp(linkOf(t, a, "eth0")))
	lab.Eventually(t, 5*time.Second, func() error {
		if err := send(); err != nil {
			return err
		}
		select {
		case p := <-in:
			return p.err
		case <-time.After(50 * time.Millisecond):
			return errors.New("nothing is received after the interface came back")
		}
	})
	must(t, a.Netlink().LinkDel(linkOf(t, a, "eth0")))
	if err := send(); !errors.Is(err, ErrInterfaceGone) {
		t.Errorf("after its removal: %v", err)
	}
	must(t, s.Close())
	if err := send(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestSenderAllocatesNothing(t *testing.T) {
	_, a, _ := pair(t)
	for _, f := range families {
		s := senderOn(t, a, f.of)
		if allocs := testing.AllocsPerRun(200, func() {
			if err := s.Send(advert, f.a, Group(f.of)); err != nil {
				t.Error(err)
			}
		}); allocs != 0 {
			t.Errorf("%v: %v allocations", f.of, allocs)
		}
		must(t, s.raw.Control(func(fd uintptr) {
			if v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY); v != priorityVRRP || err != nil {
				t.Errorf("%v: SO_PRIORITY is %d, %v", f.of, v, err)
			}
		}))
	}
}

func BenchmarkSender(b *testing.B) {
	_, from, _ := pair(b)
	s := senderOn(b, from, IPv4)
	b.ReportAllocs()
	for b.Loop() {
		must(b, s.Send(advert, families[0].a, groupIPv4))
	}
}
