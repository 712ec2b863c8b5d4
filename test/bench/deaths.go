package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"baton/test/lab"
)

// victims are the servers that die, one after the other, among others that live.
const (
	victims     = 8
	othersAlive = 200
)

// The schedule with which their death is noticed: after three failures in a row.
const (
	victimInterval = time.Second
	victimTimeout  = 500 * time.Millisecond
	victimFall     = 3
)

// removalPatience bounds the wait for the removal of one server.
const removalPatience = 20 * time.Second

// victim is the address of one of them.
func victim(n int) string { return fmt.Sprintf("%s0.%d", victimNet, n+1) }

// deaths are the ways for a server to die.
var deaths = []struct {
	name string
	kill func(ctx context.Context, s *stand, n int, p *lab.Process) error
}{
	// Its host lives and its port is closed.
	{"refuses", func(_ context.Context, _ *stand, _ int, p *lab.Process) error { return end(p) }},
	// Its host is gone: packets disappear.
	{"is silent", func(ctx context.Context, s *stand, n int, _ *lab.Process) error {
		_, err := s.servers.Run(ctx, "ip", "addr", "del", victim(n)+"/32", "dev", "lo")
		return err
	}},
}

// killServers measures how long a dead server stays in the table.
func (b *bench) killServers(ctx context.Context, s *stand, r *checksResult) error {
	var errs []error
	for _, k := range b.keepers() {
		for d := range deaths {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			m, err := s.killEach(ctx, k, d)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s, a server that %s: %w", k.name(), deaths[d].name, err))
				continue
			}
			r.removed = append(r.removed, m)
		}
	}
	return errors.Join(errs...)
}

// killEach kills the victims one by one.
func (s *stand) killEach(ctx context.Context, k keeper, death int) (m *removed, err error) {
	m = &removed{keeper: k, death: deaths[death].name}
	f := farm{services: othersAlive / serversPerService, kind: "tcp", trusted: true, interval: victimInterval, timeout: victimTimeout, fall: victimFall, victims: victims}
	dir, err := os.MkdirTemp(s.lab.Dir(), k.name()+"-")
	if err != nil {
		return m, err
	}
	if err := errors.Join(s.clear(ctx), k.prepare(dir, f)); err != nil {
		return m, err
	}
	living, err := s.raise(ctx, victims)
	if err != nil {
		return m, err
	}
	defer s.bury(context.WithoutCancel(ctx), living)
	p := k.keep(s, dir, false)
	defer func() {
		if p.Running() {
			p.Kill()
		}
	}()
	if _, err := s.await(ctx, p, "full", f.full); err != nil {
		return m, err
	}
	if err := calm(ctx, p); err != nil {
		return m, err
	}
	t, err := s.openTap(ctx)
	if err != nil {
		return m, err
	}
	for n := range victims {
		if err := s.killOne(ctx, t, m, death, n, living[n]); err != nil {
			return m, errors.Join(err, s.closeTap(ctx, t))
		}
	}
	m.after = sorted(m.after)
	fmt.Fprintf(os.Stderr, "checks %s: a server that %s is removed after %v, %d are not\n", k.name(), m.death, m.after, m.lost)
	return m, errors.Join(s.closeTap(ctx, t), stop(p))
}

// killOne kills one server and waits for the kernel to be told.
func (s *stand) killOne(ctx context.Context, t *tap, m *removed, death, n int, p *lab.Process) error {
	// Each at another moment between two checks.
	if err := sleep(ctx, victimInterval*time.Duration(n)/victims); err != nil {
		return err
	}
	t.mark()
	died := time.Now()
	if err := deaths[death].kill(ctx, s, n, p); err != nil {
		return err
	}
	for time.Since(died) < removalPatience {
		if writes, last := t.writes(); writes > 0 {
			m.after = append(m.after, last.Sub(died))
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	m.lost++
	return nil
}

// raise brings the victims to life.
func (s *stand) raise(ctx context.Context, many int) ([]*lab.Process, error) {
	var living []*lab.Process
	for n := range many {
		if _, err := s.servers.Run(ctx, "ip", "addr", "replace", victim(n)+"/32", "dev", "lo"); err != nil {
			return living, err
		}
		living = append(living, s.startVictim(n))
	}
	return living, s.lab.Err()
}

func (s *stand) startVictim(n int) *lab.Process {
	return s.servers.Start(lab.Proc{Args: []string{s.bench.self, "pages", victim(n)}})
}

// bury ends what is left of them.
func (s *stand) bury(ctx context.Context, living []*lab.Process) {
	for n, p := range living {
		if p.Running() {
			_ = end(p)
		}
		_, _ = s.servers.Run(ctx, "ip", "addr", "del", victim(n)+"/32", "dev", "lo") // some have lost it
	}
}

// end kills a process and waits for its end.
func end(p *lab.Process) error {
	p.Kill()
	select {
	case <-p.Done():
		return nil
	case <-time.After(patience):
		return fmt.Errorf("it does not end within %s of SIGKILL", patience)
	}
}
