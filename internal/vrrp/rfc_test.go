package vrrp

import (
	"net/netip"
	"testing"
	"time"
)

// Section 6.1: the two intervals that the election lives by, in all priorities
// that have a name.
func TestRFC9568_6_1(t *testing.T) {
	for priority, want := range map[uint8]time.Duration{
		1:   996093750 * time.Nanosecond,
		100: 609375 * time.Microsecond,
		254: 7812500 * time.Nanosecond,
		255: 3906250 * time.Nanosecond,
	} {
		if got := SkewTime(priority, time.Second); got != want {
			t.Errorf("Skew_Time of priority %d: %s, want %s", priority, got, want)
		}
		if got := DownInterval(priority, time.Second); got != want+3*time.Second {
			t.Errorf("Active_Down_Interval of priority %d: %s, want %s", priority, got, want+3*time.Second)
		}
	}
	if got, want := SkewTime(128, 40*time.Second), 20*time.Second; got != want {
		t.Errorf("Skew_Time follows the master's interval: %s, want %s", got, want)
	}
}

// The tables of sections 6.4.1 to 6.4.3, step by step. The numbers are those that
// the same tables have in RFC 5798; RFC 9568 keeps the steps and leaves the
// numbers out. "9568" marks what it added. A test is one router that lives
// through the step; the actions are written as by show.
//
// Not here, because the election does not do it: what a router answers and
// forwards in each state ((305)–(340), (605)–(650)) follows from hold and release;
// the form of the announcements ((115)–(130), (375)–(400)) is that of tell.
var rfcSteps = []struct {
	step string
	says string
	test func(t *testing.T)
}{
	{"6.4.1 (100)", "without Startup nothing happens", func(t *testing.T) {
		s := newScript(t, spec(100)).tick("").hear(200, a1, "").do(Event{Kind: Recovered}, "").is(Init)
		if !s.r.Deadline().IsZero() {
			t.Error("it waits for something")
		}
	}},
	{"6.4.1 (105)-(130)", "priority 255: send an advert, announce the addresses", func(t *testing.T) {
		newScript(t, spec(255)).do(start, "release send255 hold tell5 init→master")
	}},
	{"6.4.1 (140)", "… and set the Adver_Timer", func(t *testing.T) {
		newScript(t, spec(255)).do(start, "release send255 hold tell5 init→master").
			quietUntil(time.Second).tick("send255 tell1")
	}},
	{"6.4.1 (145)", "… and become master", func(t *testing.T) {
		newScript(t, spec(255)).do(start, "release send255 hold tell5 init→master").is(Master)
	}},
	{"6.4.1 (150)-(155)", "otherwise the master's interval is taken to be our own", func(t *testing.T) {
		sp := spec(100)
		sp.Interval = 2 * time.Second
		if got := backup(t, sp).r.Status().Interval; got != 2*time.Second {
			t.Errorf("Active_Adver_Interval %s", got)
		}
	}},
	{"6.4.1 (160)", "… and the Active_Down_Timer is set", func(t *testing.T) {
		backup(t, spec(100)).quietUntil(3609375 * time.Microsecond).tick(takeOver)
	}},
	{"6.4.1 (165)", "… and it becomes backup", func(t *testing.T) {
		newScript(t, spec(254)).do(start, "release init→backup").is(Backup)
	}},
	{"6.4.1 (175)", "a second Startup does nothing", func(t *testing.T) {
		backup(t, spec(100)).after(time.Second).do(start, "").quietUntil(2609375 * time.Microsecond).tick(takeOver)
	}},

	{"6.4.2 (300)", "a backup sends nothing", func(t *testing.T) {
		s := backup(t, spec(100))
		for range 10 {
			s.hear(200, a1, "").quietUntil(time.Second).tick("")
		}
	}},
	{"6.4.2 (310)-(340)", "… and does not have the addresses", func(t *testing.T) {
		backup(t, spec(100)) // released at the start, whatever was there
		master(t, spec(100)).hear(200, a1, "rival send100 release master→backup")
	}},
	{"6.4.2 (345)-(355)", "Shutdown: cancel the Active_Down_Timer, become init", func(t *testing.T) {
		s := backup(t, spec(100)).do(Event{Kind: Shutdown}, "release backup→init settled").is(Init)
		if !s.r.Deadline().IsZero() {
			t.Error("it waits for something")
		}
	}},
	{"6.4.2 (365)-(400)", "the Active_Down_Timer fires: send an advert, announce the addresses", func(t *testing.T) {
		backup(t, spec(100)).hear(200, a1, "").quietUntil(3609375 * time.Microsecond).tick("send100 hold tell5 backup→master")
	}},
	{"6.4.2 (405)", "… and set the Adver_Timer, to our own interval", func(t *testing.T) {
		backup(t, spec(100)).advert(Advert{Priority: 200, Interval: 2 * time.Second}, a1, "").
			quietUntil(2 * 3609375 * time.Microsecond).tick(takeOver).
			quietUntil(time.Second).tick("send100 tell1")
	}},
	{"6.4.2 (410)", "… and become master", func(t *testing.T) {
		backup(t, spec(100)).quietUntil(3609375 * time.Microsecond).tick(takeOver).is(Master)
	}},
	{"6.4.2 (425)-(430)", "an advert of priority 0: the Active_Down_Timer is set to Skew_Time", func(t *testing.T) {
		backup(t, spec(100)).hear(200, a1, "").after(500*time.Millisecond).hear(0, a1, "").
			quietUntil(609375 * time.Microsecond).tick(takeOver)
	}},
	{"6.4.2 (430)", "… by the master's interval, not our own", func(t *testing.T) {
		two := 2 * time.Second
		backup(t, spec(100)).advert(Advert{Priority: 200, Interval: two}, a1, "").
			advert(Advert{Priority: 0, Interval: two}, a1, "").quietUntil(2 * 609375 * time.Microsecond).tick(takeOver)
	}},
	{"6.4.2 (445) Preempt_Mode", "without it an advert of lower priority counts", func(t *testing.T) {
		sp := spec(100)
		sp.Preempt = false
		backup(t, sp).after(3*time.Second).hear(50, a1, "").quietUntil(3609375 * time.Microsecond).tick(takeOver)
	}},
	{"6.4.2 (445) higher", "an advert of higher priority counts", func(t *testing.T) {
		backup(t, spec(100)).after(3*time.Second).hear(101, a1, "").quietUntil(3609375 * time.Microsecond).tick(takeOver)
	}},
	{"6.4.2 (445) equal", "… and one of the same, whatever its address", func(t *testing.T) {
		for _, from := range []netip.Addr{a1, a3} {
			backup(t, spec(100)).after(3*time.Second).hear(100, from, "").quietUntil(3609375 * time.Microsecond).tick(takeOver)
		}
	}},
	{"6.4.2 (450)", "the master's interval is taken over", func(t *testing.T) {
		s := backup(t, spec(100)).advert(Advert{Priority: 200, Interval: 300 * time.Millisecond}, a1, "")
		if got := s.r.Status().Interval; got != 300*time.Millisecond {
			t.Errorf("Active_Adver_Interval %s", got)
		}
	}},
	{"6.4.2 (455)-(460) 9568", "Skew_Time and Active_Down_Interval follow it, and the timer is set", func(t *testing.T) {
		backup(t, spec(128)).after(time.Second).advert(Advert{Priority: 200, Interval: 2 * time.Second}, a1, "").
			quietUntil(6*time.Second + time.Second).tick("send128 hold tell5 backup→master")
	}},
	{"6.4.2 (465)-(470)", "with Preempt_Mode an advert of lower priority is discarded", func(t *testing.T) {
		backup(t, spec(100)).after(3*time.Second).hear(99, a1, "").quietUntil(609375 * time.Microsecond).tick(takeOver)
	}},

	{"6.4.3 (610)-(650)", "a master has the addresses", func(t *testing.T) {
		master(t, spec(100)) // hold comes with the takeover
	}},
	{"6.4.3 (655)-(665)", "Shutdown: cancel the Adver_Timer, send priority 0", func(t *testing.T) {
		master(t, spec(100)).do(Event{Kind: Shutdown}, "send0").quietUntil(4*time.Second + handoverMargin)
	}},
	{"6.4.3 (670)", "… and become init; here when a successor is heard, or none comes", func(t *testing.T) {
		master(t, spec(100)).do(Event{Kind: Shutdown}, "send0").after(600*time.Millisecond).
			hear(50, a1, "release master→backup release backup→init settled").is(Init)
		master(t, spec(100)).do(Event{Kind: Shutdown}, "send0").quietUntil(4*time.Second + handoverMargin).
			tick("release master→init settled").is(Init)
	}},
	{"6.4.3 (680)-(690)", "the Adver_Timer fires: send an advert, set it again", func(t *testing.T) {
		s := master(t, spec(100)).quietUntil(time.Second).tick("send100 tell1")
		for range 3 {
			s.quietUntil(time.Second).tick("send100")
		}
		// A late timer does not move the following adverts.
		s.after(1300 * time.Millisecond).tick("send100").quietUntil(700 * time.Millisecond).tick("send100")
	}},
	{"6.4.3 (705)-(715)", "an advert of priority 0: send an advert, set the Adver_Timer again", func(t *testing.T) {
		master(t, spec(100)).quietUntil(time.Second).tick("send100 tell1").after(400*time.Millisecond).hear(0, a1, "send100").
			quietUntil(time.Second).tick("send100").is(Master)
	}},
	{"6.4.3 (725), (740), (765)", "higher priority: cancel the Adver_Timer, become backup", func(t *testing.T) {
		master(t, spec(100)).hear(101, a1, "rival send100 release master→backup").quietUntil(3609375 * time.Microsecond)
	}},
	{"6.4.3 (735)", "… and so for the same priority and a higher address, as unsigned numbers", func(t *testing.T) {
		master(t, spec(100)).hear(100, a3, "rival send100 release master→backup").is(Backup)
		master(t, spec(100)).hear(100, netip.MustParseAddr("192.0.2.1"), "rival send100 release master→backup").is(Backup)
		sp := spec(100)
		sp.Source = netip.MustParseAddr("fe80::7fff:0:0:1")
		master(t, sp).hear(100, netip.MustParseAddr("fe80::8000:0:0:1"), "rival send100 release master→backup").is(Backup)
	}},
	{"6.4.3 (745)-(760)", "… with the other one's interval in the Active_Down_Timer", func(t *testing.T) {
		master(t, spec(128)).advert(Advert{Priority: 200, Interval: 2 * time.Second}, a1, "rival send128 release master→backup").
			quietUntil(7 * time.Second).tick("send128 hold tell5 backup→master")
	}},
	{"6.4.3 (770)-(775)", "otherwise the advert is discarded", func(t *testing.T) {
		master(t, spec(100)).hear(99, a3, "send100 tell1").is(Master) // the last word of the one before
		master(t, spec(100)).hear(100, a1, "send100 tell1").is(Master)
	}},
	{"6.4.3 (775) 9568", "… and answered at once by an advert, which sets the Adver_Timer", func(t *testing.T) {
		master(t, spec(100)).quietUntil(time.Second).tick("send100 tell1").after(400*time.Millisecond).
			hear(99, a3, "rival send100 tell1").quietUntil(time.Second).tick("send100 tell1")
	}},
	{"6.1 Preempt_Mode", "the owner of the addresses preempts whatever it says", func(t *testing.T) {
		sp := spec(255)
		sp.Preempt = false
		s := newScript(t, sp).do(start, "release send255 hold tell5 init→master").hear(254, a3, "send255 tell1").is(Master)
		// Even when it had to listen first, because it stood still.
		s.after(5*time.Second).tick("release master→backup").hear(254, a3, "").
			quietUntil(time.Second + SkewTime(255, time.Second)).tick("send255 hold tell5 backup→master")
	}},
}

func TestRFC9568_6_4(t *testing.T) {
	for _, s := range rfcSteps {
		t.Run(s.step+" "+s.says, s.test)
	}
}

// Version 2 counts the skew in parts of a second (RFC 3768 section 6.1).
func TestRFC3768_6_1(t *testing.T) {
	sp := spec(100)
	sp.Version, sp.Interval = 2, 3*time.Second
	backup(t, sp).quietUntil(9*time.Second + 609375*time.Microsecond).tick(takeOver)
	backup(t, sp).advert(Advert{Priority: 200, Interval: 3 * time.Second}, a1, "").
		advert(Advert{Interval: 3 * time.Second}, a1, "").quietUntil(609375 * time.Microsecond).tick(takeOver)
}
