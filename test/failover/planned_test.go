package failover

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// intervals are those of the README's promises: an ordinary one, and the fastest
// that the protocol has.
var intervals = []time.Duration{second, 10 * time.Millisecond}

// A planned stop, and the return after it, cost the client nothing.
func TestPlannedStopLosesNothing(t *testing.T) {
	for _, interval := range intervals {
		t.Run(interval.String(), func(t *testing.T) {
			p := start(t, interval)
			s := p.stream()
			stopped := time.Now()
			p.a.signal(syscall.SIGTERM)
			if err := p.a.proc.Wait(); err != nil {
				t.Errorf("baton ended with %v", err)
			}
			t.Logf("the stop took %v", time.Since(stopped).Round(time.Millisecond))
			p.held.await(p.b.host, vip, true, stopped, 5*time.Second)
			p.held.await(p.a.host, vip, false, stopped, 5*time.Second)
			p.knows(p.b, time.Second)
			lossless(t, s, "SIGTERM")

			s = p.stream()
			p.a.start()
			p.settled(p.a, p.b, 4*interval+5*time.Second)
			p.knows(p.a, time.Second)
			lossless(t, s, "return")
		})
	}
}

// Hand-overs by command cost the client nothing, in either direction, and again.
func TestFailoverAndResumeLoseNothing(t *testing.T) {
	for _, interval := range intervals {
		t.Run(interval.String(), func(t *testing.T) {
			p := start(t, interval)
			s := p.stream()
			for range 2 {
				out, err := p.a.command("failover", "web")
				must(t, err)
				if !strings.Contains(out, "stands back; 10.0.0.2 is master") {
					t.Errorf("failover says %q", out)
				}
				p.settled(p.b, p.a, 2*time.Second)
				p.knows(p.b, time.Second)
				if r, err := p.a.status(); err != nil || !r.Resigned || r.EffectivePriority != 1 {
					t.Errorf("after failover: %+v, %v", r, err)
				}
				if _, err = p.a.command("resume", "web"); err != nil {
					t.Fatal(err)
				}
				p.settled(p.a, p.b, 4*interval+2*time.Second)
				p.knows(p.a, time.Second)
			}
			lossless(t, s, "failover and resume")
		})
	}
}

// A router that stands back is the last resort, and takes over without loss when
// the other one is told to go, too.
func TestFailoverToOneThatStandsBack(t *testing.T) {
	p := start(t, fast)
	s := p.stream()
	_, err := p.a.command("failover", "--all")
	must(t, err)
	p.settled(p.b, p.a, 2*time.Second)
	_, err = p.b.command("failover", "web")
	must(t, err)
	p.settled(p.a, p.b, 2*time.Second)
	_, err = p.b.command("resume", "web")
	must(t, err)
	p.settled(p.b, p.a, 2*time.Second) // 100 preempts the 1 of a router that stands back
	lossless(t, s, "failover back and forth")
}

// Nobody to hand over to: the command says so, and the client is served on.
func TestFailoverWithoutPeerIsRefused(t *testing.T) {
	p := build(t)
	p.a.configure(router(priorityA, fast, ""))
	p.a.start()
	p.held.await(p.a.host, vip, true, time.Time{}, 5*time.Second)
	s := p.stream()
	began := time.Now()
	out, err := p.a.command("failover", "web")
	if exitCode(err) != 1 || !strings.Contains(out, "no peer took over") {
		t.Errorf("%q, %v", out, err)
	}
	p.held.unmoved(vip, began)
	must(t, p.a.is("master"))
	lossless(t, s, "refused failover")
}
