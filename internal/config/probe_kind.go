package config

import "baton/internal/check"

// specOf builds what the probe does, without target and timeout.
func (b *builder) specOf(c *rawCheck) check.Spec {
	to := &c.Connect.v
	out := check.Spec{
		Source:    to.Source.v.Addr,
		Interface: string(to.Interface.v),
		FWMark:    uint32(to.FWMark.v),
	}
	switch {
	case c.TCP.set:
		out.TCP = b.tcpOf(&c.TCP.v)
	case c.HTTP.set:
		out.HTTP = b.httpOf(&c.HTTP.v)
	case c.HTTPS.set:
		h := rawHTTP(c.HTTPS.v)
		if !h.TLS.set {
			h.TLS.set = true // the defaults of TLS are filled in already
		}
		out.HTTP = b.httpOf(&h)
	case c.TLS.set:
		out.TLS = b.tlsOf(&c.TLS)
	case c.DNS.set:
		out.DNS = b.dnsOf(&c.DNS.v)
	case c.SMTP.set:
		out.SMTP = b.smtpOf(&c.SMTP.v)
	case c.UDP.set:
		out.UDP = b.udpOf(&c.UDP.v)
	case c.Ping.set:
		out.Ping = &check.Ping{}
	case c.GRPC.set:
		out.GRPC = &check.GRPC{Service: string(c.GRPC.v.Service.v), TLS: b.tlsOf(&c.GRPC.v.TLS)}
	case c.Exec.set:
		out.Exec = b.execOf(&c.Exec.v)
	case c.File.set:
		out.File = &check.File{Path: string(c.File.v.Path.v)}
	default:
		out.Talk = b.talkOf(c)
	}
	return out
}

func (b *builder) tcpOf(r *rawTCP) *check.TCP {
	return &check.TCP{
		Send:        string(r.Send.v),
		Expect:      string(r.Expect.v),
		ExpectRegex: string(r.ExpectRegex.v),
		TLS:         b.tlsOf(&r.TLS),
	}
}

func (b *builder) httpOf(r *rawHTTP) *check.HTTP {
	if r.PasswordFile.ok() && !r.Username.set {
		b.add(r.PasswordFile.at, "password_file: it needs a username")
	}
	if r.Username.ok() && !r.PasswordFile.set {
		b.add(r.Username.at, "username: it needs a password_file")
	}
	if r.Method.v == "HEAD" && r.ExpectBody.ok() {
		b.add(r.ExpectBody.at, "expect_body: an answer to HEAD has no body")
	}
	if r.Method.v == "HEAD" && r.ExpectBodyRegex.ok() {
		b.add(r.ExpectBodyRegex.at, "expect_body_regex: an answer to HEAD has no body")
	}
	if r.Method.v == "HEAD" && r.BodyMD5.ok() {
		b.add(r.BodyMD5.at, "body_md5: an answer to HEAD has no body")
	}
	return &check.HTTP{
		Method:          string(r.Method.v),
		Path:            string(r.Path.v),
		Host:            string(r.Host.v),
		Headers:         r.Headers.pairs,
		Body:            string(r.Body.v),
		Status:          b.statusOf(r),
		ExpectBody:      string(r.ExpectBody.v),
		ExpectBodyRegex: string(r.ExpectBodyRegex.v),
		BodyMD5:         string(r.BodyMD5.v),
		Version:         string(r.Version.v),
		Username:        string(r.Username.v),
		PasswordFile:    string(r.PasswordFile.v),
		Follow:          int(r.Follow.v),
		MaxBody:         int64(r.MaxBody.v),
		TLS:             b.tlsOf(&r.TLS),
	}
}

func (b *builder) statusOf(r *rawHTTP) []check.StatusRange {
	if !r.Status.set {
		return []check.StatusRange{{From: 200, To: 299}}
	}
	if len(r.Status.items) == 0 && !r.Status.bad {
		b.add(r.Status.at, "status: the list is empty, so no answer would do; leave the key out for 200-299")
	}
	var out []check.StatusRange
	for i := range r.Status.items {
		out = append(out, check.StatusRange(r.Status.items[i].v))
	}
	return out
}

func (b *builder) tlsOf(r *block[rawTLS]) *check.TLS {
	if !r.set {
		return nil
	}
	t := &r.v
	if t.CertFile.ok() && !t.KeyFile.set {
		b.add(t.CertFile.at, "cert_file: it needs a key_file")
	}
	if t.KeyFile.ok() && !t.CertFile.set {
		b.add(t.KeyFile.at, "key_file: it needs a cert_file")
	}
	return &check.TLS{
		ServerName:  string(t.ServerName.v),
		Verify:      bool(t.Verify.v),
		CAFile:      string(t.CAFile.v),
		CertFile:    string(t.CertFile.v),
		KeyFile:     string(t.KeyFile.v),
		MinDaysLeft: int(t.MinDaysLeft.v),
	}
}
