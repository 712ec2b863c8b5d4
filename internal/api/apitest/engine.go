// Package apitest has a daemon that exists on paper only, for tests of the API
// and of the command line.
package apitest

import (
	"context"
	"slices"
	"sync"
	"time"

	"baton/internal/api"
	"baton/internal/check"
	"baton/internal/pool"
)

// Engine is an [api.Engine] that does what it is told to and remembers what it
// was asked for.
type Engine struct {
	mu        sync.Mutex
	snapshot  api.Snapshot
	reloaded  api.Reloaded
	reloadErr error
	refusals  map[string]error // of commands, by router
	asked     []string
}

var _ api.Engine = (*Engine)(nil)

// New returns an engine in the state of [Snapshot].
func New() *Engine {
	return &Engine{
		snapshot: Snapshot(),
		reloaded: api.Reloaded{Hash: "0f1e2d3c4b5a", At: Now, Changed: true, Changes: []string{"router web: priority changed", "service dns: added"}},
		refusals: map[string]error{},
	}
}

// Change changes the state.
func (e *Engine) Change(f func(*api.Snapshot)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.snapshot)
}

// ReloadWith makes Reload return this.
func (e *Engine) ReloadWith(r api.Reloaded, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reloaded, e.reloadErr = r, err
}

// Refuse makes commands for a router fail.
func (e *Engine) Refuse(router string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refusals[router] = err
}

// Asked returns the commands that were given, such as "failover web", sorted:
// those for all routers are given at once.
func (e *Engine) Asked() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(slices.Values(e.asked))
}

// Snapshot implements api.Engine.
func (e *Engine) Snapshot() api.Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.snapshot
}

// Past implements api.Engine: the check that is refused has failed since its
// server went down, and some hours before.
func (e *Engine) Past(id pool.CheckID) []check.Streak {
	if id != refused().ID {
		return []check.Streak{{Code: check.L7OK, From: ago(30 * time.Minute), To: ago(time.Second), Results: 900}}
	}
	const why = "connection refused"
	return []check.Streak{
		{Code: check.L4TOUT, Detail: "no answer within 1s", From: ago(9 * time.Hour), To: ago(9 * time.Hour), Results: 1},
		{Code: check.L4CON, Detail: why, From: ago(8 * time.Hour), To: ago(8*time.Hour - 4*time.Second), Results: 3, Gap: true},
		{Code: check.L7OK, From: ago(7 * time.Hour), To: ago(3 * time.Minute), Results: 12000},
		{Code: check.L4CON, Detail: why, From: ago(2 * time.Minute), To: ago(1500 * time.Millisecond), Results: 60},
	}
}

// Reload implements api.Engine.
func (e *Engine) Reload(ctx context.Context) (api.Reloaded, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, "reload")
	if err := ctx.Err(); err != nil {
		return api.Reloaded{}, err
	}
	return e.reloaded, e.reloadErr
}

// Failover implements api.Engine.
func (e *Engine) Failover(ctx context.Context, router string) error {
	return e.ask(ctx, "failover", router)
}

// Resume implements api.Engine.
func (e *Engine) Resume(ctx context.Context, router string) error {
	return e.ask(ctx, "resume", router)
}

func (e *Engine) ask(ctx context.Context, what, router string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, what+" "+router)
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.refusals[router]
}
