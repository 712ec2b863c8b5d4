package director

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"baton/internal/balancer"
	"baton/internal/config"
	"baton/internal/maintenance"
	"baton/internal/pool"
)

// marks have the servers drain that files of maintenance_dir are named like.
type marks struct {
	log     *slog.Logger
	changed func(context.Context) error // the balancer asks reason again
	status  func() balancer.Status

	mu       sync.Mutex
	dir      string
	watcher  *maintenance.Watcher // nil: there is no folder
	switched chan struct{}        // closed when there is another watcher
	names    map[string]bool      // of the servers in the configuration
	unknown  map[string]bool      // files that were said to name no server
}

func newMarks(log *slog.Logger) *marks {
	return &marks{log: log, switched: make(chan struct{}), unknown: make(map[string]bool)}
}

// configure takes another configuration over. What is in another folder is known
// when it returns; the balancer has to be told, which a reload does anyway.
func (m *marks) configure(cfg *config.Config) (moved bool) {
	names := make(map[string]bool)
	for i := range cfg.Balancer.Services {
		for _, srv := range cfg.Balancer.Services[i].Servers {
			for _, name := range []string{srv.Name, strings.SplitN(srv.Name, ".", 2)[0]} {
				names[name] = true
			}
		}
	}
	m.mu.Lock()
	m.names = names
	moved = cfg.MaintenanceDir != m.dir
	m.mu.Unlock()
	if !moved {
		return false
	}
	var w *maintenance.Watcher
	if cfg.MaintenanceDir != "" {
		w = maintenance.New(maintenance.Options{Dir: cfg.MaintenanceDir, Changed: m.heard, Known: m.isName, Log: m.log})
		w.Begin()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dir, m.watcher = cfg.MaintenanceDir, w
	clear(m.unknown)
	close(m.switched)
	m.switched = make(chan struct{})
	return true
}

// isName reports whether a server of the configuration has this name.
func (m *marks) isName(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names[name]
}

func (m *marks) current() (*maintenance.Watcher, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.watcher, m.switched
}

// reason says which file has a server drain; empty: none.
func (m *marks) reason(_ *pool.Service, srv *pool.Server) string {
	if w, _ := m.current(); w != nil {
		return w.Marks().Reason(srv.Name, srv.AddrPort())
	}
	return ""
}

// heard has the servers follow the files.
func (m *marks) heard(*maintenance.Marks) {
	if m.changed == nil { // at the start the balancer is told with everything else
		return
	}
	// Its error is that of a balancer that has ended.
	if err := m.changed(context.Background()); err == nil {
		m.review()
	}
}

// run watches until ctx ends.
func (m *marks) run(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		w, switched := m.current()
		watch, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if w != nil {
				w.Run(watch)
			}
		}()
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				waiting = false
			case <-switched:
				waiting = false
			case <-tick.C:
				m.review()
			}
		}
		cancel()
		<-done
	}
}

// review says once of each file that it names no server.
func (m *marks) review() {
	w, _ := m.current()
	services := m.status().Services
	if w == nil || len(services) == 0 {
		return
	}
	all := w.Marks()
	known := make(map[string]bool)
	for i := range services {
		for _, srv := range services[i].Servers {
			if f := all.Of(srv.Name, srv.Address); f != nil {
				known[f.Name] = true
			}
		}
	}
	there := make(map[string]bool)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range all.All() {
		there[f.Name] = true
		if f.Pending || known[f.Name] || m.unknown[f.Name] {
			continue
		}
		m.unknown[f.Name] = true
		m.log.Warn("a file in maintenance_dir names no server: it has no effect. Name it like a server: address, address:port, or name",
			"dir", all.Dir, "file", f.Name)
	}
	for name := range m.unknown {
		if !there[name] || known[name] {
			delete(m.unknown, name)
		}
	}
}

// shown are the problems of the folder, in words.
func (m *marks) shown() []string {
	w, _ := m.current()
	if w == nil || w.Problem() == "" {
		return nil
	}
	return []string{"maintenance_dir: " + w.Problem()}
}
