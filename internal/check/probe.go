package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Probe does what the spec says, once, and returns within the spec's timeout (or
// earlier, when ctx ends), whatever the target does. Nothing of it is left
// behind: no goroutine, no connection, no process. A program that has to be
// killed may take [program.KillGrace] longer to go; that is not part of Result.Took.
func Probe(ctx context.Context, s Spec) Result {
	start := time.Now()
	if s.Timeout <= 0 {
		s.Timeout = time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	r := s.told(s.probe(ctx))
	if r.At.IsZero() {
		r.At = time.Now()
	}
	r.Took = r.At.Sub(start)
	return r
}

func (s Spec) probe(ctx context.Context) Result {
	if err := s.prepareVia(); err != nil {
		return result("", "", err)
	}
	switch {
	case s.HTTP != nil:
		return result(probeHTTP(ctx, s))
	case s.TCP != nil:
		return result(probeTCP(ctx, s))
	case s.TLS != nil:
		return result(probeTLS(ctx, s))
	case s.GRPC != nil:
		return result(probeGRPC(ctx, s))
	case s.DNS != nil:
		return result(probeDNS(ctx, s))
	case s.SMTP != nil:
		return result(probeSMTP(ctx, s))
	case s.UDP != nil:
		return result(probeUDP(ctx, s))
	case s.Talk != nil:
		return result(probeTalk(ctx, s))
	case s.Exec != nil:
		return probeExec(ctx, s)
	case s.Ping != nil:
		return result(probePing(ctx, s))
	case s.File != nil:
		return probeFile(ctx, s)
	case s.Agent != nil:
		return probeAgent(ctx, s)
	}
	return result("", "", failf(L7RSP, "the check names no kind"))
}

func result(code Code, detail string, err error) Result {
	if err == nil {
		return Result{Code: code, Detail: detail}
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{L7RSP, err.Error()}
	}
	return Result{Code: f.code, Detail: f.detail}
}

// failure is why a probe failed.
type failure struct {
	code   Code
	detail string
}

func (f *failure) Error() string { return f.detail }

func failf(code Code, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...)}
}

// Why a read or write failed, as far as the words differ.
func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &n) && n.Timeout()
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// quote shows bytes that a target sent, which may be anything, on one line of a
// log or a screen.
func quote(b []byte) string {
	const most = 48
	if len(b) > most {
		return strconv.QuoteToASCII(string(b[:most])) + "…"
	}
	return strconv.QuoteToASCII(string(b))
}

// span writes a timeout without the zeros that make "1m0s".
func span(d time.Duration) string {
	if d >= time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
	}
	return d.String()
}
