package check

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"
)

func TestTLS(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	valid := ca.issue(nil)
	expired := ca.issue(func(c *x509.Certificate) {
		c.NotAfter = time.Date(2020, 2, 3, 0, 0, 0, 0, time.UTC)
		c.NotBefore = c.NotAfter.AddDate(-1, 0, 0)
	})
	future := ca.issue(func(c *x509.Certificate) {
		c.NotBefore = time.Date(2090, 2, 3, 0, 0, 0, 0, time.UTC)
		c.NotAfter = c.NotBefore.AddDate(1, 0, 0)
	})
	other := ca.issue(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"other.example"}, nil })
	verify := TLS{Verify: true, CAFile: ca.file}
	named := TLS{Verify: true, CAFile: ca.file, ServerName: "web.example"}
	days := func(n int) TLS { return TLS{MinDaysLeft: n} }
	for _, tt := range []struct {
		name   string
		cert   tls.Certificate
		server func(net.Conn) // without TLS
		check  TLS
		code   Code
		detail string
	}{
		{name: "valid, by address", cert: valid, check: verify, code: L6OK, detail: "TLS established with TARGET"},
		{name: "valid, by name", cert: valid, check: named, code: L6OK},
		{name: "not verified", cert: expired, check: TLS{}, code: L6OK},
		{name: "expired", cert: expired, check: verify, code: L6RSP, detail: "the certificate of TARGET expired on 2020-02-03"},
		{name: "not yet valid", cert: future, check: verify, code: L6RSP, detail: "is valid only from 2090-02-03"},
		{name: "wrong name", cert: other, check: named, code: L6RSP, detail: "the certificate of TARGET is for other.example, not for web.example"},
		{name: "wrong address", cert: other, check: verify, code: L6RSP, detail: "is for other.example, not for 127.0.0.1"},
		{name: "unknown authority", cert: stranger.issue(nil), check: verify, code: L6RSP, detail: "is signed by an authority that is not trusted here"},
		{name: "the system's authorities", cert: valid, check: TLS{Verify: true}, code: L6RSP, detail: "not trusted here"},
		{name: "days enough", cert: valid, check: days(29), code: L6OK},
		{name: "too few days", cert: valid, check: days(31), code: L6RSP, detail: "in 29 days; at least 31 days are wanted"},
		{name: "no days left", cert: expired, check: days(1), code: L6RSP, detail: "expired on 2020-02-03"},

		{name: "no TLS", server: then(say("220 ready, and not at all TLS\r\n"), hang), code: L6RSP, detail: `TARGET does not speak TLS; it sent "220 r"`},
		{name: "silence", server: hang, code: L6TOUT, detail: "no TLS handshake with TARGET within 1s"},
		{name: "closed", server: func(net.Conn) {}, code: L6RSP, detail: "the connection during the TLS handshake"},
		{name: "reset", server: resetLater, code: L6RSP, detail: "TARGET reset the connection during the TLS handshake"},
		{name: "no CA file", cert: valid, check: TLS{Verify: true, CAFile: "/nonexistent"}, code: L6RSP, detail: "cannot read the CA certificates"},
		{name: "no client certificate", cert: valid, check: TLS{CertFile: "/nonexistent", KeyFile: "/nonexistent"}, code: L6RSP, detail: "cannot use the client certificate /nonexistent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			target := serve(t, tt.server)
			if tt.server == nil {
				target = serveTLS(t, &tls.Config{Certificates: []tls.Certificate{tt.cert}}, hang)
			}
			holdAgainst(t, Spec{Target: target, Timeout: time.Second, TCP: &TCP{TLS: &tt.check}}, tt.code, tt.detail)
		})
	}
}

func TestTLSExpect(t *testing.T) {
	ca := newAuthority(t)
	conf := &tls.Config{Certificates: []tls.Certificate{ca.issue(nil)}}
	target := serveTLS(t, conf, then(say("220 ready\r\n"), hang))
	holdAgainst(t, Spec{Target: target, Timeout: time.Second, TCP: &TCP{Expect: "220", TLS: &TLS{}}}, L7OK, "answered as expected")
}

func TestClientCertificate(t *testing.T) {
	ca := newAuthority(t)
	conf := &tls.Config{
		Certificates: []tls.Certificate{ca.issue(nil)},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ca.pool(),
	}
	target := serveTLS(t, conf, answering(say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
	cert, key := ca.files(ca.issue(nil))
	with := Spec{Target: target, Timeout: time.Second, HTTP: &HTTP{TLS: &TLS{CertFile: cert, KeyFile: key}}}
	holdAgainst(t, with, L7OK, "HTTP status 200")
	without := Spec{Target: target, Timeout: time.Second, HTTP: &HTTP{TLS: &TLS{}}}
	holdAgainst(t, without, L6RSP, "TARGET refused TLS: certificate required")
}

func TestServerNameIsTheHost(t *testing.T) {
	ca := newAuthority(t)
	asked := make(chan string, 1)
	conf := &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked <- h.ServerName
		c := ca.issue(nil)
		return &c, nil
	}}
	target := serveTLS(t, conf, answering(say("HTTP/1.1 204 No Content\r\n\r\n")))
	s := Spec{Target: target, Timeout: time.Second, HTTP: &HTTP{Host: "web.example:8443", TLS: &TLS{Verify: true, CAFile: ca.file}}}
	holdAgainst(t, s, L7OK, "HTTP status 204")
	if got := <-asked; got != "web.example" {
		t.Errorf("asked for %q", got)
	}
}
