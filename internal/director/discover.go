package director

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"baton/internal/api"
	"baton/internal/config"
	"baton/internal/discovery"
	"baton/internal/pool"
)

const discoveredFile = "discovered.json"

// discoverGap is the least time between two changes of the services by what sources
// have found: the changes of many sources together are one.
const discoverGap = 200 * time.Millisecond

// discoverer adds to the services of the configuration the servers that their
// sources have found.
type discoverer struct {
	*discovery.Discovery
	keep func([]discovery.Saved) error
	log  *slog.Logger

	mu     sync.Mutex
	grown  map[sourceKey]grown // what was made of the servers of a source last
	twice  map[string]bool     // servers that are there already, of which it was said
	kept   []discovery.Saved   // without times
	broken bool                // keeping failed, which was said
}

type sourceKey struct{ service, source string }

// grown is what a template has made of found servers.
type grown struct {
	template config.Template
	found    []discovery.Server
	expanded config.Expanded
}

// newDiscoverer returns one without sources.
func (d *Director) newDiscoverer() *discoverer {
	var saved []discovery.Saved
	if _, err := d.store.load(discoveredFile, &saved); err != nil {
		d.log.Warn("the servers that sources had named are not known; they join again when their source answers", "error", err)
		saved = nil
	}
	return &discoverer{
		Discovery: discovery.New(discovery.Options{
			Parse: config.ParseServers, Saved: saved, OnChange: d.sourceChanged, Log: d.log,
		}),
		keep: func(s []discovery.Saved) error { return d.store.save(discoveredFile, s) },
		log:  d.log, grown: map[sourceKey]grown{}, twice: map[string]bool{},
	}
}

// sourceChanged enters a change of the servers of a source into the history; the
// source has logged it.
func (d *Director) sourceChanged(c discovery.Change) {
	d.event(api.Event{At: c.At, Kind: api.KindService, Name: c.Service, From: c.Source, To: "servers changed", Reason: c.Text})
}

// configure has the sources of a configuration asked.
func (d *discoverer) configure(cfg *config.Config) {
	var wants []discovery.Want
	for _, of := range cfg.Sources {
		// The share of servers that a service wants to keep whatever its checks say is
		// what it wants to keep whatever its sources say.
		i := slices.IndexFunc(cfg.Balancer.Services, func(s pool.Service) bool { return s.Name == of.Service })
		keep := int(cfg.Balancer.Services[i].PanicThreshold)
		for _, source := range of.List {
			wants = append(wants, discovery.Want{
				Service: of.Service, Source: source, Keep: keep,
				Accept: func(found []discovery.Server) ([]discovery.Server, []string) {
					e := of.Template.Expand(source, found)
					return e.Usable, e.Refused
				},
			})
		}
	}
	d.Set(wants)
}

// fill returns the configuration with the servers that were found. Those that it
// names itself come first: of two with the same address the first one counts.
func (d *discoverer) fill(cfg *config.Config) *config.Config {
	if len(cfg.Sources) == 0 {
		return cfg
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	found := map[sourceKey][]discovery.Server{}
	for _, f := range d.Found() {
		found[sourceKey{f.Service, f.Source}] = f.Servers
	}
	out := *cfg
	out.Balancer.Services, out.Balancer.Jobs = slices.Clone(cfg.Balancer.Services), maps.Clone(cfg.Balancer.Jobs)
	now := make(map[sourceKey]grown, len(found))
	for _, of := range cfg.Sources {
		i := slices.IndexFunc(out.Balancer.Services, func(s pool.Service) bool { return s.Name == of.Service })
		service := &out.Balancer.Services[i]
		for _, source := range of.List {
			key := sourceKey{of.Service, source.String()}
			now[key] = d.grow(key, of.Template, source, found[key])
			maps.Copy(out.Balancer.Jobs, now[key].expanded.Jobs)
		}
		service.Servers = d.join(of, service.Servers, now)
	}
	d.grown = now
	return &out
}

// join returns the servers of a service: those of the configuration, and those of
// its sources that are not among the ones before.
func (d *discoverer) join(of config.Sources, servers []pool.Server, now map[sourceKey]grown) []pool.Server {
	servers = slices.Clip(servers) // the configuration's own are not written over
	seen := make(map[netip.AddrPort]string, len(servers))
	for _, s := range servers {
		seen[s.AddrPort()] = "the configuration"
	}
	for _, source := range of.List {
		for _, s := range now[sourceKey{of.Service, source.String()}].expanded.Servers {
			if first := seen[s.AddrPort()]; first != "" {
				d.sayTwice(of.Service, s.AddrPort(), source.String(), first)
				continue
			}
			seen[s.AddrPort()] = source.String()
			servers = append(servers, s)
		}
	}
	return servers
}

// grow makes servers of what a source has found, unless that was done before.
func (d *discoverer) grow(key sourceKey, t config.Template, source discovery.Source, found []discovery.Server) grown {
	g, known := d.grown[key]
	if known && slices.EqualFunc(g.found, found, discovery.Server.Equal) && reflect.DeepEqual(g.template, t) {
		return g
	}
	return grown{template: t, found: found, expanded: t.Expand(source, found)}
}

// sayTwice says once that a server was found that is there already.
func (d *discoverer) sayTwice(service string, server netip.AddrPort, source, first string) {
	key := strings.Join([]string{service, server.String(), source, first}, "\x00")
	if d.twice[key] || len(d.twice) >= discovery.MaxServers {
		return
	}
	d.twice[key] = true
	d.log.Info("a source names a server that the service has already; the first one counts",
		"service", service, "server", server.String(), "source", source, "first", first)
}

// save keeps the servers for the next run, where they have changed.
func (d *discoverer) save() {
	d.mu.Lock()
	defer d.mu.Unlock()
	saved := d.Saved()
	plain := slices.Clone(saved)
	for i := range plain {
		plain[i].At = time.Time{}
	}
	if reflect.DeepEqual(plain, d.kept) {
		return
	}
	if err := d.keep(saved); err != nil {
		if !d.broken {
			d.log.Warn("the servers that sources name could not be kept; after a restart they join when their source answers", "error", err)
		}
		d.broken = true
		return
	}
	d.kept, d.broken = plain, false
}

// rediscover puts what the sources have found into force, again and again until ctx
// ends.
func (d *Director) rediscover(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.discovered.Changed():
		}
		d.adopt(ctx)
		d.discovered.save()
		select {
		case <-ctx.Done():
			return
		case <-time.After(discoverGap):
		}
	}
}

// adopt puts the servers that were found into force.
func (d *Director) adopt(ctx context.Context) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	d.mu.Lock()
	cfg := d.cfg
	d.mu.Unlock()
	full := d.discovered.fill(cfg)
	now := time.Now()
	d.settings.configure(full, now)
	d.nat.configure(full, now)
	d.marks.configure(full)
	if err := d.balancer.Reload(ctx, full.Balancer); err != nil && ctx.Err() == nil {
		d.log.Error("the servers that sources have found could not be put into force", "error", err)
	}
	d.operator.review(ctx, now.Round(0))
}
