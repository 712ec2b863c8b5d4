package director

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"baton/internal/api"
	"baton/internal/config"
	"baton/internal/link"
	"baton/internal/speaker"
)

// errPulseGone ends the director after pulse died.
var errPulseGone = errors.New("pulse died")

// stopLimit bounds what a planned stop does in the kernel.
const stopLimit = 15 * time.Second

// Run works until pulse says stop, which is a nil error, or dies.
func (d *Director) Run(ctx context.Context) error {
	defer d.close()
	if err := d.greet(); err != nil {
		return err
	}
	work, stopWork := context.WithCancel(ctx)
	defer stopWork()
	d.nat.configure(d.discovered.fill(d.cfg), time.Now()) // before the services: it decides at the first packet of a connection
	balancer := make(chan error, 1)
	go func() { balancer <- d.balancer.Run(work) }()
	d.track(d.cfg.Tracks)
	var tracking sync.WaitGroup
	tracking.Go(func() { _ = d.tracker.Run(work) }) // always nil
	tracking.Go(func() { d.watchQuorums(work) })
	tracking.Go(func() { d.began(work) })
	tracking.Go(func() { d.sync.run(work) })
	tracking.Go(func() { d.owners.run(work) })
	tracking.Go(func() { d.settings.run(work) })
	tracking.Go(func() { d.nat.run(work) })
	tracking.Go(func() { d.operator.run(work) })
	tracking.Go(func() { d.marks.run(work) })
	tracking.Go(func() { d.quorums.run(work, d.balancer.Status) })
	tracking.Go(func() { _ = d.discovered.Run(work) }) // always nil
	tracking.Go(func() { d.rediscover(work) })
	defer tracking.Wait()
	defer stopWork()
	if d.scrape != nil {
		d.scrape.start(d.servingFailed)
	}
	d.control.start(d.servingFailed) // last: from now on a reload may come in

	ended := make(chan error, 1)
	go func() { ended <- d.pulse.listen(d) }()
	var err error
	select {
	case err = <-ended:
		switch {
		case err == nil:
			err = d.withdraw()
		case errors.Is(err, errOtherVersion):
			// Pulse lives, and keeps its routers.
		default:
			d.executeWill()
			err = errPulseGone
		}
	case <-ctx.Done():
	}
	stopWork()
	return errors.Join(err, <-balancer)
}

// began does what can wait until the services are in the kernel.
func (d *Director) began(ctx context.Context) {
	select {
	case <-d.balancer.Begun():
	case <-ctx.Done(): // it is the last good one all the same
	}
	d.reloading.Lock() // which keeps the configuration that it brings
	d.mu.Lock()
	cfg := d.cfg
	d.mu.Unlock()
	d.keepGood(cfg)
	d.reloading.Unlock()
	if d.opts.Began != nil {
		d.opts.Began()
	}
}

// greet tells pulse who we are and which routers it has to run.
func (d *Director) greet() error {
	if err := d.pulse.hello(); err != nil {
		return err
	}
	return d.configurePulse(d.cfg)
}

func (d *Director) configurePulse(cfg *config.Config) error {
	return d.pulse.configure(link.Configure{
		Routers: cfg.Routers, Groups: cfg.SyncGroups, LogLevel: cfg.Log.Level, LogFormat: string(cfg.Log.Format),
		LastGood: d.store.path(lastGoodFile),
	})
}

// withdraw is the planned stop: the addresses are with the peer already.
func (d *Director) withdraw() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	d.event(api.Event{Kind: api.KindProcess, Name: "director", From: "running", To: "stopped", Reason: "planned stop"})
	d.mu.Lock()
	withdraw := d.cfg.Balancer.Withdraw
	d.mu.Unlock()
	// The services go after the sync daemon: they serve what still comes while the
	// peers are told of the last connections.
	if err := errors.Join(d.sync.stop(ctx, withdraw), d.balancer.Stop(ctx), d.nat.stop(withdraw)); err != nil {
		return fmt.Errorf("planned stop: %w", err)
	}
	return nil
}

// executeWill does for the dead pulse what it would have done itself.
func (d *Director) executeWill() {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	will := d.pulse.lastWill()
	err := will.Execute(ctx, d.opts.Heir)
	took := time.Since(start).Round(100 * time.Microsecond).String()
	reason := fmt.Sprintf("pulse died; its will is executed: %d adverts with priority 0 sent, %d addresses removed in %s",
		len(will.Adverts), will.Addresses(), took)
	if err != nil {
		reason = fmt.Sprintf("pulse died, and its will could not be executed completely: %v", err)
	}
	d.log.Error("pulse is gone", "reason", reason)
	d.event(api.Event{Kind: api.KindProcess, Name: "pulse", From: "running", To: "dead", Reason: reason})
}

func (d *Director) close() {
	d.reloading.Lock() // and never unlocked: no reload may come in any more
	for _, s := range []*serving{d.control, d.scrape} {
		if s == nil {
			continue
		}
		if err := s.close(); err != nil {
			d.log.Warn("closing a listener failed", "error", err)
		}
	}
	d.scripts.Close()
	if err := d.history.close(); err != nil {
		d.log.Warn("closing the event history failed", "error", err)
	}
}

// event enters something that happened into the history.
func (d *Director) event(e api.Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	d.history.add(e)
}

// greeted takes pulse's first message.
func (d *Director) greeted(h link.Hello) {
	if h.Restarts == 0 {
		d.event(api.Event{Kind: api.KindProcess, Name: "director", From: "", To: "running", Reason: "started"})
		return
	}
	reason := fmt.Sprintf("restarted after the director before it ended: %s", h.LastExit)
	d.log.Warn("this director is not the first one", "restarts", h.Restarts, "last_exit", h.LastExit)
	d.event(api.Event{Kind: api.KindProcess, Name: "director", From: "dead", To: "running", Reason: reason})
}

// routerChanged takes a transition of a router.
func (d *Director) routerChanged(t speaker.Transition) {
	d.owners.transition(t)
	d.sync.transition(t)
	d.event(api.Event{
		At: t.At, Kind: api.KindRouter, Name: t.Router,
		From: t.From.String(), To: t.To.String(), Reason: t.Reason,
	})
}

// routerNoticed takes something else that happened to a router.
func (d *Director) routerNoticed(n speaker.Notice) {
	d.event(api.Event{At: n.At, Kind: api.KindRouter, Name: n.Router, From: n.From, To: n.To, Reason: n.Reason})
}

// order carries out what pulse forwards from the service manager.
func (d *Director) order(o link.Order) {
	switch o {
	case link.OrderReload:
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), reloadLimit)
			defer cancel()
			_, err := d.Reload(ctx)
			d.pulse.reloaded(err)
		}()
	case link.OrderDump:
		d.dump()
	default:
		d.log.Warn("pulse orders something unknown; restart baton to finish the upgrade", "order", string(o))
	}
}

// ended reports whether an error of the link is the peer's death.
func ended(err error) bool { return errors.Is(err, io.EOF) }
