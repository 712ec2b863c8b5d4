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

// problems collects mistakes. The same one found twice, as happens with an
// inherited value, is kept once.
type problems struct {
	files []string // in the order of reading, which is the order of reporting
	list  Errors
	seen  map[Error]bool
}

func (p *problems) add(at pos, format string, args ...any) {
	e := Error{File: at.file, Line: at.line, Column: at.column, Message: fmt.Sprintf(format, args...)}
	if p.seen[e] {
		return
	}
	if p.seen == nil {
		p.seen = make(map[Error]bool)
	}
	p.seen[e] = true
	p.list = append(p.list, e)
}

// err returns the sorted mistakes, or nil when there are none.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(slices.Index(p.files, a.File), slices.Index(p.files, b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
	return p.list
}
