package interop

import (
	"syscall"
	"testing"
	"time"

	"baton/test/lab"
)

// In every mode, whoever of the two is the preferred one: the VIP follows the
// protocol's rules when a router stops, dies, is cut off or returns.
func TestPair(t *testing.T) {
	t.Parallel()
	for _, m := range modes {
		for _, role := range roles {
			t.Run(m.name+"/"+role.name(), func(t *testing.T) {
				t.Parallel()
				p := build(t, m)
				master := role.master(p)
				p.begin(master)
				p.step("master-stops", func() { p.masterStops(master) })
				p.step("master-crashes", func() { p.masterCrashes(master) })
				p.step("backup-stops", func() { p.backupLeaves(master, (*member).stop) })
				p.step("backup-crashes", func() { p.backupLeaves(master, func(m *member) { m.proc.Kill() }) })
				cable := master.host.Link("eth0")
				p.step("cut-off", func() { p.masterLost(master, cable.Cut, cable.Mend) })
				p.step("link-down", func() { p.masterLost(master, cable.Down, cable.Up) })
				p.believed()
			})
		}
	}
}

// role says who of a pair is the preferred one.
type role struct {
	who    string
	master func(*pair) *member
}

func (r role) name() string { return r.who + "-master" }

var roles = []role{
	{"baton", func(p *pair) *member { return p.baton }},
	{"keepalived", func(p *pair) *member { return p.keepalived }},
}

// masterStops is a planned stop: the goodbye leaves the peer only its skew to
// wait for. Then the master returns and preempts.
func (p *pair) masterStops(master *member) {
	p.t.Helper()
	backup := p.other(master)
	stopped := time.Now()
	master.signal(syscall.SIGTERM)
	at := p.announced(backup, stopped)
	p.within(at.Sub(stopped), p.mode.skew(backup.priority, master.interval)+margin, backup.name()+" takes over from "+master.name()+" that stops")
	p.saidGoodbye(master, stopped)
	p.knows(backup)
	master.ended()
	lab.Eventually(p.t, time.Second, func() error { return p.alone(backup) })
	p.returns(master)
}

// masterCrashes is the death of all of the master's processes.
func (p *pair) masterCrashes(master *member) {
	p.t.Helper()
	backup := p.other(master)
	master.proc.Kill()
	last := p.lastAdvert(master)
	at := p.announced(backup, last)
	p.within(at.Sub(last), backup.takesOver()+margin, backup.name()+" takes over from "+master.name()+" that was killed")
	p.knows(backup)
	if master == p.baton {
		// Its lease ends.
		lab.Eventually(p.t, 5*time.Second, func() error { return p.alone(backup) })
	} else if !master.holds() {
		p.t.Error("a killed keepalived leaves its host without the VIP; docs/operating.md says that it stays")
	}
	p.returns(master)
}

// masterLost is a fault of the network, and its repair.
func (p *pair) masterLost(master *member, lose, repair func()) {
	p.t.Helper()
	backup := p.other(master)
	lose()
	last := p.lastAdvert(master)
	at := p.announced(backup, last)
	p.within(at.Sub(last), backup.takesOver()+margin, backup.name()+" takes over from "+master.name()+" that was cut off")
	p.knows(backup)
	// Right after an advert of the backup's, so that the master is the first to speak
	// and does not notice that it had a rival.
	p.awaitAdverts(backup, 1, time.Now())
	repair()
	p.settled(master)
}

// returns starts the preferred router again, which preempts.
func (p *pair) returns(master *member) {
	p.t.Helper()
	began := time.Now()
	master.start()
	at := p.announced(master, began)
	p.t.Logf("%s returns: master %v after its start", master, at.Sub(began).Round(time.Millisecond))
	p.settled(master)
}

// backupLeaves is that the backup ends in some way, and returns: the client and
// the master do not notice.
func (p *pair) backupLeaves(master *member, leave func(*member)) {
	p.t.Helper()
	backup := p.other(master)
	began := time.Now()
	leave(backup)
	p.awaitAdverts(master, 2, time.Now())
	must(p.t, p.alone(master))
	backup.start()
	p.settled(master)
	p.awaitAdverts(master, 2, time.Now())
	p.silent(backup, began)
	must(p.t, p.leadsTo(master))
}

// believed fails the test when one of the two has not believed the other.
func (p *pair) believed() {
	p.t.Helper()
	for _, m := range []*member{p.baton, p.keepalived} {
		if wrong, err := m.rejected(m); err != nil || len(wrong) > 0 {
			p.t.Errorf("%s does not believe %s: %v, %v", m, p.other(m), wrong, err)
		}
	}
	if r := p.router(); r.Stranger != "" || r.Problem != "" {
		p.t.Errorf("baton has a problem: %q %q", r.Stranger, r.Problem)
	}
}
