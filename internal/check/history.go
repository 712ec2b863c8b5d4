package check

import (
	"math"
	"time"
	"unicode/utf8"
)

// Streak is a series of results of one job that had the same code, one after the
// other.
type Streak struct {
	Code     Code
	Detail   string    // of the last one; empty for successes, and where it could not be kept
	From, To time.Time // of the first and of the last one
	Results  int
	Gap      bool // others came just before it that have been forgotten
}

const (
	// keptStreaks is how many streaks of a job are remembered: the newest, and
	// before them those of failures, which are of interest for longer.
	keptStreaks = 8
	// keptDetail is how much of a sentence is remembered, in bytes.
	keptDetail = 200
	// sayingsBudget bounds what the sentences of all jobs take, in bytes; a new one
	// beyond it is not remembered. All failing at once, each with a sentence of its
	// own, ten thousand jobs need half of it.
	sayingsBudget = 5 << 20
	// sayingCost is what a sentence takes beside its bytes: the saying and its place
	// in the map.
	sayingCost = 160
)

// history is the past of a job. It costs one job [keptStreaks] streaks at most.
// The zero value is a job without a result.
type history struct{ streaks []streak } // the oldest first

// streak is a [Streak] in 32 bytes.
type streak struct {
	from, to int64 // Unix time in nanoseconds
	said     *saying
	results  uint32
	gap      bool // see [Streak]
}

// saying is a code and a sentence, shared by all streaks that have it.
type saying struct {
	code   Code
	detail string
	shared int // by how many streaks; 0: it is in no map
}

// sayings are those of all jobs of a runner.
type sayings struct {
	known map[sayingKey]*saying
	size  int // bytes, roughly
}

type sayingKey struct {
	code   Code
	detail string
}

func newSayings() sayings { return sayings{known: make(map[sayingKey]*saying)} }

// take returns the saying of a result, for one streak more.
func (s *sayings) take(code Code, detail string) *saying {
	if code.OK() {
		detail = "" // what is well needs no words
	}
	detail = clip(detail, keptDetail)
	cost := len(detail) + sayingCost
	known := s.known[sayingKey{code, detail}]
	if known == nil && detail != "" && s.size+cost > sayingsBudget {
		return s.take(code, "")
	}
	if known == nil {
		// A copy: the sentence may be a part of something much larger.
		detail = string([]byte(detail))
		known = &saying{code: code, detail: detail}
		s.known[sayingKey{code, detail}] = known
		s.size += cost
	}
	known.shared++
	return known
}

// drop gives a saying back.
func (s *sayings) drop(w *saying) {
	if w.shared--; w.shared == 0 {
		delete(s.known, sayingKey{w.code, w.detail})
		s.size -= len(w.detail) + sayingCost
	}
}

// clip cuts a text that is too long, between two characters.
func clip(text string, most int) string {
	const mark = "…"
	if len(text) <= most {
		return text
	}
	end := most - len(mark)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}

// add takes note of a result.
func (h *history) add(s *sayings, res Result) {
	at := res.At.UnixNano()
	if n := len(h.streaks); n > 0 {
		last := &h.streaks[n-1]
		if last.said.code == res.Code {
			last.to = at
			if last.results < math.MaxUint32 {
				last.results++
			}
			if !res.Code.OK() && last.said.detail != res.Detail {
				was := last.said
				last.said = s.take(res.Code, res.Detail)
				s.drop(was)
			}
			return
		}
	}
	if len(h.streaks) == keptStreaks {
		h.forgetOne(s)
	}
	h.streaks = append(h.streaks, streak{from: at, to: at, results: 1, said: s.take(res.Code, res.Detail)})
}

// forgetOne makes room: the oldest success goes first, but for the newest
// streaks, and else the oldest failure.
func (h *history) forgetOne(s *sayings) {
	const newest = 2
	which := 0
	for i := range h.streaks[:len(h.streaks)-newest] {
		if h.streaks[i].said.code.OK() {
			which = i
			break
		}
	}
	s.drop(h.streaks[which].said)
	h.streaks[which+1].gap = true
	copy(h.streaks[which:], h.streaks[which+1:])
	h.streaks = h.streaks[:len(h.streaks)-1]
}

// forget gives everything back.
func (h *history) forget(s *sayings) {
	for i := range h.streaks {
		s.drop(h.streaks[i].said)
	}
	h.streaks = nil
}

// show returns what is remembered, the oldest first.
func (h *history) show() []Streak {
	out := make([]Streak, len(h.streaks))
	for i, k := range h.streaks {
		out[i] = Streak{
			Code: k.said.code, Detail: k.said.detail,
			From: time.Unix(0, k.from), To: time.Unix(0, k.to), Results: int(k.results), Gap: k.gap,
		}
	}
	return out
}

// History returns what is remembered of a job's results: streaks of equal codes,
// the oldest first. Others are forgotten, successes before failures. Jobs that are
// not known have none.
func (r *Runner) History(id string) []Streak {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.jobs[id]
	if j == nil {
		return nil
	}
	return j.history.show()
}
