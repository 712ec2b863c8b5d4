package config

import "slices"

// unsupportedKeys are the keys that the format has and this version does not
// know what to do with, by kind of block. Each comes with the values that mean
// the same as its absence; any other value is an error, because a key that is
// silently ignored is worse than one that is refused. The table shrinks as
// features land.
var unsupportedKeys = map[string]map[string][]string{
	"file": {
		"console": nil,
		"notify":  {"{}"},
	},
}

const notSupported = "is not supported by this version of baton"

// unsupported reports whether a key is in the table, and if so, whether its
// value means the same as its absence.
func unsupported(kind string, e *entry) (listed, harmless bool) {
	absent, listed := unsupportedKeys[kind][e.key]
	value := e.value.text
	switch {
	case e.value.kind == listNode && len(e.value.items) == 0:
		value = "[]"
	case e.value.kind == mappingNode && len(e.value.fields) == 0:
		value = "{}"
	case e.value.kind != scalarNode, e.value.null:
		return listed, false
	}
	return listed, slices.Contains(absent, value)
}
