package check

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// JobStatus is what a [Runner] knows of a job.
type JobStatus struct {
	Job       *Job      // nobody may change it
	Known     bool      // has a verdict
	Up        bool      // the verdict; for an assumed one true
	Assumed   bool      // counts as up without a proof; see [Runner.Seed]
	Last      Result    // the last one; At is zero before the first
	Successes int       // in a row
	Failures  int       // in a row
	Running   bool      // just now
	Next      time.Time // the next start, or while running the present one
	Verdict   Verdict   // as it was told last; only where Known
}

// Status returns what is known of a job.
func (r *Runner) Status(id string) (JobStatus, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.jobs[id]
	if j == nil {
		return JobStatus{}, false
	}
	return JobStatus{
		Job: j.Job, Known: j.known, Up: j.up || j.assumed, Assumed: j.assumed, Last: j.last,
		Successes: j.successes, Failures: j.failures, Running: j.cancel != nil || j.polled, Next: j.due,
		Verdict: j.verdict(j.last, false),
	}, true
}

// Count is how many results of one kind had one code.
type Count struct {
	Kind string
	Code Code
	N    uint64
}

type countKey struct {
	kind string
	code Code
}

// Counts returns the results since the start, by kind and code, sorted.
func (r *Runner) Counts() []Count {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Count, 0, len(r.counts))
	for k, n := range r.counts {
		out = append(out, Count{k.kind, k.code, n})
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), cmp.Compare(a.Code, b.Code))
	})
	return out
}

// Stats say how the runner copes with its jobs.
type Stats struct {
	Jobs    int
	Running int           // probes under way
	Started uint64        // probes since the start
	Late    uint64        // of these, begun more than 100 ms after they were due
	MaxLate time.Duration // the latest
	Excused uint64        // results not counted because this process stood still
}

// Stats returns how the runner copes.
func (r *Runner) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Jobs = len(r.jobs)
	return s
}

// late accounts for the time between when a probe was due and its start.
func (r *Runner) late(by time.Duration) {
	if by > tardy {
		r.stats.Late++
	}
	r.stats.MaxLate = max(r.stats.MaxLate, by)
}
