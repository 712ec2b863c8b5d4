package config

import (
	"slices"
	"testing"
)

// Each key that names a kind is counted under its name, and no other key is one.
func TestKindsOfChecks(t *testing.T) {
	schedule := []string{"interval", "timeout", "rise", "fall", "fast_interval", "jitter", "via", "connect"}
	var keys []string
	fields(&rawCheck{}, func(r *rule, _ field) {
		if !slices.Contains(schedule, r.key) {
			keys = append(keys, r.key)
		}
	})
	if !slices.Equal(slices.Sorted(slices.Values(keys)), slices.Sorted(slices.Values(checkKinds))) {
		t.Errorf("kinds %v, keys %v", checkKinds, keys)
	}
	for _, kind := range checkKinds {
		p := &problems{}
		tree, ok := parseTree(p, "x", []byte("{"+kind+": {}}"), nil)
		if !ok {
			t.Fatal(p.err())
		}
		var c rawCheck
		decodeBlock(p, tree, &c)
		if got := c.kinds(); !slices.Equal(got, []string{kind}) {
			t.Errorf("%s is counted as %v", kind, got)
		}
	}
}
