package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// blocks calls do with a new raw struct of each kind that is reachable from v.
func blocks(v raw, do func(raw)) {
	do(v)
	t := reflect.TypeOf(v).Elem()
	for _, r := range formatOf(v).rules {
		if b := blockOf(t.Field(r.index).Type); b != nil {
			blocks(b, do)
		}
	}
}

// blockOf returns a new raw struct for a field that holds one or a list of them.
func blockOf(t reflect.Type) raw {
	v := reflect.New(t)
	if b, ok := v.Interface().(interface{ raw() raw }); ok {
		return b.raw()
	}
	if strings.HasPrefix(t.Name(), "some[") {
		t = t.Field(0).Type
	}
	if strings.HasPrefix(t.Name(), "list[") {
		f, _ := t.FieldByName("items")
		return blockOf(f.Type.Elem())
	}
	return nil
}

// TestFormat holds the tags of the raw structs against what they promise.
func TestFormat(t *testing.T) {
	kinds := make(map[string]bool)
	blocks(&rawFile{}, func(b raw) {
		f := formatOf(b)
		kinds[f.kind] = true
		finishBlock(&problems{}, b, pos{"x", 1, 1}) // panics if a default or a range does not parse
		for _, r := range f.rules {
			if _, twice := unsupportedKeys[f.kind][r.key]; twice {
				t.Errorf("%s.%s is supported and not supported", f.kind, r.key)
			}
			if r.required && r.hasDefault {
				t.Errorf("%s.%s is required and has a default", f.kind, r.key)
			}
		}
		if !slices.IsSorted(f.keys) || len(slices.Compact(slices.Clone(f.keys))) != len(f.keys) {
			t.Errorf("keys of %s: %v", f.kind, f.keys)
		}
	})
	for kind := range unsupportedKeys {
		if !kinds[kind] {
			t.Errorf("unsupportedKeys has a kind %q that does not exist", kind)
		}
	}
}

// TestReferenceIsComplete: conf/reference.yaml and docs/configuration.md name
// every key there is, and the reference none that there is not.
func TestReferenceIsComplete(t *testing.T) {
	reference, err := os.ReadFile(filepath.Join(confDir, "reference.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	p := &problems{}
	tree, ok := parseTree(p, "reference.yaml", reference, nil)
	if !ok {
		t.Fatal(p.err())
	}
	used := make(map[string]map[string]bool)
	collect(tree, &rawFile{}, used)
	commented := string(reference)
	blocks(&rawFile{}, func(b raw) {
		f := formatOf(b)
		for _, key := range f.keys {
			// What occurs in several places is shown once and then referred to.
			shown := used[f.kind][key] || f.kind == "https" && used["http"][key]
			if !shown && !regexp.MustCompile(`# +`+key+`:`).MatchString(commented) {
				t.Errorf("conf/reference.yaml does not show %s.%s", f.kind, key)
			}
			if !inCode(string(guide), key) {
				t.Errorf("docs/configuration.md does not name %s.%s", f.kind, key)
			}
		}
	})
}

// TestEveryKeyOfRoutersIsTested: the files that are held against golden ones use
// every key of routers and sync groups, each at least once.
func TestEveryKeyOfRoutersIsTested(t *testing.T) {
	files, err := filepath.Glob("testdata/valid/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]map[string]bool)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p := &problems{}
		tree, ok := parseTree(p, file, data, validEnv)
		if !ok {
			t.Fatal(p.err())
		}
		collect(tree, &rawFile{}, used)
	}
	for _, part := range []raw{&rawRouter{}, &rawSyncGroup{}} {
		blocks(part, func(b raw) {
			f := formatOf(b)
			for _, key := range f.keys {
				if !used[f.kind][key] {
					t.Errorf("no valid file uses %s.%s", f.kind, key)
				}
			}
		})
	}
}

// TestReferenceAuth: the part of the reference that is commented out, because it
// names files that must be there, is valid, too.
func TestReferenceAuth(t *testing.T) {
	reference, err := os.ReadFile(filepath.Join(confDir, "reference.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^    # (auth:|  .*)$`).ReplaceAll(reference, []byte("    $1"))
	text = bytes.Replace(text, []byte("include: [conf.d/*.yaml]"), nil, 1)
	cfg, err := parse("reference.yaml", text, Options{ReadSecret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	if keys := cfg.Routers[0].Auth.Keys; len(keys) != 1 || keys[0].ID != 1 || len(keys[0].Secret) != 32 {
		t.Errorf("%d keys", len(keys))
	}
	text = bytes.Replace(text, []byte("# password_file:"), []byte("password_file:"), 1)
	text = bytes.Replace(text, []byte("version: 3"), []byte("version: 2"), 1)
	text = regexp.MustCompile(`hmac:\n(.*#.*\n)*.*key_id:.*\n(.*#.*\n)*.*key_file:.*\n`).ReplaceAll(text, nil)
	cfg, err = parse("reference.yaml", text, Options{ReadSecret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(cfg.Routers[0].Auth.Password); n != 8 {
		t.Errorf("a password of %d bytes", n)
	}
}

// collect notes which keys of each kind of block a tree uses.
func collect(n *node, b raw, used map[string]map[string]bool) {
	f := formatOf(b)
	if used[f.kind] == nil {
		used[f.kind] = make(map[string]bool)
	}
	t := reflect.TypeOf(b).Elem()
	for _, e := range n.fields {
		used[f.kind][e.key] = true
		r := f.rule(e.key)
		if r == nil {
			continue
		}
		child := blockOf(t.Field(r.index).Type)
		if child == nil {
			continue
		}
		collect(e.value, child, used)
		for _, item := range e.value.items {
			collect(item, child, used)
		}
	}
}

// inCode reports whether a word stands in backquotes in a text.
func inCode(text, word string) bool {
	whole := regexp.MustCompile(`\b` + word + `\b`)
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 && whole.MatchString(part) {
			return true
		}
	}
	return false
}
