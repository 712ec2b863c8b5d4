package check

import (
	"bytes"
	"context"
	"io"
	"regexp"
)

// maxAnswer bounds what a tcp check reads while it waits for what it expects.
const maxAnswer = 64 << 10

// probeTCP connects, speaks TLS where asked, sends and expects. As soon as the
// answer is what it should be, or can no longer become it, the probe is over.
func probeTCP(ctx context.Context, s Spec) (code Code, detail string, err error) {
	t := s.TCP
	var re *regexp.Regexp
	if t.ExpectRegex != "" {
		if re, err = regexp.Compile(t.ExpectRegex); err != nil {
			return "", "", failf(L7RSP, "expect_regex cannot be used: %s", err)
		}
	}
	c, err := dial(ctx, s, s.Target)
	if err != nil {
		return "", "", err
	}
	if t.TLS == nil && t.Send == "" && t.Expect == "" && re == nil {
		// A reset leaves nothing behind. After a normal close the connection
		// would stay in TIME_WAIT here for a minute, because we close first:
		// 10,000 checks every 2 s would hold 300,000 of them, and their ports.
		// Most servers do not even see a connection that ends this early.
		c.abort()
		return L4OK, "connected to " + s.Target.String(), nil
	}
	defer func() { c.end(err) }()
	code, detail = L4OK, "connected to "+s.Target.String()
	if t.TLS != nil {
		if err := c.startTLS(t.TLS, s.serverName()); err != nil {
			return "", "", err
		}
		code, detail = L6OK, "TLS established with "+s.Target.String()
	}
	if t.Send != "" {
		if _, err := io.WriteString(c, t.Send); err != nil {
			return "", "", c.failed(err, "anything")
		}
	}
	if t.Expect == "" && re == nil {
		return code, detail, nil
	}
	if err := c.expect([]byte(t.Expect), re); err != nil {
		return "", "", err
	}
	return L7OK, s.Target.String() + " answered as expected", nil
}

// expect reads until the answer starts with prefix and matches re.
func (c *connection) expect(prefix []byte, re *regexp.Regexp) error {
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := c.Read(buf[len(buf):min(cap(buf), maxAnswer)])
		buf = buf[:len(buf)+n]
		common := min(len(buf), len(prefix))
		switch {
		case !bytes.Equal(buf[:common], prefix[:common]):
			return failf(L7RSP, "%s answered %s, expected %s", c.target, quote(buf), quote(prefix))
		case common == len(prefix) && (re == nil || re.Match(buf)):
			return nil
		case len(buf) >= maxAnswer:
			return failf(L7RSP, "%s sent %d bytes and not what is expected", c.target, len(buf))
		case err != nil:
			return c.unexpected(err, buf)
		}
	}
}

// unexpected says why the expected answer did not come although something may
// have.
func (c *connection) unexpected(err error, got []byte) error {
	switch {
	case len(got) == 0:
		return c.failed(err, "an answer")
	case isTimeout(err):
		return failf(L7TOUT, "%s answered %s and not what is expected within %s", c.target, quote(got), span(c.timeout))
	case isEOF(err):
		return failf(L7RSP, "%s answered %s, which is not what is expected", c.target, quote(got))
	}
	return c.failed(err, "the expected answer")
}
