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
	return s.advert(Advert{Priority: priority, Interval: time.Second}, from, want)
}

// advert hears an advert of our virtual router.
func (s *script) advert(a Advert, from netip.Addr, want string) *script {
	s.t.Helper()
	a.VRID, a.Addresses = 51, []netip.Addr{vip1}
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
