package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"baton/test/lab"
	"baton/test/stream"
)

// pair is two directors, a and b, and a client on one segment. a is preferred.
type pair struct {
	bench    *bench
	lab      *lab.Lab
	program  program
	lan      *lab.Bridge
	client   *lab.Host
	hosts    [2]*lab.Host
	links    [2]*lab.Link
	procs    [2]*lab.Process
	advert   time.Duration
	checkers [2]*lab.Process // in place of the program's own checks
}

// newPair makes the hosts, with an echo service on both directors. Close it.
func (b *bench) newPair(p program, advert time.Duration) (*pair, error) {
	l, err := lab.Open(nil)
	if err != nil {
		return nil, err
	}
	r := &pair{bench: b, lab: l, program: p, advert: advert, lan: l.Bridge("lan"), client: l.Host("client")}
	r.client.Connect(r.lan, "eth0", "10.0.0.9/24")
	for i, name := range []string{"a", "b"} {
		r.hosts[i] = l.Host(name)
		r.links[i] = r.hosts[i].Connect(r.lan, "eth0", fmt.Sprintf("10.0.0.%d/24", i+1))
		r.instrument(r.hosts[i], "echo")
	}
	if err := l.Err(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return r, nil
}

func (r *pair) close() error { return r.lab.Close() }

// instrument starts one of the instruments on a host. It runs before the ordinary
// processes and before those that baton runs.
func (r *pair) instrument(h *lab.Host, args ...string) *lab.Process {
	return h.Start(lab.Proc{Args: append([]string{"chrt", "-f", "2", r.bench.self}, args...)})
}

// dir is where the files of a director are.
func (r *pair) dir(i int) string { return filepath.Join(r.lab.Dir(), r.hosts[i].Name()) }

// start starts both directors.
func (r *pair) start(routers, checks int) error {
	for i, h := range r.hosts {
		s := setup{
			node: h.Name(), dir: r.dir(i), priority: []int{200, 100}[i],
			advert: r.advert, routers: routers, checks: checks,
		}
		var err error
		if r.procs[i], err = r.program.start(h, s); err != nil {
			return err
		}
		if checks > 0 && !r.program.checks() {
			r.checkers[i] = h.Start(lab.Proc{Args: []string{r.bench.self, "checker", fmt.Sprint(checks)}})
		}
	}
	return r.lab.Err()
}

// elect starts both directors and waits until a alone has had the VIP for some
// time: the slower one to start may well have lost its first election.
func (r *pair) elect(checks int) error {
	if err := r.start(1, checks); err != nil {
		return err
	}
	return r.settle(lab.Patience(30 * time.Second))
}

// settle waits until a alone has the VIP, and b had the time to notice.
func (r *pair) settle(within time.Duration) error {
	calm := r.advert*6/5 + lab.Patience(500*time.Millisecond)
	since := time.Time{}
	for began := time.Now(); time.Since(began) < within; time.Sleep(10 * time.Millisecond) {
		for _, p := range r.procs {
			if !p.Running() {
				return fmt.Errorf("%s on %s has ended:\n%s", r.program.name(), p.Host().Name(), tail(p))
			}
		}
		switch {
		case !r.hosts[0].Has(vip) || r.hosts[1].Has(vip):
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > calm:
			return r.lab.Err()
		}
	}
	return fmt.Errorf("after %s the VIP is not on a alone (a: %t, b: %t)\na: %s\nb: %s", within,
		r.hosts[0].Has(vip), r.hosts[1].Has(vip), tail(r.procs[0]), tail(r.procs[1]))
}

// tail is the last that a process has written.
func tail(p *lab.Process) string {
	lines := strings.Split(strings.TrimSpace(p.Output()), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// flow is a client's stream.
type flow struct{ process *lab.Process }

// stream begins to send to the VIP; it returns when the first datagram was
// answered.
func (r *pair) stream(every time.Duration) (flow, error) {
	f := flow{r.instrument(r.client, "stream", every.String())}
	if err := f.process.AwaitOutput(30*time.Second, streaming); err != nil {
		return f, errors.Join(r.lab.Err(), err)
	}
	return f, nil
}

// stop ends the stream and returns what the client saw.
func (f flow) stop() (r stream.Result, err error) {
	if err := f.process.Signal(syscall.SIGTERM); err != nil {
		return r, fmt.Errorf("the stream has ended by itself: %w", err)
	}
	select {
	case <-f.process.Done():
	case <-time.After(lab.Patience(10 * time.Second)):
		f.process.Kill()
		return r, errors.New("the stream does not end")
	}
	_, text, _ := strings.Cut(f.process.Output(), streaming)
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("the stream's result: %w: %s", err, f.process.Output())
	}
	return r, nil
}

// failover has a director hand over by command.
func (r *pair) failover(i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(30*time.Second))
	defer cancel()
	return r.program.failover(ctx, r.hosts[i], r.dir(i))
}
