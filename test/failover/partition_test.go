package failover

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
)

// While the directors do not hear each other both are owners. When they do again,
// the rule decides: within a second one has the VIP and the client knows where,
// and the histories of both name the other one and the reason.
func TestPartitionHeals(t *testing.T) {
	p := start(t, fast)
	time.Sleep(3 * fast) // b has heard a
	p.lab.Partition([]*lab.Host{p.a.host}, []*lab.Host{p.b.host})
	lab.Eventually(t, 5*time.Second, func() error { return p.b.is("master") })
	must(t, p.a.is("master"))
	// The client hears both: until the partition ends it may believe either.
	time.Sleep(3 * fast)
	healed := time.Now()
	p.lab.Heal()
	p.knows(p.a, lab.Patience(time.Second))
	t.Logf("the client is right %v after the healing", time.Since(healed).Round(time.Millisecond))
	p.settled(p.a, p.b, lab.Patience(time.Second))
	time.Sleep(1500 * time.Millisecond) // nothing changes its mind later
	p.knows(p.a, time.Millisecond)
	must(t, p.dial().Close())

	p.remembers(p.b, "10.0.0.1 has the higher priority 150")
	p.remembers(p.a, "10.0.0.2", "priority 100 that it is master, too", "this director, 10.0.0.1 with priority 150, stays master")
	explained, err := p.a.command("explain", "router", "web")
	must(t, err)
	if !strings.Contains(explained, "believed to be master") {
		t.Errorf("explain does not tell of the rival:\n%s", explained)
	}
}

// remembers waits until one line of a director's event history has all parts.
func (p *pair) remembers(d *director, parts ...string) {
	p.t.Helper()
	lab.Eventually(p.t, 3*time.Second, func() error {
		events, err := d.command("events", "-n", "50")
		if err != nil {
			return err
		}
	lines:
		for line := range strings.Lines(events) {
			for _, part := range parts {
				if !strings.Contains(line, part) {
					continue lines
				}
			}
			return nil
		}
		return fmt.Errorf("the history of %s has no line with %q:\n%s", d.name, parts, events)
	})
}

// Somebody who announces the VIP as his own is counted, named, and the client
// is won back at once.
func TestAddressConflict(t *testing.T) {
	p := start(t, second)
	p.knows(p.a, 3*time.Second)
	thief := p.lab.Host("thief")
	thief.Connect(p.lan, "eth0", "10.0.0.66/24")
	wire := p.lab.Capture(p.client, "eth0", "arp")
	_, err := thief.Run(context.Background(), "ip", "addr", "add", vip.String()+"/32", "dev", "eth0")
	must(t, err)
	// A new master takes such answers for those of the one before, for 400 ms.
	time.Sleep(500 * time.Millisecond)
	began := time.Now()
	_, err = thief.Run(context.Background(), "arping", "-c", "1", "-U", "-I", "eth0", "-s", vip.String(), vip.String())
	must(t, err)
	_, err = wire.Await(lab.Patience(time.Second), func(packet lab.Packet) bool {
		return packet.Time.After(began) && len(packet.Data) >= 42 &&
			fmt.Sprintf("%x", packet.Data[22:28]) == strings.ReplaceAll(p.a.mac(), ":", "") &&
			string(packet.Data[28:32]) == string(vip.AsSlice())
	})
	if err != nil {
		t.Fatalf("the owner did not announce the VIP again: %v", err)
	}
	p.knows(p.a, time.Second)
	mac := thief.Link("eth0").MAC().String()
	p.remembers(p.a, mac, "announced 10.0.0.100 on eth0", "announced it again")
	r, err := p.a.status()
	must(t, err)
	if r.Conflicts == 0 || r.State != "master" {
		t.Errorf("status after the conflict: %+v", r)
	}
	explained, err := p.a.command("explain", "router", "web")
	must(t, err)
	if !strings.Contains(explained, mac) {
		t.Errorf("explain does not name the rival %s:\n%s", mac, explained)
	}
	must(t, p.b.is("backup"))
}
