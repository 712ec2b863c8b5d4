package check

import "time"

// recent counts the probes under way that began less than [hanging] ago, give or
// take a span. The zero value has none.
type recent struct {
	count  [spans]int
	newest int64 // the number of the span that is filled now, counted from epoch
}

// spans is how many there are, and spanLength how long each of them is.
const (
	spans      = 6
	spanLength = hanging / spans
)

func spanOf(t time.Time) int64 { return int64(t.Sub(epoch) / spanLength) }

func (r *recent) at(n int64) *int { return &r.count[(n%spans+spans)%spans] }

// turn forgets what began too long ago.
func (r *recent) turn(now time.Time) {
	n := spanOf(now)
	if n-r.newest >= spans || n < r.newest {
		*r = recent{newest: n}
	}
	for r.newest < n {
		r.newest++
		*r.at(r.newest) = 0
	}
}

// begin counts a probe that begins now.
func (r *recent) begin(now time.Time) {
	r.turn(now)
	*r.at(r.newest)++
}

// end takes a probe back that began at a time, unless that is forgotten.
func (r *recent) end(start, now time.Time) {
	r.turn(now)
	if n := spanOf(start); n > r.newest-spans && n <= r.newest {
		*r.at(n)--
	}
}

func (r *recent) sum(now time.Time) (n int) {
	r.turn(now)
	for _, one := range r.count {
		n += one
	}
	return n
}
