package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"baton/test/lab"
	"baton/test/stream"
)

// fault is something that happens to the owner of the VIP.
type fault struct {
	name    string
	title   string
	planned bool
	strike  func(r *pair) error
}

var faults = []fault{
	{name: "link", title: "link down (host lost)", strike: func(r *pair) error {
		r.links[0].Down()
		return r.lab.Err()
	}},
	{name: "term", title: "planned stop (SIGTERM)", planned: true, strike: func(r *pair) error {
		return r.procs[0].Signal(syscall.SIGTERM)
	}},
	{name: "failover", title: "failover by command", planned: true, strike: func(r *pair) error {
		return r.failover(0)
	}},
	{name: "speaker", title: "SIGKILL of the VRRP process", strike: func(r *pair) error {
		pid, err := r.program.speaker(r.procs[0])
		if err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	}},
	{name: "everything", title: "SIGKILL of everything", strike: func(r *pair) error {
		r.procs[0].Kill()
		return nil
	}},
}

// outcome is what came of one fault.
type outcome struct {
	stream.Result
	holders string // who has the VIP at the end; empty: not asked
}

// side are the outcomes of one program for a fault at an advert interval.
type side struct {
	gaps   []time.Duration
	lost   []int
	sent   int
	worst  string
	failed []error
}

func (s *side) add(o outcome, err error) {
	if err != nil {
		s.failed = append(s.failed, err)
		return
	}
	s.gaps, s.lost, s.sent = append(s.gaps, o.Gap), append(s.lost, o.Lost), s.sent+o.Sent
	if o.holders != "" {
		s.worst = o.holders
	}
}

// measureFaults measures every fault with every advert interval.
func (b *bench) measureFaults(ctx context.Context) error {
	t := table{
		title: fmt.Sprintf("Faults: the outage of a client that sends a datagram every %s; the fault comes right after an advert of the owner.", b.every),
		head:  []string{"FAULT", "ADVERT", "PROGRAM", "RUNS", "GAP median", "GAP max", "LOST median", "LOST max", "OF", "VIP AT THE END", "RATIO"},
	}
	t.note("On a host where everything was killed the VIP still answers: for ever, or until its lease ends.")
	t.note("The gap is the longest time without an answer. The ratio is baton's median gap to that of the program in the line.")
	var errs []error
	for _, advert := range b.adverts {
		for _, f := range b.faults {
			sides := b.measureFault(ctx, f, advert)
			ours := &side{}
			for i, p := range b.two() {
				if i == 0 {
					ours = sides[i]
				}
				t.addFault(f, advert, p, sides[i], ours)
				errs = append(errs, sides[i].failed...)
			}
			if ctx.Err() != nil {
				return errors.Join(errs...)
			}
		}
	}
	t.print()
	return errors.Join(errs...)
}

// two are the programs as they are installed.
func (b *bench) two() []program { return []program{baton{b.baton}, keepalived{}} }

// measureFault measures one fault with both programs: one after the other where
// milliseconds count, so that they do not disturb each other; otherwise side by side.
func (b *bench) measureFault(ctx context.Context, f fault, advert time.Duration) [2]*side {
	sides := [2]*side{{}, {}}
	runs := b.fastRuns
	if advert >= time.Second || f.planned {
		runs = b.runs
	}
	for n := range runs {
		var both sync.WaitGroup
		for i, p := range b.two() {
			if ctx.Err() != nil {
				break
			}
			if _, ours := p.(baton); f.name == "failover" && !ours {
				continue
			}
			both.Go(func() {
				o, err := b.play(p, f, advert, n == 0)
				if err != nil {
					err = fmt.Errorf("%s, %s, adverts of %s, run %d: %w", p.name(), f.name, advert, n+1, err)
				} else {
					fmt.Fprintf(os.Stderr, "faults %-10s %-10s %-5s %d/%d: %s %s\n", p.name(), f.name, advert, n+1, runs, o.Result, o.holders)
				}
				sides[i].add(o, err)
			})
			if advert < time.Second && !f.planned {
				both.Wait()
			}
		}
		both.Wait()
	}
	return sides
}

// play takes one measurement on hosts that are made for it.
func (b *bench) play(p program, f fault, advert time.Duration, holders bool) (out outcome, err error) {
	r, err := b.newPair(p, advert)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.elect(0); err != nil {
		return out, err
	}
	seen := r.lab.Capture(r.client, "eth0", "vrrp")
	flow, err := r.stream(b.every)
	if err != nil {
		return out, err
	}
	began := time.Now()
	before, after := 300*time.Millisecond, 4*advert+700*time.Millisecond
	if f.planned {
		before = max(before, (b.planned-after)/2)
	}
	time.Sleep(before)
	if err := errors.Join(r.awaitAdvert(seen), f.strike(r)); err != nil {
		return out, err
	}
	if f.planned {
		after = max(after, b.planned-time.Since(began))
	}
	time.Sleep(after)
	if out.Result, err = flow.stop(); err != nil {
		return out, err
	}
	if holders {
		time.Sleep(2500 * time.Millisecond) // together with what has passed more than a lease
		out.holders = r.holders()
	}
	return out, r.lab.Err()
}

// awaitAdvert returns right after the next advert.
func (r *pair) awaitAdvert(seen *lab.Capture) error {
	begin := time.Now()
	_, err := seen.Await(3*r.advert+time.Second, func(p lab.Packet) bool { return p.Time.After(begin) })
	return err
}

// holders says who has the VIP.
func (r *pair) holders() string {
	switch a, b := r.hosts[0].Has(vip), r.hosts[1].Has(vip); {
	case a && b:
		return "on BOTH"
	case a:
		return "on a"
	case b:
		return "on b"
	}
	return "on NONE"
}

// addFault adds the line of one program.
func (t *table) addFault(f fault, advert time.Duration, p program, s, ours *side) {
	cells := []string{f.title, advert.String(), p.name()}
	switch {
	case len(s.gaps) == 0 && len(s.failed) == 0:
		t.add(append(cells, "no such command")...)
		return
	case len(s.gaps) == 0:
		t.add(append(cells, "failed")...)
		return
	}
	compared := ratio(median(ours.gaps), median(s.gaps))
	if s == ours {
		compared = ""
	}
	t.add(append(cells, fmt.Sprint(len(s.gaps)), milliseconds(median(s.gaps)), milliseconds(largest(s.gaps)),
		fmt.Sprint(median(s.lost)), fmt.Sprint(largest(s.lost)), fmt.Sprint(s.sent/len(s.gaps)), s.worst, compared)...)
}
