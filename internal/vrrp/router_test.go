package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// script drives one router by hand. Every action is checked: what a test does
// not expect is a failure.
type script struct {
	t   *testing.T
	r   *Router
	now time.Time
}

func spec(priority uint8) Spec {
	return Spec{
		VRID: 51, Priority: priority, Interval: time.Second, Preempt: true,
		Source: a2, Addresses: []netip.Addr{vip1}, Announce: Announce{Repeat: 5},
	}
}

func newScript(t *testing.T, s Spec) *script {
	return &script{t: t, r: New(s, epoch), now: epoch}
}

// after lets time pass.
func (s *script) after(d time.Duration) *script { s.now = s.now.Add(d); return s }

// do delivers an event and compares the actions with want, written as by show.
func (s *script) do(ev Event, want string) *script {
	s.t.Helper()
	if got := show(s.r.Step(s.now, ev)); got != want {
		s.t.Fatalf("at +%s: actions %q, want %q", s.now.Sub(epoch), got, want)
	}
	return s
}

func (s *script) hear(priority uint8, from netip.Addr, want string) *script {
	s.t.Helper()
	a := Advert{VRID: 51, Priority: priority, Interval: time.Second, Addresses: []netip.Addr{vip1}}
	return s.do(Event{Kind: Received, Advert: &a, Source: from}, want)
}

func (s *script) tick(want string) *script {
	s.t.Helper()
	return s.do(Event{Kind: Expired}, want)
}

// quietUntil checks that nothing at all happens before d has passed.
func (s *script) quietUntil(d time.Duration) *script {
	s.t.Helper()
	if next := s.r.Deadline(); next.Before(s.now.Add(d)) {
		s.t.Fatalf("something is due after %s, want nothing before %s", next.Sub(s.now), d)
	}
	return s.after(d)
}

func (s *script) is(want State) *script {
	s.t.Helper()
	if s.r.State() != want {
		s.t.Fatalf("state %v, want %v", s.r.State(), want)
	}
	return s
}

// show writes actions on one line: send100 hold release tell5 backup→master ….
func show(actions []Action) string {
	var out []string
	for _, a := range actions {
		switch a.Kind {
		case Send:
			out = append(out, fmt.Sprintf("send%d", a.Priority))
		case Hold:
			out = append(out, "hold")
		case Release:
			out = append(out, "release")
		case Tell:
			out = append(out, fmt.Sprintf("tell%d", a.Repeat))
		case Transition:
			out = append(out, fmt.Sprintf("%v→%v", a.From, a.To))
		case Settled:
			if a.Reason == "" {
				out = append(out, "settled")
			} else {
				out = append(out, "refused")
			}
		case Rival:
			out = append(out, "rival")
		}
	}
	return strings.Join(out, " ")
}

const takeOver = "send100 hold tell5 backup→master"

var start = Event{Kind: Startup}

func backup(t *testing.T, s Spec) *script {
	return newScript(t, s).do(start, "release init→backup")
}

func master(t *testing.T, s Spec) *script {
	sc := backup(t, s)
	sc.after(sc.r.Deadline().Sub(sc.now))
	return sc.do(Event{Kind: Expired}, fmt.Sprintf("send%d hold tell5 backup→master", s.Priority))
}

// Section 6.1: Skew_Time = ((256 - priority) * Active_Adver_Interval) / 256;
// Active_Down_Interval = (3 * Active_Adver_Interval) + Skew_Time.
func TestRFC6_1Intervals(t *testing.T) {
	if got, want := SkewTime(100, time.Second), 609375*time.Microsecond; got != want {
		t.Errorf("skew of priority 100: %s, want %s", got, want)
	}
	if got, want := DownInterval(100, time.Second), 3609375*time.Microsecond; got != want {
		t.Errorf("down interval of priority 100: %s, want %s", got, want)
	}
	if got, want := SkewTime(255, time.Second), 3906250*time.Nanosecond; got != want {
		t.Errorf("skew of priority 255: %s, want %s", got, want)
	}
}

// Section 6.4.1, Startup with priority 255: send an ADVERTISEMENT, announce, set
// the Adver_Timer, become Active.
func TestRFC6_4_1OwnerStartsAsMaster(t *testing.T) {
	newScript(t, spec(255)).
		do(start, "release send255 hold tell5 init→master").is(Master).
		quietUntil(time.Second).tick("send255 tell1")
}

