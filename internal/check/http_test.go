package check

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func reply(status int, body string) func(net.Conn) {
	return say(fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), len(body), body))
}

func TestHTTP(t *testing.T) {
	only := func(from, to int) HTTP { return HTTP{Status: []StatusRange{{200, 200}, {from, to}}} }
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct {
		name   string
		at     func(t *testing.T) netip.AddrPort
		server func(net.Conn) // after the request; nil: from the start, by raw
		raw    func(net.Conn)
		check  HTTP
		code   Code
		detail string
	}{
		{name: "good", server: reply(200, "hello"), code: L7OK, detail: "HTTP status 200"},
		{name: "204", server: say("HTTP/1.1 204 No Content\r\n\r\n"), code: L7OK},
		{name: "refused", at: refusing, code: L4CON, detail: "connection refused by TARGET"},
		{name: "black hole", at: blackHole, code: L4TOUT, detail: "no answer from TARGET to the connect"},

		{name: "wrong status", server: reply(503, "sorry"), code: L7STS, detail: "HTTP status 503, expected 200-299"},
		{name: "wrong status by ranges", server: reply(404, ""), check: only(301, 308), code: L7STS, detail: "HTTP status 404, expected 200, 301-308"},
		{name: "status by ranges", server: reply(302, ""), check: only(301, 308), code: L7OK},
		{name: "wrong status and endless body", server: then(say("HTTP/1.1 500 Oops\r\n\r\n"), forever("x")), code: L7STS},

		{name: "body", server: reply(200, "all is well"), check: HTTP{ExpectBody: "well"}, code: L7OK},
		{name: "wrong body", server: reply(200, "all is bad"), check: HTTP{ExpectBody: "well"}, code: L7RSP, detail: `HTTP status 200, but its body (10 bytes) does not contain "well"`},
		{name: "body by regex", server: reply(200, "load: 7"), check: HTTP{ExpectBodyRegex: `load: \d$`}, code: L7OK},
		{name: "wrong body by regex", server: reply(200, "load: ?"), check: HTTP{ExpectBodyRegex: `load: \d$`}, code: L7RSP, detail: "does not match"},
		{name: "a regex that is none", server: reply(200, ""), check: HTTP{ExpectBodyRegex: `(`}, code: L7RSP, detail: "expect_body_regex cannot be used"},
		{name: "chunked body", server: say(chunked + "3\r\nall\r\n5\r\n well\r\n0\r\n\r\n"), check: HTTP{ExpectBody: "all well"}, code: L7OK},
		{name: "body until the end", server: say("HTTP/1.0 200 OK\r\n\r\nall well"), check: HTTP{ExpectBody: "all well"}, code: L7OK},
		{name: "compressed body is left as it is", server: say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"), check: HTTP{ExpectBody: "abcd"}, code: L7OK},
		{name: "body beyond the limit", server: reply(200, strings.Repeat("x", 100)+"well"), check: HTTP{ExpectBody: "well", MaxBody: 100}, code: L7RSP, detail: "the start of its body (100 bytes) does not contain"},
		{name: "giant body", server: then(say("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), forever(strings.Repeat("x", 4096))), code: L7OK},
		{name: "giant chunk", server: then(say(chunked+"ffffffff\r\n"), forever("x")), check: HTTP{MaxBody: 1000}, code: L7OK},
		{name: "HEAD has no body", server: say("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"), check: HTTP{Method: "HEAD"}, code: L7OK},
		{name: "interim answers", server: then(say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), reply(200, "")), code: L7OK},

		{name: "silence", server: hang, code: L7TOUT, detail: "TARGET did not send an answer within 1s"},
		{name: "closed", server: func(net.Conn) {}, code: L7RSP, detail: "TARGET closed the connection before it had sent an answer"},
		{name: "reset", server: reset, code: L4CON, detail: "TARGET reset the connection before it had sent an answer"},
		{name: "half closed", raw: func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite(); hang(c) }, code: L7RSP, detail: "closed the connection"},
		{name: "slow loris in the headers", server: slowly("HTTP/1.1 200 OK\r\nX-Slow: " + strings.Repeat("a", 500)), code: L7TOUT, detail: "the headers of the answer from TARGET were not complete within 1s"},
		{name: "slow loris in the body", server: then(say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), slowly(strings.Repeat("x", 1000))), code: L7TOUT, detail: "HTTP status 200, but the body was not complete within 1s"},
		{name: "closed in the headers", server: say("HTTP/1.1 200 OK\r\nServer: x\r\n"), code: L7RSP, detail: "TARGET closed the connection in the middle of the headers"},
		{name: "closed in the body", server: say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc"), code: L7RSP, detail: "closed in the middle of the body (after 3 bytes)"},
		{name: "garbage", raw: then(say("SSH-2.0-OpenSSH_9.9\r\n"), hang), code: L7RSP, detail: `the answer from TARGET is not HTTP: "SSH-2.0-OpenSSH_9.9\r\n"`},
		{name: "binary garbage", server: say("\x00\x01\x02\n\xff"), code: L7RSP, detail: `is not HTTP: "\x00\x01\x02\n\xff"`},
		{name: "endless line", server: forever("HTTP/1.1 200 OK"), code: L7RSP, detail: "longer than 64 KiB"},
		{name: "endless headers", server: then(say("HTTP/1.1 200 OK\r\n"), forever("X-More: and more\r\n")), code: L7RSP, detail: "longer than 64 KiB"},
		{name: "endless interim answers", server: forever("HTTP/1.1 100 Continue\r\n\r\n"), code: L7RSP, detail: "longer than 64 KiB"},
		{name: "bad chunks", server: say(chunked + "zz\r\n"), code: L7RSP, detail: "did not send the whole body: "},
		{name: "keeps the connection open", server: then(reply(200, "ok"), hang), code: L7OK},

		{name: "a line break in the path", server: reply(200, ""), check: HTTP{Path: "/ HTTP/1.1\r\nX: y"}, code: L7RSP, detail: "contain a space or a line break"},
		{name: "a line break in a header", server: reply(200, ""), check: HTTP{Headers: map[string]string{"X": "a\r\nb"}}, code: L7RSP, detail: `header "X" of the request is not valid`},
		{name: "a password file that is not there", server: reply(200, ""), check: HTTP{Username: "u", PasswordFile: "/nonexistent"}, code: L7RSP, detail: "cannot read the password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.raw == nil {
				tt.raw = answering(tt.server)
			}
			if tt.at == nil {
				tt.at = func(t *testing.T) netip.AddrPort { return serve(t, tt.raw) }
			}
			holdAgainst(t, Spec{Target: tt.at(t), Timeout: time.Second, HTTP: &tt.check}, tt.code, tt.detail)
		})
	}
}

