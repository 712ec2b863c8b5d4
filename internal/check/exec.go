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

	"baton/internal/program"
)

// probeExec runs the program and makes a verdict of its exit status and output.
func probeExec(ctx context.Context, s Spec) Result {
	p := program.Program{Args: s.Exec.expand(s), User: s.Exec.User}
	if len(p.Args) == 0 || !filepath.IsAbs(p.Args[0]) {
		return result("", "", failf(EXERR, "the command has to begin with an absolute path"))
	}
	end, err := p.Run(ctx)
	if err != nil {
		return result("", "", failf(EXERR, "this host cannot run %s: %s", p.Args[0], err))
	}
	r := s.Exec.judge(end, p.Args[0], s.Timeout)
	r.At = end.At
	return r
}

// judge makes a verdict of how a program ended.
func (e *Exec) judge(end program.Ending, name string, timeout time.Duration) Result {
	status := end.Status
	up := status == 0 || e.WeightFromExit && status >= 2 && end.Signal == 0
	switch {
	case end.Busy:
		return Result{Code: EXTOUT, Detail: name + " still hangs since an earlier run; it is not started again before that has ended"}
	case end.Unborn:
		return Result{Code: EXTOUT, Detail: fmt.Sprintf("%s could not be started within %s: its file system, or the place where accounts are looked up, does not answer", name, span(timeout))}
	case end.Late:
		return Result{Code: EXTOUT, Detail: fmt.Sprintf("%s did not end within %s and was killed%s", name, span(timeout), said(end))}
	case end.Signal != 0:
		return Result{Code: EXERR, Detail: fmt.Sprintf("%s was ended by signal %d (%s)%s", name, end.Signal, end.Signal, said(end))}
	case !up:
		return Result{Code: EXERR, Detail: fmt.Sprintf("%s ended with exit status %d%s", name, status, said(end))}
	}
	if wrong := e.mismatch(end.Stdout); wrong != "" {
		return Result{Code: EXERR, Detail: name + " " + wrong}
	}
	if status == 0 {
		return Result{Code: EXOK, Detail: fmt.Sprintf("%s ended with exit status 0%s", name, said(end))}
	}
	weight := uint32(status - 2)
	return Result{
		Code: EXOK, Detail: fmt.Sprintf("%s ended with exit status %d: weight %d%s", name, status, weight, said(end)),
		Weighted: true, Weight: weight,
	}
}

// mismatch holds the output against what is expected.
func (e *Exec) mismatch(stdout program.Excerpt) string {
	if e.Expect == "" {
		return ""
	}
	got := bytes.TrimSpace(stdout.Kept)
	switch want := strings.TrimSpace(e.Expect); {
	case len(got) == 0:
		return fmt.Sprintf("wrote nothing, expected %s", quote([]byte(want)))
	case string(got) != want || stdout.Cut:
		return fmt.Sprintf("wrote %s, expected %s", quote(got), quote([]byte(want)))
	}
	return ""
}

// said quotes what the program wrote, as the end of a sentence: where it
// complained, the last line of that, otherwise the first line of the rest.
func said(e program.Ending) string {
	lines := bytes.Split(bytes.TrimSpace(e.Stderr.Kept), []byte("\n"))
	line := bytes.TrimSpace(lines[len(lines)-1])
	if len(line) == 0 {
		line, _, _ = bytes.Cut(bytes.TrimSpace(e.Stdout.Kept), []byte("\n"))
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
