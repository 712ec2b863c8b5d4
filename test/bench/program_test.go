package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/internal/config"
)

func TestProportional(t *testing.T) {
	got, err := proportional(strings.NewReader("0-1 ---p 0 00:00 0 [rollup]\nRss:  90 kB\nPss:    42 kB\nPss_Dirty: 7 kB\n"))
	if err != nil || got != 42 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := proportional(strings.NewReader("Rss: 90 kB\n")); err == nil {
		t.Error("no error without a line with Pss")
	}
}

func TestActiveOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snmp")
	text := "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoAlgorithm ActiveOpens PassiveOpens\nTcp: 1 1234 5\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := activeOpens(path); err != nil || got != 1234 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := activeOpens("/proc/version"); err == nil {
		t.Error("no error for a file without that counter")
	}
}

// Both programs are told the same: as many routers and real servers.
func TestConfigurations(t *testing.T) {
	for _, s := range []setup{
		{node: "a", dir: "/tmp/a", priority: 200, advert: 10 * time.Millisecond, routers: 1, checks: 1005},
		{node: "b", dir: "/tmp/b", priority: 100, advert: time.Second, routers: 255},
	} {
		ours, theirs := baton{}.config(s), keepalived{ipvs: true}.config(s)
		if _, err := config.Parse("baton.yaml", []byte(ours)); err != nil {
			t.Errorf("baton does not take it: %v", err)
		}
		count := func(what, inOurs, inTheirs string, want int) {
			t.Helper()
			if o, k := strings.Count(ours, inOurs), strings.Count(theirs, inTheirs); o != want || k != want {
				t.Errorf("%d and %d %s, want %d", o, k, what, want)
			}
		}
		count("routers", "interface: eth0", "vrrp_instance", s.routers)
		count("services", "scheduler: rr", "virtual_server ", (s.checks+serversPerService-1)/serversPerService)
		count("servers", "- 10.66.", "real_server 10.66.", s.checks)
		if o, c := strings.Count(theirs, "{"), strings.Count(theirs, "}"); o != c {
			t.Errorf("keepalived's configuration opens %d blocks and closes %d", o, c)
		}
	}
	if got := server(9999); got != "10.66.39.250" {
		t.Errorf("the last real server is %s", got)
	}
}
