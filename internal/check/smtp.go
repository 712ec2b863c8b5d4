package check

import (
	"context"
	"net"
	"strings"
)

// probeSMTP reads the greeting and introduces itself (RFC 5321). Greetings of
// several lines are as good as those of one.
func probeSMTP(ctx context.Context, s Spec) (code Code, detail string, err error) {
	m := s.SMTP
	c, err := dial(ctx, s, s.Target)
	if err != nil {
		return "", "", err
	}
	defer func() { c.end(err) }()
	if m.TLS != nil && !m.StartTLS {
		if err := c.startTLS(m.TLS, s.serverName()); err != nil {
			return "", "", err
		}
	}
	d := newDialogue(c)
	greeting, err := d.reply("220", "a greeting")
	if err != nil {
		return "", "", err
	}
	if m.Expect != "" && !strings.Contains(strings.Join(greeting, "\n"), m.Expect) {
		return "", "", failf(L7RSP, "%s greets with %s, which does not contain %s", s.Target, quote([]byte(greeting[0])), quote([]byte(m.Expect)))
	}
	if d, err = d.introduce(s); err != nil {
		return "", "", err
	}
	d.part("QUIT")
	return L7OK, s.Target.String() + " greets with " + quote([]byte(greeting[0])), nil
}

// introduce says EHLO, and where the check wants it starts TLS and says it again.
func (d *dialogue) introduce(s Spec) (*dialogue, error) {
	m := s.SMTP
	name := m.Helo
	if name == "" {
		name = literal(d.tcp.LocalAddr())
	}
	offers, err := d.hello(name)
	if err != nil || !m.StartTLS {
		return d, err
	}
	if !offered(offers, "STARTTLS") {
		return d, failf(L7RSP, "%s does not offer STARTTLS", d.target)
	}
	if err := d.say("STARTTLS"); err != nil {
		return d, err
	}
	if _, err := d.reply("220", "an answer to STARTTLS"); err != nil {
		return d, err
	}
	if d.lines.Buffered() > 0 {
		// What was sent in the clear must not be taken for secured (RFC 3207).
		return d, failf(L7RSP, "%s sent something between STARTTLS and the handshake", d.target)
	}
	t := m.TLS
	if t == nil {
		t = &TLS{Verify: true}
	}
	if err := d.startTLS(t, s.serverName()); err != nil {
		return d, err
	}
	d = newDialogue(d.connection)
	_, err = d.hello(name)
	return d, err
}

// hello introduces us, with HELO to a server that does not know EHLO (section
// 3.2).
func (d *dialogue) hello(name string) ([]string, error) {
	if err := d.say("EHLO " + name); err != nil {
		return nil, err
	}
	code, lines, err := d.coded("an answer to EHLO")
	switch {
	case err != nil:
		return nil, err
	case code == "250":
		return lines[1:], nil
	case code[0] != '5':
		return nil, d.refused(code, lines, "250")
	}
	if err := d.say("HELO " + name); err != nil {
		return nil, err
	}
	_, err = d.reply("250", "an answer to HELO")
	return nil, err
}

// reply reads an answer that has to have a code.
func (d *dialogue) reply(want, awaited string) ([]string, error) {
	code, lines, err := d.coded(awaited)
	if err == nil && code != want {
		err = d.refused(code, lines, want)
	}
	return lines, err
}

func (d *dialogue) refused(code string, lines []string, want string) error {
	return failf(L7STS, "%s answered %s, expected %s", d.target, quote([]byte(strings.TrimSpace(code+" "+lines[0]))), want)
}

// coded reads an answer of one or more lines that begin with a code of three
// digits, which all but the last continue with a hyphen (section 4.2.1; FTP and
// NNTP have the same).
func (d *dialogue) coded(awaited string) (code string, lines []string, err error) {
	for range maxLines {
		line, err := d.line()
		if err != nil {
			return "", nil, err
		}
		if !isCoded(line) || code != "" && line[:3] != code {
			return "", nil, failf(L7RSP, "%s sent %s, which is not %s", d.target, quote([]byte(line)), awaited)
		}
		code = line[:3]
		lines = append(lines, strings.TrimSpace(line[min(len(line), 4):]))
		if len(line) == 3 || line[3] == ' ' {
			return code, lines, nil
		}
	}
	return "", nil, failf(L7RSP, "%s sent an answer of more than %d lines", d.target, maxLines)
}

func isCoded(line string) bool {
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return false
	}
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	return line[0] >= '1' && line[0] <= '5' && digit(line[1]) && digit(line[2])
}

func offered(lines []string, keyword string) bool {
	for _, l := range lines {
		if word, _, _ := strings.Cut(l, " "); strings.EqualFold(word, keyword) {
			return true
		}
	}
	return false
}

// literal is an address as RFC 5321 section 4.1.3 writes it in place of a name.
func literal(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return "[127.0.0.1]"
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		return "[IPv6:" + ip.String() + "]"
	}
	return "[" + ip.String() + "]"
}
