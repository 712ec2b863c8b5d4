package check

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net/http"
)

const (
	// maxHeader bounds the status line and headers of an answer.
	maxHeader = 64 << 10
	// defaultBody bounds the body where the check does not.
	defaultBody = 64 << 10
)

// answer is what a server answered.
type answer struct {
	status   int
	accepted bool // by its status
	location string
	body     []byte // empty unless accepted
	cut      bool   // there may be more than body
	complete bool   // all of it has been read
}

// extent names the part of the body that was looked at.
func (a *answer) extent() string {
	if a.cut {
		return fmt.Sprintf("the start of its body (%d bytes)", len(a.body))
	}
	return fmt.Sprintf("its body (%d bytes)", len(a.body))
}

// readAnswer reads an answer within its limits. The body is read too, although
// often the status would do: a server that hangs in the middle of its answer
// does not work.
func (c *connection) readAnswer(h *HTTP, method string) (*answer, error) {
	seen := &opening{r: c}
	limited := &io.LimitedReader{R: seen, N: maxHeader}
	resp, err := readHead(bufio.NewReader(limited), method)
	if err != nil {
		return nil, c.headFailure(err, seen.start, limited.N <= 0)
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, accepted: h.accepts(resp.StatusCode), location: resp.Header.Get("Location")}
	if !a.accepted {
		return a, nil
	}
	limited.N = math.MaxInt64 // from here on the body's own limit holds
	return a, c.readBody(a, h, resp)
}

func (c *connection) readBody(a *answer, h *HTTP, resp *http.Response) error {
	most := h.MaxBody
	if most <= 0 {
		most = defaultBody
	}
	var err error
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, most)); err != nil {
		return c.bodyFailure(a, err)
	}
	a.cut = int64(len(a.body)) == most
	a.complete = !a.cut
	return nil
}

// bodyFailure says why there is no complete body.
func (c *connection) bodyFailure(a *answer, err error) error {
	switch {
	case isTimeout(err):
		return failf(L7TOUT, "HTTP status %d, but the body was not complete within %s (%d bytes so far)", a.status, span(c.timeout), len(a.body))
	case isEOF(err):
		return failf(L7RSP, "HTTP status %d, but the connection was closed in the middle of the body (after %d bytes)", a.status, len(a.body))
	}
	return c.failed(err, "the whole body")
}

// readHead reads the status and headers of the final answer. Interim ones (1xx)
// are skipped, as RFC 9110 section 15.2 demands; all of them together are bound
// by the limit of the reader.
func readHead(br *bufio.Reader, method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
}

// headFailure says why there is no answer. start is the beginning of what came
// instead.
func (c *connection) headFailure(err error, start []byte, tooLong bool) error {
	switch {
	case tooLong:
		return failf(L7RSP, "the headers of the answer from %s are longer than %d KiB", c.target, maxHeader>>10)
	case isTimeout(err) && len(start) > 0:
		return failf(L7TOUT, "the headers of the answer from %s were not complete within %s", c.target, span(c.timeout))
	case isEOF(err) && len(start) > 0 && isHTTP(start):
		return failf(L7RSP, "%s closed the connection in the middle of the headers", c.target)
	case isTimeout(err), isReset(err), isEOF(err) && len(start) == 0:
		return c.failed(err, "an answer")
	}
	if f := alertFailure(c.target, err); f != nil {
		return f
	}
	return failf(L7RSP, "the answer from %s is not HTTP: %s", c.target, quote(start))
}

func isHTTP(start []byte) bool { return len(start) >= 5 && string(start[:5]) == "HTTP/" }

// opening remembers the first bytes that are read through it.
type opening struct {
	r     io.Reader
	start []byte
}

func (o *opening) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if room := 64 - len(o.start); room > 0 {
		o.start = append(o.start, p[:min(n, room)]...)
	}
	return n, err
}
