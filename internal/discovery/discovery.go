package discovery

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"baton/internal/filewatch"
)

// Want is a source that a service has.
type Want struct {
	Service string
	Source  Source
	// Keep is the percentage of the servers in force that an answer has to leave to
	// be believed at once; 0: [KeepPercent].
	Keep int
	// Accept returns which of the servers that a source names the service can use,
	// and in words why not the others. It is called from several goroutines.
	Accept func([]Server) (usable []Server, refused []string)
}

// key tells sources apart: by service, and by what is asked for.
type key struct{ service, source string }

func (w Want) key() key { return key{w.Service, w.Source.String()} }

// Saved are the servers of a source, to be kept for the next run.
type Saved struct {
	Service string    `json:"service"`
	Source  string    `json:"source"`
	At      time.Time `json:"at"` // of the answer
	Servers []Server  `json:"servers"`
}

// Options are what a [Discovery] is built with.
type Options struct {
	// Parse reads the text of a file with servers. Its error says where the mistake
	// is.
	Parse func(path string, data []byte) ([]Server, error)
	// Saved are the servers that sources had in an earlier run: they are in force
	// until their source answers.
	Saved []Saved
	// OnChange hears of each change of a source's servers, from several goroutines;
	// nil: nobody hears.
	OnChange func(Change)
	// ResolvConf is the file that names the resolvers; empty: /etc/resolv.conf.
	ResolvConf string
	Log        *slog.Logger // nil: discard
}

// Discovery keeps the servers of a set of sources up to date. Its methods are safe
// for concurrent use.
type Discovery struct {
	options Options
	log     *slog.Logger
	changed chan struct{} // capacity 1
	files   *filewatch.Watcher
	open    func(Source) reader

	mu      sync.Mutex
	work    context.Context // of Run; nil: it does not run
	running sync.WaitGroup  // the readers
	sources []*worker       // in the order of the configuration
}

// New returns a Discovery without sources.
func New(o Options) *Discovery {
	d := &Discovery{options: o, log: o.Log, changed: make(chan struct{}, 1)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.files, d.open = filewatch.New(d.log), d.reader
	return d
}

// Set replaces the sources. One that is the same as before keeps its servers and is
// not asked again; one that asks for the same in another way (with another token)
// keeps its servers until it has an answer.
func (d *Discovery) Set(wants []Want) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := make(map[key]*worker, len(d.sources))
	for _, w := range d.sources {
		before[w.key()] = w
	}
	d.sources = nil
	for _, want := range wants {
		old := before[want.key()]
		delete(before, want.key())
		switch {
		case old == nil:
			d.sources = append(d.sources, d.start(d.recall(want)))
		case old.is(want):
			old.reset(want)
			d.sources = append(d.sources, old)
		default:
			old.stop()
			d.sources = append(d.sources, d.start(old.successor(want)))
		}
	}
	for _, w := range before {
		w.stop()
	}
}

// recall returns a worker that begins with what an earlier run had.
func (d *Discovery) recall(want Want) *worker {
	w := newWorker(d, want)
	for _, s := range d.options.Saved {
		if (key{s.Service, s.Source}) == want.key() && len(s.Servers) <= MaxServers {
			w.restore(s)
		}
	}
	return w
}

func (d *Discovery) start(w *worker) *worker {
	if d.work == nil {
		return w // Run will
	}
	ctx, cancel := context.WithCancel(d.work)
	w.cancel = cancel
	d.running.Go(func() { w.run(ctx) })
	return w
}

// Run asks the sources until ctx ends, and returns nil. It is called once.
func (d *Discovery) Run(ctx context.Context) error {
	d.mu.Lock()
	d.work = ctx
	for _, w := range d.sources {
		_ = d.start(w)
	}
	d.mu.Unlock()
	<-ctx.Done()
	d.mu.Lock()
	d.work = nil // no Set starts another one
	d.mu.Unlock()
	d.running.Wait()
	d.files.Close()
	return nil
}

// Changed is sent to when servers have changed since it was last received from.
func (d *Discovery) Changed() <-chan struct{} { return d.changed }

func (d *Discovery) poke() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// Found are the servers of a source that are in force.
type Found struct {
	Service string
	Source  string
	Servers []Server // sorted; not to be changed
}

// Found returns the servers of all sources, in the order of [Discovery.Set].
func (d *Discovery) Found() []Found {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Found, len(d.sources))
	for i, w := range d.sources {
		out[i] = Found{Service: w.service, Source: w.source.String(), Servers: w.current()}
	}
	return out
}

// Saved returns what to keep for the next run: the servers of the sources that have
// answered.
func (d *Discovery) Saved() []Saved {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Saved
	for _, w := range d.sources {
		if s := w.saved(); len(s.Servers) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// Status returns the state of all sources, in the order of [Discovery.Set].
func (d *Discovery) Status() []Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Status, len(d.sources))
	for i, w := range d.sources {
		out[i] = w.status()
	}
	return out
}

// Change is a change of the servers of a source.
type Change struct {
	Service string
	Source  string
	At      time.Time
	Text    string // what was added, removed and changed, in words
}

// namesShown bounds how many servers a text names.
const namesShown = 5

func (d diff) String() string {
	var parts []string
	for _, p := range []struct {
		what    string
		servers []Server
	}{{"added", d.added}, {"removed", d.removed}, {"changed", d.changed}} {
		if len(p.servers) > 0 {
			parts = append(parts, p.what+" "+list(p.servers))
		}
	}
	return strings.Join(parts, ", ")
}

// list counts servers and names the first of them.
func list(servers []Server) string {
	var names []string
	for _, s := range servers[:min(len(servers), namesShown)] {
		names = append(names, s.String())
	}
	if more := len(servers) - len(names); more > 0 {
		names = append(names, "…")
	}
	return count(len(servers)) + " (" + strings.Join(names, ", ") + ")"
}

// clean sorts an answer and takes what it names twice once. Of two servers with the
// same address and port the first one holds.
func clean(servers []Server) ([]Server, error) {
	out := slices.Clone(servers)
	slices.SortStableFunc(out, Server.Compare)
	out = slices.CompactFunc(out, func(a, b Server) bool { return a.AddrPort() == b.AddrPort() })
	if len(out) > MaxServers {
		return nil, errTooMany(len(out))
	}
	return out, nil
}

// errStopped ends a reader whose source is no longer wanted.
var errStopped = errors.New("the source is not wanted any more")
