package balancer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"baton/internal/check"
	"baton/internal/ipvs"
	"baton/internal/pool"
)

// fakeKernel is a kernel's table in memory that can print itself.
type fakeKernel struct {
	mu       sync.Mutex
	services map[pool.Key]*ipvs.Service
	timeouts ipvs.Timeouts
	refuse   map[pool.Key]error // changes of these services fail
	dumpErr  error
	lacking  map[pool.Key]error
	told     func() []pool.Key // what OnOwned was told

	slow     time.Duration // what a dump takes
	dumps    int           // calls of Dump
	batches  int           // calls of Write
	ops      []ipvs.Op     // all that were made
	settings int           // calls of SetTimeouts
	early    []pool.Key
	closed   int
}

func newFakeKernel(services ...pool.VirtualService) *fakeKernel {
	k := &fakeKernel{services: make(map[pool.Key]*ipvs.Service), refuse: make(map[pool.Key]error)}
	for _, v := range services {
		k.put(v)
	}
	return k
}

func (k *fakeKernel) put(v pool.VirtualService) {
	s := &ipvs.Service{Settings: v}
	s.Settings.Servers = nil
	for _, r := range v.Servers {
		s.Servers = append(s.Servers, ipvs.Server{RealServer: r})
	}
	k.services[v.Key] = s
}

func (k *fakeKernel) Dump(context.Context) ([]ipvs.Service, error) {
	time.Sleep(k.slow)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dumps++
	var out []ipvs.Service
	for _, key := range slices.SortedFunc(maps.Keys(k.services), pool.Key.Compare) {
		s := *k.services[key]
		s.Servers = slices.Clone(s.Servers)
		slices.SortFunc(s.Servers, func(a, b ipvs.Server) int { return a.Compare(b.RealServer) })
		out = append(out, s)
	}
	return out, k.dumpErr
}

func (k *fakeKernel) Write(_ context.Context, ops []ipvs.Op) []error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.batches++
	out := make([]error, len(ops))
	for i, op := range ops {
		key := op.Service.Key
		if op.Kind == ipvs.NewService && k.told != nil && !slices.Contains(k.told(), key) {
			k.early = append(k.early, key)
		}
		if out[i] = k.refuse[key]; out[i] == nil {
			out[i] = k.write(op)
		}
		if out[i] == nil {
			k.ops = append(k.ops, op)
		}
	}
	return out
}

func (k *fakeKernel) write(op ipvs.Op) error {
	key := op.Service.Key
	s := k.services[key]
	at := -1
	if s != nil {
		at = slices.IndexFunc(s.Servers, func(r ipvs.Server) bool { return r.AddrPort() == op.Server.AddrPort() })
	}
	switch { // the errors of the kernel's ip_vs_ctl.c
	case op.Kind == ipvs.NewService && s != nil, op.Kind == ipvs.NewServer && at >= 0:
		return fmt.Errorf("fake: %s: %w", op, syscall.EEXIST)
	case op.Kind != ipvs.NewService && s == nil:
		return fmt.Errorf("fake: %s: %w", op, syscall.ESRCH)
	case (op.Kind == ipvs.EditServer || op.Kind == ipvs.DelServer) && at < 0:
		return fmt.Errorf("fake: %s: %w", op, syscall.ENOENT)
	}
	switch op.Kind {
	case ipvs.NewService:
		v := op.Service
		v.Servers = nil
		k.put(v)
	case ipvs.EditService:
		s.Settings = op.Service
		s.Settings.Servers = nil
	case ipvs.DelService:
		delete(k.services, key)
	case ipvs.NewServer:
		s.Servers = append(s.Servers, ipvs.Server{RealServer: op.Server})
	case ipvs.EditServer:
		s.Servers[at].RealServer = op.Server
	case ipvs.DelServer:
		s.Servers = slices.Delete(s.Servers, at, at+1)
	}
	return nil
}

func (k *fakeKernel) Timeouts(context.Context) (ipvs.Timeouts, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.timeouts, nil
}

func (k *fakeKernel) SetTimeouts(_ context.Context, t ipvs.Timeouts) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timeouts = t
	k.settings++
	return nil
}

func (k *fakeKernel) Lacking(context.Context, pool.Table) map[pool.Key]error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lacking
}

func (k *fakeKernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed++
	return nil
}

