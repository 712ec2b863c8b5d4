package config

import (
	"cmp"

	"go.yaml.in/yaml/v4"
)

type nodeKind uint8

const (
	scalarNode nodeKind = iota
	listNode
	mappingNode
)

// node is a YAML value with its place. Aliases are resolved: two places that
// name the same anchor share one node, so a node is never changed once built.
type node struct {
	kind nodeKind
	at   pos

	text    string // of a scalar
	quoted  bool   // it stands in quotes or is a block scalar
	null    bool   // there is nothing, null or ~
	boolean bool   // YAML reads it as true or false
	env     bool   // it came from the environment, so quotes say nothing of its type
	refused bool   // it was reported already

	items  []*node  // of a list
	fields []*entry // of a mapping, no key twice

	size int // nodes below and including this one, counted at every alias
}

// entry is a key of a mapping and its value.
type entry struct {
	key   string
	at    pos
	value *node
}

// field returns the value of a key of a mapping, or nil.
func (n *node) field(key string) *node {
	for _, e := range n.fields {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// found says in words what the node is.
func (n *node) found() string {
	switch {
	case n.kind == listNode:
		return "a list"
	case n.kind == mappingNode:
		return "a mapping"
	case n.null:
		return "no value"
	}
	return quote(n.text)
}

// maxAliased bounds what aliases may add to a file, so that a few lines cannot
// stand for billions of values.
const maxAliased = 1 << 20

// treeBuilder turns the library's nodes of one file into ours.
type treeBuilder struct {
	problems *problems
	file     string
	expand   func(n *node) // environment variables; nil where the file does not ask for it
	cyclic   bool          // an alias was found in its own anchor
	done     map[*yaml.Node]*node
	open     map[*yaml.Node]bool // being built: an alias to it would be a cycle
}

func (b *treeBuilder) pos(y *yaml.Node) pos {
	return pos{file: b.file, line: max(y.Line, 1), column: max(y.Column, 1)}
}

// build returns the node for y. It never returns nil.
func (b *treeBuilder) build(y *yaml.Node) *node {
	if y.Kind == yaml.AliasNode {
		return b.alias(y)
	}
	if n := b.done[y]; n != nil {
		return n
	}
	b.open[y] = true
	defer delete(b.open, y)
	n := &node{at: b.pos(y), size: 1}
	if y.Style&yaml.TaggedStyle != 0 {
		b.problems.add(n.at, "the tag %s is not allowed: values have no tags here; put text in quotes", y.Tag)
	}
	switch y.Kind {
	case yaml.SequenceNode:
		n.kind = listNode
		for _, c := range y.Content {
			item := b.build(c)
			n.items = append(n.items, item)
			n.grow(item)
		}
	case yaml.MappingNode:
		n.kind = mappingNode
		b.mapping(n, y)
	default:
		b.scalar(n, y)
	}
	b.done[y] = n
	return n
}

func (n *node) grow(child *node) { n.size = min(n.size+child.size, 2*maxAliased) }

func (b *treeBuilder) alias(y *yaml.Node) *node {
	if b.open[y.Alias] {
		at := b.pos(y)
		b.cyclic = true
		b.problems.add(at, "the alias *%s stands inside of its own anchor", y.Value)
		return &node{at: at, null: true, size: 1}
	}
	return b.build(y.Alias)
}

func (b *treeBuilder) scalar(n *node, y *yaml.Node) {
	const quotes = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	n.text = y.Value
	n.quoted = y.Style&quotes != 0
	n.null = y.Tag == "!!null"
	n.boolean = y.Tag == "!!bool"
	if b.expand != nil {
		b.expand(n)
	}
}

func (b *treeBuilder) mapping(n *node, y *yaml.Node) {
	var merged []*node
	own := make(map[string]*entry, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], b.build(y.Content[i+1])
		at := b.pos(k)
		n.grow(v)
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch first := own[k.Value]; {
		case k.Kind != yaml.ScalarNode:
			b.problems.add(at, "a key must be plain text, not a list or a mapping")
		case k.Tag == "!!merge":
			merged = append(merged, b.mergeSources(v)...)
		case first != nil:
			b.problems.add(at, "%s is given twice; first at %s", quote(k.Value), first.at)
		default:
			own[k.Value] = &entry{key: k.Value, at: at, value: v}
			n.fields = append(n.fields, own[k.Value])
		}
	}
	for _, m := range merged { // keys of the mapping itself go before merged ones
		for _, e := range m.fields {
			if own[e.key] == nil {
				own[e.key] = e
				n.fields = append(n.fields, e)
			}
		}
	}
}

// mergeSources returns the mappings that the value of a "<<" key names.
func (b *treeBuilder) mergeSources(v *node) []*node {
	sources := []*node{v}
	if v.kind == listNode {
		sources = v.items
	}
	for _, s := range sources {
		if s.kind != mappingNode {
			b.problems.add(s.at, "<<: found %s; allowed: a mapping, or a list of mappings", s.found())
			return nil
		}
	}
	return sources
}

// parseTree reads the text of one file of the configuration, which is a mapping. It
// returns nil for a file without a value and for one that is not YAML; the latter is
// reported.
func parseTree(p *problems, file string, data []byte, env func(string) (string, bool)) (n *node, ok bool) {
	n, ok = parseDocument(p, file, data, env)
	if ok && n != nil && n.kind != mappingNode {
		p.add(n.at, "found %s; allowed: a mapping of keys such as \"services:\"", n.found())
		return nil, false
	}
	return n, ok
}

// parseDocument is [parseTree] for a file with any value. Without env variables are
// not replaced.
func parseDocument(p *problems, file string, data []byte, env func(string) (string, bool)) (n *node, ok bool) {
	if !checkText(p, file, data) {
		return nil, false
	}
	var docs []yaml.Node
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments(), yaml.WithUniqueKeys(false)); err != nil {
		syntaxError(p, file, data, err)
		return nil, false
	}
	if len(docs) == 0 || len(docs[0].Content) == 0 {
		return nil, true
	}
	if len(docs) > 1 {
		at := pos{file, max(docs[1].Line, 1), max(docs[1].Column, 1)}
		p.add(at, "a second document starts here; allowed: one in a file")
		return nil, false
	}
	root := docs[0].Content[0]
	b := &treeBuilder{problems: p, file: file, done: make(map[*yaml.Node]*node), open: make(map[*yaml.Node]bool)}
	if env != nil && wantsEnv(root) {
		b.expand = func(n *node) { expandEnv(p, n, env) }
	}
	n = b.build(root)
	if b.cyclic {
		return nil, false
	}
	if n.kind == scalarNode && n.null {
		return nil, true
	}
	if n.size > len(b.done)+maxAliased {
		p.add(n.at, "the aliases of this file stand for more than %d values", maxAliased)
		return nil, false
	}
	return n, true
}

// comparePos orders places of one file.
func comparePos(a, b pos) int {
	return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
}
