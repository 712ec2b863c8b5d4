package speaker

import (
	"container/heap"
	"time"
)

// schedule has the routers that want to be called, the earliest first: hundreds
// of them may share the one timer.
type schedule []*router

// plan puts a router in its place, or takes it out for the zero time.
func (q *schedule) plan(r *router, at time.Time) {
	switch {
	case at.Equal(r.due):
	case at.IsZero():
		r.due = at
		heap.Remove(q, r.place)
	case r.due.IsZero():
		r.due = at
		heap.Push(q, r)
	default:
		r.due = at
		heap.Fix(q, r.place)
	}
}

// first is when the first router wants to be called; zero: none does.
func (q schedule) first() time.Time {
	if len(q) == 0 {
		return time.Time{}
	}
	return q[0].due
}

// Len, Less, Swap, Push and Pop are for container/heap.
func (q schedule) Len() int           { return len(q) }
func (q schedule) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q schedule) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push appends x, a *router.
func (q *schedule) Push(x any) {
	r := x.(*router) //nolint:forcetypeassert // only plan calls it
	r.place = len(*q)
	*q = append(*q, r)
}

// Pop removes the last one.
func (q *schedule) Pop() any {
	old := *q
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return r
}
