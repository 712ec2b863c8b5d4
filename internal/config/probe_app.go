package config

import (
	"path/filepath"
	"strings"

	"baton/internal/check"
)

func (b *builder) dnsOf(r *rawDNS) *check.DNS {
	out := &check.DNS{Name: string(r.Name.v), Type: string(r.Type.v), RCode: string(r.RCode.v), TCP: r.Transport.v == "tcp"}
	for i := range r.Expect.items {
		if e := &r.Expect.items[i]; e.ok() {
			out.Expect = append(out.Expect, string(e.v))
		}
	}
	if len(out.Expect) > 0 && !r.RCode.bad && r.RCode.v != "NOERROR" {
		b.add(r.Expect.at, "expect: there are no answers beside rcode %s", r.RCode.v)
	}
	return out
}

func (b *builder) smtpOf(r *rawSMTP) *check.SMTP {
	return &check.SMTP{
		Helo: string(r.Helo.v), Expect: string(r.Expect.v),
		StartTLS: bool(r.StartTLS.v), TLS: b.tlsOf(&r.TLS),
	}
}

func (b *builder) udpOf(r *rawUDP) *check.UDP {
	if r.RequireReply.ok() && !bool(r.RequireReply.v) && r.Expect.ok() {
		b.add(r.RequireReply.at, "require_reply: expect needs a reply")
	}
	return &check.UDP{Send: string(r.Send.v), Expect: string(r.Expect.v), RequireReply: bool(r.RequireReply.v)}
}

func (b *builder) execOf(r *rawExec) *check.Exec {
	out := &check.Exec{User: string(r.User.v), Expect: string(r.Expect.v), WeightFromExit: bool(r.WeightFromExit.v)}
	for i := range r.Command.items {
		arg := &r.Command.items[i]
		switch {
		case arg.bad:
			return out
		case strings.ContainsRune(string(arg.v), 0):
			b.add(arg.at, "command: %s has a zero byte, which arguments cannot have", quote(string(arg.v)))
		case i == 0 && !filepath.IsAbs(string(arg.v)):
			b.add(arg.at, "command: %s is not an absolute path; allowed: the absolute path of a program and its arguments", quote(string(arg.v)))
		}
		out.Command = append(out.Command, string(arg.v))
	}
	if r.Command.set && !r.Command.bad && len(out.Command) == 0 {
		b.add(r.Command.at, "command: the list is empty; allowed: the absolute path of a program and its arguments")
	}
	return out
}

// talkOf builds a check that speaks one of many protocols.
func (b *builder) talkOf(c *rawCheck) *check.Talk {
	switch {
	case c.FTP.set:
		return &check.Talk{Protocol: "ftp", TLS: b.tlsOf(&c.FTP.v.TLS)}
	case c.IMAP.set:
		return &check.Talk{Protocol: "imap", TLS: b.tlsOf(&c.IMAP.v.TLS)}
	case c.POP3.set:
		return &check.Talk{Protocol: "pop3", TLS: b.tlsOf(&c.POP3.v.TLS)}
	case c.NNTP.set:
		return &check.Talk{Protocol: "nntp", TLS: b.tlsOf(&c.NNTP.v.TLS)}
	case c.LDAP.set:
		return &check.Talk{Protocol: "ldap", TLS: b.tlsOf(&c.LDAP.v.TLS)}
	case c.MySQL.set:
		return &check.Talk{Protocol: "mysql"}
	case c.PostgreSQL.set:
		r := &c.PostgreSQL.v
		return &check.Talk{Protocol: "postgresql", User: string(r.Username.v), Database: string(r.Database.v)}
	case c.Redis.set:
		return b.redisOf(&c.Redis.v)
	case c.NTP.set:
		return &check.Talk{Protocol: "ntp", MaxStratum: int(c.NTP.v.MaxStratum.v)}
	case c.RADIUS.set:
		return b.radiusOf(&c.RADIUS.v)
	case c.SIP.set:
		return &check.Talk{Protocol: "sip", TCP: c.SIP.v.Transport.v == "tcp"}
	}
	return nil
}

func (b *builder) redisOf(r *rawRedis) *check.Talk {
	if r.Username.ok() && !r.PasswordFile.set {
		b.add(r.Username.at, "username: it needs a password_file")
	}
	return &check.Talk{
		Protocol: "redis", User: string(r.Username.v), PasswordFile: string(r.PasswordFile.v), TLS: b.tlsOf(&r.TLS),
	}
}

func (b *builder) radiusOf(r *rawRADIUS) *check.Talk {
	if r.PasswordFile.ok() && !r.Username.set {
		b.add(r.PasswordFile.at, "password_file: it needs a username")
	}
	if n := len(r.Username.v); n > 253 {
		b.add(r.Username.at, "username: it has %d bytes; allowed: at most 253", n)
	}
	return &check.Talk{
		Protocol: "radius", SecretFile: string(r.SecretFile.v), User: string(r.Username.v), PasswordFile: string(r.PasswordFile.v),
	}
}
