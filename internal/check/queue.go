package check

import (
	"container/heap"
	"context"
	"time"
)

// job is a [Job] on its schedule. It is in the queue, or running, or dropped.
type job struct {
	*Job
	id   string
	kind string
	tally
	wish wish

	due    time.Time          // of the next start
	place  int                // in the queue; -1: not in it
	start  time.Time          // of the run that is under way or was the last
	cancel context.CancelFunc // of the run that is under way; nil: none
	good   time.Time          // start of the last run that succeeded; zero: none has
	last   Result             // of the zero time: none yet

	history history

	gone    bool // dropped while running: its result is of no use
	excused bool // its last result was not counted; see Runner.stalled
	tardy   bool // its last run began late

	// Of jobs that the poller runs:
	polled  bool    // a run is under way
	flight  *flight // under way; guarded by the poller's mutex
	success string  // what a connect that succeeded says
	page    *page   // what an HTTP request asks for
}

// queue holds the jobs that wait, the earliest first. The times are in the queue
// itself: with ten thousand jobs, most of the cost of looking for them elsewhere
// would be waiting for memory.
type queue []slot

type slot struct {
	due int64 // nanoseconds since epoch
	job *job
}

// epoch has a monotonic clock reading, so that times since it do not jump.
var epoch = time.Now()

func (q *queue) add(j *job)    { heap.Push((*byDue)(q), slot{int64(j.due.Sub(epoch)), j}) }
func (q *queue) take() *job    { return heap.Pop((*byDue)(q)).(slot).job }
func (q *queue) remove(j *job) { heap.Remove((*byDue)(q), j.place) }

// byDue is the queue as container/heap wants it.
type byDue queue

func (q byDue) Len() int           { return len(q) }
func (q byDue) Less(a, b int) bool { return q[a].due < q[b].due }
func (q byDue) Swap(a, b int) {
	q[a], q[b] = q[b], q[a]
	q[a].job.place, q[b].job.place = a, b
}

func (q *byDue) Push(x any) {
	s := x.(slot)
	s.job.place = len(*q)
	*q = append(*q, s)
}

func (q *byDue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = slot{}
	*q = (*q)[:last]
	s.job.place = -1
	return s
}
