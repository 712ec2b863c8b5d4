package track

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// program is what a process is recognised by.
type program struct {
	name  string
	comm  string   // what the kernel calls it, or its script
	paths []string // where the name is a path: that, and what it links to
}

// commLength is TASK_COMM_LEN of linux/sched.h without the zero byte.
const commLength = 15

func newProgram(name string) program {
	p := program{name: name, comm: name}
	if strings.Contains(name, "/") {
		p.comm = filepath.Base(name)
		p.paths = []string{name}
		if real, err := filepath.EvalSymlinks(name); err == nil && real != name {
			p.paths = append(p.paths, real)
		}
	}
	if len(p.comm) > commLength {
		p.comm = p.comm[:commLength]
	}
	return p
}

// is reports whether a process runs the program just now.
func (p program) is(pid int) bool {
	comm, err := os.ReadFile(procPath(pid, "comm"))
	if err != nil {
		return false
	}
	named := string(bytes.TrimSuffix(comm, []byte("\n"))) == p.comm
	if p.paths == nil {
		return named
	}
	// The file may have been replaced since, by an upgrade.
	if exe, err := os.Readlink(procPath(pid, "exe")); err == nil && slices.Contains(p.paths, strings.TrimSuffix(exe, " (deleted)")) {
		return true
	}
	// A script runs as its interpreter, with itself as an argument. The arguments
	// are the last to be read: that waits for a process whose memory is locked.
	return named && p.argued(pid)
}

// argued reports whether a process was called by the path, or is an interpreter
// that was.
func (p program) argued(pid int) bool {
	text, err := os.ReadFile(procPath(pid, "cmdline"))
	if err != nil {
		return false
	}
	args := strings.Split(string(text), "\x00")
	for _, arg := range args[:min(2, len(args))] {
		if slices.Contains(p.paths, arg) {
			return true
		}
	}
	return false
}

// search finds the processes of programs, the oldest first, by name.
func search(programs []program) (map[string][]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot look for processes: %w", err)
	}
	type process struct {
		pid  int
		born uint64
	}
	all := make(map[string][]process)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		for _, p := range programs {
			if !p.is(pid) {
				continue
			}
			if born, ok := bornAt(pid); ok {
				all[p.name] = append(all[p.name], process{pid, born})
			}
		}
	}
	out := make(map[string][]int)
	for name, list := range all {
		slices.SortFunc(list, func(a, b process) int { return cmp.Or(cmp.Compare(a.born, b.born), cmp.Compare(a.pid, b.pid)) })
		for _, one := range list {
			out[name] = append(out[name], one.pid)
		}
	}
	return out, nil
}

// bornAt returns when a process that lives began, in the kernel's ticks.
func bornAt(pid int) (uint64, bool) {
	text, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return 0, false
	}
	return parseStat(text)
}

// parseStat reads /proc/PID/stat; see proc_pid_stat(5). Not ok: a zombie, or
// nonsense. A name may hold anything, also parentheses and spaces.
func parseStat(text []byte) (born uint64, ok bool) {
	const state, starttime = 0, 19 // counted after the name
	end := bytes.LastIndexByte(text, ')')
	fields := bytes.Fields(text[end+1:])
	if end < 0 || len(fields) <= starttime {
		return 0, false
	}
	if s := fields[state][0]; s == 'Z' || s == 'X' {
		return 0, false
	}
	born, err := strconv.ParseUint(string(fields[starttime]), 10, 64)
	return born, err == nil
}

func procPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}
