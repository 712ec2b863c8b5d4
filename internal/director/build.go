package director

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/config"
	"baton/internal/metrics"
	"baton/internal/notify"
	"baton/internal/pool"
	"baton/internal/speaker"
	"baton/internal/track"
)

// build makes the parts for a configuration. What it opens is closed by close.
func (d *Director) build(cfg *config.Config) error {
	d.collector = metrics.New(metrics.Sources{
		Version: d.opts.Version, Snapshot: d.measure, Restarts: d.pulse.restarts.Load, Log: d.log,
	})
	d.runner = check.NewRunner(check.Options{Observe: d.collector.Observe, Log: d.log})
	owned, err := d.store.owned()
	if err != nil {
		// Without the list, services left by an earlier run look foreign.
		d.log.Warn("what an earlier run left in the kernel is not known", "error", err)
	}
	var drains []balancer.Drain
	if _, err := d.store.load(drainsFile, &drains); err != nil {
		d.log.Warn("since when servers drain is not known; their time counts from now", "error", err)
	}
	d.discovered = d.newDiscoverer()
	d.discovered.configure(cfg)
	full := d.discovered.fill(cfg)
	operator, lost := newOperator(d.store, d.log, d.event, time.Now())
	if lost != "" {
		d.process = append(d.process, lost)
	}
	d.marks = newMarks(d.log)
	d.marks.configure(full) // before the first server gets a client
	operator.hold = d.marks.reason
	d.balancer = balancer.New(balancer.Options{
		Open: d.openIPVS, Runner: d.runner, Owned: owned, OnOwned: d.keepOwned, OnTransition: d.poolChanged,
		OnDrift: d.tableDrifted, Log: d.log, Drains: drains, OnDrains: d.keepDrains, ClientsReturn: clientsReturn,
		Wishes: operator.wishes(),
	}, full.Balancer)
	operator.wish, operator.status = d.balancer.Wish, d.balancer.Status
	d.marks.changed, d.marks.status = operator.again, d.balancer.Last
	d.operator = operator
	d.tracks.states = map[string][]speaker.TrackState{}
	d.tracker = track.New(track.Options{Sink: d.tracked, Log: d.log})
	d.sync = d.newSync(cfg)
	d.owners = newOwners(d.pulse.status.Load, d.balancer.SetRouters)
	d.settings = d.newSettings()
	d.nat = d.newNAT()
	d.scripts = notify.New(d.log)
	d.quorums = newQuorumKeeper(d.scripts.Tell)
	d.api = api.NewServer(api.Options{
		Engine: d, Journal: d.history.journal, Metrics: d.collector.Handler(), Log: d.log,
	})
	control, err := api.Listen(cfg.API.Socket)
	if err != nil {
		return err
	}
	d.control = newServing(control, d.api.Serve)
	if cfg.Metrics.Listen != "" {
		if d.scrape, err = d.openScrape(cfg.Metrics.Listen); err != nil {
			return errors.Join(err, d.control.close())
		}
	}
	d.settings.configure(full, time.Now())
	d.quorums.configure(cfg)
	return nil
}

func (d *Director) keepOwned(keys []pool.Key) {
	if err := d.store.save(ownedFile, keys); err != nil {
		d.log.Warn("the list of our services could not be kept; after a crash, those that are no longer "+
			"configured will look foreign", "error", err)
	}
}

func (d *Director) keepDrains(drains []balancer.Drain) {
	if err := d.store.save(drainsFile, drains); err != nil {
		d.log.Warn("since when servers drain could not be kept; after a restart their time begins anew", "error", err)
	}
}

// poolChanged enters a transition of a service or server into the history; the
// balancer has logged it.
func (d *Director) poolChanged(t balancer.Transition) {
	e := api.Event{At: t.At, Kind: api.KindService, Name: t.Service, From: t.From, To: t.To, Reason: t.Reason}
	if t.Server != "" {
		e.Kind, e.Server = api.KindServer, t.Server
	}
	d.event(e)
	d.quorums.transition(t)
}

// tableDrifted enters into the history what somebody else had done to the kernel's
// table; the balancer has counted it and written it to the log.
func (d *Director) tableDrifted(drift balancer.Drift) {
	d.event(api.Event{
		At: drift.At, Kind: api.KindTable, Name: "table",
		From: "changed by somebody else", To: drift.Outcome(), Reason: drift.String(),
	})
}

// openScrape opens the listener for Prometheus.
func (d *Director) openScrape(address string) (*serving, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics on %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", d.collector.Handler())
	return newServing(l, func(ctx context.Context, l net.Listener) error {
		hs := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
		defer context.AfterFunc(ctx, func() { _ = hs.Close() })()
		if err := hs.Serve(l); ctx.Err() == nil {
			return fmt.Errorf("serve metrics on %s: %w", l.Addr(), err)
		}
		return nil
	}), nil
}

// serving is a listener and what serves it.
type serving struct {
	listener net.Listener
	serve    func(context.Context, net.Listener) error

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

func newServing(l net.Listener, serve func(context.Context, net.Listener) error) *serving {
	return &serving{listener: l, serve: serve}
}

// start serves in the background; failed hears of an end that was not asked for.
func (s *serving) start(failed func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.mu.Lock()
	s.cancel, s.done = cancel, done
	s.mu.Unlock()
	go func() {
		defer close(done)
		if err := s.serve(ctx, s.listener); err != nil && ctx.Err() == nil {
			failed(err)
		}
	}()
}

// close ends the serving and closes the listener.
func (s *serving) close() error {
	s.mu.Lock()
	cancel, done := s.cancel, s.done
	s.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
