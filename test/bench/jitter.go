package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// spread is how evenly the adverts of one program came.
type spread struct {
	program    program
	advert     time.Duration
	deviations []time.Duration
}

// measureJitter listens to the adverts of each program on an idle machine. The
// part "load" does so under load.
func (b *bench) measureJitter(ctx context.Context) error {
	var all []spread
	var errs []error
	for _, advert := range b.jitterAdverts {
		for _, p := range b.contenders(false) {
			if ctx.Err() != nil {
				break
			}
			d, err := b.idle(ctx, p, advert)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s, adverts of %s: %w", p.name(), advert, err))
				continue
			}
			fmt.Fprintf(os.Stderr, "jitter %-13s %-5s: %d adverts, median %s, largest %s\n", p.name(), advert, len(d)+1, median(d), largest(d))
			all = append(all, spread{p, advert, d})
		}
	}
	b.printJitter(fmt.Sprintf("Adverts of %s on an idle machine, heard at the backup: |time between two − interval|.", b.listen), all)
	return errors.Join(errs...)
}

func (b *bench) idle(ctx context.Context, p program, advert time.Duration) (d []time.Duration, err error) {
	s, err := b.openSession(p, advert, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	heard, err := s.watch(ctx, b.listen)
	return deviations(heard, sources[0], advert), err
}

// spreads are the adverts of those that were measured under load.
func spreads(all []*burdened) []spread {
	var out []spread
	for _, m := range all {
		out = append(out, spread{m.program, m.advert, m.adverts})
	}
	return out
}

func (b *bench) printJitter(title string, all []spread) {
	t := table{
		title: title,
		head:  []string{"ADVERT", "PROGRAM", "ADVERTS", "p50", "p99", "max", "RATIO p99"},
	}
	t.note("Times by the kernel. The ratio is baton's p99 to that of the program in the line.")
	ours := map[time.Duration][]time.Duration{}
	for _, s := range all {
		compared := ""
		if _, ok := s.program.(baton); ok {
			ours[s.advert] = s.deviations
		} else {
			compared = ratio(quantile(ours[s.advert], 0.99), quantile(s.deviations, 0.99))
		}
		t.add(s.advert.String(), s.program.name(), fmt.Sprint(len(s.deviations)+1), micro(median(s.deviations)),
			micro(quantile(s.deviations, 0.99)), micro(largest(s.deviations)), compared)
	}
	t.print()
}

// micro writes a duration in microseconds.
func micro(d time.Duration) string { return fmt.Sprintf("%.0f µs", float64(d.Nanoseconds())/1000) }
