// Command bench measures failover: baton beside keepalived, in the same topology
// and run, as a client sees it. Figures of different runs or machines cannot be
// compared; the ratio can.
//
// A client sends a datagram every 0.5 ms to an echo service on the VIP. The
// outage is the longest time between two answers; what is not answered is lost.
// A fault comes right after one of the owner's adverts, because its phase alone
// decides up to one interval of the outage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.baton, "baton", "bin/baton", "the program to measure")
	flag.IntVar(&o.runs, "runs", 5, "measurements of each fault with adverts of 100 ms and more")
	flag.IntVar(&o.fastRuns, "fast-runs", 7, "the same with shorter intervals")
	adverts := flag.String("adverts", "1s,10ms", "advert intervals, with commas between")
	only := flag.String("faults", "", "names of the faults to measure, with commas between; default: all")
	flag.Parse()
	if err := o.prepare(*adverts, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if err := o.measure(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	baton          string
	runs, fastRuns int
	adverts        []time.Duration
	faults         []fault
}

func (o *options) prepare(adverts, only string) (err error) {
	if o.baton, err = filepath.Abs(o.baton); err != nil {
		return err
	}
	for _, text := range strings.Split(adverts, ",") {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("-adverts: %w", err)
		}
		o.adverts = append(o.adverts, d)
	}
	for _, f := range faults {
		if only == "" || strings.Contains(","+only+",", ","+f.name+",") {
			o.faults = append(o.faults, f)
		}
	}
	if len(o.faults) == 0 {
		return fmt.Errorf("-faults: none of them is known: %s", only)
	}
	return nil
}

// measure takes all measurements, the two programs in turn, so that a machine
// that changes its mood does so to both.
func (o *options) measure() error {
	rows, failed := []row{}, []error{}
	for _, advert := range o.adverts {
		runs := o.runs
		if advert < 100*time.Millisecond {
			runs = o.fastRuns
		}
		for _, f := range o.faults {
			r := row{fault: f, advert: advert}
			for n := range runs {
				for _, p := range []program{o.batonProgram(), keepalived{}} {
					seen, err := play(p, f, advert)
					if err != nil {
						failed = append(failed, fmt.Errorf("%s, %s, adverts of %s, run %d: %w", p.name(), f.name, advert, n+1, err))
						continue
					}
					fmt.Fprintf(os.Stderr, "%-10s %-12s %-5s %d/%d: %s; %s\n", p.name(), f.name, advert, n+1, runs, seen.Result, seen.holders())
					r.add(p.name(), seen)
				}
			}
			rows = append(rows, r)
		}
	}
	print(os.Stdout, rows)
	return errors.Join(failed...)
}
