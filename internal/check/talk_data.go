package check

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// maxMessage bounds a message of a binary protocol.
const maxMessage = 64 << 10

// read reads exactly n bytes of what a server owes.
func (c *connection) read(n int, awaited string) ([]byte, error) {
	b := make([]byte, n)
	got, err := io.ReadFull(c, b)
	switch {
	case err == nil:
		return b, nil
	case got > 0 && isEOF(err):
		return nil, failf(L7RSP, "%s sent %s and closed the connection", c.target, quote(b[:got]))
	}
	return nil, c.failed(err, awaited)
}

// talkMySQL reads the greeting of MySQL or MariaDB, in which the server says its
// version, or why it takes nobody (too many connections, host blocked).
func talkMySQL(c *connection, _ *Talk) (string, error) {
	head, err := c.read(4, "a greeting")
	if err != nil {
		return "", err
	}
	// The length in three bytes, least first, and the number of the packet.
	length := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if length < 3 || length > maxMessage || head[3] != 0 {
		return "", failf(L7RSP, "%s sent %s, which is no greeting of MySQL", c.target, quote(head))
	}
	packet, err := c.read(length, "its whole greeting")
	if err != nil {
		return "", err
	}
	switch packet[0] {
	case 10: // of the protocol; all servers since 1998
		version, _, ended := bytes.Cut(packet[1:], []byte{0})
		if ended {
			return "greets as version " + strings.Trim(quote(version), `"`), nil
		}
	case 0xff:
		text := packet[3:]
		if len(text) > 6 && text[0] == '#' {
			text = text[6:] // the SQL state
		}
		return "", failf(L7STS, "%s refuses with error %d: %s", c.target, binary.LittleEndian.Uint16(packet[1:]), quote(text))
	}
	return "", failf(L7RSP, "%s sent %s, which is no greeting of MySQL", c.target, quote(packet))
}

// talkPostgreSQL begins a session as a user of a database. That the server asks
// for a password, or needs none, shows that it takes connections. An error shows
// why not: it is just starting, has no connection left, or does not know the user
// or the database.
func talkPostgreSQL(c *connection, t *Talk) (string, error) {
	user, database := t.User, t.Database
	if user == "" {
		user = "baton"
	}
	if database == "" {
		database = "postgres"
	}
	m := binary.BigEndian.AppendUint32(make([]byte, 4), 3<<16) // version 3.0
	for _, s := range []string{"user", user, "database", database, "application_name", "baton"} {
		m = append(append(m, s...), 0)
	}
	m = append(m, 0)
	binary.BigEndian.PutUint32(m, uint32(len(m)))
	if _, err := c.Write(m); err != nil {
		return "", c.failed(err, "an answer")
	}
	kind, body, err := c.postgresMessage("RE")
	if err != nil {
		return "", err
	}
	text := "takes connections, and asks for a password"
	if kind == 'R' && binary.BigEndian.Uint32(body) == 0 {
		// Only now it looks at the user and the database (InitPostgres), and tells
		// much of itself when it is content.
		text = "takes connections"
		for kind == 'R' || kind == 'S' || kind == 'K' || kind == 'N' {
			if kind, body, err = c.postgresMessage("RSKNZE"); err != nil {
				return "", err
			}
		}
	}
	if kind == 'E' {
		return "", postgresFailure(c, body)
	}
	// Terminate: or the server logs a client that vanished.
	_, _ = c.Write([]byte{'X', 0, 0, 0, 4})
	return text, nil
}

// postgresMessage reads a message of one of these kinds.
func (c *connection) postgresMessage(kinds string) (kind byte, body []byte, err error) {
	head, err := c.read(5, "an answer")
	if err != nil {
		return 0, nil, err
	}
	kind = head[0]
	length := int(binary.BigEndian.Uint32(head[1:])) - 4
	if strings.IndexByte(kinds, kind) < 0 || length < 1 || length > maxMessage || kind == 'R' && length < 4 {
		return 0, nil, failf(L7RSP, "%s sent %s, which is no answer of PostgreSQL", c.target, quote(head))
	}
	body, err = c.read(length, "its whole answer")
	return kind, body, err
}

