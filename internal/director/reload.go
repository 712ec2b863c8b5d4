package director

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"baton/internal/api"
	"baton/internal/config"
	"baton/internal/pool"
	"baton/internal/speaker"
)

// reloadLimit bounds a reload.
const reloadLimit = time.Minute

// Reload reads the configuration again and applies what changed. Everything that
// can fail is done first; when it fails, nothing has changed.
func (d *Director) Reload(ctx context.Context) (api.Reloaded, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	cfg, err := config.Load(d.path, config.Options{})
	if err != nil {
		return api.Reloaded{}, d.refuse(err)
	}
	d.mu.Lock()
	old := d.cfg
	d.mu.Unlock()
	cfg.Balancer.Reuse(old.Balancer)
	if old.StateDir != cfg.StateDir {
		return api.Reloaded{}, d.refuse(fmt.Errorf(
			"state_dir cannot be changed from %s to %s by a reload: restart baton", old.StateDir, cfg.StateDir))
	}
	anew, err := d.listenAnew(old, cfg)
	if err != nil {
		return api.Reloaded{}, d.refuse(err)
	}

	changes := differences(old, cfg)
	if !reflect.DeepEqual(old.Routers, cfg.Routers) || !reflect.DeepEqual(old.SyncGroups, cfg.SyncGroups) || old.Log != cfg.Log {
		if err := d.configurePulse(cfg); err != nil {
			return api.Reloaded{}, d.refuse(errors.Join(err, d.discard(anew)))
		}
	}
	d.opts.SetLog(cfg.Log.Level, string(cfg.Log.Format))
	d.tellTracks()
	d.track(cfg.Tracks)
	d.sync.configure(cfg)
	d.discovered.configure(cfg)
	full := d.discovered.fill(cfg)
	d.settings.configure(full, time.Now())
	d.nat.configure(full, time.Now())
	moved := d.marks.configure(full) // before the servers come that it concerns
	d.quorums.configure(cfg)
	if err := d.balancer.Reload(ctx, full.Balancer); err != nil {
		return api.Reloaded{}, d.refuse(errors.Join(fmt.Errorf("reload the services: %w", err), d.discard(anew)))
	}
	if moved {
		_ = d.operator.again(ctx) // its error is that of a balancer that has ended
	}
	d.operator.review(ctx, time.Now().Round(0))
	d.mu.Lock()
	d.cfg, d.loaded = cfg, time.Now()
	d.lastError, d.lastErrorAt = "", time.Time{}
	out := api.Reloaded{Hash: cfg.Hash, At: d.loaded, Changed: len(changes) > 0, Changes: changes}
	d.mu.Unlock()
	d.keepGood(cfg)
	d.discovered.save()
	d.swap(&d.control, anew.control)
	d.swap(&d.scrape, anew.scrape)
	summary := "nothing changed"
	if out.Changed {
		summary = strings.Join(changes, ", ")
	}
	d.warn(cfg)
	d.log.Info("configuration reloaded", "path", cfg.Path, "hash", cfg.Hash, "changes", summary)
	d.event(api.Event{Kind: api.KindConfig, Name: cfg.Path, From: old.Hash, To: cfg.Hash, Reason: summary})
	return out, nil
}

// warn logs what is valid in a configuration but questionable.
func (d *Director) warn(cfg *config.Config) {
	for _, w := range cfg.Warnings {
		d.log.Warn("questionable in the configuration", "at", fmt.Sprintf("%s:%d:%d", w.File, w.Line, w.Column), "warning", w.Message)
	}
}

// refuse notes that a reload failed; everything stays as it was.
func (d *Director) refuse(err error) error {
	d.mu.Lock()
	hash := d.cfg.Hash
	d.lastError, d.lastErrorAt = err.Error(), time.Now()
	d.mu.Unlock()
	var mistakes config.Errors
	if !errors.As(err, &mistakes) {
		d.log.Error("reload refused; everything stays as it was", "error", err)
		d.event(api.Event{Kind: api.KindConfig, Name: d.path, From: hash, To: hash, Reason: "reload refused: " + err.Error()})
		return err
	}
	invalid := &api.InvalidConfigError{Path: d.path}
	for _, m := range mistakes {
		d.log.Error("reload refused: mistake in the configuration", "at", fmt.Sprintf("%s:%d:%d", m.File, m.Line, m.Column), "error", m.Message)
		invalid.Mistakes = append(invalid.Mistakes, m.Error())
	}
	d.event(api.Event{
		Kind: api.KindConfig, Name: d.path, From: hash, To: hash,
		Reason: fmt.Sprintf("reload refused: %d mistakes, the first: %s", len(mistakes), mistakes[0].Error()),
	})
	return invalid
}