// Section 6.4.1, Startup otherwise: set the Active_Down_Timer, become Backup.
func TestRFC6_4_1OthersStartAsBackup(t *testing.T) {
	backup(t, spec(100)).is(Backup).quietUntil(3609375 * time.Microsecond).tick(takeOver)
}

// Section 6.4.2: the Active_Down_Timer fires: send an ADVERTISEMENT, announce,
// become Active.
func TestRFC6_4_2TimerFires(t *testing.T) {
	backup(t, spec(100)).hear(200, a1, "").
		quietUntil(3609375 * time.Microsecond).tick(takeOver).is(Master)
}

// Section 6.4.2: priority 0 sets the Active_Down_Timer to Skew_Time.
func TestRFC6_4_2PriorityZero(t *testing.T) {
	backup(t, spec(100)).hear(200, a1, "").after(500*time.Millisecond).hear(0, a1, "").
		quietUntil(609375 * time.Microsecond).tick(takeOver)
}

// Section 6.4.2: an advert of the same or a higher priority resets the timer and
// its interval is taken over.
func TestRFC6_4_2AdoptsTheMastersInterval(t *testing.T) {
	s := backup(t, spec(100))
	a := Advert{VRID: 51, Priority: 100, Interval: 2 * time.Second, Addresses: []netip.Addr{vip1}}
	s.do(Event{Kind: Received, Advert: &a, Source: a1}, "").
		quietUntil(2 * 3609375 * time.Microsecond).tick(takeOver)
}

// Section 6.4.2: with Preempt_Mode an advert of lower priority is discarded.
func TestRFC6_4_2PreemptsALowerMaster(t *testing.T) {
	backup(t, spec(100)).after(3*time.Second).hear(50, a1, "").
		quietUntil(609375 * time.Microsecond).tick(takeOver)
}

// Section 6.4.2: without Preempt_Mode it counts like any other.
func TestRFC6_4_2DoesNotPreemptWhereForbidden(t *testing.T) {
	sp := spec(100)
	sp.Preempt = false
	backup(t, sp).after(3*time.Second).hear(50, a1, "").
		quietUntil(3609375 * time.Microsecond).tick(takeOver)
}

// Section 6.1: the owner of the addresses preempts whatever Preempt_Mode says.
func TestRFC6_1OwnerAlwaysPreempts(t *testing.T) {
	sp := spec(255)
	sp.Preempt = false
	newScript(t, sp).do(start, "release send255 hold tell5 init→master").
		hear(254, a3, "rival send255 tell1").is(Master)
}

// Section 6.4.3: the Adver_Timer fires: send, reset.
func TestRFC6_4_3Rhythm(t *testing.T) {
	s := master(t, spec(100)).quietUntil(time.Second).tick("send100 tell1")
	for range 3 {
		s.quietUntil(time.Second).tick("send100")
	}
	// A late timer does not move the following adverts.
	s.after(1300 * time.Millisecond).tick("send100").quietUntil(700 * time.Millisecond).tick("send100")
}

// Section 6.4.3: priority 0 received: send at once, reset the Adver_Timer.
func TestRFC6_4_3PriorityZero(t *testing.T) {
	master(t, spec(100)).after(400*time.Millisecond).hear(0, a1, "send100").is(Master)
}

// Section 6.4.3: a higher priority, or the same with a higher address: become
// Backup with the timer at Active_Down_Interval.
func TestRFC6_4_3Yields(t *testing.T) {
	master(t, spec(100)).hear(101, a1, "rival release master→backup").
		quietUntil(3609375 * time.Microsecond).tick(takeOver)
	master(t, spec(100)).hear(100, a3, "rival release master→backup").is(Backup)
}

// Section 6.4.3: otherwise discard, and assert our state at once.
func TestRFC6_4_3Asserts(t *testing.T) {
	master(t, spec(100)).hear(100, a1, "rival send100 tell1").is(Master)
	master(t, spec(100)).hear(99, a3, "rival send100 tell1").is(Master)
}

// A flood of rival adverts is not answered one by one.
func TestAssertIsBounded(t *testing.T) {
	s := master(t, spec(100)).hear(99, a3, "rival send100 tell1")
	for range 100 {
		s.after(time.Millisecond).hear(99, a3, "rival")
	}
}

