package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"baton/test/lab"
)

// electionBound is how long the first election of a pair may take, as a multiple of
// the preferred director's Active_Down_Interval.
const electionBound = 1.5

// crowd is what a pair with so many routers took.
type crowd struct {
	program program
	routers int
	elected time.Duration // from the start of the pair; zero: not within electionLimit
	cpu     [2]time.Duration
	memory  [2]int // KiB
	strays  int    // takeovers on the wire while nothing happened
}

// measureRouters measures what routers cost.
func (b *bench) measureRouters(ctx context.Context) error {
	var all []*crowd
	var errs []error
	for _, n := range b.routers {
		if ctx.Err() != nil {
			break
		}
		// Side by side: neither comes near to filling a processor.
		var both sync.WaitGroup
		var pair [2]*crowd
		var failed [2]error
		for i, p := range b.two() {
			both.Go(func() { pair[i], failed[i] = b.crowd(ctx, p, n) })
		}
		both.Wait()
		for i, p := range b.two() {
			if c := pair[i]; failed[i] == nil {
				fmt.Fprintf(os.Stderr, "routers %-10s %3d: elected after %s, CPU %s and %s, %d and %d KiB, %d strays\n",
					p.name(), n, milliseconds(c.elected), milliseconds(c.cpu[0]), milliseconds(c.cpu[1]), c.memory[0], c.memory[1], c.strays)
				all = append(all, c)
				continue
			}
			errs = append(errs, fmt.Errorf("%s, %d routers: %w", p.name(), n, failed[i]))
		}
	}
	b.printRouters(all)
	return errors.Join(errs...)
}

// crowd measures one program with n routers.
func (b *bench) crowd(ctx context.Context, p program, n int) (c *crowd, err error) {
	c = &crowd{program: p, routers: n}
	r, err := b.newPair(p, b.routersAdvert)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	seen := r.lab.Capture(r.hosts[1], "eth0", "vrrp")
	began := time.Now()
	if err := r.start(n, 0); err != nil {
		return nil, err
	}
	if c.elected, err = r.allElected(ctx, n, began); err != nil {
		return nil, err
	}
	// Announcements are repeated some seconds after a takeover: wait for the calm.
	if err := sleep(ctx, lab.Patience(7*time.Second)); err != nil {
		return nil, err
	}
	from := len(seen.Packets())
	if err := r.usage(ctx, c); err != nil {
		return nil, err
	}
	for id := range 256 {
		c.strays += takeovers(only(adverts(seen, from), uint8(id)))
	}
	return c, r.lab.Err()
}

// allElected waits until a has the addresses of all routers and b has none.
func (r *pair) allElected(ctx context.Context, n int, began time.Time) (time.Duration, error) {
	const limit = 30 * time.Second
	for time.Since(began) < limit {
		a, err := r.virtuals(0)
		if err != nil {
			return 0, err
		}
		b, err := r.virtuals(1)
		if err != nil {
			return 0, err
		}
		if a == n && b == 0 {
			return time.Since(began), nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("not all of %d routers were elected within %s\na: %s\nb: %s", n, limit, tail(r.procs[0]), tail(r.procs[1]))
}

// virtuals is how many addresses a director has beside its own.
func (r *pair) virtuals(i int) (int, error) {
	all, err := r.hosts[i].Addresses("eth0")
	return len(all) - 1, err
}

// usage watches both directors do nothing special.
func (r *pair) usage(ctx context.Context, c *crowd) error {
	var before [2]time.Duration
	var err error
	for i, p := range r.procs {
		if before[i], err = cpuTime(p); err != nil {
			return err
		}
	}
	if err := sleep(ctx, r.bench.steady); err != nil {
		return err
	}
	for i, p := range r.procs {
		after, err := cpuTime(p)
		if err != nil {
			return err
		}
		c.cpu[i] = after - before[i]
		if c.memory[i], err = memory(p); err != nil {
			return err
		}
	}
	return nil
}

// only are the adverts of one router.
func only(all []advert, vrid uint8) []advert {
	var out []advert
	for _, a := range all {
		if a.vrid == vrid {
			out = append(out, a)
		}
	}
	return out
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// roles are those of the two directors.
var roles = [2]string{"master", "backup"}

func (b *bench) printRouters(all []*crowd) {
	down := 3*b.routersAdvert + b.routersAdvert*(256-200)/256 // RFC 9568 section 6.1, priority 200
	t := table{
		title: fmt.Sprintf("Routers on one interface with adverts of %s: processor time of %s and memory of all processes, and the start of a pair.", b.routersAdvert, b.steady),
		head:  []string{"ROUTERS", "PROGRAM", "ROLE", "CPU", "RATIO", "MEMORY (PSS)", "RATIO", "ALL ELECTED AFTER", "DOWN INTERVALS", "STRAY TAKEOVERS"},
	}
	t.note("The ratio is baton's to that of the program in the line. Bound of the start: %.1f down intervals of %s.", electionBound, down.Round(time.Millisecond))
	var ours *crowd
	for _, c := range all {
		_, isOurs := c.program.(baton)
		if isOurs {
			ours = c
		}
		for i, role := range roles {
			cells := []string{fmt.Sprint(c.routers), c.program.name(), role, milliseconds(c.cpu[i]), "", fmt.Sprintf("%.1f MiB", float64(c.memory[i])/1024), ""}
			if !isOurs && ours != nil && ours.routers == c.routers {
				cells[4], cells[6] = ratio(ours.cpu[i], c.cpu[i]), ratio(ours.memory[i], c.memory[i])
			}
			if i == 0 {
				share := float64(c.elected) / float64(down)
				verdict := "kept"
				if share > electionBound {
					verdict = "BROKEN"
				}
				cells = append(cells, milliseconds(c.elected), fmt.Sprintf("%.2f, bound %s", share, verdict), fmt.Sprint(c.strays))
			}
			t.add(cells...)
		}
	}
	t.print()
}
