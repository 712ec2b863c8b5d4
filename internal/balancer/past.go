package balancer

import (
	"fmt"
	"slices"
	"strings"

	"baton/internal/check"
	"baton/internal/pool"
)

// Past returns what is remembered of a check's results; see [check.Runner.History].
type Past func(pool.CheckID) []check.Streak

// Past returns what is remembered of a check's results, the oldest first.
func (b *Balancer) Past(id pool.CheckID) []check.Streak { return b.options.Runner.History(string(id)) }

// toldStreaks is how many earlier failures are told in words.
const toldStreaks = 4

// recalled says in words what is remembered of a check's results.
func recalled(streaks []check.Streak) []string {
	if len(streaks) == 0 {
		return nil
	}
	n := len(streaks) - 1
	for n > 0 && !streaks[n].Gap && streaks[n-1].Code.OK() == streaks[n].Code.OK() {
		n--
	}
	results, now := 0, streaks[n:]
	for _, s := range now {
		results += s.Results
	}
	var text string
	if last := now[len(now)-1]; last.Code.OK() {
		text = fmt.Sprintf("It has passed %s since %s", inARow(results), when(now[0].From))
	} else {
		text = fmt.Sprintf("It has failed %s since %s, last: %s", inARow(results), when(now[0].From), described(last))
	}
	out := []string{text + "."}
	if earlier := failures(streaks[:n]); len(earlier) > 0 {
		out = append(out, "Failures before that, the latest first: "+strings.Join(earlier, "; ")+".")
	}
	return out
}

// failures describes streaks of failures, the latest first.
func failures(streaks []check.Streak) (out []string) {
	for _, s := range slices.Backward(streaks) {
		if s.Code.OK() {
			continue
		}
		text := fmt.Sprintf("once at %s: %s", when(s.To), described(s))
		if s.Results > 1 {
			text = fmt.Sprintf("%d times from %s to %s: %s", s.Results, when(s.From), when(s.To), described(s))
		}
		if out = append(out, text); len(out) == toldStreaks {
			break
		}
	}
	return out
}

// described is a streak's code and its last sentence, which may not have been kept.
func described(s check.Streak) string {
	if s.Detail == "" {
		return string(s.Code)
	}
	return fmt.Sprintf("%s, %s", s.Code, s.Detail)
}

func inARow(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times in a row", n)
}
