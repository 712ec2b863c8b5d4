//go:build vm

package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"baton/test/scene"
)

// TestDirectorKilled: the process with the configuration and the checks dies
// again and again, and nobody notices.
func TestDirectorKilled(t *testing.T) {
	s := start(t, scene.Options{})
	d := s.Directors[0]
	capture := adverts(s, s.Directors[1], "10.0.0.1")
	mine, others := watchAddresses(t, d.Host), watchAddresses(t, s.Directors[1].Host)
	table := watchTable(d, expected(s).partOf)
	began := time.Now()
	load := s.Load(workers, pause)

	const kills = 3
	last := 0
	for i := range kills {
		time.Sleep(500 * time.Millisecond)
		pid, err := d.Child()
		must(t, err)
		if pid == last {
			t.Fatalf("the director that was killed still runs, pid %d", pid)
		}
		last = pid
		must(t, unix.Kill(pid, syscall.SIGKILL))
		took := timed(t, func() error {
			if now, err := d.Child(); err != nil || now == pid {
				return fmt.Errorf("no other director than %d: %w", pid, err)
			}
			_, err := d.Status()
			return err
		})
		t.Logf("another director answers %s after kill %d", took.Round(time.Millisecond), i+1)
	}
	if n := scrape(t, d).one(t, "baton_director_restarts_total"); n != kills {
		t.Errorf("baton_director_restarts_total is %v, not %d", n, kills)
	}
	// All that it knew before it knows again.
	must(t, s.Ready(patience))
	time.Sleep(time.Second)

	all := load.Stop()
	atMost(t, "while the director was killed", all.Failed(began), all, 0)
	table.always(t, "while the director was killed")
	mine.unmoved(t)
	others.unmoved(t)
	punctual(t, capture, time.Second)
	agree(t, d)
}
