//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestRepair: the whole table is gone, under load. For single changes see TestDrift.
func TestRepair(t *testing.T) {
	s := start(t, scene.Options{})
	active, want := s.Directors[0], expected(s)
	drift := func() float64 { return scrape(t, active).one(t, "baton_ipvs_drift_total") }
	if n := drift(); n != 0 {
		t.Errorf("before anybody has touched the table, the drift is %v", n)
	}
	load := s.Load(workers, pause)
	time.Sleep(500 * time.Millisecond)
	watch := watchTable(active, want.partOf)
	ipvsadm(t, active, "-C")
	eventually(t, func() error {
		if got := drift(); got != 1 {
			return fmt.Errorf("after ipvsadm -C the drift is %v, not 1", got)
		}
		have, err := kernelTable(active.Host)
		return errors.Join(err, want.partOf(have))
	})
	within(t, "repairing ipvsadm -C", watch.longest(t), resync+slack)
	back := time.Now()
	time.Sleep(time.Second)
	all := load.Stop()
	atMost(t, "after the table is back", all.Failed(back), all, 0)

	// A change by baton's own command is no other, and the command says so.
	rules := filepath.Join(t.TempDir(), "rules")
	must(t, os.WriteFile(rules, []byte("-e -t 10.0.0.100:80 -r 10.0.1.11:80 -m -w 42\n"), 0o600))
	const note = "note: the daemon keeps these services as its configuration says, and puts them back within 1s: "
	if out := baton(t, active, "ipvs", "restore", rules); !strings.HasPrefix(out, note) {
		t.Errorf("baton ipvs restore says %q", out)
	}
	eventually(t, func() error { return want.partOf(admTable(t, active)) })
}
