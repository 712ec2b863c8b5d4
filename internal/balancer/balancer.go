package balancer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"baton/internal/check"
	"baton/internal/ipvs"
	"baton/internal/pool"
)

// Kernel is what the balancer needs of the kernel's virtual server table;
// [ipvs.Kernel] is the real one. Where it is an io.Closer it is closed when the
// balancer ends.
type Kernel interface {
	Dump(ctx context.Context) ([]ipvs.Service, error)
	Write(ctx context.Context, ops []ipvs.Op) []error
	Timeouts(ctx context.Context) (ipvs.Timeouts, error)
	SetTimeouts(ctx context.Context, t ipvs.Timeouts) error
	Lacking(ctx context.Context, t pool.Table) map[pool.Key]error
}

var _ Kernel = (*ipvs.Kernel)(nil)

// Options are what a [Balancer] is built with.
type Options struct {
	// Open opens the kernel's table. It is called at the start, and after an
	// error again: 1 s later at first and every 30 s at last. Its error is
	// shown to the operator and should name the remedy.
	Open func(ctx context.Context) (Kernel, error)
	// Runner runs the checks. The balancer calls its Run, Seed and Set; nobody
	// else may.
	Runner *check.Runner
	// Owned are the services that an earlier run left in the kernel, as told to
	// OnOwned. Those that the spec no longer names are removed.
	Owned []pool.Key
	// OnOwned hears which services in the kernel are ours, to be kept for the
	// next run. A new one is told before it is written: after a crash at any
	// moment the next run knows all that may be there. nil: nobody hears.
	OnOwned func(keys []pool.Key)
	// Drains are the servers that drained under an earlier run, as told to
	// OnDrains, which hears of them at each change. nil: nobody hears.
	Drains   []Drain
	OnDrains func(drains []Drain)
	// Wishes are those at the start; see [Balancer.Wish].
	Wishes Wishes
	// ClientsReturn says whether the kernel leads clients with persistence back to
	// a server of weight 0. nil: it does not.
	ClientsReturn func() bool
	// OnTransition hears of each change of a service or server, in order; nil:
	// nobody hears.
	OnTransition func(Transition)
	// OnDrift hears that somebody else had changed our services in the kernel, and
	// what: once for a pass that found something, and at most thirty times in a row
	// and every ten seconds; nil: nobody hears.
	OnDrift func(Drift)
	Log     *slog.Logger // nil: discard
}

// Balancer keeps the kernel's virtual server table equal to its spec and the
// verdicts of the checks. Its exported methods are safe for concurrent use.
// OnOwned, OnDrains, OnTransition and OnDrift are called from the goroutine of Run: they must not
// block and not call the balancer, except for Status and Owned.
type Balancer struct {
	options Options
	log     *slog.Logger

	inbox    inbox
	commands chan command
	stopped  context.Context    // ended when Stop was called
	hurry    context.CancelFunc // ends it
	begun    chan struct{}      // closed when Run has told the kernel for the first time
	ended    chan struct{}      // closed when Run has returned
	status   atomic.Pointer[Status]
	asked    atomic.Int64 // when Status was called last, in Unix nanoseconds
	owned    atomic.Pointer[[]pool.Key]
	routers  atomic.Pointer[map[string]bool] // that have their addresses here; nil: not known yet
	stopping sync.Mutex                      // held by a Stop after Run

	engine // of the goroutine of Run, and of a Stop after it
}

// errEnded says that the balancer no longer runs.
var errEnded = errors.New("the balancer has ended")

// command is a request to the goroutine of Run.
type command struct {
	reload *Spec           // nil: not a reload
	wishes *Wishes         // nil: a stop, if it is no reload
	ctx    context.Context // of a stop
	reply  chan error      // capacity 1
}