// Section 6.4.3, Shutdown — but the addresses stay until a peer is heard.
func TestPlannedStopMakesBeforeItBreaks(t *testing.T) {
	sp := spec(100)
	sp.Linger = 200 * time.Millisecond
	master(t, sp).after(300*time.Millisecond).do(Event{Kind: Shutdown}, "send0").is(Master).
		quietUntil(600*time.Millisecond).hear(50, a1, "master→backup").
		quietUntil(200 * time.Millisecond).tick("release release backup→init settled").is(Init)
}

func TestPlannedStopWithoutAPeerIsBounded(t *testing.T) {
	s := master(t, spec(100)).do(Event{Kind: Shutdown}, "send0")
	s.quietUntil(4*time.Second + handoverMargin).tick("release master→init settled").is(Init)
}

func TestPlannedStopOfABackupIsImmediate(t *testing.T) {
	backup(t, spec(100)).do(Event{Kind: Shutdown}, "release backup→init settled").is(Init)
}

func TestFailoverStandsBackUntilResume(t *testing.T) {
	s := master(t, spec(100)).do(Event{Kind: Resign}, "send0").after(600*time.Millisecond).
		hear(50, a1, "release master→backup settled").is(Backup)
	// It does not preempt while it stands back …
	for range 10 {
		s.after(time.Second).hear(50, a1, "")
	}
	// … and does so again after Resume.
	s.do(Event{Kind: Resume}, "")
	for range 3 {
		s.after(time.Second).hear(50, a1, "")
	}
	s.after(610 * time.Millisecond).tick("send100 hold tell5 backup→master")
}

// Who asked for a failover may pull the plug when it is settled: the addresses are
// gone by then.
func TestFailoverIsSettledWithTheRelease(t *testing.T) {
	sp := spec(100)
	sp.Linger = 200 * time.Millisecond
	master(t, sp).do(Event{Kind: Resign}, "send0").after(600*time.Millisecond).
		hear(50, a1, "master→backup").
		quietUntil(200 * time.Millisecond).tick("release settled").is(Backup)

	// The new master dies while the old one still lingers.
	sp.Linger = 10 * time.Second
	s := master(t, sp).do(Event{Kind: Resign}, "send0").hear(50, a1, "master→backup")
	s.quietUntil(DownInterval(1, time.Second)).tick("refused send1 hold tell5 backup→master")
}

func TestFailoverWithoutAPeerIsRefused(t *testing.T) {
	s := master(t, spec(100)).do(Event{Kind: Resign}, "send0")
	s.quietUntil(4*time.Second + handoverMargin).tick("refused send100 tell1").is(Master)
}

// A router that stands back is still better than nobody.
func TestResignedRouterIsTheLastResort(t *testing.T) {
	s := master(t, spec(100)).do(Event{Kind: Resign}, "send0").hear(50, a1, "release master→backup settled")
	s.quietUntil(DownInterval(1, time.Second)).tick("send1 hold tell5 backup→master")
	s.hear(50, a1, "rival release master→backup")
}

func TestPreemptDelay(t *testing.T) {
	sp := spec(100)
	sp.PreemptDelay = 5 * time.Second
	s := backup(t, sp)
	for range 5 { // the delay begins with the first advert, at +1 s, and ends at +6 s
		s.after(time.Second).hear(50, a1, "").is(Backup)
	}
	for range 3 {
		s.after(time.Second).hear(50, a1, "")
	}
	s.after(610 * time.Millisecond).tick(takeOver)
}

// Idea of the late timer: after a stall the master steps down before it speaks.
func TestStalledMasterStepsDownFirst(t *testing.T) {
	s := master(t, spec(100)).after(5 * time.Second).tick("release master→backup").is(Backup)
	s.after(100*time.Millisecond).hear(50, a1, "").is(Backup)
}

