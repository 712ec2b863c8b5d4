package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"baton/test/lab"
)

// kept is what one program did with one table.
type kept struct {
	keeper keeper
	farm   farm
	fill   time.Duration // from the start of the program to the full table
	stop   time.Duration // from SIGTERM to its end
	left   counted       // in the kernel then

	weight, unchanged, replaced *reload // nil: not measured

	memory int           // KiB
	cpu    time.Duration // while nothing happened
}

// reload is one reload.
type reload struct {
	writes int
	last   time.Duration // from the order to the last of them
	ended  time.Duration // and to the end of the reload
}

// filled is the table written by a program that does nothing else.
type filled struct {
	restore, list cost // ipvsadm
	program       programmed
}

// ipvsResult is everything that was measured.
type ipvsResult struct {
	filled []filled
	kept   []*kept
	large  []*kept
	sizes  map[int]programmed // by number of servers
}

// measureIPVS measures how fast the kernel's table is kept.
func (b *bench) measureIPVS(ctx context.Context) error {
	if !haveIPVS(ctx) {
		return b.ipvsInGuest(ctx)
	}
	s, err := b.openStand(ctx)
	if err != nil {
		return err
	}
	r := &ipvsResult{sizes: make(map[int]programmed)}
	err = errors.Join(b.fillTables(ctx, s, r), b.keepTables(ctx, s, r), b.keepLarge(ctx, s, r))
	b.printIPVS(r)
	return errors.Join(err, s.close())
}

// fillTables measures writing alone.
func (b *bench) fillTables(ctx context.Context, s *stand, r *ipvsResult) error {
	f := farm{services: b.ipvsServices}
	rules := filepath.Join(s.lab.Dir(), "rules")
	if err := write(rules, f.rules()); err != nil {
		return err
	}
	for range b.ipvsRuns {
		var one filled
		var err error
		if err := s.clear(ctx); err != nil {
			return err
		}
		if one.restore, err = measured[cost](ctx, s, "time", rules, "ipvsadm", "-R"); err != nil {
			return err
		}
		if c, err := s.count(); err != nil || !f.full(c) {
			return errors.Join(err, fmt.Errorf("ipvsadm -R has left %+v in the kernel", c))
		}
		if one.list, err = measured[cost](ctx, s, "time", os.DevNull, "ipvsadm", "-L", "-n"); err != nil {
			return err
		}
		if err := s.clear(ctx); err != nil {
			return err
		}
		if one.program, err = measured[programmed](ctx, s, "table", fmt.Sprint(f.services)); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "ipvs %d servers: ipvsadm -R %+v, -Ln %+v, baton's program %+v\n", f.servers(), one.restore, one.list, one.program)
		r.filled = append(r.filled, one)
		r.sizes[f.servers()] = one.program
	}
	return nil
}

// keepTables measures the programs with the table of ordinary size.
func (b *bench) keepTables(ctx context.Context, s *stand, r *ipvsResult) error {
	var errs []error
	for n := range b.ipvsRuns {
		for _, trusted := range []bool{true, false} {
			f := farm{services: b.ipvsServices, trusted: trusted, interval: checkInterval}
			if trusted {
				f.interval = quietInterval
			}
			for _, k := range b.keepers() {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				// Reloads are measured once, in a run of its own for the sake of
				// who has to talk for it.
				m, err := s.keep(ctx, k, f, false)
				if err == nil && n == 0 && trusted {
					var again *kept
					again, err = s.keep(ctx, k, f, true)
					m.weight, m.unchanged, m.replaced = again.weight, again.unchanged, again.replaced
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("%s, %d servers: %w", k.name(), f.servers(), err))
				}
				r.kept = append(r.kept, m)
			}
		}
	}
	return errors.Join(errs...)
}

// keepLarge measures the programs with larger tables.
func (b *bench) keepLarge(ctx context.Context, s *stand, r *ipvsResult) error {
	var errs []error
	for _, services := range b.ipvsLarge {
		f := farm{services: services, trusted: true, interval: quietInterval}
		if err := s.clear(ctx); err != nil {
			return err
		}
		p, err := measured[programmed](ctx, s, "table", fmt.Sprint(services))
		if err != nil {
			return err
		}
		r.sizes[f.servers()] = p
		fmt.Fprintf(os.Stderr, "ipvs %d servers: baton's program %+v\n", f.servers(), p)
		for _, k := range b.keepers() {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			m, err := s.keep(ctx, k, f, false)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s, %d servers: %w", k.name(), f.servers(), err))
			}
			r.large = append(r.large, m)
		}
	}
	return errors.Join(errs...)
}

func (b *bench) keepers() []keeper { return []keeper{baton{b.baton}, keepalived{}} }

// quietInterval is how often servers are checked where something else is measured.
const quietInterval = time.Minute

