package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzParse feeds any bytes: there is no panic, each error has its place, and
// what was accepted says the same when it is written down again.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/valid/*.yaml", "testdata/invalid/*.yaml", "../../conf/*.yaml", "../../conf/examples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(data) < 8<<10 {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := parse("fuzz.yaml", data, Options{ReadSecret: testSecret})
		if err != nil {
			var list Errors
			if !errors.As(err, &list) {
				t.Fatalf("%T: %v", err, err)
			}
			checkErrors(t, list)
			return
		}
		checkConfig(t, cfg)
		again := rewrite(t, data)
		second, err := parse("fuzz.yaml", []byte(again), Options{ReadSecret: testSecret})
		if err != nil {
			t.Fatalf("accepted, but not when written as %s\n%v", again, err)
		}
		if diff := cmp.Diff(cfg, second, sameConfig...); diff != "" {
			t.Errorf("written as %s it differs:\n%s", again, diff)
		}
	})
}

var sameConfig = cmp.Options{
	cmpopts.IgnoreFields(Config{}, "Hash", "Warnings"),
	cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{}),
	cmpopts.EquateEmpty(),
}

// rewrite returns the same configuration in another form: one line, everything
// in quotes that may be, no aliases and no variables.
func rewrite(t *testing.T, data []byte) string {
	t.Helper()
	p := &problems{}
	tree, ok := parseTree(p, "fuzz.yaml", data, os.LookupEnv)
	if !ok {
		t.Fatalf("the second reading fails: %v", p.err())
	}
	var b strings.Builder
	tree.fields = slices.DeleteFunc(tree.fields, func(e *entry) bool { return e.key == "env" }) // the variables are replaced
	write(&b, tree)
	return b.String()
}

var plain = regexp.MustCompile(`^([+-]?[0-9]+(\.[0-9]+)?|true|false)$`)

func write(b *strings.Builder, n *node) {
	switch {
	case n.kind == listNode:
		b.WriteString("[")
		for _, item := range n.items {
			write(b, item)
			b.WriteString(", ")
		}
		b.WriteString("]")
	case n.kind == mappingNode:
		b.WriteString("{")
		for _, e := range n.fields {
			b.WriteString("? " + strconv.Quote(e.key) + " : ")
			write(b, e.value)
			b.WriteString(", ")
		}
		b.WriteString("}")
	case n.null:
		b.WriteString("~")
	case (!n.quoted || n.env) && plain.MatchString(n.text):
		b.WriteString(n.text)
	default:
		b.WriteString(strconv.Quote(n.text))
	}
}
