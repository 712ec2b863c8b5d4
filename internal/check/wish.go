package check

// wish is what the results of a job say beside up and down: the weight that the
// target should have, and what its agent has said.
type wish struct {
	weighted bool
	weight   uint32
	word     *Word // nil: no agent has said anything; nobody changes it
}

// said is all that the agent has said and not taken back.
func (w *wish) said() Word {
	if w.word == nil {
		return Word{}
	}
	return *w.word
}

// heed takes in a result and reports whether the wish changed by it. A result that
// speaks against the verdict, or an agent that is silent, changes nothing.
func (w *wish) heed(r *Result, up bool) (changed bool) {
	before := *w
	if r.Word != nil {
		if word := w.said().then(*r.Word); word != w.said() {
			w.word = &word
		}
	}
	if up && r.Code.OK() {
		w.weighted, w.weight = r.Weighted, r.Weight
	}
	return *w != before
}

// verdict is what is told of a job after a result.
func (j *job) verdict(last Result, changed bool) Verdict {
	v := Verdict{ID: j.id, Up: j.up, Changed: changed, Result: last, Word: j.wish.said()}
	if j.up {
		v.Weighted, v.Weight = j.wish.weighted, j.wish.weight
	}
	return v
}
