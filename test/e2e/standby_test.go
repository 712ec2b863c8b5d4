//go:build vm

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"baton/test/scene"
)

// TestColdStandby has the table move with the addresses, and not before.
func TestColdStandby(t *testing.T) {
	s := build(t, scene.Options{Forward: scene.DR, More: "ipvs: {standby: cold}\n"})
	must(t, s.Start())
	a, b := s.Directors[0], s.Directors[1]
	moved := func(what string, from, to *scene.Director) {
		t.Helper()
		eventually(t, func() error {
			if err := owner(s, to); err != nil {
				return err
			}
			have, err := kernelTable(to.Host)
			if err == nil {
				err = have.missing(expected(s))
			}
			return err
		})
		counts, err := s.Curl(60)
		must(t, err)
		assertSpread(t, s, counts, 60)
		eventually(t, func() error {
			have, err := kernelTable(from.Host)
			if err == nil && len(have) > 0 {
				err = fmt.Errorf("%s: %s has %+v", what, from.Name, have)
			}
			return err
		})
		eventually(t, func() error {
			if svc := status(t, from).Services[0]; !svc.Standby || !svc.Up || svc.Problem != "" {
				return fmt.Errorf("%s: %+v", what, svc)
			}
			return nil
		})
	}
	moved("start", b, a)
	if text := baton(t, b, "explain", "service", "http"); !strings.Contains(text, "It is not programmed here: standby; router web") {
		t.Errorf("baton explain service http:\n%s", text)
	}
	baton(t, a, "failover", "web")
	// The one that gave the addresses up serves what still comes to it.
	have, err := kernelTable(a.Host)
	must(t, err)
	must(t, have.missing(expected(s)))
	moved("baton failover", a, b)
	if n := scrape(t, a).one(t, `baton_service_programmed{service="http"}`); n != 0 {
		t.Errorf("baton_service_programmed of a service on standby is %v", n)
	}
	b.Crash()
	eventually(t, func() error { return owner(s, a) })
	eventually(t, func() error {
		have, err := kernelTable(a.Host)
		if err == nil {
			err = have.missing(expected(s))
		}
		return err
	})
}
