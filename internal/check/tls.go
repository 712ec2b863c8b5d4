package check

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// startTLS makes the connection speak TLS. name is the server's name where the
// check does not set one: a host name or an address.
func (c *connection) startTLS(t *TLS, name string, protocols ...string) error {
	conf, err := t.config(name)
	if err != nil {
		return failf(L6RSP, "%s", err)
	}
	conf.NextProtos = protocols
	secure := tls.Client(c.tcp, conf)
	if err := secure.Handshake(); err != nil {
		return c.handshakeFailure(err, conf.ServerName)
	}
	c.Conn = secure
	return t.lifetime(c.target, secure.ConnectionState().PeerCertificates[0], time.Now())
}

// config reads the files that the check names. They are read at each probe, so
// that a renewed certificate needs no reload.
func (t *TLS) config(name string) (*tls.Config, error) {
	conf := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: !t.Verify}
	if conf.ServerName == "" {
		conf.ServerName = name
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read the CA certificates: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("there is no certificate in %s", t.CAFile)
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cannot use the client certificate %s: %w", t.CertFile, err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

// lifetime holds the rest of a certificate's life against what is wanted. It
// counts without verification too: who verifies nothing may still want to know
// in time that a certificate expires.
func (t *TLS) lifetime(target netip.AddrPort, cert *x509.Certificate, now time.Time) error {
	if t.MinDaysLeft <= 0 {
		return nil
	}
	left := cert.NotAfter.Sub(now)
	day := cert.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case left <= 0:
		return failf(L6RSP, "the certificate of %s expired on %s", target, day)
	case left < time.Duration(t.MinDaysLeft)*24*time.Hour:
		return failf(L6RSP, "the certificate of %s expires on %s, in %d days; at least %d days are wanted",
			target, day, int(left.Hours()/24), t.MinDaysLeft)
	}
	return nil
}

// handshakeFailure says in words why there is no TLS.
func (c *connection) handshakeFailure(err error, name string) error {
	var record tls.RecordHeaderError
	switch {
	case isTimeout(err):
		return failf(L6TOUT, "no TLS handshake with %s within %s", c.target, span(c.timeout))
	case isReset(err):
		return failf(L6RSP, "%s reset the connection during the TLS handshake", c.target)
	case isEOF(err):
		return failf(L6RSP, "%s closed the connection during the TLS handshake", c.target)
	case errors.As(err, &record):
		return failf(L6RSP, "%s does not speak TLS; it sent %s", c.target, quote(record.RecordHeader[:]))
	}
	if f := alertFailure(c.target, err); f != nil {
		return f
	}
	if why := certificateFault(err, name); why != "" {
		return failf(L6RSP, "the certificate of %s %s", c.target, why)
	}
	return failf(L6RSP, "TLS handshake with %s failed: %s", c.target, strings.TrimPrefix(err.Error(), "tls: "))
}

// alertFailure recognises a TLS alert. With TLS 1.3 a target that refuses our
// certificate says so only after the handshake, in place of its answer.
func alertFailure(target netip.AddrPort, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return failf(L6RSP, "%s refused TLS: %s", target, strings.TrimPrefix(op.Err.Error(), "tls: "))
	}
	return nil
}

// certificateFault says what is wrong with a certificate, or nothing where the
// error speaks of something else.
func certificateFault(err error, name string) string {
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &host):
		return fmt.Sprintf("is for %s, not for %s", names(host.Certificate), name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if now := time.Now(); now.Before(invalid.Cert.NotBefore) {
			return "is valid only from " + invalid.Cert.NotBefore.UTC().Format(time.DateOnly)
		}
		return "expired on " + invalid.Cert.NotAfter.UTC().Format(time.DateOnly)
	case errors.As(err, &authority):
		return "is signed by an authority that is not trusted here" + issuer(authority.Cert)
	case errors.As(err, &invalid):
		return "is not valid: " + strings.TrimPrefix(invalid.Error(), "x509: ")
	}
	return ""
}

func names(cert *x509.Certificate) string {
	all := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	const most = 4
	switch {
	case len(all) == 0:
		return "no name at all"
	case len(all) > most:
		all = append(all[:most], "…")
	}
	return strings.Trim(quote([]byte(strings.Join(all, ", "))), `"`)
}

func issuer(cert *x509.Certificate) string {
	if cert == nil || cert.Issuer.CommonName == "" {
		return ""
	}
	return " (" + quote([]byte(cert.Issuer.CommonName)) + ")"
}
