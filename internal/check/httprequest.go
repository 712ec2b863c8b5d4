package check

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// request is one HTTP request of a probe.
type request struct {
	target  netip.AddrPort // where it is sent, always the checked server
	tls     *TLS           // nil: plain HTTP
	method  string
	host    string // the Host header
	path    string
	version string // 1.0 or 1.1
	header  http.Header
	body    string
}

// newRequest returns the request that the spec describes. It reads the password,
// which is why it may fail.
func newRequest(s Spec) (*request, error) {
	h := s.HTTP
	r := &request{
		target: s.Target, tls: h.TLS, method: h.Method, host: h.Host, path: h.Path,
		version: h.Version, header: http.Header{}, body: h.Body,
	}
	r.header.Set("User-Agent", "baton")
	r.header.Set("Accept", "*/*")
	for k, v := range h.Headers {
		if http.CanonicalHeaderKey(k) == "Host" {
			if h.Host == "" {
				r.host = v
			}
			continue
		}
		r.header.Set(k, v)
	}
	// One request per connection: a verdict must not depend on the last probe.
	r.header.Set("Connection", "close")
	if r.method == "" {
		r.method = http.MethodGet
	}
	if r.path == "" {
		r.path = "/"
	}
	if r.version == "" {
		r.version = "1.1"
	}
	if r.host == "" {
		r.host = hostOf(s.Target, h.TLS != nil)
	}
	if h.Username != "" || h.PasswordFile != "" {
		if err := r.authorise(h.Username, h.PasswordFile); err != nil {
			return nil, err
		}
	}
	return r, r.check()
}

// hostOf is the Host header for an address; it leaves out the scheme's own port.
func hostOf(target netip.AddrPort, secure bool) string {
	host := target.Addr().WithZone("").String()
	if target.Addr().Is6() {
		host = "[" + host + "]"
	}
	if port := target.Port(); port != defaultPort(secure) {
		host += ":" + strconv.Itoa(int(port))
	}
	return host
}

func defaultPort(secure bool) uint16 {
	if secure {
		return 443
	}
	return 80
}

// authorise adds basic authentication. The password is read at each probe, so
// that it can be changed without a reload and is never part of a spec.
func (r *request) authorise(user, file string) error {
	var password []byte
	if file != "" {
		var err error
		if password, err = os.ReadFile(file); err != nil {
			return fmt.Errorf("cannot read the password: %w", err)
		}
	}
	password = bytes.TrimRight(password, "\r\n")
	credentials := base64.StdEncoding.EncodeToString([]byte(user + ":" + string(password)))
	r.header.Set("Authorization", "Basic "+credentials)
	return nil
}

// check refuses what would make another request of it than was meant.
func (r *request) check() error {
	const never = "\r\n\x00"
	if strings.ContainsAny(r.method+r.path, never+" \t") || strings.ContainsAny(r.host+r.version, never) {
		return fmt.Errorf("method, path or host of the request contain a space or a line break")
	}
	for k, vs := range r.header {
		if k == "" || strings.ContainsAny(k, never+" \t:") || strings.ContainsAny(strings.Join(vs, ""), never) {
			return fmt.Errorf("header %s of the request is not valid", quote([]byte(k)))
		}
	}
	return nil
}

// encode returns the request as it is sent, its headers in a fixed order.
func (r *request) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/%s\r\nHost: %s\r\n", r.method, r.path, r.version, r.host)
	keys := make([]string, 0, len(r.header))
	for k := range r.header {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(&b, "%s: %s\r\n", k, r.header.Get(k))
	}
	if r.body != "" || r.method == http.MethodPost || r.method == http.MethodPut || r.method == http.MethodPatch {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	b.WriteString("\r\n")
	b.WriteString(r.body)
	return b.Bytes()
}

// name is the server's name for TLS: the host without its port.
func (r *request) name() string {
	u := url.URL{Host: r.host}
	return u.Hostname()
}

// follow returns the request that a redirect asks for. It goes to the server that
// is checked, whatever host the redirect names: that name usually leads to the
// virtual service, and its answer would tell nothing about this server. The port
// changes only together with the scheme, because the port that a redirect names
// is the virtual service's and not the server's.
func (r *request) follow(location string) (*request, error) {
	base := url.URL{Scheme: "http", Host: r.host}
	if r.tls != nil {
		base.Scheme = "https"
	}
	if path, err := url.ParseRequestURI(r.path); err == nil {
		base.Path, base.RawPath = path.Path, path.RawPath
	}
	u, err := base.Parse(location)
	if err != nil || location == "" || u.Host == "" {
		return nil, failf(L7RSP, "%s redirects to %s, which is no address", r.target, quote([]byte(location)))
	}
	next := *r
	next.header = r.header.Clone()
	next.host, next.path = u.Host, u.RequestURI()
	switch u.Scheme {
	case base.Scheme:
	case "https":
		if err := next.secure(u); err != nil {
			return nil, err
		}
	default: // https to http, or something that is no HTTP
		return nil, failf(L7RSP, "%s redirects from %s to %s, which is not followed", r.target, base.Scheme, quote([]byte(location)))
	}
	if err := next.check(); err != nil {
		return nil, failf(L7RSP, "%s redirects to %s, which is no address", r.target, quote([]byte(location)))
	}
	return &next, nil
}

// secure makes the request one by HTTPS. The check says nothing about TLS, so
// the certificate has to be good.
func (r *request) secure(u *url.URL) error {
	port := defaultPort(true)
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return failf(L7RSP, "%s redirects to port %s, which is none", r.target, quote([]byte(u.Port())))
		}
		port = uint16(n)
	}
	r.target = netip.AddrPortFrom(r.target.Addr(), port)
	r.tls = &TLS{Verify: true}
	return nil
}
