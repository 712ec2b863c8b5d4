package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"baton/test/scene"
)

// player acts on a scene and keeps what it saw.
type player struct {
	*scene.Scene
	method  string
	results results
}

// patience is how long things may take on an emulated machine that is twenty
// times slower than a real one.
const patience = 30 * time.Second

// start brings everything up.
func (p *player) start() error {
	begin := time.Now()
	if err := p.Start(); err != nil {
		return err
	}
	if err := p.Ready(patience); err != nil {
		return err
	}
	p.see("one director owns the VIP, both know all servers", "yes, after a while", time.Since(begin).Round(time.Second).String(), true)
	return p.print(p.Directors[0], "status")
}

// print shows a command of baton as an operator would see it.
func (p *player) print(d *scene.Director, args ...string) error {
	out, err := d.Baton(context.Background(), args...)
	fmt.Printf("%s# baton %s\n%s", d.Name, strings.Join(args, " "), out)
	return err
}

// spread makes requests and compares who answered with the weights.
func (p *player) spread() error {
	const n = 60
	counts, err := p.Curl(n)
	if err != nil {
		return err
	}
	sum := 0
	for _, r := range p.Real {
		sum += r.Weight
	}
	var want, got []string
	ok := true
	for _, r := range p.Real {
		share := n * r.Weight / sum
		want = append(want, fmt.Sprint(share))
		got = append(got, fmt.Sprint(counts[r.Name]))
		if diff := counts[r.Name] - share; diff < -1 || diff > 1 {
			ok = false
		}
	}
	p.see(fmt.Sprintf("%d requests by weights 3, 2, 1", n), strings.Join(want, " ")+" ±1", strings.Join(got, " "), ok)
	return p.table(p.Directors[0])
}

// table prints what ipvsadm says.
func (p *player) table(d *scene.Director) error {
	table, err := d.Table()
	fmt.Printf("%s# ipvsadm -Ln\n%s", d.Name, table)
	return err
}

// killServer kills a web server under load: after it has left the table nobody
// notices any more.
func (p *player) killServer() error {
	victim := p.Real[0]
	load := p.Load(4, 20*time.Millisecond)
	begin := time.Now()
	victim.Kill()
	err := scene.Wait(patience, func() error { return p.absent(victim) })
	gone := time.Since(begin)
	settled := time.Now()
	time.Sleep(3 * time.Second)
	requests := load.Stop()
	if err != nil {
		return err
	}
	// 3 failures 500 ms apart, and a little for an emulated machine.
	p.see("a dead real server leaves the table", "within 3s", gone.Round(100*time.Millisecond).String(), gone < 3*time.Second)
	failed := requests.Failed(settled)
	p.see("requests failed after that", "0", fmt.Sprintf("%d of %d", len(failed), len(requests)), len(failed) == 0)
	failed.Print(settled)
	return p.table(p.Directors[0])
}

// absent returns nil if the active director's kernel does not have the server.
func (p *player) absent(r *scene.RealServer) error {
	table, err := p.Directors[0].Table()
	if err == nil && strings.Contains(table, r.Address.String()+" ") {
		err = fmt.Errorf("%s is still in the table", r.Address)
	}
	return err
}

// bringBack starts the web server again.
func (p *player) bringBack() error {
	victim := p.Real[0]
	begin := time.Now()
	if err := victim.Start(); err != nil {
		return err
	}
	if err := scene.Wait(patience, func() error {
		if p.absent(victim) == nil {
			return errors.New("not in the table yet")
		}
		return nil
	}); err != nil {
		return err
	}
	back := time.Since(begin)
	counts, err := p.Curl(30)
	if err != nil {
		return err
	}
	p.see("a real server that works again is used again", "within 5s, serving", fmt.Sprintf("%s, %d of 30 requests",
		back.Round(100*time.Millisecond), counts[victim.Name]), back < 5*time.Second && counts[victim.Name] > 0)
	return nil
}

// inFlight is how many requests may break when a connection is open at the very
// moment of a change of director: without connection sync the other one does not
// know it.
const inFlight = 4

// handOver is what an operator does before maintenance.
func (p *player) handOver() error {
	load := p.Load(inFlight, 20*time.Millisecond)
	time.Sleep(time.Second)
	begin := time.Now()
	err := p.print(p.Directors[0], "failover", "web")
	took := time.Since(begin)
	time.Sleep(2 * time.Second)
	requests := load.Stop()
	if err != nil {
		return err
	}
	failed := requests.Failed(time.Time{})
	p.see("planned hand-over: requests failed", fmt.Sprintf("at most the %d in flight", inFlight),
		fmt.Sprintf("%d of %d", len(failed), len(requests)), len(failed) <= inFlight)
	p.see("planned hand-over: longest time without an answer", "below 1s", requests.Outage().Round(time.Millisecond).String(),
		requests.Outage() < time.Second)
	p.see("planned hand-over: the VIP is on the other director alone", "lb-b", p.holders(), p.holders() == "lb-b")
	fmt.Printf("the hand-over took %s\n", took.Round(10*time.Millisecond))
	return p.print(p.Directors[1], "explain", "router", "web")
}

func (p *player) holders() string {
	var names []string
	for _, d := range p.Owners() {
		names = append(names, d.Name)
	}
	return strings.Join(names, " ")
}

// resume ends the maintenance; with preemption the first director takes over
// again.
func (p *player) resume() error {
	if err := p.print(p.Directors[0], "resume", "web"); err != nil {
		return err
	}
	begin := time.Now()
	err := scene.Wait(patience, func() error {
		if got := p.holders(); got != "lb-a" {
			return fmt.Errorf("the VIP is on %q", got)
		}
		return nil
	})
	p.see("after resume the preferred director owns the VIP", "lb-a", p.holders(), err == nil)
	fmt.Printf("back after %s\n", time.Since(begin).Round(100*time.Millisecond))
	return err
}

// crash kills everything that baton runs on the active director at once: nobody
// is left to say goodbye, or to remove the VIP, but the kernel.
func (p *player) crash() error {
	load := p.Load(4, 20*time.Millisecond)
	time.Sleep(time.Second)
	begin := time.Now()
	p.Directors[0].Crash()
	err := scene.Wait(patience, func() error {
		if got := p.holders(); got != "lb-b" {
			return fmt.Errorf("the VIP is on %q", got)
		}
		return nil
	})
	fenced := time.Since(begin)
	time.Sleep(3 * time.Second)
	requests := load.Stop()
	if err != nil {
		return err
	}
	// Three adverts of 1 s and the skew of priority 100; the lease is 3 s.
	p.see("active director killed: only the other one has the VIP", "within 5s", fenced.Round(100*time.Millisecond).String(),
		fenced < 5*time.Second)
	outage := requests.Outage()
	p.see("active director killed: outage for the client", "below 5s", outage.Round(10*time.Millisecond).String(), outage < 5*time.Second)
	late := requests.Failed(begin.Add(6 * time.Second))
	p.see("requests failed once the other one had taken over", "0", fmt.Sprint(len(late)), len(late) == 0)
	return errors.Join(p.table(p.Directors[1]), p.print(p.Directors[1], "events"))
}
