package wire

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ethernet"
	"golang.org/x/sys/unix"

	"baton/test/lab"
)

func TestWatchedSetChanges(t *testing.T) {
	_, a, b := pair(t)
	in := injectorOn(t, b)
	w := watchOn(t, a, nil)
	reports := alarms(w)
	many := make([]netip.Addr, 0, 3*mostCompared)
	for i := range 2 * mostCompared {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}))
		many = append(many, netip.AddrFrom16([16]byte{0xfd, 15: byte(i)}))
	}
	next := netip.MustParseAddr("10.0.0.101")
	next6 := netip.MustParseAddr("fd00::101")
	for i, tt := range []struct {
		watched []netip.Addr
		seen    []netip.Addr
	}{
		{[]netip.Addr{vip4, vip6}, []netip.Addr{vip4, vip6}},
		{[]netip.Addr{next, netip.MustParseAddr("::ffff:10.0.0.100")}, []netip.Addr{vip4, next}},
		{[]netip.Addr{next6}, []netip.Addr{next6}},
		{[]netip.Addr{next, next6.WithZone("eth0")}, []netip.Addr{next, next6}},
		{append(slices.Clone(many), vip4, next6), []netip.Addr{vip4, next6}},
		{[]netip.Addr{vip4, vip6}, []netip.Addr{vip4, vip6}},
	} {
		must(t, w.Watch(tt.watched, nil))
		mac := [6]byte{2, 0, 0, 0, 2, byte(i)}
		for _, addr := range []netip.Addr{vip4, next} {
			in.send(t, arpClaim(ethernet.Broadcast, 1, mac, addr, addr))
		}
		for _, addr := range []netip.Addr{vip6, next6} {
			in.send(t, naClaim(mac, addr, nil))
		}
		got := map[netip.Addr]bool{}
		for range tt.seen {
			c := awaitAlarm(t, reports)
			must(t, c.err)
			if c.MAC != mac {
				t.Errorf("step %d: %+v is of an earlier step", i, c)
			}
			got[c.Addr] = true
		}
		for _, addr := range tt.seen {
			if !got[addr] {
				t.Errorf("step %d: watched %v, seen %v", i, tt.watched, got)
			}
		}
	}
	select {
	case c := <-reports:
		t.Errorf("one too many: %+v", c)
	case <-time.After(50 * time.Millisecond):
	}
	for _, bad := range []netip.Addr{{}, netip.IPv4Unspecified(), groupIPv6} {
		if err := w.Watch([]netip.Addr{bad}, nil); err == nil || !strings.Contains(err.Error(), "eth0") {
			t.Errorf("watching %v: %v", bad, err)
		}
	}
}

// The set is replaced while packets come in; the race detector looks on.
func TestWatchIsSafeForConcurrentUse(t *testing.T) {
	_, a, b := pair(t)
	in := injectorOn(t, b)
	w := watchOn(t, a, nil, vip4)
	reports := alarms(w)
	done := make(chan error, 1)
	go func() {
		var err error
		for i := range 200 {
			err = errors.Join(err, w.Watch([]netip.Addr{vip4, vip6}, [][6]byte{{2, byte(i)}}))
		}
		done <- err
	}()
	frame, na := arpClaim(ethernet.Broadcast, 1, strangerMAC, vip4, vip4), naClaim(strangerMAC, vip6, nil)
	for range 200 {
		in.send(t, frame)
		in.send(t, na)
	}
	must(t, <-done)
	must(t, awaitAlarm(t, reports).err)
	must(t, w.Close())
	for c := range reports {
		if c.err != nil && !errors.Is(c.err, net.ErrClosed) {
			t.Error(c.err)
		}
	}
}

// A bond takes another hardware address when its first port leaves.
func TestConflictWatchKnowsOurNewMAC(t *testing.T) {
	_, a, b := pair(t)
	in := injectorOn(t, b)
	reports := alarms(watchOn(t, a, nil, vip4))
	must(t, a.Netlink().LinkSetHardwareAddr(linkOf(t, a, "eth0"), strangerMAC[:]))
	for _, mac := range [][6]byte{strangerMAC, {2, 1}} {
		in.send(t, arpClaim(ethernet.Broadcast, 1, mac, vip4, vip4))
	}
	if got := awaitAlarm(t, reports); got.MAC != [6]byte{2, 1} {
		t.Errorf("reported %+v", got)
	}
}

func TestConflictWatchInterfaceDownUpGone(t *testing.T) {
	_, a, b := pair(t)
	in := injectorOn(t, b)
	w := watchOn(t, a, nil, vip4, vip6)
	reports := alarms(w)
	must(t, a.Netlink().LinkSetDown(linkOf(t, a, "eth0")))
	select {
	case c := <-reports:
		t.Fatalf("while it is down: %+v", c)
	case <-time.After(checkEvery + 200*time.Millisecond):
	}
	must(t, a.Netlink().LinkSetUp(linkOf(t, a, "eth0")))
	for _, frame := range [][]byte{
		arpClaim(ethernet.Broadcast, 1, strangerMAC, vip4, vip4), naClaim(strangerMAC, vip6, nil),
	} {
		lab.Eventually(t, 5*time.Second, func() error {
			in.send(t, frame)
			select {
			case c := <-reports:
				return c.err
			case <-time.After(50 * time.Millisecond):
				return errors.New("nothing is reported after the interface came back")
			}
		})
	}
	must(t, a.Netlink().LinkDel(linkOf(t, a, "eth0")))
	var got alarm
	for got = awaitAlarm(t, reports); got.err == nil; got = awaitAlarm(t, reports) {
	}
	if !errors.Is(got.err, ErrInterfaceGone) || !strings.Contains(got.err.Error(), "eth0") {
		t.Errorf("after its removal: %v", got.err)
	}
	if _, err := w.Receive(); !errors.Is(err, ErrInterfaceGone) {
		t.Errorf("once more: %v", err)
	}
}

func TestConflictWatchClose(t *testing.T) {
	_, a, _ := pair(t)
	w := watchOn(t, a, nil, vip4)
	reports := alarms(w)
	time.Sleep(20 * time.Millisecond)
	must(t, w.Close())
	if got := awaitAlarm(t, reports); !errors.Is(got.err, net.ErrClosed) {
		t.Errorf("Receive: %v", got.err)
	}
	if err := w.Watch([]netip.Addr{vip4}, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Watch: %v", err)
	}
}

func TestConflictWatchErrors(t *testing.T) {
	_, a, _ := pair(t)
	without(t, a, unix.CAP_NET_RAW, func() {
		w, err := OpenConflictWatch("eth0")
		wantRemedy(t, err)
		if err == nil {
			must(t, w.Close())
		}
	})
	for ifname, why := range map[string]string{"lo": "no Ethernet", "eth7": "ip link"} {
		err := a.Do(func() error { _, err := OpenConflictWatch(ifname); return err })
		if err == nil || !strings.Contains(err.Error(), ifname) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", ifname, err)
		}
	}
}
