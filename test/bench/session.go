package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"baton/test/lab"
)

// session is a pair that runs for some time, under load or idle, with a capture at
// b's interface.
type session struct {
	*pair
	seen *lab.Capture
	load bool
	// opened is how many connections the two directors opened per second, which
	// shows that checks are being made.
	opened [2]float64
}

// openSession starts a pair and what burdens it. Close it.
func (b *bench) openSession(p program, advert time.Duration, load bool) (s *session, err error) {
	r, err := b.newPair(p, advert)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	checks := 0
	if load {
		checks = b.checks
		r.servers()
	}
	if err := r.elect(checks); err != nil {
		return nil, err
	}
	s = &session{pair: r, load: load, seen: r.lab.Capture(r.hosts[1], "eth0", "vrrp")}
	if load {
		err = s.burden()
	}
	return s, errors.Join(err, r.lab.Err())
}

// servers makes the host that is all real servers.
func (r *pair) servers() {
	h := r.lab.Host("servers")
	h.Connect(r.lan, "eth0", "10.0.0.66/24")
	if _, err := h.Run(context.Background(), "ip", "route", "add", "local", "10.66.0.0/16", "dev", "lo"); err != nil {
		fmt.Fprintln(os.Stderr, "servers:", err) // without them the checks fail, and the table says so
	}
	h.Start(lab.Proc{Args: []string{r.bench.self, "servers"}})
	for _, d := range r.hosts {
		d.Route("10.66.0.0/16", "10.0.0.66")
	}
}

// burden waits until the checks of both directors run, and starts the burners.
func (s *session) burden() error {
	want := float64(s.bench.checks) / checkInterval.Seconds()
	const window = 2 * time.Second
	for began := time.Now(); time.Since(began) < lab.Patience(20*time.Second); {
		before, err := s.connects()
		if err != nil {
			return err
		}
		time.Sleep(window)
		after, err := s.connects()
		if err != nil {
			return err
		}
		if after[0]-before[0] > 0.8*want*window.Seconds() && after[1]-before[1] > 0.8*want*window.Seconds() {
			break
		}
	}
	for range s.bench.burners {
		s.client.Start(lab.Proc{Args: []string{s.bench.self, "burn"}})
	}
	return s.settle(lab.Patience(30 * time.Second))
}

// connects is how many connections each director has opened.
func (s *session) connects() (out [2]float64, err error) {
	for i, h := range s.hosts {
		err = errors.Join(err, h.Do(func() (err error) {
			out[i], err = activeOpens("/proc/thread-self/net/snmp")
			return err
		}))
	}
	return out, err
}

// activeOpens reads a counter of RFC 4022 from the kernel's table: a line of names
// and a line of values for each protocol.
func activeOpens(path string) (float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if name == "ActiveOpens" && i < len(fields) {
				var n float64
				_, err := fmt.Sscan(fields[i], &n)
				return n, err
			}
		}
	}
	return 0, fmt.Errorf("%s has no ActiveOpens", path)
}

// watch waits and returns the adverts that came meanwhile.
func (s *session) watch(ctx context.Context, d time.Duration) ([]advert, error) {
	from := len(s.seen.Packets())
	before, err := s.connects()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := s.connects()
	for i := range s.opened {
		s.opened[i] = (after[i] - before[i]) / time.Since(began).Seconds()
	}
	return adverts(s.seen, from), errors.Join(err, s.lab.Err())
}