// keep measures one program with one table, from an empty one to an empty one.
func (s *stand) keep(ctx context.Context, k keeper, f farm, reloads bool) (m *kept, err error) {
	m = &kept{keeper: k, farm: f}
	dir, err := os.MkdirTemp(s.lab.Dir(), k.name()+"-")
	if err != nil {
		return m, err
	}
	if err := errors.Join(s.clear(ctx), k.prepare(dir, f)); err != nil {
		return m, err
	}
	began := time.Now()
	p := k.keep(s, dir, reloads)
	defer func() {
		if p.Running() {
			p.Kill()
		}
	}()
	full, err := s.await(ctx, p, "full", f.full)
	if err != nil {
		return m, err
	}
	m.fill = full.Sub(began)
	if err := calm(ctx, p); err != nil {
		return m, err
	}
	if reloads {
		if err := s.reloads(ctx, m, p, dir); err != nil {
			return m, err
		}
	} else if err := s.watch(ctx, m, p); err != nil {
		return m, err
	}
	err = s.end(m, p)
	fmt.Fprintf(os.Stderr, "ipvs %s: %d servers, trusted %t: full after %s, %d KiB, CPU %s of %s, stopped within %s, left %+v\n", k.name(),
		f.servers(), f.trusted, milliseconds(m.fill), m.memory, milliseconds(m.cpu), s.bench.ipvsWatch, milliseconds(m.stop), m.left)
	return m, err
}

// calm waits until a program has got over its start: its first checks may come in
// a flood. Then it does not use less and less of the processor any more.
func calm(ctx context.Context, p *lab.Process) error {
	const window, least, most = 2 * time.Second, 2, 30
	last := time.Duration(0)
	before, err := cpuTime(p)
	for n := 0; err == nil && n < most; n++ {
		if err := sleep(ctx, window); err != nil {
			return err
		}
		var now time.Duration
		if now, err = cpuTime(p); err != nil {
			return err
		}
		used := now - before
		if n >= least && used > last*9/10 {
			return nil
		}
		before, last = now, used
	}
	return err
}

// watch sees what a program uses while nothing happens.
func (s *stand) watch(ctx context.Context, m *kept, p *lab.Process) error {
	before, err := cpuTime(p)
	if err != nil {
		return err
	}
	if err := sleep(ctx, s.bench.ipvsWatch); err != nil {
		return err
	}
	after, err := cpuTime(p)
	if err != nil {
		return err
	}
	m.cpu = after - before
	m.memory, err = memory(p)
	return err
}

// reloads measures three reloads: of one weight, of nothing, of a tenth of the
// servers.
func (s *stand) reloads(ctx context.Context, m *kept, p *lab.Process, dir string) error {
	t, err := s.openTap(ctx)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		farm farm
		to   **reload
	}{
		{farm{heavy: true}, &m.weight},
		{farm{heavy: true}, &m.unchanged},
		{farm{heavy: true, moved: true}, &m.replaced},
	} {
		f := m.farm
		f.heavy, f.moved = step.farm.heavy, step.farm.moved
		if err := m.keeper.prepare(dir, f); err != nil {
			return err
		}
		t.mark()
		began := time.Now()
		if err := m.keeper.reload(ctx, p, dir); err != nil {
			return err
		}
		r := &reload{ended: time.Since(began)}
		*step.to = r
		_, err := s.await(ctx, p, "reloaded", func(c counted) bool { return f.full(c) && (c.moved == f.services) == f.moved })
		if err != nil {
			return err
		}
		// The drain of a removed server, or a look at the table, may come later.
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
		var last time.Time
		if r.writes, last = t.writes(); r.writes > 0 {
			r.last = last.Sub(began)
		}
		fmt.Fprintf(os.Stderr, "ipvs %s: reload: %d writes, the last after %s, ended after %s\n", m.keeper.name(), r.writes, milliseconds(r.last), milliseconds(r.ended))
	}
	return s.closeTap(ctx, t)
}

// end stops a program as a service manager does.
func (s *stand) end(m *kept, p *lab.Process) error {
	began := time.Now()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-time.After(patience):
		return fmt.Errorf("it does not end within %s of SIGTERM", patience)
	}
	m.stop = time.Since(began)
	var err error
	m.left, err = s.count()
	return err
}

// ipvsInGuest measures in a guest, whose kernel has IPVS.
func (b *bench) ipvsInGuest(ctx context.Context) error {
	return b.partInGuest(ctx, 1500, "-only", "ipvs", "-ipvs-services", fmt.Sprint(b.ipvsServices), "-ipvs-large", joinNumbers(b.ipvsLarge),
		"-ipvs-runs", fmt.Sprint(b.ipvsRuns), "-ipvs-watch", b.ipvsWatch.String())
}

// checksInGuest does so for the checks.
func (b *bench) checksInGuest(ctx context.Context) error {
	return b.partInGuest(ctx, 2400, "-only", "checks", "-checks-servers", fmt.Sprint(b.checksServers),
		"-checks-runs", fmt.Sprint(b.checksRuns), "-checks-only", strings.Join(b.checksOnly, ","), "-checks-watch", b.checksWatch.String())
}

// partInGuest runs a part in a guest, for so many seconds at most.
func (b *bench) partInGuest(ctx context.Context, limit int, args ...string) error {
	fmt.Printf("\nIn a guest, on a kernel with IPVS:\n")
	cmd := exec.CommandContext(ctx, b.vm, append([]string{b.self, "-baton", b.baton}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), fmt.Sprintf("VM_TIMEOUT=%d", limit))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", b.vm, err)
	}
	return nil
}
