package vrrp

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mutations are mistakes that the election could have. The simulator has to find
// each of them, and name a rule that tells what is wrong. One more takes a line
// here: text that is in the file exactly once, and what it is replaced by.
var mutations = []struct {
	name     string
	file     string
	from, to string
	rules    []string // any of them
}{
	{
		"skew is ignored", "spec.go",
		"return time.Duration(256-int(priority)) * masterInterval / 256",
		"return time.Duration(priority) * 0 * masterInterval",
		[]string{ruleSuccessor},
	},
	{
		"skew is the same for everybody", "spec.go",
		"return time.Duration(256-int(priority)) * masterInterval / 256",
		"return masterInterval/2 + 0*time.Duration(priority)",
		[]string{ruleSuccessor, ruleNoOwner, ruleNoPreempt},
	},
	{
		"a tie goes to the lower address", "path.go",
		"return ev.Source.Compare(r.spec.Source) > 0", "return ev.Source.Compare(r.spec.Source) < 0",
		[]string{ruleTie},
	},
	{
		"nobody yields in a tie", "path.go",
		"return ev.Source.Compare(r.spec.Source) > 0", "return false",
		[]string{ruleTwo},
	},
	{
		"a second path decides a tie at once", "path.go",
		"return now.Sub(r.tieSince) > r.ownDownInterval() && ev", "return ev",
		[]string{ruleGap, ruleFlap, ruleSuccessor, ruleUnready},
	},
	{
		"priority 0 is ignored", "router.go",
		"if ev.Advert.Priority == 0 && r.anotherOwns(now, ev) {", "if ev.Advert.Priority == 0 {",
		[]string{ruleZeroLate},
	},
	{
		"priority 0 is believed from anybody", "router.go",
		"ev.Advert.Priority == 0 && r.anotherOwns(now, ev)", "false",
		[]string{ruleLive},
	},
	{
		"a higher priority is not yielded to", "master.go",
		"wins := a.Priority > r.priority() ||", "wins := false ||",
		[]string{ruleTwo},
	},
	{
		"a stall is not noticed", "master.go",
		"silent <= r.ownDownInterval()", "silent >= 0",
		[]string{ruleStale},
	},
	{
		"a stall during a hand-over is not noticed", "master.go",
		"r.handover.kind == Resign && late >", "late < 0 && late >",
		[]string{ruleStale},
	},
	{
		"a backup's late timer is believed", "backup.go",
		"late > r.masterInterval", "late < 0",
		[]string{ruleStale},
	},
	{
		"the addresses go before the new master is heard", "handover.go",
		"r.tell.stop()\n\tr.send(now, 0)", "r.tell.stop()\n\tr.do(Action{Kind: Release})\n\tr.send(now, 0)",
		[]string{ruleGap},
	},
	{
		"preempt: false is ignored", "router.go",
		"(r.spec.Preempt || r.spec.Priority == OwnerPriority)", "true",
		[]string{ruleForbidden},
	},
	{
		"the delay of preemption is ignored", "backup.go",
		"return now.Before(r.preemptAt())", "return false",
		[]string{ruleTooEarly, ruleNoPreempt},
	},
	{
		"lower masters are never preempted", "backup.go",
		"if !r.preempts() || r.delaysPreemption(now) {", "if true {",
		[]string{ruleNoPreempt},
	},
	{
		"the master's interval is not taken over", "backup.go",
		"r.masterInterval = a.Interval", "",
		[]string{ruleNoOwner, ruleZeroLate, ruleLive},
	},
	{
		"a new interval is not told", "router.go",
		"if r.handover.kind == 0 {\n\t\tr.advertise(now)", "if false {\n\t\tr.advertise(now)",
		[]string{ruleRhythm},
	},
	{
		"the linger time has no end", "master.go",
		"r.releaseAt = later(now, r.spec.Linger)", "r.releaseAt = later(now, 100*r.spec.Linger)",
		[]string{ruleLinger, ruleHandover},
	},
	{
		"who leaves is asked for a takeover", "router.go",
		"if r.handover.kind != Shutdown {", "if true {",
		[]string{ruleSpin},
	},
	{
		"a sync group's members do not follow each other", "group.go",
		"case without >= 0 && masters > 0:", "case false:",
		[]string{ruleGroup, ruleTwo},
	},
	{
		"a sync group is ready when one member is", "group.go",
		`ready = ready && r.wants != ""`, `ready = r.wants != ""`,
		[]string{ruleLive, ruleForbidden, ruleGroup, ruleSuccessor, ruleDeaf},
	},
	{
		"a fault does not spread in a sync group", "group.go",
		`if i != member && g.faults[i] == "" && r.state != Init {`, "if i < 0 && r.state != Init {",
		[]string{ruleGroup},
	},
}

func TestSimulatorFindsPlantedBugs(t *testing.T) {
	for _, m := range mutations {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			test := "TestSimulation"
			if m.file == "group.go" {
				test = "TestGroupSimulation"
			}
			out, err := simulateMutant(t, test, m.file, m.from, m.to)
			switch {
			case err == nil:
				t.Errorf("the simulator found nothing wrong:\n%s", out)
			case !slices.ContainsFunc(m.rules, func(rule string) bool { return strings.Contains(out, rule) }):
				t.Errorf("the simulator named none of %q:\n%s", m.rules, out)
			}
		})
	}
}

// simulateMutant runs the simulator with a text of one file replaced. The files
// themselves stay as they are: go test gets an overlay, which also leaves out the
// tests that are not part of the simulator.
func simulateMutant(t *testing.T, test, file, from, to string) (string, error) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), from); n != 1 {
		t.Fatalf("%s has %d times %q, want it once: the planted bug needs to follow the code", file, n, from)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mutant, overlay := filepath.Join(dir, file), filepath.Join(dir, "overlay.json")
	replace := map[string]string{filepath.Join(here, file): mutant}
	for _, name := range tests {
		if !strings.HasPrefix(name, "sim_") {
			replace[filepath.Join(here, name)] = ""
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		mutant:  strings.Replace(string(source), from, to, 1),
		overlay: string(list),
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-vet=off", "-ldflags=-s -w", "-count=1",
		"-run", "^"+test+"$", ".")
	cmd.Env = append(os.Environ(), "BATON_SIM_RUNS=20000", "BATON_SIM_SEED=")
	out, err := cmd.CombinedOutput()
	if text := string(out); err != nil && !strings.Contains(text, "--- FAIL: "+test) {
		t.Fatalf("the mutant could not be tested: %v\n%s", err, text)
	}
	return string(out), err
}
