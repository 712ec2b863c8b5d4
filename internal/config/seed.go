package config

import (
	"encoding/json"
	"maps"
	"slices"
)

// A seed is a part of a file that was valid, without its places: null, text, a list
// or a mapping, as JSON has them. Of it the same part can be grown again, also after
// the file has changed, and two of them are equal if they say the same.

// seedOf returns the seed of a node.
func seedOf(n *node) any {
	switch n.kind {
	case listNode:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = seedOf(item)
		}
		return out
	case mappingNode:
		return seedOfBlock(n)
	}
	if n.null {
		return nil
	}
	return n.text
}

// seedOfBlock returns the seed of a mapping, without some of its keys.
func seedOfBlock(n *node, without ...string) map[string]any {
	out := make(map[string]any, len(n.fields))
	for _, e := range n.fields {
		if !slices.Contains(without, e.key) {
			out[e.key] = seedOf(e.value)
		}
	}
	return out
}

// grow returns a node of a seed. All of it stands at one place. What the text of a
// value means was decided when the file was read, so quotes say nothing any more.
func grow(seed any, at pos) *node {
	n := &node{at: at, env: true}
	switch v := seed.(type) {
	case string:
		n.text = v
	case []any:
		n.kind = listNode
		for _, item := range v {
			n.items = append(n.items, grow(item, at))
		}
	case map[string]any:
		n.kind = mappingNode
		for _, key := range slices.Sorted(maps.Keys(v)) {
			n.fields = append(n.fields, &entry{key: key, at: at, value: grow(v[key], at)})
		}
	default:
		n.null = true
	}
	return n
}

// pack returns a seed as JSON; equal seeds give the same.
func pack(seed any) json.RawMessage {
	b, err := json.Marshal(seed)
	if err != nil { // text, lists and mappings only
		panic("config: encode a seed: " + err.Error())
	}
	return b
}
