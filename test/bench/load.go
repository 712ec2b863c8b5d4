package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// burdened is what one program did under load.
type burdened struct {
	program  program
	advert   time.Duration
	opened   [2]float64
	moves    int
	silences []time.Duration
	gaps     []time.Duration
	lost     []int
	adverts  []time.Duration // deviations from the interval
}

// measureLoad measures a lost link under load, and takeovers without any fault.
func (b *bench) measureLoad(ctx context.Context) error {
	ipvs := haveIPVS(ctx)
	var all []*burdened
	var errs []error
	for _, advert := range b.loadAdverts {
		for _, p := range b.contenders(ipvs) {
			if rt, ok := p.(keepalived); ok && rt.realtime && advert > slices.Min(b.loadAdverts) {
				continue // the shortest interval says it all
			}
			if ctx.Err() != nil {
				break
			}
			m, err := b.burdened(ctx, p, advert)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s, adverts of %s: %w", p.name(), advert, err))
			}
			all = append(all, m)
		}
	}
	b.printLoad(all, ipvs)
	b.printJitter("Adverts under that load, heard at the backup during the wait: |time between two − interval|.", spreads(all))
	if !ipvs && b.guest && ctx.Err() == nil {
		errs = append(errs, b.inGuest(ctx))
	}
	return errors.Join(errs...)
}

// contenders are the programs under load. A real-time class is what baton asks
// for by itself and keepalived when told to: both are shown.
func (b *bench) contenders(ipvs bool) []program {
	all := []program{baton{b.baton}, keepalived{ipvs: ipvs}}
	if b.realtime {
		all = append(all, keepalived{ipvs: ipvs, realtime: true})
	}
	return all
}

// burdened measures one program.
func (b *bench) burdened(ctx context.Context, p program, advert time.Duration) (m *burdened, err error) {
	m = &burdened{program: p, advert: advert}
	s, err := b.openSession(p, advert, true)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	calm, err := s.watch(ctx, b.soak)
	if err != nil {
		return m, err
	}
	m.opened, m.moves, m.adverts = s.opened, takeovers(calm), deviations(calm, sources[0], advert)
	fmt.Fprintf(os.Stderr, "load %-13s %-5s: %d takeovers without a fault in %s, %.0f and %.0f connects/s\n",
		p.name(), advert, m.moves, b.soak, m.opened[0], m.opened[1])
	for n := range b.loadRuns {
		c, err := s.cut()
		if errors.Is(err, errUnclear) {
			fmt.Fprintf(os.Stderr, "load %-13s %-5s %d/%d: %v\n", p.name(), advert, n+1, b.loadRuns, err)
			continue
		}
		if err != nil {
			return m, fmt.Errorf("cut %d: %w", n+1, err)
		}
		fmt.Fprintf(os.Stderr, "load %-13s %-5s %d/%d: silence %s, gap %s, %d lost\n",
			p.name(), advert, n+1, b.loadRuns, milliseconds(c.silence), milliseconds(c.gap), c.lost)
		m.silences, m.gaps, m.lost = append(m.silences, c.silence), append(m.gaps, c.gap), append(m.lost, c.lost)
		if ctx.Err() != nil {
			return m, ctx.Err()
		}
	}
	return m, nil
}

func (b *bench) printLoad(all []*burdened, ipvs bool) {
	t := table{
		title: fmt.Sprintf("Load: %d TCP checks every %s by each director, %d busy processes; %s without a fault, then the owner's link is cut %d times.",
			b.checks, checkInterval, b.burners, b.soak, b.loadRuns),
		head: []string{
			"ADVERT", "PROGRAM", "CHECKS/s a, b", "FALSE TAKEOVERS", "SILENCE p50", "p99", "max",
			"CLIENT GAP p50", "p99", "max", "LOST p50", "CUTS", "RATIO p99",
		},
	}
	t.note("False takeovers: how often another director became the wire's master in %s. Silence: on the wire,", b.soak)
	t.note("from the owner's last advert to the other's first. The ratio is baton's p99 of it to that of the program in the line.")
	t.note("A cut counts where the owner was still the master when its link went down; after one whose VIP does not settle there are no more.")
	if !ipvs {
		t.note("This kernel has no IPVS: keepalived would end; as many connections are made by another program in its place.")
	}
	var ours *burdened
	for _, m := range all {
		compared := ""
		if _, ok := m.program.(baton); ok {
			ours = m
		} else {
			compared = ratio(quantile(ours.silences, 0.99), quantile(m.silences, 0.99))
		}
		cells := []string{m.advert.String(), m.program.name(), fmt.Sprintf("%.0f, %.0f", m.opened[0], m.opened[1]), fmt.Sprint(m.moves)}
		for _, values := range [][]time.Duration{m.silences, m.gaps} {
			for _, q := range []float64{0.5, 0.99, 1} {
				if len(values) == 0 {
					cells = append(cells, dash)
					continue
				}
				cells = append(cells, milliseconds(quantile(values, q)))
			}
		}
		t.add(append(cells, fmt.Sprint(median(m.lost)), fmt.Sprintf("%d of %d", len(m.gaps), b.loadRuns), compared)...)
	}
	t.print()
}

// inGuest measures the same on a kernel with IPVS, where keepalived checks by
// itself. The processor may be emulated there, so the load is a small one.
func (b *bench) inGuest(ctx context.Context) error {
	args := []string{
		b.self, "-baton", b.baton, "-only", "load", "-guest=false", "-realtime=false", "-every", max(b.every, guestEvery).String(),
		"-load-adverts", join(b.guestAdverts), "-load-runs", fmt.Sprint(b.guestRuns), "-soak", b.guestSoak.String(),
		"-checks", fmt.Sprint(b.guestChecks), "-burners", fmt.Sprint(b.burners),
	}
	// In seconds: boot, and for each of two programs its start, the wait and the cuts.
	limit := 120 + 2*len(b.guestAdverts)*(int(b.guestSoak.Seconds())+180+15*b.guestRuns)
	fmt.Printf("\nOn a kernel with IPVS, in a guest:\n")
	cmd := exec.CommandContext(ctx, b.vm, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), fmt.Sprintf("VM_TIMEOUT=%d", limit))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", b.vm, err)
	}
	return nil
}

// guestEvery is how often a client sends where the processor may be emulated: more
// would be a load of its own.
const guestEvery = 5 * time.Millisecond

func join(values []time.Duration) string {
	var words []string
	for _, v := range values {
		words = append(words, v.String())
	}
	return strings.Join(words, ",")
}
