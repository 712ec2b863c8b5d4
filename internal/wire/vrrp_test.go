package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"baton/test/lab"
)

var advert = []byte{0x31, 51, 150, 1, 0, 100, 0xab, 0xcd, 10, 0, 0, 100}

// family is one IP version's share of the two-host network.
type family struct {
	of   Family
	a, b netip.Addr
}

var families = []family{
	{IPv4, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")},
	{IPv6, netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")},
}

// pair builds two hosts on one bridge.
func pair(t testing.TB) (l *lab.Lab, a, b *lab.Host) {
	t.Helper()
	l = lab.New(t)
	lan := l.Bridge("lan")
	a, b = l.Host("a"), l.Host("b")
	a.Connect(lan, "eth0", "10.0.0.1/24", "fd00::1/64")
	b.Connect(lan, "eth0", "10.0.0.2/24", "fd00::2/64")
	connected(t, a, "10.0.0.2")
	connected(t, a, "fd00::2")
	return l, a, b
}

// connected waits until packets reach the other host: a bridge begins to forward
// to a new port some time after it has a carrier.
func connected(t testing.TB, h *lab.Host, to string) {
	t.Helper()
	lab.Eventually(t, 10*time.Second, func() error {
		_, err := h.Run(t.Context(), "ping", "-c1", "-W1", to)
		return err
	})
}

func openOn(t testing.TB, h *lab.Host, ifname string, f Family) *VRRPConn {
	t.Helper()
	var c *VRRPConn
	must(t, h.Do(func() (err error) {
		c, err = OpenVRRP(ifname, f)
		return err
	}))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// heard is what a Receive brought.
type heard struct {
	Packet
	err error
}

// listen receives in the background until the conn ends.
func listen(c *VRRPConn) <-chan heard {
	out := make(chan heard, 256)
	go func() {
		defer close(out)
		for {
			p, err := c.Receive(make([]byte, 2048))
			out <- heard{p, err}
			if err != nil {
				return
			}
		}
	}()
	return out
}

func await(t testing.TB, c <-chan heard) heard {
	t.Helper()
	select {
	case h, ok := <-c:
		if !ok {
			t.Fatal("the receiver has ended")
		}
		return h
	case <-time.After(lab.Patience(3 * time.Second)):
		t.Fatal("nothing was received")
		return heard{}
	}
}

func silent(t *testing.T, what string, c <-chan heard) {
	t.Helper()
	select {
	case h := <-c:
		t.Fatalf("%s received %+v", what, h)
	case <-time.After(100 * time.Millisecond):
	}
}

func TestAdvertsArrive(t *testing.T) {
	for _, f := range families {
		t.Run(f.of.String(), func(t *testing.T) {
			l, a, b := pair(t)
			from, to := openOn(t, a, "eth0", f.of), openOn(t, b, "eth0", f.of)
			wire := l.Capture(b, "eth0", "proto 112 or ip6 proto 112")
			in, own := listen(to), listen(from)
			_, index := to.Interface()
			for _, dst := range []netip.Addr{Group(f.of), f.b} {
				before := time.Now()
				must(t, from.Send(advert, f.a, dst))
				p := await(t, in)
				must(t, p.err)
				if p.Source != f.a || p.Dest != dst || p.TTL != 255 || p.Interface != index || !bytes.Equal(p.Payload, advert) {
					t.Errorf("sent %x from %v to %v, received %+v on interface %d", advert, f.a, dst, p.Packet, index)
				}
				if p.At.Before(before) || time.Since(p.At) < 0 {
					t.Errorf("received at %v, sent at %v", p.At, before)
				}
				frame, err := wire.Await(time.Second, func(p lab.Packet) bool { return bytes.HasSuffix(bytes.TrimRight(p.Data, "\x00"), advert) })
				must(t, err)
				class, hops := frame.Data[15], frame.Data[22]
				if f.of == IPv6 {
					class, hops = frame.Data[14]<<4|frame.Data[15]>>4, frame.Data[21]
				}
				if class != 0xc0 || hops != 255 {
					t.Errorf("to %v: traffic class %#x and hop limit %d on the wire; want 0xc0 and 255", dst, class, hops)
				}
			}
			silent(t, "the sender itself", own)
		})
	}
}

func TestSourceIsOptional(t *testing.T) {
	for _, f := range families {
		_, a, b := pair(t)
		from, in := openOn(t, a, "eth0", f.of), listen(openOn(t, b, "eth0", f.of))
		must(t, from.Send(advert, netip.Addr{}, f.b))
		if p := await(t, in); p.Source != f.a {
			t.Errorf("%v: the kernel chose %v", f.of, p.Source)
		}
	}
}

// Adverts of IPv6 come from the link-local address (RFC 9568 section 5.1.2.1).
func TestLinkLocalSource(t *testing.T) {
	_, a, b := pair(t)
	from, in := openOn(t, a, "eth0", IPv6), listen(openOn(t, b, "eth0", IPv6))
	for _, dst := range []netip.Addr{groupIPv6, linkLocal(t, b), linkLocal(t, b).WithZone("eth0")} {
		must(t, from.Send(advert, linkLocal(t, a), dst))
		if p := await(t, in); p.Source != linkLocal(t, a) || p.Dest != dst.WithZone("") || p.TTL != 255 {
			t.Errorf("to %v: received %+v", dst, p.Packet)
		}
	}
}

// An advert that a router passed on arrives with a smaller TTL. Whether to
// believe it is the reader's decision; it has to be told.
func TestReceivedTTLIsReported(t *testing.T) {
	for _, f := range families {
		_, a, b := pair(t)
		in := listen(openOn(t, b, "eth0", f.of))
		from := openOn(t, a, "eth0", f.of)
		level, option := unix.IPPROTO_IP, unix.IP_MULTICAST_TTL
		if f.of == IPv6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS
		}
		must(t, from.raw.Control(func(fd uintptr) { must(t, unix.SetsockoptInt(int(fd), level, option, 64)) }))
		must(t, from.Send(advert, f.a, Group(f.of)))
		if p := await(t, in); p.TTL != 64 {
			t.Errorf("%v: sent with TTL 64, reported %d", f.of, p.TTL)
		}
	}
}

func TestInterfacesAreApart(t *testing.T) {
	for _, f := range families {
		t.Run(f.of.String(), func(t *testing.T) {
			l, a, b := pair(t)
			dmz := l.Bridge("dmz")
			a.Connect(dmz, "eth1", "10.0.1.1/24", "fd01::1/64")
			b.Connect(dmz, "eth1", "10.0.1.2/24", "fd01::2/64")
			connected(t, a, "10.0.1.2")
			lan, other := listen(openOn(t, a, "eth0", f.of)), listen(openOn(t, a, "eth1", f.of))
			from := openOn(t, b, "eth0", f.of)
			must(t, from.Send(advert, f.b, Group(f.of)))
			must(t, from.Send(advert, f.b, f.a))
			await(t, lan)
			await(t, lan)
			silent(t, "the other interface", other)
		})
	}
}

func TestPollNeverWaits(t *testing.T) {
	for _, f := range families {
		t.Run(f.of.String(), func(t *testing.T) {
			_, a, b := pair(t)
			from, to := openOn(t, a, "eth0", f.of), openOn(t, b, "eth0", f.of)
			buf := make([]byte, 2048)
			poll := func() (n int) {
				for {
					p, ok, err := to.Poll(buf)
					must(t, err)
					if !ok {
						return n
					}
					if p.Source != f.a || p.Dest != Group(f.of) || p.TTL != 255 || !bytes.Equal(p.Payload, advert) {
						t.Errorf("polled %+v", p)
					}
					n++
				}
			}
			if n := poll(); n != 0 {
				t.Fatalf("%d packets in a new socket", n)
			}
			for range 3 {
				must(t, from.Send(advert, f.a, Group(f.of)))
			}
			got := 0
			lab.Eventually(t, time.Second, func() error {
				if got += poll(); got < 3 {
					return fmt.Errorf("%d of 3 packets were polled", got)
				}
				return nil
			})

			in := listen(to)
			time.Sleep(50 * time.Millisecond) // let it wait
			began := time.Now()
			poll()
			if took := time.Since(began); took > lab.Patience(200*time.Millisecond) {
				t.Errorf("Poll took %v beside a waiting Receive", took)
			}
			must(t, from.Send(advert, f.a, Group(f.of)))
			await(t, in)
		})
	}
}

// After a stall the time of arrival counts, not that of reading.
func TestArrivalIsTheKernels(t *testing.T) {
	_, a, b := pair(t)
	from, to := openOn(t, a, "eth0", IPv4), openOn(t, b, "eth0", IPv4)
	sent := time.Now()
	must(t, from.Send(advert, families[0].a, groupIPv4))
	time.Sleep(300 * time.Millisecond)
	p, err := to.Receive(make([]byte, 100))
	must(t, err)
	if late := p.At.Sub(sent); late < 0 || late > 200*time.Millisecond {
		t.Errorf("read 300 ms after it was sent; arrival is reported %v after", late)
	}
}

// A wall clock that was set must not make a packet younger than now or older
// than the last look at the empty queue.
func TestArrivalSurvivesClockChanges(t *testing.T) {
	c := &VRRPConn{opened: time.Now().Add(-time.Minute)}
	c.empty.Store(int64(59 * time.Second))
	now := time.Now()
	for _, tt := range []struct {
		name   string
		stamp  time.Time
		oldest time.Duration
		newest time.Duration
	}{
		{"clock set back", now.Add(time.Hour), -time.Millisecond * 100, time.Second},
		{"clock set forward", now.Add(-time.Hour), -1100 * time.Millisecond, -900 * time.Millisecond},
		{"in between", now.Add(-500 * time.Millisecond), -600 * time.Millisecond, -400 * time.Millisecond},
	} {
		if d := c.arrival(tt.stamp.UnixNano()).Sub(now); d < tt.oldest || d > tt.newest {
			t.Errorf("%s: arrived %v from now", tt.name, d)
		}
	}
}

func TestTooLongPacketIsLeftOut(t *testing.T) {
	for _, f := range families {
		_, a, b := pair(t)
		from, to := openOn(t, a, "eth0", f.of), openOn(t, b, "eth0", f.of)
		must(t, from.Send(make([]byte, 500), f.a, Group(f.of)))
		must(t, from.Send(advert, f.a, Group(f.of)))
		p, err := to.Receive(make([]byte, 100))
		must(t, err)
		if !bytes.Equal(p.Payload, advert) {
			t.Errorf("%v: received %d bytes", f.of, len(p.Payload))
		}
		if _, err := to.Receive(nil); err == nil {
			t.Error("an empty buffer was accepted")
		}
	}
}

func TestInterfaceDownAndUp(t *testing.T) {
	for _, f := range families {
		t.Run(f.of.String(), func(t *testing.T) {
			_, a, b := pair(t)
			from, to := openOn(t, a, "eth0", f.of), openOn(t, b, "eth0", f.of)
			in := listen(to)
			for _, h := range []*lab.Host{a, b} {
				h.Sysctl("net.ipv6.conf.eth0.keep_addr_on_down", "1")
				must(t, h.Netlink().LinkSetDown(linkOf(t, h, "eth0")))
			}
			err := from.Send(advert, f.a, Group(f.of))
			if !errors.Is(err, ErrInterfaceDown) || errors.Is(err, ErrInterfaceGone) || !strings.Contains(err.Error(), "eth0") {
				t.Fatalf("sending while it is down: %v", err)
			}
			silent(t, "the socket", in)
			time.Sleep(checkEvery + 200*time.Millisecond) // a look at the interface must not end it
			for _, h := range []*lab.Host{a, b} {
				must(t, h.Netlink().LinkSetUp(linkOf(t, h, "eth0")))
			}
			lab.Eventually(t, 5*time.Second, func() error {
				if err := from.Send(advert, f.a, Group(f.of)); err != nil {
					return err
				}
				select {
				case p := <-in:
					return p.err
				case <-time.After(50 * time.Millisecond):
					return errors.New("nothing was received after the interface came back")
				}
			})
		})
	}
}

func linkOf(t testing.TB, h *lab.Host, ifname string) netlink.Link {
	t.Helper()
	l, err := h.Netlink().LinkByName(ifname)
	must(t, err)
	return l
}

func TestInterfaceRemoved(t *testing.T) {
	for _, f := range families {
		t.Run(f.of.String(), func(t *testing.T) {
			l, a, _ := pair(t)
			c := openOn(t, a, "eth0", f.of)
			in := listen(c)
			must(t, a.Netlink().LinkDel(linkOf(t, a, "eth0")))
			if err := c.Send(advert, f.a, Group(f.of)); !errors.Is(err, ErrInterfaceGone) {
				t.Errorf("sending: %v", err)
			}
			if h := await(t, in); !errors.Is(h.err, ErrInterfaceGone) {
				t.Errorf("receiving: %v", h.err)
			}

			// Another interface of the same name is not the same interface.
			a.Connect(l.Bridge("lan"), "eth0", "10.0.0.1/24", "fd00::1/64")
			if err := c.Send(advert, f.a, Group(f.of)); !errors.Is(err, ErrInterfaceGone) {
				t.Errorf("sending on its successor: %v", err)
			}
			if _, err := c.Receive(make([]byte, 100)); !errors.Is(err, ErrInterfaceGone) {
				t.Errorf("receiving on its successor: %v", err)
			}
			must(t, openOn(t, a, "eth0", f.of).Send(advert, f.a, Group(f.of)))
		})
	}
}

func TestClose(t *testing.T) {
	_, a, _ := pair(t)
	c := openOn(t, a, "eth0", IPv4)
	in := listen(c)
	time.Sleep(20 * time.Millisecond)
	must(t, c.Close())
	if h := await(t, in); !errors.Is(h.err, net.ErrClosed) {
		t.Errorf("Receive: %v", h.err)
	}
	if _, _, err := c.Poll(make([]byte, 100)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Poll: %v", err)
	}
	if err := c.Send(advert, families[0].a, groupIPv4); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send: %v", err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	_, a, _ := pair(t)
	c := openOn(t, a, "eth0", IPv4)
	six := openOn(t, a, "eth0", IPv6)
	stranger, stranger6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, tt := range []struct {
		name string
		err  error
		want []string
	}{
		{"source of someone else", c.Send(advert, stranger, families[0].b), []string{"192.0.2.1", "eth0", "address of this host"}},
		{"IPv6 source of someone else", six.Send(advert, stranger6, groupIPv6), []string{"2001:db8::1", "eth0", "address of this host"}},
		{"wrong family", c.Send(advert, stranger6, groupIPv6), []string{"the socket is for IPv4"}},
		{"mixed families", c.Send(advert, stranger6, groupIPv4), []string{"the socket is for IPv4"}},
		{"no such interface", a.Do(func() error { _, err := OpenVRRP("eth7", IPv4); return err }), []string{"eth7", "ip link"}},
		{"no interface's name", a.Do(func() error { _, err := OpenVRRP("much-too-long-a-name", IPv4); return err }), []string{"much-too-long-a-name"}},
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
}

func TestSocketOptions(t *testing.T) {
	_, a, _ := pair(t)
	for _, f := range families {
		c := openOn(t, a, "eth0", f.of)
		must(t, c.raw.Control(func(fd uintptr) {
			for _, o := range []struct {
				name          string
				level, option int
				least, most   int
			}{
				{"SO_BINDTOIFINDEX", unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, c.index, c.index},
				{"SO_PRIORITY", unix.SOL_SOCKET, unix.SO_PRIORITY, 7, 7},
				{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, receiveQueue, 4 * receiveQueue},
			} {
				if v, err := unix.GetsockoptInt(int(fd), o.level, o.option); err != nil || v < o.least || v > o.most {
					t.Errorf("%v %s is %d, %v", f.of, o.name, v, err)
				}
			}
		}))
	}
}

// The process that keeps the adverts' time shall give the garbage collector
// nothing to do.
func TestNothingIsAllocated(t *testing.T) {
	for _, f := range families {
		_, a, b := pair(t)
		from, to := openOn(t, a, "eth0", f.of), openOn(t, b, "eth0", f.of)
		buf := make([]byte, 2048)
		allocs := testing.AllocsPerRun(200, func() {
			if from.Send(advert, f.a, f.b) != nil {
				t.Error("not sent")
			}
			if _, err := to.Receive(buf); err != nil {
				t.Error(err)
			}
			if _, _, err := to.Poll(buf); err != nil {
				t.Error(err)
			}
		})
		if allocs >= 1 {
			t.Errorf("%v: %v allocations for sending, receiving and polling", f.of, allocs)
		}
	}
}

func TestParseIPv4RefusesBrokenHeaders(t *testing.T) {
	whole := []byte{0x45, 0xc0, 0, 24, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18, 1, 2, 3, 4, 0, 0}
	if p, ok := parseIPv4(whole); !ok || !bytes.Equal(p.Payload, []byte{1, 2, 3, 4}) || p.TTL != 255 {
		t.Fatalf("a whole packet gave %+v, %v", p, ok)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"short":               func(b []byte) []byte { return b[:19] },
		"empty":               func([]byte) []byte { return nil },
		"version 6":           func(b []byte) []byte { b[0] = 0x65; return b },
		"header too short":    func(b []byte) []byte { b[0] = 0x44; return b },
		"header too long":     func(b []byte) []byte { b[0] = 0x4f; return b },
		"total beyond packet": func(b []byte) []byte { b[3] = 200; return b },
		"total in the header": func(b []byte) []byte { b[3] = 10; return b },
		"other protocol":      func(b []byte) []byte { b[9] = 6; return b },
	} {
		if p, ok := parseIPv4(change(bytes.Clone(whole))); ok {
			t.Errorf("%s: %+v", name, p)
		}
	}
	options := append([]byte{0x46, 0xc0, 0, 28}, whole[4:20]...)
	options = append(options, 0x94, 4, 0, 0, 1, 2, 3, 4)
	if p, ok := parseIPv4(options); !ok || !bytes.Equal(p.Payload, []byte{1, 2, 3, 4}) || p.Dest != netip.AddrFrom4([4]byte(groupIPv4.AsSlice())) {
		t.Errorf("with options: %+v, %v", p, ok)
	}
}

// Whatever comes, what is returned lies in the packet where the header says, and
// nothing is returned of a header that contradicts itself.
func FuzzParseIPv4(f *testing.F) {
	whole := []byte{0x45, 0xc0, 0, 24, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18, 1, 2, 3, 4}
	f.Add(whole)
	f.Add(whole[:20])
	f.Add(append(bytes.Clone(whole), make([]byte, 22)...))                                   // padding of Ethernet
	f.Add(append([]byte{0x4f, 0xc0, 0, 60}, append(whole[4:20:20], make([]byte, 40)...)...)) // as many options as can be
	f.Add(append([]byte{0x46, 0xc0, 0, 20}, whole[4:]...))                                   // a total inside the header
	f.Add(append([]byte{0x45, 0xc0, 0xff, 0xff}, whole[4:]...))                              // a total beyond the packet
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parseIPv4(b)
		if !ok {
			if p.Payload != nil || p.Source.IsValid() {
				t.Errorf("a refused packet gives %+v", p)
			}
			return
		}
		header, total := int(b[0]&15)*4, int(b[2])<<8|int(b[3])
		if b[0]>>4 != 4 || header < ipv4.HeaderLen || total < header || total > len(b) || b[9] != protocolVRRP {
			t.Fatalf("a packet with a broken header is believed: %x", b)
		}
		if !bytes.Equal(p.Payload, b[header:total]) || p.TTL != int(b[8]) ||
			p.Source != netip.AddrFrom4([4]byte(b[12:16])) || p.Dest != netip.AddrFrom4([4]byte(b[16:20])) {
			t.Errorf("%x gives %+v", b, p)
		}
	})
}

func BenchmarkSend(b *testing.B) {
	_, from, _ := pair(b)
	c := openOn(b, from, "eth0", IPv4)
	b.ReportAllocs()
	for b.Loop() {
		must(b, c.Send(advert, families[0].a, groupIPv4))
	}
}

func BenchmarkReceive(b *testing.B) {
	_, from, to := pair(b)
	out, in := openOn(b, from, "eth0", IPv4), openOn(b, to, "eth0", IPv4)
	buf := make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		must(b, out.Send(advert, families[0].a, groupIPv4))
		_, err := in.Receive(buf)
		must(b, err)
	}
}
