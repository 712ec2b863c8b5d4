package wire

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/ethernet"
	"golang.org/x/sys/unix"

	"baton/test/lab"
)

func TestConflictReportsAreBounded(t *testing.T) {
	_, a, b := pair(t)
	in := injectorOn(t, b)
	w := watchOn(t, a, nil, vip4)
	frame := arpClaim(ethernet.Broadcast, 1, strangerMAC, vip4, vip4)
	reports, seen := alarms(w), uint32(0)
	began := time.Now()
	for range 2000 {
		in.send(t, frame)
	}
	sum, n := 0, 0
	lab.Eventually(t, 10*time.Second, func() error {
		in.send(t, frame) // with which the rest is reported
		time.Sleep(reportEvery)
		for len(reports) > 0 {
			got := <-reports
			must(t, got.err)
			sum += got.Count
			n++
		}
		return whole(w, &seen, sum)
	})
	if most := int(time.Since(began)/reportEvery) + 2; n > most {
		t.Errorf("%d reports in %v; want at most %d", n, time.Since(began), most)
	}
}

// whole returns nil when the reports stand for all packets that the kernel
// queued. What does not fit into the queue is lost.
func whole(w *ConflictWatch, seen *uint32, reported int) error {
	s, err := w.arp.Stats() // since the last call
	if err != nil {
		return err
	}
	*seen += s.Packets - s.Drops
	if reported != int(*seen) {
		return fmt.Errorf("%d packets are reported, and %d were received", reported, *seen)
	}
	return nil
}

// A forger who changes his hardware address each time gets no more reports.
func TestConflictForgersAreBounded(t *testing.T) {
	w := &ConflictWatch{
		reports: make(chan Conflict, reportQueue), watched: map[netip.Addr]*reported{vip4: new(reported)},
	}
	_, a, _ := pair(t)
	w.arpRaw, w.ifname = watchOn(t, a, nil).arpRaw, "eth0"
	began := time.Now()
	for i := range 10000 {
		w.claimed(claim{vip4, [6]byte{2, 0, 0, 0, byte(i >> 8), byte(i)}, ARPReply})
	}
	if most := claimants * int(1+time.Since(began)/reportEvery); len(w.reports) > most {
		t.Errorf("%d reports; want at most %d", len(w.reports), most)
	}
	// When nobody receives, the packets go on being counted.
	for len(w.reports) < cap(w.reports) {
		w.reports <- Conflict{}
	}
	time.Sleep(reportEvery)
	for range 5 {
		w.claimed(claim{vip4, strangerMAC, ARPReply})
	}
	if len(w.reports) != reportQueue {
		t.Errorf("%d reports wait", len(w.reports))
	}
	time.Sleep(reportEvery)
	for len(w.reports) > 0 {
		<-w.reports
	}
	w.claimed(claim{vip4, strangerMAC, ARPReply})
	if c := <-w.reports; c.Count != 6 {
		t.Errorf("%d packets are reported, want 6", c.Count)
	}
}

// Under a flood of claims the process that keeps the adverts' time gives the
// garbage collector nothing to do, except for the few reports.
func TestConflictWatchAllocatesNothingPerPacket(t *testing.T) {
	_, a, b := pair(t)
	in := injectorOn(t, b)
	w := watchOn(t, a, nil, vip4, vip6)
	reports := alarms(w)
	for addr, frame := range map[netip.Addr][]byte{
		vip4: arpClaim(ethernet.Broadcast, 1, strangerMAC, vip4, vip4),
		vip6: naClaim(strangerMAC, vip6, nil),
	} {
		in.send(t, frame)
		must(t, awaitAlarm(t, reports).err)
		// The next report is far away: what follows is only counted.
		w.mu.Lock()
		who := &w.watched[addr][0]
		who.at = time.Now().Add(time.Hour)
		w.mu.Unlock()
		counted := func() int {
			w.mu.Lock()
			defer w.mu.Unlock()
			return who.count
		}
		allocs := testing.AllocsPerRun(500, func() {
			before := counted()
			in.send(t, frame)
			for counted() == before {
				time.Sleep(10 * time.Microsecond)
			}
		})
		if allocs != 0 {
			t.Errorf("%v: %v allocations for a packet", addr, allocs)
		}
	}
}

// The filter in the kernel keeps other hosts' ARP away.
func TestOtherARPStaysInTheKernel(t *testing.T) {
	_, a, b := pair(t)
	in := injectorOn(t, b)
	w := watchOn(t, a, nil, vip4)
	reports := alarms(w)
	stats := func() uint32 {
		s, err := w.arp.Stats() // since the last call
		must(t, err)
		return s.Packets
	}
	stats()
	other := netip.MustParseAddr("10.0.0.101")
	for _, frame := range [][]byte{
		arpClaim(ethernet.Broadcast, 1, strangerMAC, other, vip4),
		arpClaim(ethernet.Broadcast, 2, strangerMAC, other, other),
		arpClaim(ethernet.Broadcast, 1, strangerMAC, netip.IPv4Unspecified(), vip4),
		tagged(arpClaim(ethernet.Broadcast, 1, strangerMAC, vip4, vip4), 7),
		naClaim(strangerMAC, vip6, nil),
	} {
		for range 100 {
			in.send(t, frame)
		}
	}
	in.send(t, arpClaim(ethernet.Broadcast, 1, strangerMAC, vip4, vip4))
	must(t, awaitAlarm(t, reports).err)
	if n := stats(); n != 1 {
		t.Errorf("%d packets came up, and not the one that claims a watched address", n)
	}
}

// BenchmarkARPFlood has a host send ARP requests as fast as it can, and counts
// what of them the watch gets to see and the time it takes. CPU time includes
// sending, which is what is left when nothing watches.
func BenchmarkARPFlood(b *testing.B) {
	for _, bb := range []struct {
		name    string
		watched int // addresses; 0: no watch at all
		about   netip.Addr
	}{
		{"nothing watches", 0, netip.MustParseAddr("10.0.0.101")},
		{"of another address", 3, netip.MustParseAddr("10.0.0.101")},
		{fmt.Sprintf("of another address, %d watched", mostCompared), mostCompared, netip.MustParseAddr("10.0.0.101")},
		{"of another address, too many watched to filter", mostCompared + 1, netip.MustParseAddr("10.0.0.101")},
		{"of a watched address", 3, vip4},
	} {
		b.Run(bb.name, func(b *testing.B) {
			_, h, peer := pair(b)
			in := injectorOn(b, peer)
			frame := arpClaim(ethernet.Broadcast, 1, strangerMAC, bb.about, families[0].b)
			if bb.watched == 0 {
				flood(b, in, frame)
				return
			}
			addrs := []netip.Addr{vip4}
			for i := range bb.watched - 1 {
				addrs = append(addrs, netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}))
			}
			w := watchOn(b, h, nil, addrs...)
			reports := alarms(w)
			_, err := w.arp.Stats()
			must(b, err)
			flood(b, in, frame)
			s, err := w.arp.Stats()
			must(b, err)
			b.ReportMetric(float64(s.Packets)/float64(b.N), "passed/op")
			b.ReportMetric(float64(s.Drops)/float64(b.N), "dropped/op")
			b.ReportMetric(float64(len(reports)), "reports")
		})
	}
}

func flood(b *testing.B, in *injector, frame []byte) {
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		in.send(b, frame)
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	var r unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