// The new master's adverts are in the socket when the stalled one goes on, and
// are read before its timer: it has to step down all the same.
func TestStalledMasterHearsFirst(t *testing.T) {
	s := master(t, spec(200)).after(5*time.Second).hear(50, a1, "release master→backup").is(Backup)
	s.quietUntil(time.Second + SkewTime(200, time.Second)).tick("send200 hold tell5 backup→master")

	noPreempt := spec(200)
	noPreempt.Preempt = false
	s = master(t, noPreempt).after(5*time.Second).hear(50, a1, "release master→backup")
	for range 5 {
		s.after(time.Second).hear(50, a1, "").is(Backup)
	}
	// An advert that is only late is no stall.
	master(t, spec(200)).after(2*time.Second).hear(50, a1, "rival send200 tell1").is(Master)
}

// The successor's adverts may be read before the timer is: they are no reason to
// assert ourselves.
func TestStalledMasterHearsItsSuccessorFirst(t *testing.T) {
	s := master(t, spec(100)).after(5*time.Second).hear(50, a1, "release master→backup").is(Backup)
	s.quietUntil(time.Second + 609375*time.Microsecond).tick(takeOver)

	s = master(t, spec(100)).after(5*time.Second).hear(200, a1, "release master→backup").is(Backup)
	s.quietUntil(3*time.Second + 609375*time.Microsecond).tick(takeOver)
}

func TestStalledMasterWithoutPeerComesBackSoon(t *testing.T) {
	s := master(t, spec(100)).after(5 * time.Second).tick("release master→backup")
	s.quietUntil(time.Second + 609375*time.Microsecond).tick(takeOver)
}

func TestStalledBackupListensOnceMore(t *testing.T) {
	s := backup(t, spec(100)).hear(200, a1, "").after(10 * time.Second).tick("").is(Backup)
	s.quietUntil(time.Second + 609375*time.Microsecond).tick(takeOver)
}

// Only the master has something to give up: a stray priority 0 must not cost it
// its addresses.
func TestPriorityZeroOfAnotherRouterIsIgnored(t *testing.T) {
	s := backup(t, spec(100)).hear(200, a1, "").after(100*time.Millisecond).hear(0, a3, "")
	s.quietUntil(3 * time.Second)
}

func TestFaultSaysGoodbyeAndReleases(t *testing.T) {
	s := master(t, spec(100)).do(Event{Kind: Failed, Reason: "eth0 is down"}, "send0 release master→fault").is(Fault)
	s.hear(50, a1, "").do(Event{Kind: Recovered}, "release fault→backup").is(Backup)
}

func TestReconfiguringWithTheSameSpecDoesNothing(t *testing.T) {
	same := spec(100)
	master(t, spec(100)).do(Event{Kind: Configured, Spec: &same}, "")
	backup(t, spec(100)).do(Event{Kind: Configured, Spec: &same}, "").quietUntil(3609375 * time.Microsecond)
}

func TestNewPriorityOfAMasterIsToldAtOnce(t *testing.T) {
	next := spec(120)
	master(t, spec(100)).do(Event{Kind: Configured, Spec: &next}, "send120").is(Master)
}

// A new master announces at once, after a second (the old one may have answered
// while it lingered), after Delay, and then every Refresh.
func TestAnnouncementPlan(t *testing.T) {
	sp := spec(100)
	sp.Interval = 40 * time.Second // out of the way
	sp.Announce = Announce{Repeat: 5, Delay: 5 * time.Second, Refresh: 10 * time.Second}
	s := backup(t, sp)
	s.after(s.r.Deadline().Sub(s.now)).tick(takeOver).
		quietUntil(time.Second).tick("tell1").
		quietUntil(4 * time.Second).tick("tell5").
		quietUntil(10 * time.Second).tick("tell1").
		quietUntil(10 * time.Second).tick("tell1")
}

func TestStepDoesNotAllocateInTheSteadyState(t *testing.T) {
	s := master(t, spec(100))
	ev := Event{Kind: Expired}
	if n := testing.AllocsPerRun(100, func() {
		s.now = s.now.Add(time.Second)
		s.r.Step(s.now, ev)
	}); n != 0 {
		t.Errorf("a master's Step allocates %v times", n)
	}
	b := backup(t, spec(100))
	a := Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{vip1}}
	in := Event{Kind: Received, Advert: &a, Source: a1}
	if n := testing.AllocsPerRun(100, func() {
		b.now = b.now.Add(time.Second)
		b.r.Step(b.now, in)
	}); n != 0 {
		t.Errorf("a backup's Step allocates %v times", n)
	}
}
