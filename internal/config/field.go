package config

import "strings"

// value is a scalar of a raw struct.
type value[T any] struct {
	at  pos
	set bool // the file or its defaults have it
	own bool // it stands in its own block, not in the defaults
	bad bool // it is missing, or was refused and reported
	v   T
}

// scalar reads one type of value from text.
type scalar interface {
	// parse stores the node's value. Its error says what is wrong with what was
	// found.
	parse(n *node, r *rule) error
	// allowed says what a value looks like.
	allowed(r *rule) string
}

// ok reports whether there is a value that can be relied on.
func (v *value[T]) ok() bool { return v.set && !v.bad }

func (v *value[T]) isSet() (pos, bool) { return v.at, v.set }

func (v *value[T]) forget() { *v = value[T]{} }

func (v *value[T]) scalar() scalar { return any(&v.v).(scalar) }

func (v *value[T]) decode(p *problems, r *rule, n *node) {
	v.at, v.set, v.own = n.at, true, true
	if n.refused {
		v.bad = true
		return
	}
	if n.kind != scalarNode || n.null {
		v.bad = true
		wrongKind(p, r, n, v.scalar().allowed(r))
		return
	}
	if err := v.scalar().parse(n, r); err != nil {
		v.bad = true
		p.add(n.at, "%s: %v; allowed: %s%s", r.key, err, v.scalar().allowed(r), suggest(n.text, r.words))
	}
}

func (v *value[T]) inherit(from any) {
	if !v.set {
		*v = *from.(*value[T])
		v.own = false
	}
}

func (v *value[T]) finish(p *problems, r *rule, kind string, at pos) {
	if !v.set && r.required {
		missing(p, r, kind, at)
		v.bad = true
	}
	if v.ok() {
		return
	}
	var zero T
	v.v = zero
	if !v.set {
		v.at = at
	}
	if !r.hasDefault {
		return
	}
	// Most values of a large file are defaults.
	if d, ok := r.parsed.Load().(T); ok {
		v.v = d
		return
	}
	if err := v.scalar().parse(&node{text: r.fallback}, r); err != nil {
		panic("config: default of " + kind + "." + r.key + ": " + err.Error())
	}
	r.parsed.Store(v.v)
}

// block is a mapping of a raw struct, or a raw struct as the item of a list.
type block[T any] struct {
	at  pos
	set bool
	bad bool // not a mapping
	odd bool // it has keys that were refused
	v   T
}

// short is a raw struct that may also be written without a mapping.
type short interface {
	// decodeShort decodes the short form and reports whether the node has it.
	decodeShort(p *problems, r *rule, n *node) bool
	// shortForm describes both forms.
	shortForm() string
}

func (b *block[T]) raw() raw { return any(&b.v).(raw) }

func (b *block[T]) isSet() (pos, bool) { return b.at, b.set }

func (b *block[T]) forget() { *b = block[T]{} }

func (b *block[T]) decode(p *problems, r *rule, n *node) {
	b.at, b.set = n.at, true
	s, hasShort := any(&b.v).(short)
	switch {
	case n.kind == mappingNode:
		b.odd = !decodeBlock(p, n, b.raw())
	case hasShort && n.kind == scalarNode && !n.null && s.decodeShort(p, r, n):
	case hasShort:
		b.bad = true
		wrongKind(p, r, n, s.shortForm())
	default:
		b.bad = true
		wrongKind(p, r, n, "a mapping of "+strings.Join(formatOf(b.raw()).keys, ", "))
	}
}

func (b *block[T]) inherit(from any) {
	source := from.(*block[T])
	if !b.set {
		b.at, b.set, b.bad, b.odd = source.at, source.set, source.bad, source.odd
	}
	if !b.bad {
		inheritBlock(b.raw(), source.raw())
	}
}

func (b *block[T]) finish(p *problems, r *rule, kind string, at pos) {
	switch {
	case !b.set && r.required:
		missing(p, r, kind, at)
	case !b.set:
		finishBlock(&problems{mute: true}, b.raw(), at) // fills in the defaults; nothing can be missing
	case !b.bad:
		finishBlock(p, b.raw(), b.at)
	}
}

// list is a sequence of a raw struct.
type list[T any] struct {
	at    pos
	set   bool
	own   bool // it stands in its own block, not in the defaults
	bad   bool // not a list
	items []T
}

func (l *list[T]) isSet() (pos, bool) { return l.at, l.set }

func (l *list[T]) forget() { *l = list[T]{} }

func (l *list[T]) decode(p *problems, r *rule, n *node) {
	l.at, l.set, l.own = n.at, true, true
	if n.kind != listNode {
		l.bad = true
		wrongKind(p, r, n, "a list")
		return
	}
	l.decodeItems(p, r, n.items)
}

func (l *list[T]) decodeItems(p *problems, r *rule, nodes []*node) {
	l.items = make([]T, len(nodes))
	for i, n := range nodes {
		any(&l.items[i]).(field).decode(p, r, n)
	}
}

func (l *list[T]) inherit(from any) {
	if !l.set {
		*l = *from.(*list[T])
		l.own = false
	}
}

func (l *list[T]) finish(p *problems, r *rule, kind string, at pos) {
	if !l.set {
		l.at = at
		if r.required {
			missing(p, r, kind, at)
		}
	}
	for i := range l.items {
		any(&l.items[i]).(field).finish(p, r, kind, at)
	}
}

// some is a list whose only item may stand without the list.
type some[T any] struct{ list[T] }

func (s *some[T]) decode(p *problems, r *rule, n *node) {
	if n.kind == listNode {
		s.list.decode(p, r, n)
		return
	}
	s.at, s.set, s.own = n.at, true, true
	s.decodeItems(p, r, []*node{n})
}

func (s *some[T]) inherit(from any) { s.list.inherit(&from.(*some[T]).list) }