// request returns what a check sends.
func requestOf(t *testing.T, h HTTP) string {
	t.Helper()
	got := make(chan string, 2) // a plain request is made in two ways
	target := serve(t, func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(req.Body)
		user, password, _ := req.BasicAuth()
		got <- fmt.Sprintf("%s %s %s host=%s close=%v x=%s agent=%s auth=%s:%s body=%s", req.Method, req.RequestURI, req.Proto,
			req.Host, req.Close, req.Header.Get("X-Probe"), req.UserAgent(), user, password, body)
		reply(200, "")(c)
	})
	s := Spec{Target: target, Timeout: time.Second, HTTP: &h}
	holdAgainst(t, s, L7OK, "HTTP status 200")
	first := <-got
	if (*poller)(nil).takes(s) {
		if second := <-got; second != first {
			t.Errorf("the poller sent %s\notherwise %s", second, first)
		}
	}
	return strings.ReplaceAll(first, target.String(), "TARGET")
}

func TestHTTPRequest(t *testing.T) {
	// A proxy from the environment must not be asked.
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	password := write(t, "password", []byte("s3cret\n"))
	for _, tt := range []struct {
		name  string
		check HTTP
		want  string
	}{
		{"defaults", HTTP{}, "GET / HTTP/1.1 host=TARGET close=true x= agent=baton auth=: body="},
		{"1.0", HTTP{Version: "1.0", Path: "/up?x=1"}, "GET /up?x=1 HTTP/1.0 host=TARGET close=true x= agent=baton auth=: body="},
		{
			"all",
			HTTP{Method: "POST", Path: "/p", Host: "web.example", Headers: map[string]string{"x-probe": "1", "user-agent": "me"}, Body: "hello", Username: "u", PasswordFile: password},
			"POST /p HTTP/1.1 host=web.example close=true x=1 agent=me auth=u:s3cret body=hello",
		},
		{"host as a header", HTTP{Headers: map[string]string{"host": "web.example"}}, "GET / HTTP/1.1 host=web.example close=true x= agent=baton auth=: body="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := requestOf(t, tt.check); got != tt.want {
				t.Errorf("sent %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestHostOf(t *testing.T) {
	for _, tt := range []struct {
		target string
		secure bool
		want   string
	}{
		{"10.0.0.1:80", false, "10.0.0.1"},
		{"10.0.0.1:80", true, "10.0.0.1:80"},
		{"10.0.0.1:443", true, "10.0.0.1"},
		{"[2001:db8::1]:8080", false, "[2001:db8::1]:8080"},
		{"[fe80::1%eth0]:80", false, "[fe80::1]"},
	} {
		if got := hostOf(netip.MustParseAddrPort(tt.target), tt.secure); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.target, got, tt.want)
		}
	}
}

// A check leaves it to the server to close the connection, so that the server
// and not the director has it in TIME_WAIT.
func TestTheServerClosesFirst(t *testing.T) {
	got := make(chan error, 2)
	target := serve(t, answering(func(c net.Conn) {
		reply(200, "ok")(c)
		_ = c.(*net.TCPConn).CloseWrite()
		_, err := c.Read(make([]byte, 1))
		got <- err
	}))
	holdAgainst(t, Spec{Target: target, Timeout: time.Second, HTTP: &HTTP{}}, L7OK, "")
	for range 2 { // the poller's too
		if err := <-got; !errors.Is(err, io.EOF) {
			t.Errorf("the server saw %v, want a normal end", err)
		}
	}
}

func TestFollow(t *testing.T) {
	to := func(location string) func(net.Conn) {
		return say("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + "\r\n\r\n")
	}
	site := func(pages map[string]func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			req, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			if f := pages[req.Host+req.URL.Path]; f != nil {
				f(c)
				return
			}
			reply(404, "")(c)
		}
	}
	pages := site(map[string]func(net.Conn){
		"h/a":             to("/b"),
		"h/b":             to("http://other.example/c"),
		"other.example/c": reply(200, "here"),
		"h/loop":          to("/loop"),
		"h/nowhere":       to(""),
		"h/ftp":           to("ftp://h/"),
		"h/broken":        to("http://%zz/"),
	})
	for _, tt := range []struct {
		name, path string
		follow     int
		code       Code
		detail     string
	}{
		{"not asked to", "/a", 0, L7STS, "HTTP status 302, expected 200-299"},
		{"to the end, and always on the same server", "/a", 2, L7OK, "HTTP status 200"},
		{"not far enough", "/a", 1, L7STS, "HTTP status 302 after a redirect"},
		{"a loop", "/loop", 5, L7STS, "HTTP status 302 after 5 redirects"},
		{"nowhere", "/nowhere", 5, L7RSP, "which is no address"},
		{"another scheme", "/ftp", 5, L7RSP, "which is not followed"},
		{"a broken address", "/broken", 5, L7RSP, "which is no address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Spec{Target: serve(t, pages), Timeout: time.Second, HTTP: &HTTP{Host: "h", Path: tt.path, Follow: tt.follow}}
			holdAgainst(t, s, tt.code, tt.detail)
		})
	}
	t.Run("to HTTPS, with a good certificate only", func(t *testing.T) {
		ca := newAuthority(t)
		secure := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(nil)}}, answering(reply(200, "")))
		plain := serve(t, site(map[string]func(net.Conn){"h/": to("https://" + secure.String() + "/")}))
		s := Spec{Target: plain, Timeout: time.Second, HTTP: &HTTP{Host: "h", Follow: 1}}
		holdAgainst(t, s, L6RSP, "the certificate of "+secure.String()+" is signed by an authority that is not trusted here")
	})
	t.Run("not from HTTPS to HTTP", func(t *testing.T) {
		ca := newAuthority(t)
		target := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(nil)}}, answering(to("http://h/")))
		s := Spec{Target: target, Timeout: time.Second, HTTP: &HTTP{Host: "h", Follow: 1, TLS: &TLS{}}}
		holdAgainst(t, s, L7RSP, `redirects from https to "http://h/", which is not followed`)
	})
}
