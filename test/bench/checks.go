package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"baton/test/lab"
)

// The bounds that the part holds baton against.
const (
	tcpBound     = 1.0 // of keepalived's processor time
	httpBound    = 1.5
	lateBound    = 1.2 // of the interval, between two checks of one server
	removalBound = 100 * time.Millisecond
)

// memoryBound is in KiB, by kind.
var memoryBound = map[string]int{"tcp": 80 << 10, "http": 120 << 10}

// checked is what one program did with many checks of one kind.
type checked struct {
	keeper keeper
	farm   farm
	cpu    time.Duration // of all processes
	made   int           // checks begun in the same time
	memory int           // KiB
	checks int           // seen on the wire in the time of pauses
	pauses []time.Duration
}

// each is what one check costs: a program that cannot make as many as it should
// does not get cheaper by that.
func (m *checked) each() time.Duration {
	if m.made == 0 {
		return 0
	}
	return m.cpu / time.Duration(m.made)
}

// removed is how long one program took to remove servers that died.
type removed struct {
	keeper keeper
	death  string
	after  []time.Duration // from the death to the write; sorted
	lost   int             // still there after removalPatience
}

// checksParts are what can be measured, in order.
var checksParts = []string{"many", "shared", "deaths", "rolling"}

// checksResult is everything that was measured.
type checksResult struct {
	many    []*checked
	removed []*removed
	shared  []*checked
	rolled  []*rolled
}

// measureChecks measures what checks cost, whether they come in time, and how
// soon a dead server is out of the table.
func (b *bench) measureChecks(ctx context.Context) error {
	if !haveIPVS(ctx) {
		return b.checksInGuest(ctx)
	}
	s, err := b.openStand(ctx)
	if err != nil {
		return err
	}
	r := &checksResult{}
	for i, measure := range []func(context.Context, *stand, *checksResult) error{b.checkMany, b.checkShared, b.killServers, b.rollServers} {
		if slices.Contains(b.checksOnly, checksParts[i]) {
			err = errors.Join(err, measure(ctx, s, r))
		}
	}
	b.printChecks(r)
	return errors.Join(err, s.close())
}

// checkMany measures as many checks as servers.
func (b *bench) checkMany(ctx context.Context, s *stand, r *checksResult) error {
	var errs []error
	for range b.checksRuns {
		for _, kind := range []string{"tcp", "http"} {
			f := farm{services: b.checksServers / serversPerService, kind: kind, trusted: true, interval: checkInterval}
			for _, k := range b.keepers() {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				m, err := s.check(ctx, k, f)
				if err != nil {
					errs = append(errs, fmt.Errorf("%s, %d %s checks: %w", k.name(), f.servers(), kind, err))
					continue
				}
				r.many = append(r.many, m)
			}
		}
	}
	return errors.Join(errs...)
}

// checkShared measures services that all have the same servers.
func (b *bench) checkShared(ctx context.Context, s *stand, r *checksResult) error {
	var errs []error
	f := farm{services: 100, each: 100, shared: true, kind: "tcp", trusted: true, interval: checkInterval}
	for _, k := range b.keepers() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m, err := s.check(ctx, k, f)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s, shared servers: %w", k.name(), err))
			continue
		}
		r.shared = append(r.shared, m)
	}
	return errors.Join(errs...)
}

// check measures one program with one farm.
func (s *stand) check(ctx context.Context, k keeper, f farm) (m *checked, err error) {
	m = &checked{keeper: k, farm: f}
	dir, err := os.MkdirTemp(s.lab.Dir(), k.name()+"-")
	if err != nil {
		return m, err
	}
	s.serve(map[string]string{"tcp": "servers", "http": "pages"}[f.kind])
	if err := errors.Join(s.clear(ctx), s.lab.Err(), k.prepare(dir, f)); err != nil {
		return m, err
	}
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
	if err := m.watch(ctx, p, s.bench.checksWatch); err != nil {
		return m, err
	}
	if m.memory, err = memory(p); err != nil {
		return m, err
	}
	// Only now: a capture costs whoever sends.
	if err := s.listen(ctx, m); err != nil {
		return m, err
	}
	fmt.Fprintf(os.Stderr, "checks %s: %d %s: CPU %s for %d checks in %s, %d KiB, %d checks in %s, pauses p50 %s p99 %s max %s\n", k.name(), f.servers(), f.kind,
		milliseconds(m.cpu), m.made, s.bench.checksWatch, m.memory, m.checks, pausesFor(f),
		milliseconds(median(m.pauses)), milliseconds(quantile(m.pauses, 0.99)), milliseconds(largest(m.pauses)))
	return m, stop(p)
}

// watch takes what a program makes and uses in a time.
func (m *checked) watch(ctx context.Context, p *lab.Process, span time.Duration) error {
	used, err := cpuTime(p)
	if err != nil {
		return err
	}
	opened, err := connects(p)
	if err != nil {
		return err
	}
	if err := sleep(ctx, span); err != nil {
		return err
	}
	usedThen, err := cpuTime(p)
	if err != nil {
		return err
	}
	openedThen, err := connects(p)
	m.cpu, m.made = usedThen-used, openedThen-opened
	return err
}

// pausesFor is how long checks are watched on the wire.
func pausesFor(f farm) time.Duration { return 4 * f.interval }

// listen takes the times of the checks where the servers are: of each connection's
// first packet.
func (s *stand) listen(ctx context.Context, m *checked) error {
	c := s.lab.Capture(s.servers, "eth0", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn")
	if err := sleep(ctx, pausesFor(m.farm)); err != nil {
		return err
	}
	if err := c.Stop(); err != nil {
		return err
	}
	last := make(map[[4]byte]time.Time)
	for _, p := range c.Packets() {
		if len(p.Data) < 14+20 {
			continue
		}
		to := [4]byte(p.Data[14+16:]) // the destination in the IPv4 header
		if before, ok := last[to]; ok {
			m.pauses = append(m.pauses, p.Time.Sub(before))
		}
		last[to] = p.Time
		m.checks++
	}
	if len(last) == 0 {
		return errors.New("no check has come to the servers")
	}
	return s.lab.Err()
}

// stop ends a program and waits for its end.
func stop(p *lab.Process) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.Done():
		return nil
	case <-time.After(patience):
		return fmt.Errorf("it does not end within %s", patience)
	}
}

func sorted(list []time.Duration) []time.Duration {
	slices.Sort(list)
	return list
}
