package main

import (
	"fmt"
	"os"
	"text/tabwriter"
)

// result is one judged step.
type result struct {
	method, step, expected, seen string
	ok                           bool
}

type results []result

// see enters what was seen and says it at once.
func (p *player) see(step, expected, seen string, ok bool) {
	p.results = append(p.results, result{p.method, step, expected, seen, ok})
	fmt.Printf("%s %s: %s (expected: %s)\n", mark(ok), step, seen, expected)
}

func mark(ok bool) string {
	if ok {
		return "ok    "
	}
	return "FAILED"
}

// print writes the table of everything.
func (r results) print() {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tFORWARD\tSTEP\tEXPECTED\tSEEN")
	for _, s := range r {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", mark(s.ok), s.method, s.step, s.expected, s.seen)
	}
	_ = w.Flush() // to standard output
}

func (r results) bad() int {
	n := 0
	for _, s := range r {
		if !s.ok {
			n++
		}
	}
	return n
}
