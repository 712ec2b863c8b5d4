package check

import (
	"strings"
	"testing"
)

// Each case is a row of results (+ success, - failure) and the verdict after
// each: U up, D down, ? none; a capital letter has changed.
func TestTally(t *testing.T) {
	for _, tt := range []struct {
		name, results, want string
		rise, fall          int
		assumed             bool
	}{
		{name: "the first success decides", rise: 2, fall: 3, results: "+", want: "U"},
		{name: "the first failure decides", rise: 2, fall: 3, results: "-", want: "D"},
		{name: "up needs rise", rise: 2, fall: 3, results: "-++", want: "DdU"},
		{name: "in a row", rise: 2, fall: 3, results: "-+-++", want: "DdddU"},
		{name: "down needs fall", rise: 2, fall: 3, results: "+---", want: "UuuD"},
		{name: "in a row too", rise: 2, fall: 3, results: "+--+---", want: "UuuuuuD"},
		{name: "one is enough", rise: 1, fall: 1, results: "+-+-", want: "UDUD"},
		{name: "assumed: a failure is not enough", rise: 2, fall: 3, assumed: true, results: "---", want: "??D"},
		{name: "assumed: a success confirms", rise: 2, fall: 3, assumed: true, results: "-+", want: "?U"},
		{name: "assumed: and is then like any other", rise: 2, fall: 3, assumed: true, results: "-+--+---", want: "?UuuuuuD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tally{assumed: tt.assumed}
			var got strings.Builder
			for _, r := range tt.results {
				changed := c.add(r == '+', Schedule{Rise: tt.rise, Fall: tt.fall})
				got.WriteString(letter(c, changed))
			}
			if got.String() != tt.want {
				t.Errorf("%s: %s, want %s", tt.results, got.String(), tt.want)
			}
		})
	}
}

func letter(c tally, changed bool) string {
	l := "d"
	switch {
	case !c.known:
		l = "?"
	case c.up:
		l = "u"
	}
	if changed {
		return strings.ToUpper(l)
	}
	return l
}
