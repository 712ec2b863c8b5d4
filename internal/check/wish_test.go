package check

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A weight that changes is told at once, without rise and fall; only up and down
// wait for these.
func TestVerdictsCarryWeights(t *testing.T) {
	ok := func(n uint32) Result { return Result{Code: L7OK, Weighted: true, Weight: n} }
	plain, fails := Result{Code: L7OK}, Result{Code: L7STS}
	results := []Result{ok(5), ok(5), ok(7), fails, ok(9), fails, fails, ok(3), ok(4), plain, plain}
	want := []string{"up 5", "up 7", "up 9", "down", "up 4", "up"}
	synctest.Test(t, func(t *testing.T) {
		next := 0
		r := NewRunner(Options{Probe: func(context.Context, Spec) Result {
			res := results[min(next, len(results)-1)]
			next++
			return res
		}})
		r.Set(map[string]*Job{"a": {Schedule: Schedule{Interval: time.Second, Rise: 2, Fall: 2}}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(len(results))*time.Second+time.Millisecond)
		defer cancel()
		var got []string
		_ = r.Run(ctx, func(v Verdict) {
			if !v.Changed {
				return
			}
			text := map[bool]string{true: "up", false: "down"}[v.Up]
			if v.Weighted {
				text += fmt.Sprintf(" %d", v.Weight)
			}
			got = append(got, text)
		})
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}
