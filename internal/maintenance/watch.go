package maintenance

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"baton/internal/filewatch"
)

// Options are what a [Watcher] is built with.
type Options struct {
	Dir string // absolute
	// Changed hears of each change, from one goroutine.
	Changed func(*Marks)
	// Known reports whether a server has this name. Other names may be those of
	// hosts and are looked up. nil: none is known.
	Known func(name string) bool
	// Lookup returns the addresses of a host; nil: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	Log    *slog.Logger
}

const (
	// every is how often the folder is read although nobody tells of a change.
	every = 5 * time.Second
	// settle is how long a change waits for others to come along.
	settle = 20 * time.Millisecond
	// patience is how long a file system may take to answer before it is called
	// hanging, and at the start how long the director waits for it.
	patience = 3 * time.Second
	// The names of hosts are looked up one after the other, each for as long as this;
	// those that lead nowhere again after a minute, the others after ten.
	lookupLimit, lookupAgain, lookupRefresh = 2 * time.Second, time.Minute, 10 * time.Minute
)

// Watcher watches a folder. See [New].
type Watcher struct {
	o       Options
	marks   atomic.Pointer[Marks]
	problem atomic.Pointer[string]

	look            func(dir string) ([]Mark, error)
	every, patience time.Duration

	folder *filewatch.Watcher

	files []Mark           // as they were read last
	hosts map[string]hosts // by name, of the files that are there
}

// hosts is what a lookup has found.
type hosts struct {
	addresses []netip.Addr
	asked     time.Time
}

// New returns a watcher that has not looked yet.
func New(o Options) *Watcher {
	if o.Known == nil {
		o.Known = func(string) bool { return false }
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	w := &Watcher{o: o, look: look, every: every, patience: patience, hosts: make(map[string]hosts)}
	w.folder = filewatch.New(o.Log)
	w.marks.Store(newMarks(o.Dir, nil))
	return w
}

// Marks returns what is known of the folder.
func (w *Watcher) Marks() *Marks { return w.marks.Load() }

// Problem says why the folder cannot be read, or is empty.
func (w *Watcher) Problem() string {
	if p := w.problem.Load(); p != nil {
		return *p
	}
	return ""
}

// seen is one reading of the folder.
type seen struct {
	files []Mark
	err   error
	again time.Duration // look again after this
}

// Begin reads the folder for the first time, so that no server that is marked gets
// a client. It does not wait for ever for a file system that hangs. It is called
// before Run, or not at all.
func (w *Watcher) Begin() {
	got := make(chan seen, 1)
	go func() {
		files, err := w.look(w.o.Dir)
		got <- seen{files: files, err: err}
	}()
	select {
	case s := <-got:
		w.take(s)
	case <-time.After(w.patience):
		w.setProblem(fmt.Sprintf("%s does not answer: what is in it is not known", w.o.Dir))
	}
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	defer w.folder.Close()
	folder := w.folder.Watch(w.o.Dir)
	got, found := make(chan seen, 1), make(chan map[string]hosts, 1)
	reading, asking := time.Time{}, false
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-folder.Changed():
			if reading.IsZero() {
				next.Reset(settle)
			}
		case <-next.C:
			if !reading.IsZero() {
				w.setProblem(fmt.Sprintf("%s has not answered for %s: what was in it before still counts", w.o.Dir, time.Since(reading).Round(time.Second)))
			} else {
				reading = time.Now()
				go w.read(folder, got)
			}
			next.Reset(w.every)
		case s := <-got:
			reading = time.Time{}
			w.take(s)
			next.Reset(s.again)
			if len(folder.Changed()) > 0 {
				next.Reset(settle)
			}
		case h := <-found:
			asking = false
			w.found(h)
		}
		if names := w.unasked(time.Now()); !asking && len(names) > 0 {
			asking = true
			go func() { found <- w.ask(ctx, names) }()
		}
	}
}

// read reads the folder; the watch comes first, so that nothing is missed.
func (w *Watcher) read(folder *filewatch.Watch, got chan<- seen) {
	again := folder.Arm(w.every)
	files, err := w.look(w.o.Dir)
	got <- seen{files, err, again}
}

// take takes a reading over.
func (w *Watcher) take(s seen) {
	if s.err != nil {
		w.setProblem(fmt.Sprintf("cannot be read: %v; what was in it before still counts", s.err))
		return
	}
	w.setProblem("")
	w.files = s.files
	w.renew()
}

// setProblem notes why the folder cannot be read, and logs it once.
func (w *Watcher) setProblem(problem string) {
	was := w.Problem()
	w.problem.Store(&problem)
	switch {
	case problem != "" && was == "":
		w.o.Log.Warn("maintenance_dir: "+problem, "dir", w.o.Dir) //nolint:sloglint // says what
	case problem == "" && was != "":
		w.o.Log.Info("maintenance_dir can be read again", "dir", w.o.Dir)
	}
}

// renew makes marks of what is known and tells of them where they are others.
func (w *Watcher) renew() {
	list := make([]Mark, len(w.files))
	there := make(map[string]bool, len(w.files))
	for i, f := range w.files {
		if host := w.hostOf(f.Name); host != "" {
			h, asked := w.hosts[host]
			f.Hosts, f.Pending = h.addresses, !asked
			there[host] = true
		}
		list[i] = f
	}
	for host := range w.hosts {
		if !there[host] {
			delete(w.hosts, host)
		}
	}
	m := newMarks(w.o.Dir, list)
	if m.equal(w.Marks()) {
		return
	}
	w.marks.Store(m)
	if w.o.Changed != nil {
		w.o.Changed(m)
	}
}

// hostOf returns the host that the name of a file may mean; empty: none.
func (w *Watcher) hostOf(name string) string {
	n := parseName(name)
	if n.address.IsValid() || !isHost(n.host) || w.o.Known(n.host) {
		return ""
	}
	return n.host
}

// unasked are the hosts that have to be looked up.
func (w *Watcher) unasked(now time.Time) (names []string) {
	for _, f := range w.files {
		host := w.hostOf(f.Name)
		h, asked := w.hosts[host]
		again := lookupRefresh
		if len(h.addresses) == 0 {
			again = lookupAgain
		}
		if host != "" && (!asked || now.Sub(h.asked) >= again) {
			names = append(names, host)
		}
	}
	return names
}

// ask looks hosts up. ldirectord compared the other way round, by the name of each
// server's address; where the two agree, as they should, so do the results.
func (w *Watcher) ask(ctx context.Context, names []string) map[string]hosts {
	const most = 100 // of a folder full of something else
	out := make(map[string]hosts, len(names))
	for _, name := range names[:min(len(names), most)] {
		ctx, cancel := context.WithTimeout(ctx, lookupLimit)
		addresses, err := w.o.Lookup(ctx, name)
		cancel()
		if err != nil {
			w.o.Log.Debug("no host has the name of a file in maintenance_dir", "file", name, "error", err)
		}
		for i := range addresses {
			addresses[i] = addresses[i].Unmap()
		}
		out[name] = hosts{addresses: addresses, asked: time.Now()}
	}
	return out
}

// found takes over what was looked up. A name that leads nowhere any more, perhaps
// because no name server answers, keeps what it stood for.
func (w *Watcher) found(h map[string]hosts) {
	for name, one := range h {
		if len(one.addresses) == 0 {
			one.addresses = w.hosts[name].addresses
		}
		w.hosts[name] = one
	}
	w.renew()
}
