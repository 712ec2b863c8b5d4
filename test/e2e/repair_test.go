//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/api"
	"baton/test/scene"
)

// resync is how often the kernel's table is compared, by default.
const resync = time.Second

// Somebody else's service.
const (
	foreignKey    = "tcp 10.0.0.200:8080"
	foreignServer = "10.0.1.11:80"
)

// addForeign adds a service by hand and returns it.
func addForeign(t *testing.T, d *scene.Director) virtual {
	t.Helper()
	ipvsadm(t, d, "-A -t 10.0.0.200:8080 -s rr")
	ipvsadm(t, d, "-a -t 10.0.0.200:8080 -r "+foreignServer+" -m -w 7")
	return virtual{Key: foreignKey, Scheduler: "rr", Servers: []server{{Address: foreignServer, Forward: scene.NAT, Weight: 7}}}
}

func TestRepair(t *testing.T) {
	s := start(t, scene.Options{})
	active, want := s.Directors[0], expected(s)
	drift := func() float64 { return scrape(t, active).one(t, "baton_ipvs_drift_total") }
	if n := drift(); n != 0 {
		t.Errorf("before anybody has touched the table, the drift is %v", n)
	}
	// disturb changes the table by hand, and waits until this is repaired and
	// makes a drift of n.
	disturb := func(command string, n float64, right func(table) error) {
		t.Helper()
		watch := watchTable(active, right)
		ipvsadm(t, active, command)
		eventually(t, func() error {
			if got := drift(); got != n {
				return fmt.Errorf("after ipvsadm %s the drift is %v, not %v", command, got, n)
			}
			have, err := kernelTable(active.Host)
			return errors.Join(err, right(have))
		})
		within(t, "repairing ipvsadm "+command, watch.longest(t), resync+slack)
	}

	load := s.Load(workers, pause)
	time.Sleep(500 * time.Millisecond)
	disturb("-C", 1, want.partOf)
	back := time.Now()
	time.Sleep(time.Second)
	all := load.Stop()
	atMost(t, "after the table is back", all.Failed(back), all, 0)

	// What others have beside ours stays theirs.
	want = append(want, addForeign(t, active)).sort()
	// What they change in ours does not stay.
	disturb("-e -t 10.0.0.100:80 -r 10.0.1.11:80 -m -w 42", 2, want.exactly)
	disturb("-a -t 10.0.0.100:80 -r 10.0.1.99:80 -m -w 5", 3, want.exactly)
	time.Sleep(2 * resync)
	must(t, want.exactly(admTable(t, active)))
	if n := drift(); n != 3 {
		t.Errorf("two comparisons later the drift is %v, not 3", n)
	}
	wantForeign := []api.ForeignService{{Address: "10.0.0.200:8080", Protocol: "tcp", Scheduler: "rr", Servers: 1}}
	if diff := cmp.Diff(wantForeign, status(t, active).Foreign); diff != "" {
		t.Errorf("foreign services in status (-want +got):\n%s", diff)
	}
	if n := scrape(t, active).one(t, "baton_ipvs_foreign_services"); n != 1 {
		t.Errorf("baton_ipvs_foreign_services is %v", n)
	}
}
