//go:build vm

package ipvsadm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests run on a kernel with IPVS, with ipvsadm and the program itself:
//
//	make build
//	go test -exec "$PWD/test/vm/run" -tags vm -count=1 ./internal/ipvsadm

// batonPath is the program under test.
var batonPath string

func TestMain(m *testing.M) {
	path, err := filepath.Abs("../../bin/baton")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ipvsadm: the program to test is missing; run \"make build\" first:", err)
		os.Exit(1)
	}
	batonPath = path
	os.Exit(m.Run())
}

// host is a network namespace.
type host struct {
	t    *testing.T
	name string
}

var hosts int

func newHost(t *testing.T) host {
	t.Helper()
	hosts++
	h := host{t, fmt.Sprintf("ipvsadm-%d-%d", os.Getpid(), hosts)}
	command(t, "ip", "netns", "add", h.name)
	t.Cleanup(func() { command(t, "ip", "netns", "delete", h.name) })
	h.run("ip link set lo up") // without a routing table the kernel refuses servers
	return h
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// outcome is what a program did.
type outcome struct {
	out, errors string
	code        int
	took        time.Duration
	system      time.Duration // time in the kernel
	resident    int64         // KiB, at most
}

// do runs the words of a command line in the namespace; "baton" is the program
// under test. A word may be quoted.
func (h host) do(stdin, line string) outcome {
	h.t.Helper()
	words := quoted(line)
	if words[0] == "baton" {
		words[0] = batonPath
	}
	// nsenter and not "ip netns exec": it mounts nothing.
	args := append([]string{"--net=/run/netns/" + h.name, "--"}, words...)
	cmd := exec.Command("nsenter", args...)
	var out, errs strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	// No daemon answers here.
	cmd.Env = append(os.Environ(), "BATON_SOCKET=/run/no-baton.sock")
	start := time.Now()
	err := cmd.Run()
	o := outcome{out: out.String(), errors: errs.String(), took: time.Since(start), code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatalf("%s: %v", line, err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	o.system, o.resident = cmd.ProcessState.SystemTime(), usage.Maxrss
	return o
}

// quoted takes words apart; single quotes hold blanks together.
func quoted(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

// run is do for what must succeed.
func (h host) run(line string) string {
	h.t.Helper()
	return h.feed("", line)
}

func (h host) feed(stdin, line string) string {
	h.t.Helper()
	o := h.do(stdin, line)
	if o.code != 0 {
		h.t.Fatalf("%s: exit code %d\n%s%s", line, o.code, o.out, o.errors)
	}
	return o.out
}

// fails runs what must end with a code and say something.
func (h host) fails(code int, says, stdin, line string) outcome {
	h.t.Helper()
	o := h.do(stdin, line)
	if o.code != code || !strings.Contains(o.errors, says) {
		h.t.Errorf("%s: exit code %d, want %d with %q:\n%s", line, o.code, code, says, o.errors)
	}
	return o
}
