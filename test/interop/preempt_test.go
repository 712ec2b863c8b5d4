package interop

import (
	"errors"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
)

// A router that must not preempt returns to a master of lower priority and stays
// backup, until that one ends.
func TestNoPreemption(t *testing.T) {
	t.Parallel()
	for _, role := range roles {
		t.Run(role.name(), func(t *testing.T) {
			t.Parallel()
			p := build(t, multicast4)
			preferred := role.master(p)
			other := p.other(preferred)
			preferred.priority, other.priority = high, low
			preferred.nopreempt = true
			preferred.start()
			p.settledAlone(preferred)
			other.start()
			p.settled(preferred)
			preferred.stop()
			lab.Eventually(t, time.Second, func() error { return p.alone(other) })
			returned := time.Now()
			preferred.start()
			lab.Eventually(t, 3*time.Second, func() error { return preferred.is("backup") })
			// Much longer than it would wait for the silence of a master.
			p.awaitAdverts(other, 8, time.Now())
			p.silent(preferred, returned)
			p.settled(other)
			if preferred == p.baton {
				if text := p.command("explain", "router", "web"); !strings.Contains(text, "preempt is false") {
					t.Errorf("baton does not say why it leaves the addresses to the other one:\n%s", text)
				}
			}
			other.stop()
			p.settledAlone(preferred)
			other.start()
			p.settled(preferred)
			p.believed()
		})
	}
}

// settledAlone waits until a member is master while the other one does not run.
func (p *pair) settledAlone(m *member) {
	p.t.Helper()
	lab.Eventually(p.t, 2*m.takesOver()+5*time.Second, func() error { return errors.Join(m.is("master"), p.alone(m)) })
	p.reach()
	p.knows(m)
}

// Between equal priorities the first one stays; when both have become master, of
// which a partition is the way, the one with the higher address does.
func TestEqualPriorities(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{multicast4, multicast6} {
		for _, role := range roles {
			t.Run(m.name+"/"+role.who+"-has-the-higher-address", func(t *testing.T) {
				t.Parallel()
				p := &pair{t: t, mode: m}
				p.baton, p.keepalived = newBaton(t, 1), newKeepalived(2)
				winner := role.master(p)
				if winner == p.baton {
					p.baton.number, p.keepalived.number = 2, 1
				}
				p.connect()
				loser := p.other(winner)
				winner.priority, loser.priority = low, low

				loser.start()
				p.settledAlone(loser)
				began := time.Now()
				winner.start()
				p.settled(loser)
				p.awaitAdverts(loser, 8, time.Now())
				p.silent(winner, began)

				p.lab.Partition([]*lab.Host{winner.host}, []*lab.Host{loser.host})
				lab.Eventually(t, 3*time.Second, func() error { return errors.Join(winner.is("master"), loser.is("master")) })
				healed := time.Now()
				p.lab.Heal()
				p.settled(winner)
				t.Logf("one master again %v after the partition", time.Since(healed).Round(time.Millisecond))
				p.believed()
			})
		}
	}
}

// Priority 255 is the owner of the addresses: it does not wait, neither at its
// start nor at its return.
func TestOwner(t *testing.T) {
	t.Parallel()
	for _, role := range roles {
		t.Run(role.name(), func(t *testing.T) {
			t.Parallel()
			p := build(t, multicast4)
			owner := role.master(p)
			backup := p.other(owner)
			owner.priority, backup.priority = 255, low
			backup.start()
			p.settledAlone(backup)
			p.ownerStarts(owner)
			stopped := time.Now()
			owner.stop()
			p.within(p.announced(backup, stopped).Sub(stopped), p.mode.skew(low, fast)+margin, backup.name()+" takes over from the owner that stops")
			p.settledAlone(backup)
			p.ownerStarts(owner)
			p.believed()
		})
	}
}

// ownerStarts starts the owner, and lets it take less time from its first advert
// on than any other router would listen.
func (p *pair) ownerStarts(owner *member) {
	p.t.Helper()
	began := time.Now()
	owner.start()
	at := p.announced(owner, began)
	first := p.adverts(owner, began)[0]
	p.t.Logf("%s, with priority 255, is master %v after its start", owner, at.Sub(began).Round(time.Millisecond))
	if first.priority != 255 {
		p.t.Errorf("the owner begins with priority %d", first.priority)
	}
	if took := at.Sub(began); took > p.mode.down(254, fast) {
		p.t.Errorf("the owner listened before it took over: %v", took)
	}
	p.settled(owner)
}
