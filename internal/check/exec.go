package check

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// probeExec runs the program and makes a verdict of its exit status and output.
func probeExec(ctx context.Context, s Spec) Result {
	p := program{args: s.Exec.expand(s), user: s.Exec.User}
	if len(p.args) == 0 || !filepath.IsAbs(p.args[0]) {
		return result("", "", failf(EXERR, "the command has to begin with an absolute path"))
	}
	end, err := p.run(ctx)
	if err != nil {
		return result("", "", failf(EXERR, "this host cannot run %s: %s", p.args[0], err))
	}
	r := s.Exec.judge(end, p.args[0], s.Timeout)
	r.At = end.at
	return r
}

// judge makes a verdict of how a program ended.
func (e *Exec) judge(end ending, name string, timeout time.Duration) Result {
	status := end.status
	up := status == 0 || e.WeightFromExit && status >= 2 && end.signal == 0
	switch {
	case end.busy:
		return Result{Code: EXTOUT, Detail: name + " still hangs since an earlier run, although it was killed; it is not started again before it has ended"}
	case end.late:
		return Result{Code: EXTOUT, Detail: fmt.Sprintf("%s did not end within %s and was killed%s", name, span(timeout), end.said())}
	case end.signal != 0:
		return Result{Code: EXERR, Detail: fmt.Sprintf("%s was ended by signal %d (%s)%s", name, end.signal, end.signal, end.said())}
	case !up:
		return Result{Code: EXERR, Detail: fmt.Sprintf("%s ended with exit status %d%s", name, status, end.said())}
	}
	if wrong := e.mismatch(end.stdout); wrong != "" {
		return Result{Code: EXERR, Detail: name + " " + wrong}
	}
	if status == 0 {
		return Result{Code: EXOK, Detail: fmt.Sprintf("%s ended with exit status 0%s", name, end.said())}
	}
	weight := uint32(status - 2)
	return Result{
		Code: EXOK, Detail: fmt.Sprintf("%s ended with exit status %d: weight %d%s", name, status, weight, end.said()),
		Weighted: true, Weight: weight,
	}
}

// mismatch holds the output against what is expected.
func (e *Exec) mismatch(stdout excerpt) string {
	if e.Expect == "" {
		return ""
	}
	got := bytes.TrimSpace(stdout.kept)
	switch want := strings.TrimSpace(e.Expect); {
	case len(got) == 0:
		return fmt.Sprintf("wrote nothing, expected %s", quote([]byte(want)))
	case string(got) != want || stdout.cut:
		return fmt.Sprintf("wrote %s, expected %s", quote(got), quote([]byte(want)))
	}
	return ""
}

// said quotes what the program wrote, as the end of a sentence: where it
// complained, the last line of that, otherwise the first line of the rest.
func (e ending) said() string {
	lines := bytes.Split(bytes.TrimSpace(e.stderr.kept), []byte("\n"))
	line := bytes.TrimSpace(lines[len(lines)-1])
	if len(line) == 0 {
		line, _, _ = bytes.Cut(bytes.TrimSpace(e.stdout.kept), []byte("\n"))
	}
	if len(line) == 0 {
		return ""
	}
	return ": " + quote(bytes.TrimSpace(line))
}

// With returns the check for a server of a service with this VIP and configured
// weight, as far as its command holds a place for them.
func (e Exec) With(vip netip.Addr, weight uint32) *Exec {
	for _, arg := range e.Command {
		arg = strings.ReplaceAll(arg, "%%", "")
		if strings.Contains(arg, "%v") {
			e.VIP = vip
		}
		if strings.Contains(arg, "%w") {
			e.Weight = weight
		}
	}
	return &e
}

// expand returns the command with all placeholders replaced.
func (e *Exec) expand(s Spec) []string {
	args := append([]string(nil), e.Command...)
	if !s.Target.IsValid() {
		return args
	}
	vip := ""
	if e.VIP.IsValid() {
		vip = e.VIP.String()
	}
	places := strings.NewReplacer("%%", "%",
		"%h", s.Target.Addr().String(),
		"%p", strconv.Itoa(int(s.Target.Port())),
		"%v", vip,
		"%w", strconv.FormatUint(uint64(e.Weight), 10))
	for i := range args[min(1, len(args)):] {
		args[i+1] = places.Replace(args[i+1])
	}
	return args
}
