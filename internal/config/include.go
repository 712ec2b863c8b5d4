package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// includes acts on the keys of a file that are about files, "env" and
// "include", and returns the tree without them, merged with the included ones.
func (l *loader) includes(name string, root *node, stack []string) *node {
	var include list[value[text]]
	own := *root
	own.fields = nil
	for _, e := range root.fields {
		switch e.key {
		case "env":
			var env value[boolean]
			env.decode(l.problems, &rule{key: "env"}, e.value)
		case "include":
			include.decode(l.problems, &rule{key: "include"}, e.value)
		default:
			own.fields = append(own.fields, e)
		}
	}
	merged := &own
	for _, pattern := range include.items {
		if !pattern.ok() {
			continue
		}
		for _, file := range l.matches(name, pattern) {
			if tree := l.include(file, pattern.at, stack); tree != nil {
				merged = merge(l.problems, "", merged, tree)
			}
		}
	}
	return merged
}

// matches returns the files that a pattern in a file names, sorted. A pattern
// that is one file's name must match; one with wildcards need not.
func (l *loader) matches(name string, pattern value[text]) []string {
	if l.alone {
		l.problems.add(pattern.at, "include: there are no files here; put everything in one file")
		l.broken = true
		return nil
	}
	glob := string(pattern.v)
	if !filepath.IsAbs(glob) {
		glob = filepath.Join(filepath.Dir(name), glob)
	}
	if !strings.ContainsAny(glob, `*?[\`) {
		return []string{glob}
	}
	files, err := l.opts.Glob(glob)
	if err != nil {
		l.problems.add(pattern.at, "include: %s: %v", quote(string(pattern.v)), err)
		l.broken = true
	}
	slices.Sort(files)
	return files
}

// include reads one included file.
func (l *loader) include(file string, at pos, stack []string) *node {
	abs := absolute(file)
	if i := slices.IndexFunc(stack, func(s string) bool { return absolute(s) == abs }); i >= 0 {
		chain := append(slices.Clone(stack[i:]), file)
		l.problems.add(at, "include: %s includes itself: %s", file, strings.Join(chain, " → "))
		l.broken = true
		return nil
	}
	if first, again := l.read[abs]; again {
		l.problems.add(at, "include: %s is included twice; first at %s", file, first)
		l.broken = true
		return nil
	}
	l.read[abs] = at
	data, err := l.opts.ReadFile(file)
	if err != nil {
		l.problems.add(at, "include: %s: %s", file, reason(err))
		l.broken = true
		return nil
	}
	return l.file(file, data, stack)
}

// reason is the cause of a file error without the path that it repeats.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// merge returns the union of two mappings: lists are joined, mappings merged,
// and anything else must stand in one of them only. The path names the mapping
// in messages.
func merge(p *problems, path string, a, b *node) *node {
	out := *a
	out.fields = slices.Clone(a.fields)
	for _, e := range b.fields {
		i := slices.IndexFunc(out.fields, func(o *entry) bool { return o.key == e.key })
		if i < 0 {
			out.fields = append(out.fields, e)
			continue
		}
		first := out.fields[i]
		joined := *first
		switch {
		case first.value.kind == listNode && e.value.kind == listNode:
			both := *first.value
			both.items = slices.Concat(both.items, e.value.items)
			joined.value = &both
		case first.value.kind == mappingNode && e.value.kind == mappingNode:
			joined.value = merge(p, path+e.key+": ", first.value, e.value)
		default:
			p.add(e.at, "%s%s is set twice; first at %s", path, quote(e.key), first.at)
		}
		out.fields[i] = &joined
	}
	return &out
}