// New returns a balancer that is ready to run. It touches nothing.
func New(o Options, spec Spec) *Balancer {
	b := &Balancer{
		options:  o,
		log:      o.Log,
		inbox:    inbox{wake: make(chan struct{}, 1)},
		commands: make(chan command),
		begun:    make(chan struct{}),
		ended:    make(chan struct{}),
	}
	b.stopped, b.hurry = context.WithCancel(context.Background())
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.status.Store(&Status{})
	owned := append([]pool.Key(nil), o.Owned...)
	b.owned.Store(&owned)
	b.engine = newEngine(b, spec)
	return b
}

// Run works until ctx ends or [Balancer.Stop] is called, and returns nil. It
// first looks at what the kernel has: servers that are in service there stay in
// service until a check fails.
//
// When ctx ends, the kernel's table is left as it is, as after a crash, and goes
// on serving: this is the way to restart or upgrade the program under load. A
// planned stop is made by Stop. Run is called once.
func (b *Balancer) Run(ctx context.Context) error {
	defer close(b.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, stopWork := context.WithCancel(ctx)
	defer stopWork()
	// A stop does not wait for what is under way in the kernel, nor compete with
	// thousands of probes for the processor.
	defer context.AfterFunc(b.stopped, stopWork)()
	b.begin(work)
	close(b.begun)
	var runner sync.WaitGroup
	runner.Go(func() {
		_ = b.options.Runner.Run(work, func(v check.Verdict) { // its error is always nil
			if work.Err() == nil { // a probe that was broken off says nothing
				b.inbox.put(v)
			}
		})
	})
	stop := b.loop(ctx, work)
	cancel()
	if stop != nil { // at once: thousands of probes may take their time to end
		stop.reply <- b.withdraw(stop.ctx)
	}
	runner.Wait()
	b.close()
	return nil
}

// Begun is closed when Run has told the kernel of the services for the first time,
// or has found that it cannot.
func (b *Balancer) Begun() <-chan struct{} { return b.begun }

// Reload replaces the spec and returns when the kernel has been told, if it can
// be. Services, servers and checks that are the same as before are not touched.
// What the kernel refuses is in [Status]; the error is only that of a balancer
// that has ended or of ctx.
func (b *Balancer) Reload(ctx context.Context, spec Spec) error {
	return b.command(ctx, command{reload: &spec})
}

// Stop is the planned stop: it ends Run and, where the spec says so, removes our
// services from the kernel. It can be called after Run has ended, too. The error
// names what could not be removed.
func (b *Balancer) Stop(ctx context.Context) error {
	b.hurry()
	err := b.command(ctx, command{ctx: ctx})
	if !errors.Is(err, errEnded) {
		return err
	}
	b.stopping.Lock()
	defer b.stopping.Unlock()
	defer b.close()
	return b.withdraw(ctx)
}

func (b *Balancer) command(ctx context.Context, c command) error {
	c.reply = make(chan error, 1)
	select {
	case b.commands <- c:
	case <-b.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.reply:
		return err
	case <-b.ended:
	}
	select { // Run may have answered with its last breath
	case err := <-c.reply:
		return err
	default:
		return errEnded
	}
}

// Status returns the present state. It costs nothing; the snapshot is renewed
// with each change, and every second for the counters.
func (b *Balancer) Status() Status {
	b.asked.Store(time.Now().UnixNano())
	return *b.status.Load()
}

// Last is [Balancer.Status] for those who look all the time and need to know no
// more than what has changed: counters may be older.
func (b *Balancer) Last() Status { return *b.status.Load() }

// Owned returns the services that are, or may be, ours in the kernel, sorted.
// Nobody may change them.
func (b *Balancer) Owned() []pool.Key { return *b.owned.Load() }

// inbox takes verdicts from the runner and never blocks it.
type inbox struct {
	wake chan struct{} // capacity 1

	mu       sync.Mutex
	verdicts []check.Verdict
}

func (i *inbox) put(v check.Verdict) {
	if !v.Changed {
		return
	}
	i.mu.Lock()
	i.verdicts = append(i.verdicts, v)
	i.mu.Unlock()
	i.poke()
}

func (i *inbox) poke() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

func (i *inbox) take() []check.Verdict {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := i.verdicts
	i.verdicts = nil
	return out
}
