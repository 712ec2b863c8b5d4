package interop

import (
	"testing"
	"time"

	"baton/test/lab"
)

// A program that stands still, like a machine that hangs, and goes on. A
// keepalived that was master keeps the VIP meanwhile, and believes that it is
// master still; a baton's VIP ends with its lease.
func TestStandstill(t *testing.T) {
	for _, still := range roles {
		for _, role := range roles {
			t.Run(still.who+"-stands-still/"+role.name(), func(t *testing.T) {
				t.Parallel() // with each other only
				p := build(t, multicast4)
				p.echo()
				who, master := still.master(p), role.master(p)
				p.begin(master)
				s := p.stream()
				who.proc.Freeze()
				if who == master {
					other := p.other(who)
					lab.Eventually(t, 3*time.Second, func() error { return other.is("master") })
					p.knows(other)
				} else {
					p.awaitAdverts(master, 10, time.Now())
				}
				before := time.Now()
				who.proc.Thaw()
				p.settled(master)
				p.t.Logf("settled %v after it went on; meanwhile %s sent %d adverts", time.Since(before).Round(time.Millisecond),
					p.other(master), len(p.adverts(p.other(master), before)))
				// Nobody draws the client back.
				p.awaitAdverts(master, 3, time.Now())
				p.settled(master)
				p.loss(s.Stop(), datagrams(2*master.takesOver()+margin), "standstill")
				p.believed()
				p.masterStops(master) // the other one still takes part
			})
		}
	}
}
