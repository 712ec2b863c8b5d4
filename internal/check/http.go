package check

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // keepalived's digest, which recognises a page and protects nothing
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// probeHTTP makes one request, and further ones where it follows redirects. It
// does not use http.Transport, except for HTTP/2: a probe wants one connection, one goroutine, its
// own limits and HTTP/1.0 where asked, and none of a client's cleverness
// (connection reuse, proxies from the environment, retries, decompression).
func probeHTTP(ctx context.Context, s Spec) (Code, string, error) {
	re, err := s.HTTP.bodyRegex()
	if err != nil {
		return "", "", err
	}
	req, err := newRequest(s)
	if err != nil {
		return "", "", failf(L7RSP, "%s", err)
	}
	for hops := 0; ; hops++ {
		a, err := exchange(ctx, s, req)
		if err != nil {
			return "", "", err
		}
		if a.accepted {
			return judgeBody(s.HTTP, a, re)
		}
		if hops == s.HTTP.Follow || !isRedirect(a.status) {
			return "", "", statusFailure(s.HTTP, a, hops)
		}
		if req, err = req.follow(a.location); err != nil {
			return "", "", err
		}
	}
}

// bodyRegex compiles what the body has to match; nil: anything.
func (h *HTTP) bodyRegex() (*regexp.Regexp, error) {
	if h.ExpectBodyRegex == "" {
		return nil, nil
	}
	re, err := regexp.Compile(h.ExpectBodyRegex)
	if err != nil {
		return nil, failf(L7RSP, "expect_body_regex cannot be used: %s", err)
	}
	return re, nil
}

// exchange connects, sends the request and reads the answer.
func exchange(ctx context.Context, s Spec, req *request) (a *answer, err error) {
	if req.version == "2" {
		return answer2(ctx, s, req)
	}
	c, err := dial(ctx, s, req.target)
	if err != nil {
		return nil, err
	}
	defer func() { c.end(err) }()
	if req.tls != nil {
		if err := c.startTLS(req.tls, req.name(), "http/1.1"); err != nil {
			return nil, err
		}
	}
	if _, err := c.Write(req.encode()); err != nil && !isReset(err) {
		// A server may answer and hang up before it has read all of the body.
		return nil, c.failed(err, "an answer")
	}
	if a, err = c.readAnswer(s.HTTP, req.method); err != nil {
		return nil, err
	}
	if a.complete {
		c.letClose(ctx)
	}
	return a, nil
}

// partingTime is how long a server has to close the connection first.
const partingTime = 20 * time.Millisecond

// letClose waits a moment for the server to close the connection, as the request
// asked it to. Who closes first has the connection in TIME_WAIT; with thousands
// of checks this should not be the director. A server that does not care is not
// waited for.
func (c *connection) letClose(ctx context.Context) {
	_ = c.tcp.SetReadDeadline(time.Now().Add(partingTime))
	if ctx.Err() != nil { // the line above may have taken back the end of all reads
		return
	}
	_, _ = c.Read(make([]byte, 1))
}

// judgeBody holds a body against what is expected of it.
func judgeBody(h *HTTP, a *answer, re *regexp.Regexp) (Code, string, error) {
	got := statusSaid(a.status)
	if h.BodyMD5 != "" {
		if a.cut {
			return "", "", failf(L7RSP, "%s, but its body is longer than max_body (%d bytes), so its digest is not known", got, len(a.body))
		}
		if sum := fmt.Sprintf("%x", md5.Sum(a.body)); !strings.EqualFold(sum, h.BodyMD5) {
			return "", "", failf(L7RSP, "%s, but the digest of %s is %s, not %s", got, a.extent(), sum, h.BodyMD5)
		}
	}
	if h.ExpectBody != "" && !bytes.Contains(a.body, []byte(h.ExpectBody)) {
		return "", "", failf(L7RSP, "%s, but %s does not contain %s", got, a.extent(), quote([]byte(h.ExpectBody)))
	}
	if re != nil && !re.Match(a.body) {
		return "", "", failf(L7RSP, "%s, but %s does not match %s", got, a.extent(), quote([]byte(h.ExpectBodyRegex)))
	}
	return L7OK, got, nil
}

// statusSaid is the sentence of a status, which mostly is the same one.
func statusSaid(status int) string {
	if status == http.StatusOK {
		return "HTTP status 200"
	}
	return fmt.Sprintf("HTTP status %d", status)
}

func statusFailure(h *HTTP, a *answer, hops int) error {
	after := ""
	switch {
	case hops == 1:
		after = " after a redirect"
	case hops > 1:
		after = fmt.Sprintf(" after %d redirects", hops)
	}
	return failf(L7STS, "HTTP status %d%s, expected %s", a.status, after, h.expected())
}

// accepts reports whether a status is one of those that the check wants.
func (h *HTTP) accepts(status int) bool {
	if len(h.Status) == 0 {
		return status >= 200 && status <= 299
	}
	return slices.ContainsFunc(h.Status, func(r StatusRange) bool { return r.From <= status && status <= r.To })
}

func (h *HTTP) expected() string {
	if len(h.Status) == 0 {
		return "200-299"
	}
	parts := make([]string, len(h.Status))
	for i, r := range h.Status {
		parts[i] = r.String()
	}
	return strings.Join(parts, ", ")
}

// String returns the range as the configuration writes it.
func (r StatusRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return strconv.Itoa(r.From) + "-" + strconv.Itoa(r.To)
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}
