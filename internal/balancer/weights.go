package balancer

import (
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

// rampEvery bounds how often slow starts write to the kernel: the steps of many
// servers that came up one after the other are taken together.
const rampEvery = 100 * time.Millisecond

// tellPool takes a verdict into the pool and reports whether the table may have
// changed by it.
func (e *engine) tellPool(v check.Verdict) (changed bool) {
	id := pool.CheckID(v.ID)
	e.book.said[id] = v.Result.Detail
	return e.pool.Tell(id, poolVerdict(v))
}

// poolVerdict is what a verdict means to the pool.
func poolVerdict(v check.Verdict) pool.Verdict {
	out := pool.Verdict{Up: v.Up, Weighted: v.Weighted, Weight: v.Weight}
	out.Agent = pool.Agent{Weighs: v.Word.Weighs, Percent: v.Word.Percent, Down: v.Word.Health == "down"}
	switch v.Word.Mode {
	case "drain":
		out.Agent.Mode = pool.AgentDrain
	case "maint":
		out.Agent.Mode = pool.AgentMaint
	}
	return out
}

// planRamp enters the next step of the slow starts into the agenda.
func (e *engine) planRamp(now time.Time) {
	e.agenda.ramp = e.pool.Deadline()
	if soonest := now.Add(rampEvery); !e.agenda.ramp.IsZero() && e.agenda.ramp.Before(soonest) {
		e.agenda.ramp = soonest
	}
}

// ramp takes the steps of the slow starts that are due.
func (e *engine) ramp(now time.Time) {
	if e.pool.Advance(now) {
		e.changed()
	}
	e.planRamp(now)
}
