package interop

import (
	"testing"
	"time"
)

// In version 3 a backup counts with the interval that the master announces (RFC
// 9568 section 6.1), whatever its own is.
func TestBackupAdoptsTheInterval(t *testing.T) {
	t.Parallel()
	const slow = 5 * fast
	for _, role := range roles {
		t.Run(role.name(), func(t *testing.T) {
			t.Parallel()
			p := build(t, multicast4)
			master := role.master(p)
			backup := p.other(master)
			master.interval = slow
			p.begin(master)
			settled := time.Now()
			p.awaitAdverts(master, 4, settled)
			p.silent(backup, settled)
			p.believed()

			master.proc.Kill()
			last := p.lastAdvert(master)
			took := p.announced(backup, last).Sub(last)
			p.within(took, p.mode.down(low, slow)+margin, backup.name()+" takes over from a master with five times its interval")
			if took < 3*slow {
				t.Errorf("%s took over after %v, although the master's interval is %v", backup, took, slow)
			}
			p.knows(backup)
			master.start()
			p.settled(master)
		})
	}
}

// In version 2 both drop what has another interval than their own (RFC 3768
// section 7.1), so that both are master; both say why. The remedy is to make the
// intervals equal.
func TestVersion2NeedsEqualIntervals(t *testing.T) {
	t.Parallel()
	p := build(t, mode{name: "v2", version: 2, interval: second})
	p.keepalived.interval = 2 * second
	p.bothMaster(mismatch{
		keepalived: func() error { return p.says(p.keepalived, "advertisement interval mismatch mine=2 sec rcv'd=1 sec") },
		reason:     "interval-mismatch", words: "all routers must have the same advert_interval",
	})
	p.baton.interval = 2 * second
	p.reload()
	p.settled(p.baton)
}