// listeners are those that a configuration asks for.
type listeners struct{ control, scrape *serving }

// listenAnew opens the listeners whose address changed; the others are those that
// there are.
func (d *Director) listenAnew(old, cfg *config.Config) (l listeners, err error) {
	l = listeners{d.control, d.scrape}
	if old.API.Socket != cfg.API.Socket {
		socket, err := api.Listen(cfg.API.Socket)
		if err != nil {
			return l, err
		}
		l.control = newServing(socket, d.api.Serve)
	}
	if old.Metrics.Listen != cfg.Metrics.Listen {
		l.scrape = nil
		if cfg.Metrics.Listen != "" {
			if l.scrape, err = d.openScrape(cfg.Metrics.Listen); err != nil {
				return l, errors.Join(err, d.discard(l))
			}
		}
	}
	return l, nil
}

// discard closes the listeners that are not in use.
func (d *Director) discard(l listeners) error {
	var errs []error
	if l.control != d.control {
		errs = append(errs, l.control.close())
	}
	if l.scrape != nil && l.scrape != d.scrape {
		errs = append(errs, l.scrape.close())
	}
	return errors.Join(errs...)
}

func (d *Director) swap(slot **serving, next *serving) {
	old := *slot
	if old == next {
		return
	}
	*slot = next
	if next != nil {
		next.start(d.servingFailed)
	}
	if old == nil {
		return
	}
	// In the background: the reload may have come in through the old one.
	go func() {
		if err := old.close(); err != nil {
			d.log.Warn("closing a listener failed", "error", err)
		}
	}()
}

func (d *Director) servingFailed(err error) {
	d.log.Error("a listener failed; reload to open it again", "error", err)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.process = append(d.process, err.Error())
}

// differences says in words what a configuration changes.
func differences(old, cfg *config.Config) []string {
	out := changed("router", old.Routers, cfg.Routers, func(r speaker.Router) string { return r.Name })
	out = append(out, changed("sync group", old.SyncGroups, cfg.SyncGroups, func(g speaker.SyncGroup) string { return g.Name })...)
	out = append(out, changed("service", old.Balancer.Services, cfg.Balancer.Services,
		func(s pool.Service) string { return s.Name })...)
	out = append(out, changed("sources of service", old.Sources, cfg.Sources,
		func(s config.Sources) string { return s.Service })...)
	out = append(out, changed("connection sync of router", old.ConnectionSync, cfg.ConnectionSync,
		func(c config.ConnectionSync) string { return c.Router })...)
	out = append(out, changed("quorum commands of service", old.QuorumCommands, cfg.QuorumCommands,
		func(c config.QuorumCommands) string { return c.Service })...)
	a, b := *old, *cfg
	a.QuorumCommands, b.QuorumCommands = nil, nil
	a.ConnectionSync, b.ConnectionSync = nil, nil
	a.Routers, b.Routers = nil, nil
	a.Sources, b.Sources = nil, nil
	a.SyncGroups, b.SyncGroups = nil, nil
	a.Hash, b.Hash, a.Files, b.Files = "", "", nil, nil
	a.Warnings, b.Warnings = nil, nil // they stand elsewhere when a line was added
	a.Balancer.Services, b.Balancer.Services = nil, nil
	if !reflect.DeepEqual(a.Balancer.Jobs, b.Balancer.Jobs) {
		out = append(out, "checks changed")
	}
	a.Balancer.Jobs, b.Balancer.Jobs = nil, nil
	a.Tracks, b.Tracks = nil, nil // the routers show them
	if !reflect.DeepEqual(a, b) {
		out = append(out, "global settings changed")
	}
	return out
}

// changed compares two lists by name.
func changed[T any](kind string, old, cfg []T, name func(T) string) []string {
	byName := func(list []T) map[string]T {
		m := map[string]T{}
		for _, v := range list {
			m[name(v)] = v
		}
		return m
	}
	was, is := byName(old), byName(cfg)
	var out []string
	for _, n := range slices.Sorted(maps.Keys(is)) {
		before, known := was[n]
		switch {
		case !known:
			out = append(out, kind+" "+n+" added")
		case !reflect.DeepEqual(before, is[n]):
			out = append(out, kind+" "+n+" changed")
		}
	}
	for _, n := range slices.Sorted(maps.Keys(was)) {
		if _, kept := is[n]; !kept {
			out = append(out, kind+" "+n+" removed")
		}
	}
	return out
}
