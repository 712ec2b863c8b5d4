package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one line of the report: a fault at an advert interval, measured with
// both programs.
type row struct {
	fault  fault
	advert time.Duration
	baton  []seen
	other  []seen
}

func (r *row) add(program string, s seen) {
	if program == "baton" {
		r.baton = append(r.baton, s)
	} else {
		r.other = append(r.other, s)
	}
}

// print writes the report.
func print(out io.Writer, rows []row) {
	fmt.Fprintln(out, "\nMedians; a datagram every 0.5 ms; the fault right after an advert of the owner.")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FAULT\tADVERT\tRUNS\tBATON GAP\tLOST\tHOLDERS\tKEEPALIVED GAP\tLOST\tHOLDERS\tGAP RATIO")
	for _, r := range rows {
		b, k := median(r.baton), median(r.other)
		ratio := "–"
		if k.Gap > 0 {
			ratio = fmt.Sprintf("%.3f", float64(b.Gap)/float64(k.Gap))
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%d\t%s\t%s\n", r.fault.title, r.advert, len(r.baton),
			milliseconds(b.Gap), b.Lost, holders(r.baton), milliseconds(k.Gap), k.Lost, holders(r.other), ratio)
	}
	_ = w.Flush()
}

// median takes the middle of gaps and of losses, each by itself.
func median(all []seen) (m seen) {
	if len(all) == 0 {
		return m
	}
	by := func(less func(a, b seen) int) seen {
		sorted := slices.SortedFunc(slices.Values(all), less)
		return sorted[len(sorted)/2]
	}
	m.Gap = by(func(a, b seen) int { return int(a.Gap - b.Gap) }).Gap
	m.Lost = by(func(a, b seen) int { return a.Lost - b.Lost }).Lost
	return m
}

// holders says who had the VIP at the end, the worst of all runs.
func holders(all []seen) string {
	worst := "one"
	for _, s := range all {
		switch {
		case s.Both:
			return "BOTH"
		case s.None:
			worst = "none"
		}
	}
	return worst
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
