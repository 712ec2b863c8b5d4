package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"baton/internal/balancer"
	"baton/internal/discovery"
	"baton/internal/speaker"
)

// scraper makes the samples of a scrape from snapshots.
type scraper struct {
	sources Sources
	now     func() time.Time
}

// Describe names all families.
func (c *scraper) Describe(out chan<- *prometheus.Desc) {
	for _, f := range families {
		out <- f.desc
	}
	out <- advertLateness
}

// Collect makes the samples.
func (c *scraper) Collect(out chan<- prometheus.Metric) {
	s := samples{out}
	snap := c.sources.Snapshot()
	now := c.now()
	faulty := 0
	for _, r := range snap.Routers.Routers {
		s.router(r, now)
		if r.Problem != "" {
			faulty++
		}
	}
	s.add(problems, float64(faulty), "router")
	for router, role := range snap.Sync {
		s.add(syncRole, float64(role), router)
	}
	s.table(snap.Balancer)
	s.discovery(snap.Sources)
	s.sourceNAT(snap.SourceNAT)
	s.config(snap.Config)
	s.add(directorRestarts, float64(c.sources.Restarts()))
}

// samples sends samples off.
type samples struct{ out chan<- prometheus.Metric }

func (s samples) add(f family, value float64, labels ...string) {
	// An error, such as a name that is no UTF-8, becomes a sample that reports it.
	m, err := prometheus.NewConstMetric(f.desc, f.kind, value, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(f.desc, err)
	}
	s.out <- m
}

func (s samples) count(f family, value uint64, labels ...string) { s.add(f, float64(value), labels...) }

func (s samples) flag(f family, value bool, labels ...string) {
	n := 0.0
	if value {
		n = 1
	}
	s.add(f, n, labels...)
}

func (s samples) router(r speaker.RouterStatus, now time.Time) {
	name, e := r.Spec.Name, r.Election
	s.add(routerState, float64(e.State), name)
	s.add(routerPriority, float64(e.Priority), name)
	s.flag(routerAddressesHeld, r.Held, name)
	s.flag(routerResigned, e.Resigned, name)
	for to, n := range r.Transitions {
		s.count(routerTransitions, n, name, to)
	}
	if !e.LastHeard.IsZero() {
		s.add(routerAdvertAge, max(now.Sub(e.LastHeard).Seconds(), 0), name)
	}
	s.count(advertsSent, r.Sent, name)
	s.count(advertsReceived, r.Received, name)
	for reason, n := range r.Rejected {
		s.count(advertsRejected, n, name, reason)
	}
	s.count(announcements, r.Announced, name)
	s.count(rivalMasters, r.Rivals, name)
	s.count(addressConflicts, r.Conflicts, name)
	if r.Authenticated == "hmac" && r.Received > 0 {
		s.add(clockSkew, r.ClockSkew.Seconds(), name)
	}
	for _, t := range r.Tracks {
		if t.Known {
			s.flag(trackUp, t.Up, name, t.Name)
			s.add(trackWeight, float64(t.Weight), name, t.Name)
		}
	}
	s.lateness(r.Lateness, name)
}

func (s samples) lateness(l speaker.Lateness, router string) {
	buckets := make(map[float64]uint64, len(l.Buckets))
	var sum uint64
	for i, n := range l.Buckets {
		sum += n
		buckets[speaker.LatenessBounds[i]] = sum
	}
	m, err := prometheus.NewConstHistogram(advertLateness, l.Count, l.Sum, buckets, router)
	if err != nil {
		m = prometheus.NewInvalidMetric(advertLateness, err)
	}
	s.out <- m
}

func (s samples) table(t balancer.Status) {
	refused := 0
	for _, svc := range t.Services {
		s.service(svc)
		if svc.Problem != "" || svc.Lacking != "" {
			refused++
		}
	}
	s.add(problems, float64(refused), "service")
	s.flag(problems, t.Problem != "", "ipvs")
	for _, c := range t.Checks {
		s.count(checks, c.Count, c.Kind, string(c.Code))
	}
	s.count(ipvsDrift, t.Drift)
	for op, n := range t.Writes {
		s.count(ipvsWrites, n, op)
	}
	s.add(ipvsForeign, float64(len(t.Foreign)))
}

func (s samples) discovery(sources []discovery.Status) {
	failing := 0
	for _, src := range sources {
		name := src.Kind + " " + src.Target
		s.add(discoveryServers, float64(src.Servers), src.Service, name)
		s.add(discoveryHeld, float64(src.Held), src.Service, name)
		s.flag(discoveryUp, src.Error == "" && !src.LastSuccess.IsZero(), src.Service, name)
		s.count(discoveryFailures, src.Failures, src.Service, name)
		if !src.LastSuccess.IsZero() {
			s.add(discoveryLastSuccess, float64(src.LastSuccess.UnixMilli())/1000, src.Service, name)
		}
		if src.Problem() != "" {
			failing++
		}
	}
	s.add(problems, float64(failing), "source")
}

func (s samples) sourceNAT(n SourceNAT) {
	s.flag(problems, n.Broken, "source_nat")
	s.count(sourceNATRepairs, n.Repairs)
}

func (s samples) service(svc balancer.ServiceStatus) {
	s.flag(serviceUp, svc.Up, svc.Name)
	s.flag(serviceProgrammed, !svc.Standby, svc.Name)
	s.count(serviceQuorumWeight, svc.Weight, svc.Name)
	s.count(serviceQuorumMin, svc.Quorum.Min, svc.Name)
	s.flag(serviceFallbackActive, svc.FallbackActive, svc.Name)
	s.flag(servicePanic, svc.Panic, svc.Name)
	s.flag(serviceBackupsActive, svc.BackupsServe, svc.Name)
	for _, srv := range svc.Servers {
		s.server(svc, srv)
	}
	// The fallback may also be an ordinary server of the service.
	if f := svc.FallbackServer; f != nil && !has(svc, f) {
		s.server(svc, *f)
	}
}

func has(svc balancer.ServiceStatus, f *balancer.ServerStatus) bool {
	for _, srv := range svc.Servers {
		if srv.Address == f.Address {
			return true
		}
	}
	return false
}

func (s samples) server(svc balancer.ServiceStatus, srv balancer.ServerStatus) {
	service, at := svc.Name, srv.Address.String()
	s.flag(serverUp, srv.State == balancer.Up, service, at)
	s.add(serverWeight, float64(srv.KernelWeight)/float64(max(svc.Factor, 1)), service, at)
	s.flag(serverMaintenance, srv.Held != "" || srv.Override != nil && srv.Override.State != "", service, at)
	s.add(ipvsConnections, float64(srv.Active), service, at, "active")
	s.add(ipvsConnections, float64(srv.Inactive), service, at, "inactive")
	s.count(ipvsConnectionsTotal, srv.Stats.Connections, service, at, "in")
	s.count(ipvsPackets, srv.Stats.InPackets, service, at, "in")
	s.count(ipvsPackets, srv.Stats.OutPackets, service, at, "out")
	s.count(ipvsBytes, srv.Stats.InBytes, service, at, "in")
	s.count(ipvsBytes, srv.Stats.OutBytes, service, at, "out")
}

func (s samples) config(c Config) {
	if c.Hash != "" {
		s.add(configHash, 1, c.Hash)
	}
	s.flag(configLastReloadOK, c.LastOK)
	if !c.LastLoaded.IsZero() {
		s.add(configLastReloadTime, float64(c.LastLoaded.UnixMilli())/1000)
	}
}
