package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
)

// table is the result of a part: one line for each program and case, so that a
// third program needs no further columns.
type table struct {
	title string
	head  []string
	rows  [][]string
	notes []string
}

// add adds a line. What is missing at its end is empty: tabwriter aligns only
// lines of as many cells.
func (t *table) add(cells ...string) {
	t.rows = append(t.rows, append(cells, make([]string, len(t.head)-len(cells))...))
}

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// print writes the table to stdout.
func (t *table) print() {
	fmt.Printf("\n%s\n", t.title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(t.head, "\t"))
	for _, r := range t.rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	_ = w.Flush()
	for _, n := range t.notes {
		fmt.Println("  " + n)
	}
}
