package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"baton/test/lab"
)

// cpuTime is the processor time, user and system, that all processes of a program
// have used. Those that ended in between are not in it.
func cpuTime(p *lab.Process) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range p.Tree() {
		// The process's clock counts nanoseconds, where /proc/PID/stat has ticks of 10 ms
		// (include/linux/posix-timers.h: MAKE_PROCESS_CPUCLOCK with CPUCLOCK_SCHED).
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
			return 0, fmt.Errorf("the processor time of process %d: %w", pid, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// connects is how many TCP connections have been begun in the network namespace of a
// program (RFC 4022, tcpActiveOpens).
func connects(p *lab.Process) (int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/snmp", p.Pid()))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var names []string
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		switch {
		case len(fields) == 0 || fields[0] != "Tcp:":
		case names == nil:
			names = fields
		default:
			if i := slices.Index(names, "ActiveOpens"); i > 0 && i < len(fields) {
				return strconv.Atoi(fields[i])
			}
		}
	}
	return 0, fmt.Errorf("%s does not tell the connections begun", f.Name())
}

// memory is the proportional set size of all processes of a program in KiB: what
// several processes share is divided among them.
func memory(p *lab.Process) (int, error) {
	sum := 0
	for _, pid := range p.Tree() {
		f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		n, err := proportional(f)
		f.Close()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f.Name(), err)
		}
		sum += n
	}
	return sum, nil
}

// proportional reads the line "Pss:" of a smaps_rollup.
func proportional(r io.Reader) (int, error) {
	for s := bufio.NewScanner(r); s.Scan(); {
		rest, ok := strings.CutPrefix(s.Text(), "Pss:")
		if !ok {
			continue
		}
		var n int
		_, err := fmt.Sscan(rest, &n)
		return n, err
	}
	return 0, fmt.Errorf("no line with Pss")
}
