package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// exchange2 makes one HTTP/2 request on a connection of its own and hands the
// answer to use: over TLS, or in the clear with prior knowledge (RFC 9113 section
// 3.3).
func exchange2(ctx context.Context, s Spec, r *request, use func(*connection, *http.Response) error) (err error) {
	req, err := r.forHTTP2(ctx)
	if err != nil {
		return failf(L7RSP, "%s", err)
	}
	c, err := r.open(ctx, s)
	if err != nil {
		return err
	}
	defer func() { c.end(err) }() // with it end the transport's goroutines
	tr := c.transport()
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return c.failed2(err)
	}
	defer resp.Body.Close()
	return use(c, resp)
}

// open connects, and speaks TLS where the request wants it.
func (r *request) open(ctx context.Context, s Spec) (*connection, error) {
	c, err := dial(ctx, s, r.target)
	if err != nil || r.tls == nil {
		return c, err
	}
	if err = c.startTLS(r.tls, r.name(), "h2"); err == nil && !c.speaks("h2") {
		err = failf(L7RSP, "%s does not offer HTTP/2 over TLS (ALPN h2)", r.target)
	}
	if err != nil {
		c.abort()
		return nil, err
	}
	return c, nil
}

// transport speaks HTTP/2 on the connection, and opens no other.
func (c *connection) transport() *http.Transport {
	ours := make(chan net.Conn, 1)
	ours <- c.Conn
	dial := func(context.Context, string, string) (net.Conn, error) {
		select {
		case conn := <-ours:
			return conn, nil
		default:
			return nil, failf(L7RSP, "%s ended the HTTP/2 connection before it had answered", c.target)
		}
	}
	tr := &http.Transport{
		DisableCompression: true, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
		Protocols: new(http.Protocols), DialContext: dial, DialTLSContext: dial,
	}
	tr.Protocols.SetHTTP2(true)
	tr.Protocols.SetUnencryptedHTTP2(true)
	return tr
}

// forHTTP2 is the request as net/http wants it.
func (r *request) forHTTP2(ctx context.Context) (*http.Request, error) {
	u, err := url.ParseRequestURI(r.path)
	if err != nil {
		return nil, fmt.Errorf("the path %s cannot be asked for over HTTP/2", quote([]byte(r.path)))
	}
	u.Scheme, u.Host = "http", r.host
	if r.tls != nil {
		u.Scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.body == "" {
		req.Body = http.NoBody
	}
	req.Header = r.header.Clone()
	req.Header.Del("Connection") // RFC 9113 section 8.2.2
	req.Host = r.host
	return req, nil
}

// failed2 says in words why there is no answer.
func (c *connection) failed2(err error) error {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case isTimeout(err), isReset(err), isEOF(err):
		return c.failed(err, "an answer")
	}
	if f := alertFailure(c.target, err); f != nil {
		return f
	}
	if strings.Contains(err.Error(), "could not be established") { // an error without a type
		return failf(L7RSP, "%s does not speak HTTP/2: it ended the connection before the first answer", c.target)
	}
	return failf(L7RSP, "%s does not speak HTTP/2 as it should: %s", c.target, plain(err))
}

// plain is an error of net/http on one line without its prefixes.
func plain(err error) string {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "net/http: "), "http2: ")
	return strings.Trim(quote([]byte(text)), `"`)
}

// answer2 reads an answer within its limits.
func answer2(ctx context.Context, s Spec, r *request) (a *answer, err error) {
	err = exchange2(ctx, s, r, func(c *connection, resp *http.Response) error {
		a = &answer{status: resp.StatusCode, accepted: s.HTTP.accepts(resp.StatusCode), location: resp.Header.Get("Location")}
		if !a.accepted {
			return nil
		}
		return c.readBody(a, s.HTTP, resp)
	})
	return a, err
}

// speaks reports whether the TLS handshake has settled on a protocol.
func (c *connection) speaks(protocol string) bool {
	secure, ok := c.Conn.(*tls.Conn)
	return ok && secure.ConnectionState().NegotiatedProtocol == protocol
}
