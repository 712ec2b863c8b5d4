package failover

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"baton/test/lab"
)

// The owner's host is lost to the network, right after an advert was seen: the
// longest silence there is. Then it comes back.
func TestCut(t *testing.T) {
	for _, tt := range []struct {
		name     string
		interval time.Duration
		carrier  bool // lost, too
	}{
		{"1s", second, false},
		{"1s-carrier", second, true},
		{"10ms", 10 * time.Millisecond, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.interval)
			wire := p.lab.Capture(p.b.host, "eth0", vrrpFilter)
			awaitAdvert(t, wire, addrA, time.Now(), 2*tt.interval+time.Second)
			cable := p.a.host.Link("eth0")
			cut, mend := cable.Cut, cable.Mend
			if tt.carrier {
				cut, mend = cable.Down, cable.Up
			}
			lost := time.Now()
			cut()
			got := p.held.await(p.b.host, vip, true, lost, 8*time.Second)
			var last time.Time
			for _, a := range adverts(wire, addrA) {
				last = a.at
			}
			most := 3*tt.interval + skew(priorityB, tt.interval) + 100*time.Millisecond
			if took := got.Sub(last); took > most {
				t.Errorf("b had the VIP %v after a's last advert; want at most %v", took, most)
			}
			t.Logf("b had the VIP %v after a's last advert (at most %v)", got.Sub(last), most)
			p.knows(p.b, time.Second)
			if tt.carrier {
				lab.Eventually(t, time.Second, func() error { return p.a.is("fault") })
				if p.a.host.Has(vip.String()) {
					t.Error("a router in fault has the VIP")
				}
			}

			back := time.Now()
			mend()
			p.held.alone(vip, 2*time.Second)
			t.Logf("one holder again %v after the repair", time.Since(back).Round(time.Millisecond))
			p.settled(p.a, p.b, 4*tt.interval+2*time.Second)
			p.knows(p.a, 3*time.Second)
			if !tt.carrier {
				// Which of the two spoke first, and so met a rival, is chance.
				lab.Eventually(t, time.Second, func() error {
					a, errA := p.a.status()
					b, errB := p.b.status()
					if a.Rivals+b.Rivals == 0 {
						return errors.Join(errA, errB, errors.New("nobody has noticed a rival"))
					}
					return nil
				})
			}
			// Nobody draws the client back.
			at := p.held.since(vip, time.Time{})
			next := awaitAdvert(t, wire, addrA, time.Now(), 2*tt.interval+time.Second)
			awaitAdvert(t, wire, addrA, next.at, 2*tt.interval+time.Second)
			p.held.unmoved(vip, at[len(at)-1].at)
			p.knows(p.a, time.Second)
			for _, a := range adverts(wire, netip.Addr{}) {
				if a.ttl != 255 || a.vrid != 51 {
					t.Errorf("an advert with TTL %d for id %d", a.ttl, a.vrid)
				}
			}
		})
	}
}
