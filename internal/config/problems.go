package config

import (
	"cmp"
	"fmt"
	"slices"
)

// pos is a place in a file.
type pos struct {
	file         string
	line, column int // from 1
}

func (p pos) String() string { return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column) }

// problems collects mistakes and what is merely questionable. The same one found
// twice, as happens with an inherited value, is kept once.
type problems struct {
	files    []string // in the order of reading, which is the order of reporting
	list     Errors
	doubtful Errors
	seen     map[Error]bool
	mute     bool // nothing is kept
}

// add reports a mistake.
func (p *problems) add(at pos, format string, args ...any) {
	p.list = p.keep(p.list, at, format, args)
}

// warn reports what is allowed, but should be looked at again.
func (p *problems) warn(at pos, format string, args ...any) {
	p.doubtful = p.keep(p.doubtful, at, format, args)
}

func (p *problems) keep(list Errors, at pos, format string, args []any) Errors {
	if p.mute {
		return list
	}
	e := Error{File: at.file, Line: at.line, Column: at.column, Message: fmt.Sprintf(format, args...)}
	if p.seen[e] {
		return list
	}
	if p.seen == nil {
		p.seen = make(map[Error]bool)
	}
	p.seen[e] = true
	return append(list, e)
}

// err returns the sorted mistakes, or nil when there are none.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	p.sort(p.list)
	return p.list
}

// warnings returns what is merely questionable, sorted.
func (p *problems) warnings() []Warning {
	p.sort(p.doubtful)
	var out []Warning
	for _, e := range p.doubtful {
		out = append(out, Warning(e))
	}
	return out
}

func (p *problems) sort(list Errors) {
	slices.SortStableFunc(list, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(slices.Index(p.files, a.File), slices.Index(p.files, b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
}
