package director

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/config"
	"baton/internal/link"
	"baton/internal/metrics"
	"baton/internal/notify"
	"baton/internal/speaker"
	"baton/internal/track"
)

// Options are what a director needs beside its configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	SetLog  func(level slog.Level, format string) // of Log; follows the configuration
	Link    *link.Conn
	// LastGood is the file in which an earlier director of the same pulse kept
	// its configuration; it serves if the file at path is broken by now. Empty:
	// there was none.
	LastGood string
	Heir     speaker.Heir // carries out the will
	// Began is called once, from a goroutine of its own, when the kernel has been told
	// of the services or cannot be; nil: nobody wants to know.
	Began func()
}

// Director is one director. See [New].
type Director struct {
	opts    Options
	log     *slog.Logger
	path    string
	store   store
	history *history
	pulse   *pulseLink

	runner     *check.Runner
	balancer   *balancer.Balancer
	discovered *discoverer
	tracker    *track.Tracker
	tracks     trackBook
	// tracksServices: some router tracks a service.
	tracksServices atomic.Bool
	sync           *syncKeeper
	owners         *owners
	settings       *settings
	nat            *natKeeper
	operator       *operator
	marks          *marks
	scripts        *notify.Scripts
	quorums        *quorumKeeper
	collector      *metrics.Collector
	api            *api.Server
	control        *serving // the API on its unix socket
	scrape         *serving // metrics over TCP; nil: off

	reloading sync.Mutex // held during a reload: one at a time

	mu          sync.Mutex
	cfg         *config.Config
	loaded      time.Time // when cfg came into force
	lastError   string    // of the last attempt to load; empty: it succeeded
	lastErrorAt time.Time
	process     []string // what happened to the processes, for the problems in status
}

// New reads the configuration and builds everything, but starts nothing. A
// [config.Errors] in the error means that the configuration is invalid.
func New(path string, opts Options) (*Director, error) {
	d := &Director{opts: opts, log: opts.Log, path: path}
	cfg, err := config.Load(path, config.Options{})
	if err != nil && opts.LastGood != "" {
		cfg, err = d.lastGood(err)
	}
	if err != nil {
		return nil, err
	}
	d.opts.SetLog(cfg.Log.Level, string(cfg.Log.Format))
	d.warn(cfg)
	d.cfg = cfg
	d.loaded = time.Now()
	d.store = store{dir: cfg.StateDir}
	if err := d.store.sweep(); err != nil {
		d.log.Warn("what a crash has left in the state directory could not be removed", "error", err)
	}
	d.history = openHistory(d.store, d.log)
	d.pulse = newPulseLink(opts.Link, d.log)
	if err := d.build(cfg); err != nil {
		return nil, errors.Join(err, d.history.close())
	}
	return d, nil
}
