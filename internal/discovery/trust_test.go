package discovery

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// some returns servers from 10.0.0.from to 10.0.0.to.
func some(from, to int) (out []Server) {
	for i := from; i <= to; i++ {
		out = append(out, Server{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Port: 80})
	}
	return out
}

func TestTrust(t *testing.T) {
	type step struct {
		after  time.Duration // since the step before
		answer []Server
		want   []Server // in force then
		held   int
	}
	for name, steps := range map[string][]step{
		"half may leave at once": {
			{0, some(1, 10), some(1, 10), 0},
			{0, some(1, 5), some(1, 5), 0},
		},
		"an empty answer removes nobody, ever": {
			{0, some(1, 2), some(1, 2), 0},
			{time.Hour, nil, some(1, 2), 2},
			{time.Hour, nil, some(1, 2), 2},
			{time.Hour, nil, some(1, 2), 2},
			{time.Hour, some(1, 2), some(1, 2), 0},
		},
		"more than half leave after three answers and half a minute": {
			{0, some(1, 10), some(1, 10), 0},
			{0, some(1, 4), some(1, 10), 6},
			{recheck, some(1, 4), some(1, 10), 6},
			{recheck, some(1, 4), some(1, 10), 6}, // three, but not yet long enough
			{recheck, some(1, 4), some(1, 4), 0},
		},
		"and after half a minute not before three answers": {
			{0, some(1, 10), some(1, 10), 0},
			{0, some(1, 4), some(1, 10), 6},
			{time.Minute, some(1, 4), some(1, 10), 6},
			{time.Minute, some(1, 4), some(1, 4), 0},
		},
		"one that comes back begins anew": {
			{0, some(1, 10), some(1, 10), 0},
			{0, some(1, 4), some(1, 10), 6},
			{recheck, some(1, 4), some(1, 10), 6},
			{recheck, append(some(1, 3), some(10, 10)...), some(1, 10), 6},
			{recheck, some(1, 4), append(some(1, 4), some(10, 10)...), 1},
		},
		"all replaced: the new ones at once, the old ones later": {
			{0, some(1, 3), some(1, 3), 0},
			{0, some(11, 13), append(some(1, 3), some(11, 13)...), 3},
			{15 * time.Second, some(11, 13), some(11, 13), 0}, // three of six are half
		},
		"an empty answer between does not confirm": {
			{0, some(1, 10), some(1, 10), 0},
			{0, some(1, 4), some(1, 10), 6},
			{recheck, nil, some(1, 10), 10},
			{recheck, some(1, 4), some(1, 10), 6},
			{recheck, some(1, 4), some(1, 4), 0},
		},
		"the last one of two may leave": {
			{0, some(1, 2), some(1, 2), 0},
			{0, some(2, 2), some(2, 2), 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := trust{keep: KeepPercent}
			now := time.Unix(0, 0)
			for i, s := range steps {
				now = now.Add(s.after)
				tr.fold(s.answer, now)
				if !slices.EqualFunc(tr.servers, s.want, Server.Equal) || tr.held() != s.held {
					t.Fatalf("step %d: in force %v, held %d; want %v, %d", i, tr.servers, tr.held(), s.want, s.held)
				}
			}
		})
	}
}

// An answer that was taken before and is judged anew is no confirmation.
func TestJudgingAnewConfirmsNothing(t *testing.T) {
	tr := trust{keep: KeepPercent}
	tr.fold(some(1, 10), time.Unix(0, 0))
	tr.fold(some(1, 2), time.Unix(0, 0))
	for range 10 {
		tr.fold(some(1, 2), time.Time{})
	}
	tr.fold(some(1, 2), time.Unix(3600, 0))
	if tr.held() != 8 {
		t.Errorf("%d are held after two answers", tr.held())
	}
}

func TestDiff(t *testing.T) {
	tr := trust{keep: KeepPercent}
	d := tr.fold(some(1, 2), time.Unix(0, 0))
	if got := d.String(); got != "added 2 (10.0.0.1:80, 10.0.0.2:80)" {
		t.Error(got)
	}
	next := some(2, 9)
	next[0].Weight = 7
	if got := tr.fold(next, time.Unix(0, 0)).String(); got != "added 7 (10.0.0.3:80, 10.0.0.4:80, 10.0.0.5:80, 10.0.0.6:80, 10.0.0.7:80, …), "+
		"removed 1 (10.0.0.1:80), changed 1 (10.0.0.2:80)" {
		t.Error(got)
	}
	if d := tr.fold(next, time.Unix(0, 0)); !d.empty() {
		t.Errorf("the same answer changes %s", d)
	}
}

// What holds for all courses of answers: all that is named is in force, what goes
// is what the diff says, an empty answer removes nobody, and more than half never
// go without three answers over half a minute.
func TestTrustAlways(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := trust{keep: KeepPercent}
		now := time.Unix(0, 0)
		absent := map[netip.AddrPort][]time.Time{} // answers in a row without it, but for empty ones
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			var answer []Server
			for _, s := range some(1, 12) {
				if rapid.Bool().Draw(t, "named") {
					s.Weight = uint32(rapid.IntRange(1, 2).Draw(t, "weight"))
					answer = append(answer, s)
				}
			}
			if rapid.IntRange(0, 5).Draw(t, "empty") == 0 {
				answer = nil
			}
			before := tr.servers
			d := tr.fold(answer, now)
			for _, s := range before {
				if len(answer) > 0 {
					absent[s.AddrPort()] = append(absent[s.AddrPort()], now)
				}
			}
			for _, s := range answer {
				delete(absent, s.AddrPort())
				if !slices.ContainsFunc(tr.servers, s.Equal) {
					t.Fatalf("%v is named and not in force", s)
				}
			}
			if len(before)+len(d.added)-len(d.removed) != len(tr.servers) || !slices.IsSortedFunc(tr.servers, Server.Compare) {
				t.Fatalf("%v, %s, %v", before, d, tr.servers)
			}
			if len(answer) == 0 && len(d.removed) > 0 {
				t.Fatalf("an empty answer removes %v", d.removed)
			}
			if len(d.removed)*2 > len(before) {
				for _, s := range d.removed {
					times := absent[s.AddrPort()]
					if len(times) < ConfirmAnswers || now.Sub(times[0]) < ConfirmTime {
						t.Fatalf("%s of %d leave: %s was missing at %v", d, len(before), s, times)
					}
				}
			}
			for _, s := range d.removed {
				delete(absent, s.AddrPort())
			}
		}
	})
}

func TestCleanBounds(t *testing.T) {
	var many []Server
	for i := range MaxServers + 1 {
		many = append(many, Server{Address: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})})
	}
	if _, err := clean(many); err == nil || err.Error() != fmt.Sprintf("it names %d servers; allowed: at most 1024", MaxServers+1) {
		t.Error(err)
	}
	// Named twice counts once, and the first one holds.
	twice := append(slices.Clone(many[:MaxServers]), Server{Address: many[3].Address, Weight: 9})
	got, err := clean(twice)
	if err != nil || len(got) != MaxServers || got[3].Weight != 0 {
		t.Errorf("%d servers, weight %d, %v", len(got), got[3].Weight, err)
	}
}
