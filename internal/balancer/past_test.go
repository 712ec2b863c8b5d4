package balancer

import (
	"strings"
	"testing"
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

func noPast(pool.CheckID) []check.Streak { return nil }

func TestRecalled(t *testing.T) {
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	well := func(at int, n int) check.Streak {
		return check.Streak{Code: check.L4OK, From: minute(at), To: minute(at + n - 1), Results: n}
	}
	fails := func(code check.Code, at, n int) check.Streak {
		return check.Streak{Code: code, Detail: "why not", From: minute(at), To: minute(at + n - 1), Results: n}
	}
	after := func(s check.Streak) check.Streak { s.Gap = true; return s }
	const passed = "It has passed 5 times in a row since 2026-11-05 12:30:00."
	for name, tt := range map[string]struct {
		streaks []check.Streak
		want    string
	}{
		"nothing yet": {},
		"well":        {[]check.Streak{well(30, 5)}, passed},
		"the first":   {[]check.Streak{well(30, 1)}, "It has passed once since 2026-11-05 12:30:00."},
		"fails in two ways": {
			[]check.Streak{well(0, 2), fails(check.L4CON, 2, 2), fails(check.L4TOUT, 4, 1)},
			"It has failed 3 times in a row since 2026-11-05 12:02:00, last: L4TOUT, why not.",
		},
		"failures that do not adjoin": {
			[]check.Streak{fails(check.L4CON, 2, 2), after(fails(check.L4TOUT, 9, 1))},
			"It has failed once since 2026-11-05 12:09:00, last: L4TOUT, why not.\n" +
				"Failures before that, the latest first: 2 times from 2026-11-05 12:02:00 to 2026-11-05 12:03:00: L4CON, why not.",
		},
		"without a sentence": {
			[]check.Streak{{Code: check.L4CON, From: noon, To: noon, Results: 1}},
			"It has failed once since 2026-11-05 12:00:00, last: L4CON.",
		},
		"well again": {
			[]check.Streak{well(0, 2), fails(check.L4CON, 2, 1), well(30, 5)},
			passed + "\nFailures before that, the latest first: once at 2026-11-05 12:02:00: L4CON, why not.",
		},
		"many failures": {
			[]check.Streak{
				fails(check.L4CON, 1, 1), after(fails(check.L4CON, 3, 1)), after(fails(check.L4CON, 5, 1)),
				after(fails(check.L4CON, 7, 1)), after(fails(check.L4CON, 9, 1)), well(30, 5),
			},
			passed + "\nFailures before that, the latest first: once at 2026-11-05 12:09:00: L4CON, why not; " +
				"once at 2026-11-05 12:07:00: L4CON, why not; once at 2026-11-05 12:05:00: L4CON, why not; once at 2026-11-05 12:03:00: L4CON, why not.",
		},
	} {
		if got := strings.Join(recalled(tt.streaks), "\n"); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tt.want)
		}
	}
}
