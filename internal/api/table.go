package api

import (
	"strings"
	"unicode/utf8"
)

// style is the meaning that a colour gives to a word. The words alone say the
// same.
type style uint8

const (
	plain style = iota
	bold
	good
	warn
	bad
	faint
)

// The SGR sequences of ECMA-48; the terminal chooses the tones.
var sgr = [...]string{bold: "1", good: "32", warn: "33", bad: "1;31", faint: "2"}

// cell is one field of a table.
type cell struct {
	text  string
	style style
	right bool // aligned
}

// printer collects text, in colour or not.
type printer struct {
	b     strings.Builder
	color bool
}

func (p *printer) paint(text string, s style) string {
	if !p.color || s == plain || text == "" {
		return text
	}
	return "\x1b[" + sgr[s] + "m" + text + "\x1b[0m"
}

func (p *printer) line(parts ...string) {
	p.b.WriteString(strings.TrimRight(strings.Join(parts, ""), " "))
	p.b.WriteByte('\n')
}

// table writes rows in columns, two blanks apart, each line indented by as many. Columns
// that are empty in every row but the first, which is the head, are left out.
func (p *printer) table(rows [][]cell) {
	width := make([]int, len(rows[0]))
	used := make([]bool, len(rows[0]))
	for i, row := range rows {
		for j, c := range row {
			width[j] = max(width[j], utf8.RuneCountInString(c.text))
			used[j] = used[j] || i > 0 && c.text != ""
		}
	}
	for _, row := range rows {
		var b strings.Builder
		b.WriteString("  ")
		gap := ""
		for j, c := range row {
			if !used[j] {
				continue
			}
			pad := strings.Repeat(" ", width[j]-utf8.RuneCountInString(c.text))
			b.WriteString(gap)
			if c.right {
				b.WriteString(pad + p.paint(c.text, c.style))
			} else {
				b.WriteString(p.paint(c.text, c.style) + pad)
			}
			gap = "  "
		}
		p.line(b.String())
	}
}

// head makes the first row of a table. A name that begins with ">" is of a
// column aligned to the right.
func head(names ...string) []cell {
	out := make([]cell, len(names))
	for i, n := range names {
		text, right := strings.CutPrefix(n, ">")
		out[i] = cell{text, faint, right}
	}
	return out
}
