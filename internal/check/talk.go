package check

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// talks are the protocols of [Talk].
var talks = map[string]talk{
	"ftp":        {lines: talkFTP},
	"imap":       {lines: talkIMAP},
	"pop3":       {lines: talkPOP3},
	"nntp":       {lines: talkNNTP},
	"redis":      {lines: talkRedis},
	"ldap":       {bytes: talkLDAP},
	"mysql":      {bytes: talkMySQL},
	"postgresql": {bytes: talkPostgreSQL},
	"ntp":        {datagrams: talkNTP},
	"radius":     {datagrams: talkRADIUS},
	"sip":        {datagrams: talkSIPOverUDP, lines: talkSIPOverTCP},
}

// talk is how a protocol is spoken: in lines or bytes over TCP, or in datagrams.
// The text says what the server said, as the end of a sentence about it.
type talk struct {
	lines     func(*dialogue, *Talk) (text string, err error)
	bytes     func(*connection, *Talk) (text string, err error)
	datagrams func(*datagrams, *Talk) (text string, err error)
}

// Protocols are the names of the protocols of [Talk], sorted.
func Protocols() []string {
	out := make([]string, 0, len(talks))
	for name := range talks {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// probeTalk speaks a protocol with the target.
func probeTalk(ctx context.Context, s Spec) (code Code, detail string, err error) {
	p, known := talks[s.Talk.Protocol]
	if !known {
		return "", "", failf(L7RSP, "the protocol %q is not known", s.Talk.Protocol)
	}
	var text string
	if p.datagrams != nil && !s.Talk.TCP {
		text, err = s.overDatagrams(ctx, p)
	} else {
		text, err = s.overStream(ctx, p)
	}
	if err != nil {
		return "", "", err
	}
	return L7OK, s.Target.String() + " " + text, nil
}

func (s Spec) overDatagrams(ctx context.Context, p talk) (string, error) {
	d, err := dialUDP(ctx, s)
	if err != nil {
		return "", err
	}
	defer d.close()
	return p.datagrams(d, s.Talk)
}

func (s Spec) overStream(ctx context.Context, p talk) (text string, err error) {
	c, err := dial(ctx, s, s.Target)
	if err != nil {
		return "", err
	}
	defer func() { c.end(err) }()
	if s.Talk.TLS != nil {
		if err := c.startTLS(s.Talk.TLS, s.serverName()); err != nil {
			return "", err
		}
	}
	if p.lines != nil {
		return p.lines(newDialogue(c), s.Talk)
	}
	return p.bytes(c, s.Talk)
}

// secretOf reads a password or a secret. It is read at each probe, so that it can
// be changed without a reload and is never part of a spec.
func secretOf(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("cannot read the secret: %w", err)
	}
	return string(bytes.TrimRight(b, "\r\n")), nil
}

// talkFTP reads the greeting (RFC 959 section 5.4), of one or more lines.
func talkFTP(d *dialogue, _ *Talk) (string, error) {
	greeting, err := d.reply("220", "a greeting of FTP")
	if err != nil {
		return "", err
	}
	d.part("QUIT")
	return "greets with " + quote([]byte(greeting[0])), nil
}

// talkNNTP reads the greeting (RFC 3977 section 5.1): 200 allows posting and 201
// does not.
func talkNNTP(d *dialogue, _ *Talk) (string, error) {
	code, lines, err := d.coded("a greeting of NNTP")
	if err == nil && code != "200" && code != "201" {
		err = d.refused(code, lines, "200 or 201")
	}
	if err != nil {
		return "", err
	}
	d.part("QUIT")
	return "greets with " + quote([]byte(lines[0])), nil
}

// talkIMAP reads the greeting (RFC 3501 section 7.1.5): BYE says that the server
// takes nobody.
func talkIMAP(d *dialogue, _ *Talk) (string, error) {
	line, err := d.greeting("* OK", "* PREAUTH", "* BYE")
	if err != nil {
		return "", err
	}
	d.part("a LOGOUT")
	return "greets with " + quote([]byte(line)), nil
}

// talkPOP3 reads the greeting (RFC 1939 section 4).
func talkPOP3(d *dialogue, _ *Talk) (string, error) {
	line, err := d.greeting("+OK", "", "-ERR")
	if err != nil {
		return "", err
	}
	d.part("QUIT")
	return "greets with " + quote([]byte(line)), nil
}

// greeting reads a line that has to begin with one of two words, or refuses with
// another one.
func (d *dialogue) greeting(good, alsoGood, bad string) (string, error) {
	line, err := d.line()
	begins := func(word string) bool {
		n := len(word)
		return n > 0 && len(line) >= n && strings.EqualFold(line[:n], word) && (len(line) == n || line[n] == ' ')
	}
	switch {
	case err != nil:
		return "", err
	case begins(bad):
		return "", failf(L7STS, "%s answered %s", d.target, quote([]byte(line)))
	case !begins(good) && !begins(alsoGood):
		return "", failf(L7RSP, "%s sent %s, expected %s", d.target, quote([]byte(line)), good)
	}
	return line, nil
}

// talkRedis sends PING, after AUTH where the check has a password. A server that
// wants a password works, and says so only when it does.
func talkRedis(d *dialogue, t *Talk) (string, error) {
	if t.PasswordFile != "" {
		if err := d.authenticate(t); err != nil {
			return "", err
		}
	}
	if err := d.say("PING"); err != nil {
		return "", err
	}
	line, err := d.line()
	switch {
	case err != nil:
		return "", err
	case line == "+PONG":
		return "answered PONG", nil
	case strings.HasPrefix(line, "-NOAUTH"):
		return "answers, and wants a password", nil
	case strings.HasPrefix(line, "-"):
		return "", failf(L7STS, "%s answered %s to PING", d.target, quote([]byte(line)))
	}
	return "", failf(L7RSP, "%s answered %s to PING, expected +PONG", d.target, quote([]byte(line)))
}

// authenticate sends AUTH as an array of strings, so that a password may hold any
// bytes.
func (d *dialogue) authenticate(t *Talk) error {
	password, err := secretOf(t.PasswordFile)
	if err != nil {
		return failf(L7RSP, "%s", err)
	}
	args := []string{"AUTH", password}
	if t.User != "" {
		args = []string{"AUTH", t.User, password}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if err := d.say(strings.TrimSuffix(b.String(), "\r\n")); err != nil {
		return err
	}
	line, err := d.line()
	if err == nil && line != "+OK" {
		err = failf(L7STS, "%s answered %s to AUTH", d.target, quote([]byte(line)))
	}
	return err
}