// do changes the kernel behind the balancer's back, or looks at it.
func (k *fakeKernel) do(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// written returns how many changes were made.
func (k *fakeKernel) written() (n int) {
	k.do(func() { n = len(k.ops) })
	return n
}

// String prints the table: "tcp 10.0.0.100:80: 10.0.0.1:80*1".
func (k *fakeKernel) String() string {
	services, _ := k.Dump(context.Background())
	lines := make([]string, len(services))
	for i, s := range services {
		parts := []string{s.Key().String() + ":"}
		for _, r := range s.Servers {
			parts = append(parts, fmt.Sprintf("%s*%d", r.AddrPort(), r.Weight))
		}
		lines[i] = strings.Join(parts, " ")
	}
	return strings.Join(lines, "\n")
}

// fakeTargets answers probes: all is well but for what is said to be down.
type fakeTargets struct {
	mu   sync.Mutex
	down map[string]bool // by address
}

func (f *fakeTargets) set(down bool, addresses ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range addresses {
		f.down[a] = down
	}
}

func (f *fakeTargets) probe(_ context.Context, s check.Spec) check.Result {
	time.Sleep(time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down[s.Target.Addr().String()] {
		return check.Result{Code: check.L4CON, Detail: "connection refused by " + s.Target.String()}
	}
	return check.Result{Code: check.L4OK, Detail: "connected to " + s.Target.String()}
}

// rig is a balancer between a fake kernel and fake targets, in a bubble of fake
// time.
type rig struct {
	testing.TB
	*Balancer
	kernel  *fakeKernel
	targets *fakeTargets
	cancel  context.CancelFunc
	ended   chan struct{}

	mu          sync.Mutex
	openErr     error
	opened      int
	transitions []Transition
	told        []pool.Key
}

// run starts a balancer and calls f in its bubble.
func run(t *testing.T, spec Spec, kernel *fakeKernel, f func(r *rig), prepare ...func(*rig, *Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{TB: t, kernel: kernel, targets: &fakeTargets{down: make(map[string]bool)}, ended: make(chan struct{})}
		o := Options{
			Open:   r.open,
			Runner: check.NewRunner(check.Options{Probe: r.targets.probe}),
			OnOwned: func(keys []pool.Key) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.told = keys
			},
			OnTransition: func(tr Transition) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.transitions = append(r.transitions, tr)
			},
		}
		for _, p := range prepare {
			p(r, &o)
		}
		r.told = o.Owned
		kernel.told = func() []pool.Key { r.mu.Lock(); defer r.mu.Unlock(); return r.told }
		r.Balancer = New(o, spec)
		var ctx context.Context
		ctx, r.cancel = context.WithCancel(t.Context())
		go func() {
			defer close(r.ended)
			if err := r.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		f(r)
		r.cancel()
		<-r.ended
		if len(kernel.early) > 0 {
			t.Errorf("%v were written before anybody was told that they are ours", kernel.early)
		}
	})
}

func (r *rig) open(context.Context) (Kernel, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened++
	if r.openErr != nil {
		return nil, r.openErr
	}
	return r.kernel, nil
}

var errNoKernel = errors.New("the kernel offers no IPVS: run modprobe ip_vs")

// after lets time pass and waits until all has been done that is due.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) want(want string) {
	r.Helper()
	if got := r.kernel.String(); got != want {
		r.Errorf("the kernel has\n%s\nwant\n%s", got, want)
	}
}

// seen returns the transitions since the last call, one per line.
func (r *rig) seen() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, tr := range r.transitions {
		what := tr.Service
		if tr.Server != "" {
			what += " " + tr.Server
		}
		lines = append(lines, fmt.Sprintf("%s: %s -> %s: %s", what, tr.From, tr.To, tr.Reason))
	}
	r.transitions = nil
	return strings.Join(lines, "\n")
}

func key(s string) pool.Key { return pool.KeyOf(pool.TCP, netip.MustParseAddrPort(s)) }

// webSpec is one service of so many servers, 10.0.0.1 and on, each with a check
// of its own.
func webSpec(servers int, edit ...func(*Spec)) Spec {
	s := Spec{Resync: time.Second, Jobs: make(map[pool.CheckID]*check.Job)}
	s.Services = []pool.Service{webService("web", "10.0.0.100:80")}
	for n := range servers {
		addServer(&s, &s.Services[0], fmt.Sprintf("10.0.0.%d", n+1))
	}
	for _, e := range edit {
		e(&s)
	}
	return s
}

func webService(name, at string) pool.Service {
	return pool.Service{Name: name, Keys: []pool.Key{key(at)}, Scheduler: "wlc", Quorum: pool.Quorum{Min: 1}}
}

func addServer(spec *Spec, s *pool.Service, address string) {
	job := &check.Job{
		Spec:     check.Spec{Target: netip.AddrPortFrom(netip.MustParseAddr(address), 80), Timeout: time.Second, TCP: &check.TCP{}},
		Schedule: check.Schedule{Interval: 2 * time.Second, FastInterval: time.Second, Rise: 2, Fall: 3},
	}
	id := pool.CheckID(job.ID())
	spec.Jobs[id] = job
	s.Servers = append(s.Servers, pool.Server{
		Address: netip.MustParseAddr(address), Port: 80, Weight: 1, Checks: []pool.CheckID{id},
	})
}

func inKernel(at string, servers ...string) pool.VirtualService {
	v := pool.VirtualService{Key: key(at), Scheduler: "wlc", PersistencePrefix: 32}
	for _, s := range servers {
		v.Servers = append(v.Servers, pool.RealServer{Address: netip.MustParseAddr(s), Port: 80, Weight: 1})
	}
	return v
}
