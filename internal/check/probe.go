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
// behind: no goroutine, no connection.
func Probe(ctx context.Context, s Spec) Result {
	start := time.Now()
	if s.Timeout <= 0 {
		s.Timeout = time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	code, detail := s.probe(ctx)
	at := time.Now()
	return Result{Code: code, Detail: detail, At: at, Took: at.Sub(start)}
}

func (s Spec) probe(ctx context.Context) (Code, string) {
	var code Code
	var detail string
	var err error
	switch {
	case s.HTTP != nil:
		code, detail, err = probeHTTP(ctx, s)
	case s.TCP != nil:
		code, detail, err = probeTCP(ctx, s)
	default:
		err = &failure{L7RSP, "the check names no kind"}
	}
	if err == nil {
		return code, detail
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{L7RSP, err.Error()}
	}
	return f.code, f.detail
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
