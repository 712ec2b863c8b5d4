// Package apitest has a daemon that exists on paper only, for tests of the API
// and of the command line.
package apitest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
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
	by        string // who asked last for an override
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

// Forget forgets which commands were given.
func (e *Engine) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = nil
}

// By returns who asked last for an override.
func (e *Engine) By() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.by
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

// Override implements api.Engine. It changes the state that is shown; draining
// takes until the next [Engine.Change].
func (e *Engine) Override(ctx context.Context, c api.OverrideCommand) (api.OverrideDone, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked := fmt.Sprintf("%s %s:", c.Service, c.Server)
	if c.Reset {
		asked += " reset"
	}
	if c.State != "" {
		asked += " " + c.State
	}
	if c.Weight != nil {
		asked += fmt.Sprintf(" weight %d", *c.Weight)
	}
	if c.Reason != "" {
		asked += " (" + c.Reason + ")"
	}
	e.asked, e.by = append(e.asked, asked), c.By
	if err := errors.Join(ctx.Err(), e.refusals[c.Service]); err != nil {
		return api.OverrideDone{}, err
	}
	return api.OverrideDone{Changed: true, Notes: e.override(c)}, nil
}

// override shows a server as the command wants it. The snapshot before stays as it
// was.
func (e *Engine) override(c api.OverrideCommand) (notes []string) {
	services := slices.Clone(e.snapshot.Balancer.Services)
	e.snapshot.Balancer.Services = services
	for i := range services {
		if services[i].Name != c.Service {
			continue
		}
		services[i].Servers = slices.Clone(services[i].Servers)
		for n := range services[i].Servers {
			srv := &services[i].Servers[n]
			if srv.Address != c.Server {
				continue
			}
			o := balancer.Override{Service: c.Service, Server: c.Server}
			note := balancer.Note{By: "alice", At: Now, Reason: c.Reason}
			switch c.State {
			case api.ServerEnabled:
				srv.State, srv.Drained, srv.InKernel = balancer.Up, false, true
			case api.ServerDraining, api.ServerDisabled:
				o.State, o.Stated = balancer.ServerState(c.State), note
				srv.State, srv.Weight, srv.Reason = o.State, 0, o.String()
				srv.InKernel = o.State == balancer.Draining
				notes = []string{"it was the last live server of service " + c.Service + ": nobody serves now"}
			}
			if c.Weight != nil {
				o.Weight, o.Weighed = c.Weight, note
				srv.Weight = *c.Weight
			}
			if srv.Override = &o; o.State == "" && o.Weight == nil {
				srv.Override = nil
			}
		}
	}
	return notes
}

// Drained makes the servers of a service that drain leave the table.
func (e *Engine) Drained(service string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	services := slices.Clone(e.snapshot.Balancer.Services)
	e.snapshot.Balancer.Services = services
	for i := range services {
		services[i].Servers = slices.Clone(services[i].Servers)
		for n := range services[i].Servers {
			if srv := &services[i].Servers[n]; services[i].Name == service && srv.State == balancer.Draining {
				srv.Drained, srv.InKernel, srv.Active, srv.Inactive = true, false, 0, 0
			}
		}
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
