package ipvs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What could not be loaded is tried again in a minute, and the reason stands
// until then.
func TestModulesAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, broken := 0, errors.New("no such module")
		m := newModules(false)
		m.run = func(context.Context, string) error { runs++; return broken }
		for range 3 {
			if loaded, err := m.sometimes(t.Context(), "ip_vs_mh"); loaded || !errors.Is(err, broken) {
				t.Errorf("loaded %v, %v", loaded, err)
			}
		}
		time.Sleep(modprobeAgain)
		broken = nil
		if loaded, err := m.sometimes(t.Context(), "ip_vs_mh"); !loaded || err != nil || runs != 2 {
			t.Errorf("loaded %v, %v in run %d", loaded, err, runs)
		}
		if loaded, err := m.sometimes(t.Context(), "ip_vs_mh"); loaded || err != nil || runs != 2 {
			t.Errorf("loaded %v, %v in run %d", loaded, err, runs)
		}
	})
}

func TestFTPNeedsItsHelper(t *testing.T) {
	for _, tt := range []struct {
		service string
		server  string
		needs   bool
	}{
		{"tcp 10.0.0.100:21 rr", "10.0.0.11:2121 nat 1", true},
		{"tcp [2001:db8::100]:21 rr", "[2001:db8::11]:21 nat 1", true},
		{"tcp 10.0.0.100:21 rr", "10.0.0.11:21 dr 1", false},
		{"udp 10.0.0.100:21 rr", "10.0.0.11:21 nat 1", false},
		{"tcp 10.0.0.100:22 rr", "10.0.0.11:21 nat 1", false},
		{"fwmark 21 inet rr", "10.0.0.11:21 nat 1", false},
	} {
		v := service(tt.service, server(tt.server))
		if got := needsFTP(&v); got != tt.needs {
			t.Errorf("%s with %s: %v", tt.service, tt.server, got)
		}
	}
	w := newWorld()
	k := w.open(t, noModules())
	v := service("tcp 10.0.0.100:21 rr", server("10.0.0.11:21 nat 1"))
	lacking := k.Lacking(t.Context(), table(v, service("tcp 10.0.0.100:80 rr")))
	if err := lacking[v.Key]; len(lacking) != 1 || err == nil || !strings.Contains(err.Error(), "modprobe ip_vs_ftp (running modprobe is switched off)") {
		t.Errorf("lacking %v", lacking)
	}
	k.modules.there = func(module string) bool { return module == "ip_vs_ftp" }
	if lacking := k.Lacking(t.Context(), table(v)); len(lacking) != 0 {
		t.Errorf("lacking %v", lacking)
	}
}
