package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/discovery"
	"baton/internal/ipvs"
	"baton/internal/speaker"
)

// Config says which configuration is in force and what became of the last
// attempt to load one.
type Config struct {
	Hash       string    // of the one in force; empty: none yet
	LastOK     bool      // the last attempt succeeded
	LastLoaded time.Time // the last success; zero: none yet
}

// Snapshot is the state that samples are made of.
type Snapshot struct {
	Routers  speaker.Status
	Balancer balancer.Status
	Sync     map[string]ipvs.SyncRole // by router that has connection_sync
	Sources  []discovery.Status
	Config   Config

	SourceNAT SourceNAT
}

// SourceNAT is the state of the nftables table for services with source_nat.
type SourceNAT struct {
	Broken  bool   // it is not as wanted
	Repairs uint64 // times that somebody else had changed it
}

// Sources are where the samples come from. The functions are called at each
// scrape, must not wait, and must be safe for concurrent use.
type Sources struct {
	Version  string // of baton
	Snapshot func() Snapshot
	// Restarts is how often the director process was started again after it had
	// ended unexpectedly.
	Restarts func() int64
	Log      *slog.Logger // nil: discard
}

// Collector makes samples and serves them from a registry of its own.
type Collector struct {
	registry *prometheus.Registry
	checks   *prometheus.HistogramVec
	log      *slog.Logger
}

// New returns a collector. It also has the usual samples of the Go runtime and
// of the process, which is the director: pulse keeps no metrics itself.
func New(s Sources) *Collector {
	c := &Collector{registry: prometheus.NewRegistry(), checks: newCheckDuration(), log: s.Log}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.registry.MustRegister(
		&scraper{sources: s, now: time.Now},
		c.checks,
		newBuildInfo(s.Version),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return c
}

// Observe takes note of the result of one check; it is made to be the Observe of
// [check.Options].
func (c *Collector) Observe(kind string, _ check.Code, took time.Duration) {
	c.checks.WithLabelValues(kind).Observe(took.Seconds())
}

// Handler answers scrapes. A sample that cannot be made does not cost the
// others; it is logged.
//
// OpenMetrics is not offered: there a counter's family is called by its name
// without _total, and baton_ipvs_connections would be one name for two families.
func (c *Collector) Handler() http.Handler {
	return promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(c.log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	})
}

func newCheckDuration() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "baton_check_duration_seconds",
		Help: "How long checks took, from connect to verdict.",
		// From a connect within the rack to the usual timeouts.
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"kind"})
}

func newBuildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "baton_build_info", Help: "The version of baton that runs; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}
