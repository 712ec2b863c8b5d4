package check

import (
	"testing"
	"time"
)

// host is a host with servers, and no more power than it has.
type host struct {
	steps   float64       // begins and ends of probes that it can make in a second
	serves  float64       // probes that its servers can answer in a second, one after the other
	latency time.Duration // of the servers
}

// play runs probes by a pacer for so long, of which so many are due a second, and
// returns how many succeeded. What is not over after a second has failed.
func (h host) play(p *pacer, due float64, long time.Duration) (good, failed int) {
	type probe struct {
		start, over time.Time
		late        bool
	}
	var underWay []probe
	now, free, owed, room := epoch, epoch, 0.0, 0.0
	begin := func() bool {
		if owed < 1 || !p.admits(now) {
			return false
		}
		p.recent.begin(now)
		free = later(free, now).Add(time.Duration(float64(time.Second) / h.serves))
		underWay = append(underWay, probe{now, later(free, now.Add(h.latency)), owed > due*tardy.Seconds()})
		owed--
		return true
	}
	end := func() bool {
		if len(underWay) == 0 {
			return false
		}
		one := underWay[0]
		took := now.Sub(one.start)
		if now.Before(one.over) && took < time.Second {
			return false
		}
		p.recent.end(one.start, now)
		p.learn(one.late, took)
		if underWay = underWay[1:]; now.Before(one.over) {
			failed++
		} else {
			good++
		}
		return true
	}
	begun := 0
	for last := now.Add(long); now.Before(last); now = now.Add(time.Millisecond) {
		owed += due / 1000
		for room = min(room+h.steps/1000, 2*handful); room >= 1; room-- {
			if begun < handful && begin() {
				begun++
				continue
			}
			begun = handful
			if !end() {
				if begun = 0; !begin() {
					break
				}
				begun = 1
			}
		}
	}
	return good, failed
}

// A host that can do a quarter of what is asked for does that, and hardly a probe is
// out of time once it has learned so.
func TestOverrunHost(t *testing.T) {
	var p pacer
	p.demand(2000)
	weak := host{steps: 1500, serves: 500, latency: 20 * time.Millisecond}
	weak.play(&p, 2000, 30*time.Second)
	learned := p.window
	p.demand(2000) // a reload does not make it forget
	if p.window != learned || learned == p.most {
		t.Errorf("a window of %.0f after a reload, want %.0f, less than %.0f", p.window, learned, p.most)
	}
	p.recent, p.next = recent{}, time.Time{}
	good, failed := weak.play(&p, 2000, 30*time.Second)
	if failed > 0 || good < 30*500*9/10 {
		t.Errorf("%d probes succeeded and %d were out of time, window %.0f; want %d and none", good, failed, p.window, 30*500)
	}
	p.recent, p.next = recent{}, time.Time{}
	strong := host{steps: 20000, serves: 10000, latency: 20 * time.Millisecond}
	if strong.play(&p, 2000, 10*time.Second); p.window < p.most {
		t.Errorf("a host that has room again has a window of %.0f, want %.0f", p.window, p.most)
	}
}

// Servers that are slow do not get less than they should.
func TestSlowServers(t *testing.T) {
	for _, due := range []float64{50, 500, 2000, 10000} {
		var p pacer
		p.demand(due)
		slow := host{steps: 1e5, serves: 1e5, latency: 700 * time.Millisecond}
		good, failed := slow.play(&p, due, 20*time.Second)
		if failed > 0 || float64(good) < due*19 {
			t.Errorf("%.0f a second: %d succeeded and %d failed in 20s, window %.0f", due, good, failed, p.window)
		}
	}
}

func TestRecent(t *testing.T) {
	var r recent
	now := epoch.Add(time.Hour)
	want := func(n int) {
		t.Helper()
		if got := r.sum(now); got != n {
			t.Errorf("%s: %d, want %d", now.Sub(epoch), got, n)
		}
	}
	want(0)
	r.begin(now)
	r.begin(now)
	start := now
	now = now.Add(100 * time.Millisecond)
	r.begin(now)
	want(3)
	r.end(start, now)
	want(2)
	now = now.Add(hanging - 100*time.Millisecond)
	want(1)
	r.end(start, now) // it is forgotten
	want(1)
	now = now.Add(time.Hour)
	want(0)
	now = epoch.Add(-time.Hour)
	r.begin(now)
	want(1)
}
