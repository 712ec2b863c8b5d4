package balancer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

const (
	// driftBurst and driftEvery bound how often drift is told. A program that fights
	// for the table would otherwise fill the history within the hour.
	driftBurst = 30
	driftEvery = 10 * time.Second
	// driftNamed is how many differences are told in words.
	driftNamed = 5
)

// Drift is what somebody else had changed in the kernel's table, as one pass found
// it, or several passes where there were more than are told.
type Drift struct {
	At    time.Time
	Count int      // differences
	Named []string // the first of them, in words: what is there, and what should be
	Open  int      // of Count: in services that are not as wanted yet
	Left  []string // why, in words
}

// Outcome says what became of it: put right, partly put right, not put right.
func (d Drift) Outcome() string {
	switch d.Open {
	case 0:
		return "put right"
	case d.Count:
		return "not put right"
	}
	return "partly put right"
}

// String says what was found and what became of it, in one sentence.
func (d Drift) String() string {
	text := strings.Join(d.Named, "; ")
	if n := d.Count - len(d.Named); n > 0 {
		text += fmt.Sprintf("; and %s", count(n, "more difference"))
	}
	if len(d.Left) > 0 {
		return text + "; not put right yet: " + strings.Join(d.Left, "; ")
	}
	return text
}

// drifts collects what was found until it is told.
type drifts struct {
	untold Drift
	tokens int       // tellings that are left
	filled time.Time // when a token was given last; zero: at the begin
}

// found adds what a pass has found.
func (d *drifts) found(list []ipvs.Difference, failed map[pool.Key]error) {
	for _, f := range list {
		d.add(f.String())
		err := failed[f.Key]
		if err == nil {
			continue
		}
		d.untold.Open++
		if len(d.untold.Left) < driftNamed {
			if text := err.Error(); !slices.Contains(d.untold.Left, text) { // one failure of a service is told once
				d.untold.Left = append(d.untold.Left, text)
			}
		}
	}
}

func (d *drifts) add(text string) {
	d.untold.Count++
	if len(d.untold.Named) < driftNamed {
		d.untold.Named = append(d.untold.Named, text)
	}
}

// take returns what is to be told now; false: nothing, or not yet.
func (d *drifts) take(now time.Time) (Drift, bool) {
	if d.filled.IsZero() {
		d.tokens, d.filled = driftBurst, now
	}
	if n := int(now.Sub(d.filled) / driftEvery); n > 0 {
		d.tokens = min(d.tokens+n, driftBurst)
		d.filled = d.filled.Add(time.Duration(n) * driftEvery)
	}
	if d.untold.Count == 0 || d.tokens == 0 {
		return Drift{}, false
	}
	d.tokens--
	out := d.untold
	out.At = now
	d.untold = Drift{}
	return out, true
}

// tellDrift tells what was found, if it is time.
func (e *engine) tellDrift() {
	d, ok := e.drifts.take(time.Now())
	if ok && e.b.options.OnDrift != nil {
		e.b.options.OnDrift(d)
	}
}
