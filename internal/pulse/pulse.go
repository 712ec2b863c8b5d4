package pulse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"
	"time"

	"baton/internal/link"
	"baton/internal/speaker"
)

// ErrRefused means that the first director ended because the configuration is
// invalid; it has printed why.
var ErrRefused = errors.New("the configuration is invalid")

// ExitRefused is the exit status of a director whose configuration is invalid.
const ExitRefused = 2

// Options are what pulse needs.
type Options struct {
	Log *slog.Logger
	// SetLog changes Log as the director says.
	SetLog func(level slog.Level, format string)
	// Director returns the command that starts the director, without the link.
	// lastGood is the file with the configuration of an earlier one, or empty.
	Director func(lastGood string) *exec.Cmd
	Edges    speaker.Edges
	// Reload and Dump ask for what SIGHUP and SIGUSR1 ask for.
	Reload, Dump <-chan struct{}
}

// Pulse is the process's state.
type Pulse struct {
	opts    Options
	log     *slog.Logger
	speaker *speaker.Speaker
	out     *outbox
	manager *manager

	mu         sync.Mutex
	configured bool   // routers were received at least once
	good       string // where the last good configuration is kept
	stopping   bool
}

// New returns a pulse.
func New(opts Options) *Pulse {
	p := &Pulse{opts: opts, log: opts.Log, out: newOutbox(), manager: newManager(opts.Log)}
	if opts.Edges.Alarm == nil {
		opts.Edges.Alarm = newAlarm
	}
	p.speaker = speaker.New(opts.Log, opts.Edges, p.transition, p.notice)
	return p
}

// statusEvery is how often the director gets a fresh status when nothing happens
// and nobody asks: with hundreds of routers it is not small.
const statusEvery = 2 * time.Second

// Run runs the routers and the director until ctx ends, then stops as planned:
// the addresses are handed over without loss, and the director ends after that.
func (p *Pulse) Run(ctx context.Context) error {
	running, halt := context.WithCancel(context.Background())
	defer halt()
	var wg sync.WaitGroup
	fatal := make(chan error, 2)
	wg.Go(func() {
		if err := p.speaker.Run(running); err != nil {
			fatal <- fmt.Errorf("run the routers: %w", err)
		}
	})
	wg.Go(func() { p.reportStatus(running) })
	wg.Go(func() { p.manager.run(running, p.alive) })
	wg.Go(func() { p.forwardSignals(running) })
	children, childrenDone := context.WithCancel(running)
	defer childrenDone()
	directorEnded := make(chan error, 1)
	go func() { directorEnded <- p.keepDirector(children) }()

	var err error
	select {
	case <-ctx.Done():
		err = p.plannedStop()
		childrenDone()
		err = errors.Join(err, <-directorEnded)
	case err = <-directorEnded:
		// It never started for good: there is nothing to run.
	case err = <-fatal:
		err = errors.Join(err, p.plannedStop())
		childrenDone()
		err = errors.Join(err, <-directorEnded)
	}
	halt()
	wg.Wait()
	return err
}

// stopLimit bounds the planned stop, below the 90 s of systemd's default.
const stopLimit = 60 * time.Second

func (p *Pulse) plannedStop() error {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	p.manager.stopping()
	p.log.Info("planned stop: handing the addresses over")
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	start := time.Now()
	if err := p.speaker.Stop(ctx); err != nil {
		return fmt.Errorf("planned stop: %w", err)
	}
	p.log.Info("all addresses are released", "took", time.Since(start).Round(time.Millisecond).String())
	return nil
}

// transition is called by the speaker, in its own goroutine.
func (p *Pulse) transition(t speaker.Transition) {
	p.out.event(link.Message{Transition: &t})
}

// notice is called by the speaker, in its own goroutine.
func (p *Pulse) notice(n speaker.Notice) {
	p.out.event(link.Message{Notice: &n})
}

// reportStatus keeps the director's view and the will fresh.
func (p *Pulse) reportStatus(ctx context.Context) {
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.publishStatus(ctx)
		case <-p.speaker.Changed():
			p.publish(ctx)
		}
	}
}

// publish puts the present status and will into the outbox. The will goes first:
// it must be in the director's hands before anything else happens.
func (p *Pulse) publish(ctx context.Context) {
	will, err := p.speaker.Will(ctx)
	if err != nil {
		return // stopping
	}
	p.out.setWill(will)
	p.publishStatus(ctx)
}

// publishStatus puts the present status into the outbox.
func (p *Pulse) publishStatus(ctx context.Context) {
	status, err := p.speaker.Status(ctx)
	if err != nil {
		return
	}
	p.out.setStatus(link.Status{At: time.Now(), Routers: status})
	p.manager.status(summary(status))
}

// alive proves to the service manager's watchdog that the routers are being
// run, not only that the process exists.
func (p *Pulse) alive(ctx context.Context) bool {
	_, err := p.speaker.Status(ctx)
	return err == nil
}

func (p *Pulse) forwardSignals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.opts.Reload:
			p.manager.reloading()
			p.out.event(link.Message{Order: link.OrderReload})
		case <-p.opts.Dump:
			p.out.event(link.Message{Order: link.OrderDump})
		}
	}
}

// summary is one line for the service manager.
func summary(s speaker.Status) string {
	counts := map[string]int{}
	for _, r := range s.Routers {
		counts[r.Election.State.String()]++
	}
	if len(s.Routers) == 0 {
		return "no routers"
	}
	text := ""
	for _, state := range []string{"master", "backup", "fault", "init"} {
		if n := counts[state]; n > 0 {
			text += fmt.Sprintf("%d %s, ", n, state)
		}
	}
	return "routers: " + text[:len(text)-2]
}
