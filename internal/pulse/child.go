package pulse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"baton/internal/link"
)

// The time between two starts of the director grows while it keeps dying, and
// is short again after it has lived for a while.
const (
	firstRestart = 50 * time.Millisecond
	maxRestart   = 30 * time.Second
	livedWell    = time.Minute
	// directorStop is how long the director may take for a planned stop.
	directorStop = 20 * time.Second
)

// keepDirector starts the director, again and again, until ctx ends. It returns
// early only when the very first one refuses the configuration.
func (p *Pulse) keepDirector(ctx context.Context) error {
	wait, lastExit := firstRestart, ""
	for n := 0; ; n++ {
		start := time.Now()
		err := p.runDirector(ctx, link.Hello{Version: link.Version, Restarts: n, LastExit: lastExit})
		if ctx.Err() != nil { // told to stop; howEnded is of no interest
			if err != nil {
				p.log.Warn("the director did not stop as planned", "how", howEnded(err))
			}
			return nil
		}
		if refused(err) && !p.wasConfigured() {
			return ErrRefused
		}
		lastExit = howEnded(err)
		if time.Since(start) > livedWell {
			wait = firstRestart
		}
		p.log.Error("the director ended; the routers and the kernel's table go on without it",
			"how", lastExit, "restart_in", wait.String())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		wait = min(wait*2, maxRestart)
	}
}

func refused(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == ExitRefused
}

func howEnded(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

func (p *Pulse) lastGood() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.good
}

func (p *Pulse) wasConfigured() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.configured
}

// runDirector runs one director until it ends; when ctx ends it is told to stop.
func (p *Pulse) runDirector(ctx context.Context, hello link.Hello) error {
	conn, theirs, err := link.Pair()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the child is gone
	cmd := p.opts.Director(p.lastGood())
	cmd.ExtraFiles = []*os.File{theirs} // becomes descriptor 3
	err = cmd.Start()
	if err := errors.Join(err, theirs.Close()); err != nil {
		return fmt.Errorf("start the director: %w", err)
	}
	talk, hangUp := context.WithCancel(context.Background())
	defer hangUp()
	greeted := make(chan struct{})
	go p.listen(talk, conn, greeted)
	go p.talk(talk, conn, hello, greeted)

	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	if err := conn.Send(link.Message{Order: link.OrderStop}); err != nil {
		p.log.Warn("telling the director to stop failed", "error", err)
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(directorStop):
		p.log.Error("the director did not stop in time and is killed", "after", directorStop.String())
		return errors.Join(cmd.Process.Kill(), <-ended)
	}
}

// talk sends what is in the outbox, once the director has greeted: one that dies
// before it reads must not take the events with it.
func (p *Pulse) talk(ctx context.Context, conn *link.Conn, hello link.Hello, greeted <-chan struct{}) {
	if err := conn.Send(link.Message{Hello: &hello}); err != nil {
		return // it died at once; Wait says how
	}
	select {
	case <-greeted:
	case <-ctx.Done():
		return
	}
	p.publish(ctx)
	for {
		messages, ok := p.out.take(ctx)
		if !ok {
			return
		}
		for i, m := range messages {
			if err := conn.Send(m); err != nil {
				p.out.putBack(messages[i:])
				return
			}
		}
	}
}

// listen carries out what the director says; its greeting closes greeted.
func (p *Pulse) listen(ctx context.Context, conn *link.Conn, greeted chan<- struct{}) {
	greet := sync.OnceFunc(func() { close(greeted) })
	for {
		m, err := conn.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				p.log.Error("the link to the director failed", "error", err)
			}
			return
		}
		switch {
		case m.Hello != nil && m.Hello.Version != link.Version:
			p.log.Error("the director speaks another version of the link; restart baton to finish the upgrade",
				"ours", link.Version, "theirs", m.Hello.Version)
			_ = conn.Close()
			return
		case m.Hello != nil:
			greet()
		case m.Configure != nil:
			p.configure(*m.Configure)
		case m.Ask != nil:
			p.publishStatus(ctx)
		case m.Command != nil:
			go p.command(conn, *m.Command)
		case m.Tracked != nil:
			p.speaker.Tracked(m.Tracked.Router, m.Tracked.Tracks)
		case m.Synced != nil:
			p.speaker.Synced(m.Synced.Router)
		case m.Reloaded != nil:
			p.manager.ready()
		}
	}
}

func (p *Pulse) configure(c link.Configure) {
	p.mu.Lock()
	stopping := p.stopping
	p.configured = true
	p.good = c.LastGood
	p.mu.Unlock()
	if stopping {
		return
	}
	p.opts.SetLog(c.LogLevel, c.LogFormat)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.speaker.Configure(ctx, c.Routers, c.Groups); err != nil {
		p.log.Error("configuring the routers failed", "error", err)
		return
	}
	p.manager.ready()
}

func (p *Pulse) command(conn *link.Conn, c link.Command) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var err error
	switch c.Action {
	case link.Failover:
		err = p.speaker.Failover(ctx, c.Router)
	case link.Resume:
		err = p.speaker.Resume(ctx, c.Router)
	default:
		err = fmt.Errorf("this pulse does not know the action %q; restart baton to finish the upgrade", c.Action)
	}
	// What the command has changed goes before its answer: who asks for the state
	// after that must not see the one before.
	if status, err := p.speaker.Status(ctx); err == nil {
		_ = conn.Send(link.Message{Status: &link.Status{At: time.Now(), Routers: status}}) // as for the answer below
	}
	reply := link.Reply{ID: c.ID}
	if err != nil {
		reply.Error = err.Error()
	}
	if err := conn.Send(link.Message{Reply: &reply}); err != nil {
		p.log.Warn("the director ended before it got an answer", "action", string(c.Action), "router", c.Router)
	}
}
