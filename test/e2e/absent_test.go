//go:build vm

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
	"baton/test/scene"
)

// lastRetry is the longest pause between two attempts to open the kernel's table.
const lastRetry = 30 * time.Second

// TestWithoutIPVS begins on a kernel without IPVS: no module, and none to be had.
func TestWithoutIPVS(t *testing.T) {
	s := build(t, scene.Options{})
	a, b := s.Directors[0], s.Directors[1]
	offer := withholdIPVS(t, s)
	must(t, s.Start())

	// The routers work.
	eventually(t, func() error { return owner(s, a) })
	baton(t, a, "failover", "web")
	eventually(t, func() error { return owner(s, b) })
	baton(t, a, "resume", "web")
	eventually(t, func() error { return owner(s, a) })

	// The checks do, too, and the rest is said.
	eventually(t, func() error {
		st := status(t, a)
		for _, srv := range st.Services[0].Servers {
			if srv.State != "up" || srv.InKernel || srv.Weight != 0 {
				return fmt.Errorf("status: %+v", srv)
			}
		}
		return nil
	})
	st := status(t, a)
	if !slices.ContainsFunc(st.Problems, func(p string) bool {
		return strings.HasPrefix(p, "kernel table: ") && strings.Contains(p, "modprobe ip_vs")
	}) {
		t.Errorf("the problems in status do not say what is wrong and what to do: %q", st.Problems)
	}
	if text := baton(t, a, "status"); !strings.Contains(text, "the kernel offers no IPVS") || !strings.Contains(text, "modprobe ip_vs") {
		t.Errorf("baton status does not say what is wrong and what to do:\n%s", text)
	}
	const problems = `baton_problems{where="ipvs"}`
	if n := scrape(t, a).one(t, problems); n != 1 {
		t.Errorf("%s is %v", problems, n)
	}
	child, err := a.Child()
	must(t, err)

	offer()
	within(t, "the table is programmed after the module came", timed(t, func() error {
		var errs []error
		for _, d := range s.Directors {
			have, err := kernelTable(d.Host)
			errs = append(errs, err, have.missing(expected(s)))
		}
		return errors.Join(errs...)
	}), lastRetry+slack)
	if now, err := a.Child(); err != nil || now != child {
		t.Errorf("there is another director process (%d, then %d): %v", child, now, err)
	}
	must(t, s.Ready(patience))
	counts, err := s.Curl(60)
	must(t, err)
	assertSpread(t, s, counts, 60)
	agree(t, a)
	if st := status(t, a); len(st.Problems) > 0 {
		t.Errorf("problems that remain: %q", st.Problems)
	}
	if n := scrape(t, a).one(t, problems); n != 0 {
		t.Errorf("at the end %s is %v", problems, n)
	}
}

// withholdIPVS unloads IPVS and sees to it that neither baton nor the kernel by
// itself can load it, until the returned function is called.
func withholdIPVS(t *testing.T, s *scene.Scene) (offer func()) {
	t.Helper()
	// Modprobe on the directors finds an empty folder.
	for _, d := range s.Directors {
		d.Host.Private("/lib/modules")
	}
	// What the kernel calls runs outside of them.
	const helper = "/proc/sys/kernel/modprobe"
	before, err := os.ReadFile(helper)
	must(t, err)
	must(t, os.WriteFile(helper, []byte("/bin/false"), 0o644))
	restore := func() { must(t, os.WriteFile(helper, before, 0o644)) }
	t.Cleanup(restore)
	// Namespaces of earlier labs, and what uses the module in them, end in the
	// background.
	eventually(t, unloadIPVS)
	return func() {
		restore()
		must(t, modprobe("ip_vs"))
	}
}

func unloadIPVS() error {
	text, err := os.ReadFile("/proc/modules")
	if err != nil {
		return err
	}
	var schedulers []string
	loaded := false
	for line := range strings.Lines(string(text)) {
		switch name, _, _ := strings.Cut(line, " "); {
		case name == "ip_vs":
			loaded = true
		case strings.HasPrefix(name, "ip_vs_"):
			schedulers = append(schedulers, name)
		}
	}
	if !loaded {
		return nil
	}
	return modprobe(append(append([]string{"-r"}, schedulers...), "ip_vs")...)
}

func modprobe(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(patience))
	defer cancel()
	if out, err := exec.CommandContext(ctx, "modprobe", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("modprobe %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
