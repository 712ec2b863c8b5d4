package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// suggest returns `; did you mean "…"?` with the candidate that was probably
// meant, or nothing when none is near enough.
func suggest(written string, candidates []string) string {
	best := nearest(written, candidates)
	if best == "" {
		best = completion(written, candidates)
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// suggestName lists the names there are, or the nearest one of many.
func suggestName(written string, names []string) string {
	slices.Sort(names)
	if len(names) == 0 {
		return "; this configuration has none"
	}
	if len(names) > 10 {
		return suggest(written, names)
	}
	return "; allowed: " + strings.Join(names, ", ") + suggest(written, names)
}

// nearest returns the candidate with the least distance, if that is at most a
// third of what was written.
func nearest(written string, candidates []string) string {
	if len(written) > 64 {
		return ""
	}
	best, least := "", (utf8.RuneCountInString(written)+1)/3+1
	for _, c := range candidates {
		if d := distance(written, c); d > 0 && d < least {
			best, least = c, d
		}
	}
	return best
}

// completion returns the shortest candidate that begins with what was written,
// or that what was written begins with.
func completion(written string, candidates []string) string {
	const enough = 3
	best := ""
	for _, c := range candidates {
		begins := len(written) >= enough && strings.HasPrefix(c, written) || len(c) >= enough && strings.HasPrefix(written, c)
		if begins && c != written && (best == "" || len(c) < len(best)) {
			best = c
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that make b of a, no part being changed twice (optimal string
// alignment).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			replace := last[j-1]
			if s[i-1] != t[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}

// quote shows text from a file in a message: escaped, and cut when it is long.
func quote(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}
