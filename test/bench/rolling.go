package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"baton/test/lab"
)

// rolled is what clients saw while each server of a service was killed in turn.
type rolled struct {
	name   string
	kills  int
	visits visits
}

// visits are what clients count.
type visits struct {
	OK, Failed int
	First      string // the first failure
}

// Visitors make one request after the other, each over a connection of its own.
const (
	visitors     = 8
	visitPause   = 20 * time.Millisecond
	visitTimeout = 2 * time.Second
)

// rollServers kills each server and brings it back, under the eyes of clients.
func (b *bench) rollServers(ctx context.Context, s *stand, r *checksResult) error {
	f := farm{kind: "tcp", trusted: true, interval: victimInterval, timeout: victimTimeout, fall: 2, victims: 4}
	quick := f
	quick.fast = 100 * time.Millisecond
	var errs []error
	for _, one := range []struct {
		name   string
		keeper keeper
		farm   farm
	}{
		{keepalived{}.name(), keepalived{}, f},
		{baton{}.name(), baton{b.baton}, f},
		{fmt.Sprintf("%s, fast_interval %s", baton{}.name(), quick.fast), baton{b.baton}, quick},
	} {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m, err := s.roll(ctx, one.keeper, one.farm)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s, servers killed in turn: %w", one.name, err))
			continue
		}
		m.name = one.name
		fmt.Fprintf(os.Stderr, "checks %s: %d servers killed: %+v\n", m.name, m.kills, m.visits)
		r.rolled = append(r.rolled, m)
	}
	return errors.Join(errs...)
}

func (s *stand) roll(ctx context.Context, k keeper, f farm) (m *rolled, err error) {
	m = &rolled{kills: f.victims}
	dir, err := os.MkdirTemp(s.lab.Dir(), k.name()+"-")
	if err != nil {
		return m, err
	}
	if err := errors.Join(s.clear(ctx), k.prepare(dir, f)); err != nil {
		return m, err
	}
	living, err := s.raise(ctx, f.victims)
	if err != nil {
		return m, err
	}
	defer func() { s.bury(context.WithoutCancel(ctx), living) }()
	p := k.keep(s, dir, false)
	defer func() {
		if p.Running() {
			p.Kill()
		}
	}()
	if _, err := s.await(ctx, p, "full", f.full); err != nil {
		return m, err
	}
	clients := s.client.Start(lab.Proc{
		Args: []string{s.bench.self, "visit", fmt.Sprintf("http://%s/", net.JoinHostPort(vip, fmt.Sprint(f.port(f.services))))},
		Log:  filepath.Join(dir, "visits"),
	})
	err = s.killInTurn(ctx, p, f, living)
	if stopped := stop(clients); stopped != nil {
		return m, errors.Join(err, stopped)
	}
	return m, errors.Join(err, json.Unmarshal([]byte(clients.Output()), &m.visits), stop(p))
}

// killInTurn kills each server, waits until it is out of the table, and brings it
// back.
func (s *stand) killInTurn(ctx context.Context, p *lab.Process, f farm, living []*lab.Process) error {
	for n := range living {
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
		if err := end(living[n]); err != nil {
			return err
		}
		less := func(c counted) bool { return c.servers == f.servers()-1 }
		if _, err := s.await(ctx, p, "without the server", less); err != nil {
			return err
		}
		living[n] = s.startVictim(n)
		if _, err := s.await(ctx, p, "full again", f.full); err != nil {
			return err
		}
	}
	return sleep(ctx, 2*time.Second)
}

// visit is the clients. It prints what they counted when it gets SIGTERM.
func visit(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: visit URL")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	c := &http.Client{Timeout: visitTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	var all visits
	var mu sync.Mutex
	var clients sync.WaitGroup
	for range visitors {
		clients.Go(func() {
			for ctx.Err() == nil {
				err := visitOnce(c, args[0])
				mu.Lock()
				if all.OK++; err != nil {
					all.OK--
					all.Failed++
					if all.First == "" {
						all.First = err.Error()
					}
				}
				mu.Unlock()
				time.Sleep(visitPause)
			}
		})
	}
	clients.Wait()
	return json.NewEncoder(os.Stdout).Encode(all)
}

func visitOnce(c *http.Client, url string) error {
	resp, err := c.Get(url) //nolint:noctx // the client has a timeout
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}
