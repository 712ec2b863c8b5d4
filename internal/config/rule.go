package config

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// rule is what the format says of one key. It comes from the tags of a field of
// a raw struct:
//
//	key:"priority"            the key's name
//	default:"100"             the value where neither the file nor its defaults have one
//	range:"1..255"            the least and the greatest value
//	step:"10ms"               the value is a multiple of this
//	oneof:"nat dr tun"        the words that are allowed
//	required:"yes"            the key must stand in the file
//	secret:"yes"              a value of the wrong form is not shown: it may be the secret itself
type rule struct {
	key        string
	fallback   string
	hasDefault bool
	parsed     atomic.Value // the fallback as a value
	low, high  string
	step       string
	words      []string
	required   bool
	secret     bool

	index int // of the struct's field
}

// format is the definition of one kind of block.
type format struct {
	kind  string // as messages call it: "router", "service", …
	rules []*rule
	keys  []string // sorted, without those that are not supported
}

func (f *format) rule(key string) *rule {
	for _, r := range f.rules {
		if r.key == key {
			return r
		}
	}
	return nil
}

// raw is a struct whose tagged fields are the keys of a block.
type raw interface{ kind() string }

var formats sync.Map // reflect.Type → *format

// formatOf reads the tags of a raw struct, given a pointer to it.
func formatOf(v raw) *format {
	t := reflect.TypeOf(v).Elem()
	if f, ok := formats.Load(t); ok {
		return f.(*format)
	}
	f := &format{kind: v.kind()}
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		key, ok := tag.Lookup("key")
		if !ok {
			continue
		}
		r := &rule{key: key, index: i, words: strings.Fields(tag.Get("oneof")), step: tag.Get("step")}
		r.fallback, r.hasDefault = tag.Lookup("default")
		r.low, r.high, _ = strings.Cut(tag.Get("range"), "..")
		r.required = tag.Get("required") == "yes"
		r.secret = tag.Get("secret") == "yes"
		f.rules = append(f.rules, r)
		f.keys = append(f.keys, key)
	}
	slices.Sort(f.keys)
	formats.Store(t, f)
	return f
}