// postgresFailure reads an ErrorResponse: fields of a byte and a text each.
func postgresFailure(c *connection, body []byte) error {
	state, message := "?", "no reason given"
	for f := range bytes.SplitSeq(body, []byte{0}) {
		switch {
		case len(f) < 2:
		case f[0] == 'C':
			state = string(f[1:])
		case f[0] == 'M':
			message = string(f[1:])
		}
	}
	return failf(L7STS, "%s refuses with SQLSTATE %s: %s", c.target, strings.Trim(quote([]byte(state)), `"`), quote([]byte(message)))
}

// talkLDAP binds anonymously (RFC 4511 section 4.2). A server that forbids that
// works all the same: it has understood the request and answered it.
func talkLDAP(c *connection, _ *Talk) (string, error) {
	// LDAPMessage {1, BindRequest {version 3, name "", simple ""}}
	bind := []byte{0x30, 0x0c, 0x02, 0x01, 0x01, 0x60, 0x07, 0x02, 0x01, 0x03, 0x04, 0x00, 0x80, 0x00}
	if _, err := c.Write(bind); err != nil {
		return "", c.failed(err, "an answer")
	}
	body, err := c.element(0x30)
	if err != nil {
		return "", err
	}
	code, err := bindResult(body)
	if err != nil {
		return "", failf(L7RSP, "%s sent an answer that is none to an LDAP bind: %s", c.target, err)
	}
	// UnbindRequest, which has no answer.
	_, _ = c.Write([]byte{0x30, 0x05, 0x02, 0x01, 0x02, 0x42, 0x00})
	switch code {
	case 0:
		return "takes an anonymous bind", nil
	case 8, 13, 48, 49, 53: // strongerAuthRequired, confidentialityRequired, inappropriateAuthentication, invalidCredentials, unwillingToPerform
		return fmt.Sprintf("answers, and takes no anonymous bind (result %d)", code), nil
	}
	return "", failf(L7STS, "%s answered the bind with result %d", c.target, code)
}

// element reads an element of BER with a certain tag and returns what is in it.
func (c *connection) element(tag byte) ([]byte, error) {
	head, err := c.read(2, "an answer")
	if err != nil {
		return nil, err
	}
	length := int(head[1])
	if head[1] >= 0x80 {
		n := int(head[1] & 0x7f)
		if n < 1 || n > 4 {
			return nil, failf(L7RSP, "%s sent %s, which is no answer of LDAP", c.target, quote(head))
		}
		more, err := c.read(n, "its whole answer")
		if err != nil {
			return nil, err
		}
		length = 0
		for _, b := range more {
			length = length<<8 | int(b)
		}
	}
	if head[0] != tag || length > maxMessage {
		return nil, failf(L7RSP, "%s sent %s, which is no answer of LDAP", c.target, quote(head))
	}
	return c.read(length, "its whole answer")
}

// bindResult finds the result code of a BindResponse in an LDAPMessage: message
// ID 1, then [APPLICATION 1] with the code as its first element. Servers write
// both lengths in the long form as well.
func bindResult(b []byte) (code byte, err error) {
	if !bytes.HasPrefix(b, []byte{0x02, 0x01, 0x01}) {
		return 0, fmt.Errorf("it begins with %s", quote(b[:min(len(b), 8)]))
	}
	b = b[3:]
	if len(b) < 2 || b[0] != 0x61 {
		return 0, fmt.Errorf("it holds %s", quote(b[:min(len(b), 8)]))
	}
	skip := 2
	if b[1] >= 0x80 {
		skip += int(b[1] & 0x7f)
	}
	if len(b) < skip+3 || b[skip] != 0x0a || b[skip+1] != 1 {
		return 0, fmt.Errorf("it has no result code")
	}
	return b[skip+2], nil
}
