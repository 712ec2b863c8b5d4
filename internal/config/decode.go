package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// field is the value of a key in a raw struct.
type field interface {
	// decode stores what a node says, or reports why it cannot.
	decode(p *problems, r *rule, n *node)
	// inherit takes what is not set from a field of the same type.
	inherit(from any)
	// finish reports what is missing and fills in built-in defaults. The block
	// that the field is in stands at the given place.
	finish(p *problems, r *rule, kind string, at pos)
	// isSet reports whether the file or its defaults have the key, and where.
	isSet() (pos, bool)
	// forget makes it not set.
	forget()
}

// decodeBlock stores the entries of a mapping in a raw struct. It reports false
// when it does not know one of the keys.
func decodeBlock(p *problems, n *node, into raw) (ok bool) {
	f := formatOf(into)
	v := reflect.ValueOf(into).Elem()
	ok = true
	for _, e := range n.fields {
		if r := f.rule(e.key); r != nil {
			v.Field(r.index).Addr().Interface().(field).decode(p, r, e.value)
		} else if !harmlessKey(p, f, e) {
			ok = false
		}
	}
	return ok
}

// harmlessKey reports a key that is not known, and one that this version does
// not support unless its value is the one it has by default.
func harmlessKey(p *problems, f *format, e *entry) bool {
	listed, harmless := unsupported(f.kind, e)
	if !listed {
		unknownKey(p, f, e)
	} else if !harmless {
		p.add(e.at, "%q %s", e.key, notSupported)
	}
	return harmless
}

func unknownKey(p *problems, f *format, e *entry) {
	where, allowed := "in "+f.kind, "no key at all"
	if f.kind == "file" {
		where = "at the top level"
	}
	if len(f.keys) > 0 {
		allowed = strings.Join(f.keys, ", ")
	}
	known := slices.Concat(f.keys, slices.Sorted(maps.Keys(unsupportedKeys[f.kind])))
	p.add(e.at, "unknown key %s %s; allowed: %s%s", quote(e.key), where, allowed, suggest(e.key, known))
}

// fields calls do with each field of a raw struct.
func fields(of raw, do func(r *rule, f field)) {
	v := reflect.ValueOf(of).Elem()
	for _, r := range formatOf(of).rules {
		do(r, v.Field(r.index).Addr().Interface().(field))
	}
}

// inheritBlock takes what is not set in a raw struct from another one of the
// same type.
func inheritBlock(into, from raw) {
	source := reflect.ValueOf(from).Elem()
	fields(into, func(r *rule, f field) { f.inherit(source.Field(r.index).Addr().Interface()) })
}

// finishBlock finishes each field of a raw struct that stands at a place.
func finishBlock(p *problems, b raw, at pos) {
	kind := b.kind()
	fields(b, func(r *rule, f field) { f.finish(p, r, kind, at) })
}

// wrongKind reports a value of the wrong form.
func wrongKind(p *problems, r *rule, n *node, allowed string) {
	found, hint := n.found(), ""
	switch {
	case n.null && !n.quoted:
		hint = ", or leave it out"
	case r.secret && n.kind == scalarNode:
		found = "text, which is not shown here because it may be the secret itself"
	}
	p.add(n.at, "%s: found %s; allowed: %s%s", r.key, found, allowed, hint)
}

func missing(p *problems, r *rule, kind string, at pos) {
	p.add(at, "%q is missing in %s", r.key, kind)
}
