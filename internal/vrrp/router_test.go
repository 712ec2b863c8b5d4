package vrrp

import (
	"net/netip"
	"testing"
	"time"
)

// Rules of the election that are not in RFC 9568; those that are have their place
// in rfc_test.go.

// A flood of rival adverts is not answered one by one.
func TestAssertIsBounded(t *testing.T) {
	s := master(t, spec(100)).quietUntil(time.Second).tick("send100 tell1").
		after(400*time.Millisecond).hear(99, a3, "rival send100 tell1")
	for range 100 {
		s.after(time.Millisecond).hear(99, a3, "rival")
	}
}

// A master that yields says one last word, so that the other one announces once
// more; in the first advert of a new one that is no rival.
func TestLastWordOfTheOneBefore(t *testing.T) {
	master(t, spec(100)).hear(200, a3, "rival send100 release master→backup")
	master(t, spec(200)).hear(100, a3, "send200 tell1").is(Master)
}

// Section 6.4.3, Shutdown — but the addresses stay until a peer is heard.
func TestPlannedStopMakesBeforeItBreaks(t *testing.T) {
	sp := spec(100)
	sp.Linger = 200 * time.Millisecond
	master(t, sp).after(300*time.Millisecond).do(Event{Kind: Shutdown}, "send0").is(Master).
		quietUntil(600*time.Millisecond).hear(50, a1, "master→backup").
		quietUntil(200 * time.Millisecond).tick("release release backup→init settled").is(Init)
}

// Who only lingers on to leave takes over no more, however short the interval is,
// and asks for nothing until then.
func TestPlannedStopEndsAfterTheLinger(t *testing.T) {
	sp := spec(100)
	sp.Interval, sp.Linger = 10*time.Millisecond, 200*time.Millisecond
	s := master(t, sp).do(Event{Kind: Shutdown}, "send0").after(5 * time.Millisecond)
	s.advert(Advert{Priority: 50, Interval: 10 * time.Millisecond}, a1, "master→backup")
	for range 19 {
		s.quietUntil(10 * time.Millisecond)
		s.advert(Advert{Priority: 50, Interval: 10 * time.Millisecond}, a1, "")
	}
	s.quietUntil(10 * time.Millisecond).tick("release release backup→init settled")
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
	s.hear(50, a1, "rival send1 release master→backup")
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

// A late timer is evidence: after a stall the master steps down before it speaks,
// whether the timer is looked at first …
func TestStalledMasterStepsDownFirst(t *testing.T) {
	s := master(t, spec(100)).after(5 * time.Second).tick("release master→backup")
	s.after(100*time.Millisecond).hear(50, a1, "").is(Backup)

	// With nobody there it comes back soon.
	s = master(t, spec(100)).after(5 * time.Second).tick("release master→backup")
	s.quietUntil(time.Second + SkewTime(100, time.Second)).tick(takeOver)
}

// … or the successor's adverts are. They are no reason to assert ourselves.
func TestStalledMasterHearsItsSuccessorFirst(t *testing.T) {
	s := master(t, spec(200)).after(5*time.Second).hear(50, a1, "release master→backup")
	s.quietUntil(time.Second + SkewTime(200, time.Second)).tick("send200 hold tell5 backup→master")

	noPreempt := spec(200)
	noPreempt.Preempt = false
	s = master(t, noPreempt).after(5*time.Second).hear(50, a1, "release master→backup")
	for range 5 {
		s.after(time.Second).hear(50, a1, "").is(Backup)
	}

	s = master(t, spec(100)).after(5*time.Second).hear(200, a1, "release master→backup")
	s.quietUntil(DownInterval(100, time.Second)).tick(takeOver)

	// An advert that is only late is no stall.
	master(t, spec(200)).after(2*time.Second).hear(50, a1, "rival send200 tell1").is(Master)
}

// A hand-over that ended long ago in vain, as far as is known: the successor may
// be there all the same.
func TestStalledHandoverStepsDownFirst(t *testing.T) {
	limit := 4*time.Second + handoverMargin
	master(t, spec(100)).do(Event{Kind: Resign}, "send0").after(limit + 4*time.Second).
		tick("refused release master→backup").quietUntil(time.Second + SkewTime(100, time.Second)).tick(takeOver)
	// For a planned stop that makes no difference.
	master(t, spec(100)).do(Event{Kind: Shutdown}, "send0").after(limit + 4*time.Second).
		tick("release master→init settled")
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

// A shorter interval may mean that the silence was long enough; that is no stall.
func TestShorterIntervalOfABackupCountsTheSilence(t *testing.T) {
	sp, next := spec(100), spec(100)
	sp.Interval = 30 * time.Second
	backup(t, sp).after(20*time.Second).do(Event{Kind: Configured, Spec: &next}, "").quietUntil(0).tick(takeOver)
}

// On a second path the addresses may stand in another order than on the first:
// it decides between equals only when the first one is silent.
func TestTieOnASecondPath(t *testing.T) {
	lower, higher := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")
	rival := func(s *script, path int, from netip.Addr, want string) {
		t.Helper()
		a := Advert{VRID: 51, Priority: 100, Interval: time.Second, Addresses: []netip.Addr{vip1}}
		s.do(Event{Kind: Received, Advert: &a, Source: from, Path: path, Own: lower}, want)
	}
	s := master(t, spec(100))
	rival(s, 1, higher, "send100 tell1")
	s.after(1100 * time.Millisecond)
	rival(s, 0, a1, "rival send100 tell1") // the lower one on the first path
	for range 3 {
		s.after(time.Second)
		rival(s, 1, higher, "rival send100 tell1")
	}
	s.after(time.Second)
	rival(s, 1, higher, "rival send100 release master→backup")
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
