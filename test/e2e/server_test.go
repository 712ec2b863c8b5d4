//go:build vm

package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"baton/test/lab"
	"baton/test/scene"
)

// The checks of the scene's configuration.
const (
	interval   = 500 * time.Millisecond
	rise, fall = 2, 3
)

// inTable returns nil if a director's kernel has this server for the scene's
// service.
func inTable(d *scene.Director, r *scene.RealServer) error {
	have, err := kernelTable(d.Host)
	if err == nil && have.find("tcp "+scene.Service.String()).server(r.Address.String()) == nil {
		err = fmt.Errorf("%s is not in the table", r.Name)
	}
	return err
}

func notInTable(d *scene.Director, r *scene.RealServer) error {
	err := inTable(d, r)
	if err == nil {
		return fmt.Errorf("%s is in the table", r.Name)
	}
	if _, unreadable := kernelTable(d.Host); unreadable != nil {
		return unreadable
	}
	return nil
}

// timed waits until check returns nil and returns how long that took.
func timed(t *testing.T, check func() error) time.Duration {
	t.Helper()
	began := time.Now()
	eventually(t, check)
	return time.Since(began)
}

// restart starts a web server again and waits until it can be reached.
func restart(t *testing.T, s *scene.Scene, r *scene.RealServer) {
	t.Helper()
	must(t, r.Start())
	eventually(t, func() error {
		conn, err := s.Directors[0].Host.Dial(context.Background(), "tcp", r.Address.String())
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func TestRealServerDies(t *testing.T) {
	s := start(t, scene.Options{})
	active, victim := s.Directors[0], s.Real[0]
	load := s.Load(workers, pause)
	time.Sleep(500 * time.Millisecond)
	victim.Kill()
	within(t, "the dead server leaves the table", timed(t, func() error { return notInTable(active, victim) }),
		interval*fall+time.Second)
	gone := time.Now()
	time.Sleep(2 * time.Second)
	restart(t, s, victim)
	within(t, "the server is in the table again", timed(t, func() error { return inTable(active, victim) }),
		interval*rise+time.Second)
	back := time.Now()
	time.Sleep(time.Second)
	all := load.Stop()

	atMost(t, "after the server has left the table", all.Failed(gone), all, 0)
	if n := all.By(back)[victim.Name]; n == 0 {
		t.Error("the server that is back gets no requests")
	}
	between := 0
	for _, r := range all {
		if r.Server == victim.Name && r.At.After(gone) && r.At.Before(back.Add(-time.Second)) {
			between++
		}
	}
	if between > 0 {
		t.Errorf("%d requests were answered by the dead server", between)
	}
	agree(t, active)
}

func TestFallback(t *testing.T) {
	s := start(t, scene.Options{Fallback: true})
	active := s.Directors[0]
	must(t, notInTable(active, s.Sorry))
	for _, r := range s.Real {
		r.Kill()
	}
	within(t, "the fallback is in the table", timed(t, func() error { return inTable(active, s.Sorry) }),
		interval*fall+time.Second)
	for _, r := range s.Real {
		must(t, notInTable(active, r))
	}
	counts, err := s.Curl(20)
	must(t, err)
	if counts[s.Sorry.Name] != 20 {
		t.Errorf("while all real servers are down, 20 requests are answered by %v", counts)
	}
	eventually(t, func() error {
		svc := status(t, active).Services[0]
		if svc.Up || !svc.FallbackActive || svc.Fallback == nil || !svc.Fallback.InKernel {
			return fmt.Errorf("status: %+v", svc)
		}
		return nil
	})

	for _, r := range s.Real {
		restart(t, s, r)
	}
	eventually(t, func() error {
		have, err := kernelTable(active.Host)
		return errors.Join(err, have.missing(expected(s)), notInTable(active, s.Sorry))
	})
	counts, err = s.Curl(60)
	must(t, err)
	assertSpread(t, s, counts, 60)
	lab.Eventually(t, time.Second, func() error {
		if svc := status(t, active).Services[0]; !svc.Up || svc.FallbackActive {
			return fmt.Errorf("status: %+v", svc)
		}
		return nil
	})
}
