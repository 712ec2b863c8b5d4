package check

// tally turns a job's results into its verdict.
//
// The first result decides at once, either way, as keepalived has it: a server
// that works should not wait for Rise checks until it may, and one that does not
// must not get clients for Fall checks. Only a job that is assumed to be up (its
// server served before this program started) is given the benefit of the doubt:
// it goes down after Fall failures like one that has proved itself.
type tally struct {
	known, up bool
	assumed   bool // up without a proof; not known
	successes int  // in a row
	failures  int  // in a row
}

// add counts a result and reports whether it made or changed the verdict.
func (t *tally) add(ok bool, s Schedule) (changed bool) {
	if ok {
		t.successes++
		t.failures = 0
	} else {
		t.failures++
		t.successes = 0
	}
	was := *t
	switch {
	case ok && (!t.known || t.successes >= s.Rise):
		t.up = true
	case !ok && (!t.known && !t.assumed || t.failures >= s.Fall):
		t.up = false
	case !t.known: // assumed, and not yet refuted
		return false
	}
	t.known, t.assumed = true, false
	return !was.known || t.up != was.up
}

// disputed reports whether the last result speaks against what holds.
func (t *tally) disputed() bool {
	up := t.up || t.assumed
	return up && t.failures > 0 || !up && t.successes > 0
}
