package check

import (
	"container/heap"
	"context"
	"time"
)

// job is a [Job] on its schedule. It is in the queue, or running, or dropped.
type job struct {
	Job
	id   string
	kind string
	tally

	due    time.Time          // of the next start
	place  int                // in the queue; -1: not in it
	start  time.Time          // of the run that is under way or was the last
	cancel context.CancelFunc // of the run that is under way; nil: none
	gone   bool               // dropped while running: its result is of no use
	last   Result             // of the zero time: none yet

	history history

	excused bool // its last result was not counted; see Runner.stalled

	// Of jobs that the poller runs:
	polled  bool    // a run is under way
	flight  *flight // under way; guarded by the poller's mutex
	success string  // what a connect that succeeded says
	page    *page   // what an HTTP request asks for
}

// queue holds the jobs that wait, the earliest first.
type queue []*job

func (q *queue) add(j *job)    { heap.Push((*byDue)(q), j) }
func (q *queue) take() *job    { return heap.Pop((*byDue)(q)).(*job) }
func (q *queue) remove(j *job) { heap.Remove((*byDue)(q), j.place) }

// byDue is the queue as container/heap wants it.
type byDue queue

func (q byDue) Len() int           { return len(q) }
func (q byDue) Less(a, b int) bool { return q[a].due.Before(q[b].due) }
func (q byDue) Swap(a, b int) {
	q[a], q[b] = q[b], q[a]
	q[a].place, q[b].place = a, b
}

func (q *byDue) Push(x any) {
	j := x.(*job)
	j.place = len(*q)
	*q = append(*q, j)
}

func (q *byDue) Pop() any {
	last := len(*q) - 1
	j := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	j.place = -1
	return j
}
