package director

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"baton/internal/api"
	"baton/internal/check"
	"baton/internal/link"
	"baton/internal/metrics"
	"baton/internal/pool"
)

var _ api.Engine = (*Director)(nil)

// statusMaxAge is when a status of the routers is too old to be believed: pulse
// sends one every two seconds.
const statusMaxAge = 5 * time.Second

// Snapshot returns the present state.
func (d *Director) Snapshot() api.Snapshot {
	d.mu.Lock()
	cfg := d.cfg
	out := api.Snapshot{
		Node: cfg.Node, Version: d.opts.Version,
		Config: api.ConfigStatus{
			Path: cfg.Path, Hash: cfg.Hash, Loaded: d.loaded,
			LastError: d.lastError, LastErrorAt: d.lastErrorAt,
		},
		Problems: slices.Clone(d.process),
	}
	d.mu.Unlock()
	if out.Node == "" {
		out.Node, _ = os.Hostname() // empty is shown as it is
	}
	out.Balancer = d.balancer.Status()
	out.Absent = d.operator.shown()
	out.Sources = d.discovered.Status()
	out.Sync = d.sync.shown()
	out.Problems = append(out.Problems, d.settings.shown()...)
	out.Problems = append(out.Problems, d.marks.shown()...)
	if problem, _ := d.nat.shown(); problem != "" {
		out.Problems = append(out.Problems, problem)
	}
	if len(out.Balancer.Services) == 0 && len(cfg.Balancer.Services) > 0 {
		out.NotReady = append(out.NotReady, "the kernel's virtual server table has not been looked at yet")
	}
	status := d.pulse.fresh()
	switch {
	case status == nil:
		out.NotReady = append(out.NotReady, "the routers have not reported yet")
	case time.Since(status.At) > statusMaxAge:
		out.Routers = status.Routers
		out.Problems = append(out.Problems, fmt.Sprintf(
			"pulse has not reported for %s: the state of the routers below is old", time.Since(status.At).Round(time.Second)))
	default:
		out.Routers = status.Routers
	}
	return out
}

// Past returns what is remembered of a check's results.
func (d *Director) Past(id pool.CheckID) []check.Streak { return d.balancer.Past(id) }

// measure returns the present state for a scrape.
func (d *Director) measure() metrics.Snapshot {
	s := d.Snapshot()
	problem, repairs := d.nat.shown()
	s.Balancer.Drift += d.sync.losses()
	return metrics.Snapshot{
		Routers: s.Routers, Balancer: s.Balancer, Sync: d.sync.roles(), Sources: s.Sources,
		SourceNAT: metrics.SourceNAT{Broken: problem != "", Repairs: repairs},
		Config:    metrics.Config{Hash: s.Config.Hash, LastOK: s.Config.LastError == "", LastLoaded: s.Config.Loaded},
	}
}

// Failover hands the addresses of a router to a peer.
func (d *Director) Failover(ctx context.Context, router string) error {
	return d.tellPulse(ctx, link.Failover, router, "handed over and stands back, at an operator's wish")
}

// Resume makes a router take part again.
func (d *Director) Resume(ctx context.Context, router string) error {
	return d.tellPulse(ctx, link.Resume, router, "takes part again, at an operator's wish")
}

func (d *Director) tellPulse(ctx context.Context, action link.Action, router, done string) error {
	d.log.Info("operator's command", "action", string(action), "router", router)
	if err := d.pulse.command(ctx, action, router); err != nil {
		d.log.Warn("operator's command was not carried out", "action", string(action), "router", router, "error", err)
		return err
	}
	d.event(api.Event{Kind: api.KindRouter, Name: router, From: "", To: string(action), Reason: done})
	return nil
}

// dump writes the whole state to the log, as one line of JSON.
func (d *Director) dump() {
	b, err := json.Marshal(api.FromSnapshot(d.Snapshot(), time.Now()))
	if err != nil {
		d.log.Error("the state could not be written", "error", err)
		return
	}
	d.log.Info("state", "status", json.RawMessage(b))
}
