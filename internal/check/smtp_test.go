package check

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// dialog is a server that greets and then answers each line that begins with a
// word; without an answer it hangs up.
func dialog(greeting string, answers map[string]string) func(net.Conn) {
	return func(c net.Conn) {
		fmt.Fprint(c, greeting)
		lines := bufio.NewScanner(c)
		for lines.Scan() {
			word, _, _ := strings.Cut(lines.Text(), " ")
			answer, known := answers[word]
			if !known {
				return
			}
			fmt.Fprint(c, answer)
		}
	}
}

func TestSMTP(t *testing.T) {
	good := map[string]string{"EHLO": "250-mx.example\r\n250-SIZE 1000\r\n250 HELP\r\n", "QUIT": "221 bye\r\n"}
	for _, tt := range []struct {
		name   string
		server func(net.Conn)
		check  SMTP
		code   Code
		detail string
	}{
		{name: "one line", server: dialog("220 mx.example ESMTP\r\n", good), code: L7OK, detail: `TARGET greets with "mx.example ESMTP"`},
		{name: "several lines", server: dialog("220-mx.example\r\n220-no spam\r\n220 ready\r\n", good), code: L7OK, detail: `greets with "mx.example"`},
		{name: "expected", server: dialog("220-mx.example\r\n220 Postfix\r\n", good), check: SMTP{Expect: "Postfix"}, code: L7OK},
		{name: "not expected", server: dialog("220 mx.example\r\n", good), check: SMTP{Expect: "Postfix"}, code: L7RSP, detail: `greets with "mx.example", which does not contain "Postfix"`},
		{name: "old", server: dialog("220 mx.example\r\n", map[string]string{"EHLO": "502 what\r\n", "HELO": "250 hello\r\n", "QUIT": "221 bye\r\n"}), code: L7OK},
		{name: "no service", server: dialog("554 no SMTP service here\r\n", nil), code: L7STS, detail: `TARGET answered "554 no SMTP service here", expected 220`},
		{name: "refuses", server: dialog("220 mx\r\n", map[string]string{"EHLO": "421-too busy\r\n421 come back\r\n"}), code: L7STS, detail: `answered "421 too busy", expected 250`},
		{name: "refuses both", server: dialog("220 mx\r\n", map[string]string{"EHLO": "500 no\r\n", "HELO": "550 no\r\n"}), code: L7STS, detail: `answered "550 no"`},
		{name: "codes mixed up", server: dialog("220-mx\r\n250 ready\r\n", good), code: L7RSP, detail: `sent "250 ready", which is not a greeting`},
		{name: "hangs up", server: dialog("220 mx\r\n", nil), code: L7RSP, detail: "closed the connection"},
		{name: "web server", server: then(say("HTTP/1.1 400 Bad Request\r\n\r\n"), hang), code: L7RSP, detail: `sent "HTTP/1.1 400 Bad Request", which is not a greeting`},
		{name: "no STARTTLS", server: dialog("220 mx\r\n", good), check: SMTP{StartTLS: true}, code: L7RSP, detail: "TARGET does not offer STARTTLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Spec{Target: serve(t, tt.server), Timeout: time.Second, SMTP: &tt.check}
			holdAgainst(t, s, tt.code, tt.detail)
		})
	}
}

func TestSMTPStartTLS(t *testing.T) {
	ca := newAuthority(t)
	conf := &tls.Config{Certificates: []tls.Certificate{ca.issue(nil)}}
	heard := make(chan string, 8)
	server := func(extra string) func(net.Conn) {
		return func(c net.Conn) {
			fmt.Fprint(c, "220 mx\r\n")
			lines := bufio.NewReader(c)
			hello, _ := lines.ReadString('\n')
			heard <- hello
			fmt.Fprint(c, "250-mx\r\n250 STARTTLS\r\n")
			_, _ = lines.ReadString('\n')
			fmt.Fprint(c, "220 go ahead\r\n"+extra)
			secure := tls.Server(c, conf)
			if secure.Handshake() == nil {
				dialog("", map[string]string{"EHLO": "250 mx\r\n", "QUIT": "221 bye\r\n"})(secure)
			}
		}
	}
	s := Spec{Target: serve(t, server("")), Timeout: 2 * time.Second, SMTP: &SMTP{StartTLS: true, TLS: &TLS{Verify: true, CAFile: ca.file}}}
	holdAgainst(t, s, L7OK, `greets with "mx"`)
	if hello := <-heard; hello != "EHLO [127.0.0.1]\r\n" {
		t.Errorf("introduced itself with %q", hello)
	}
	s.SMTP = &SMTP{StartTLS: true, Helo: "lb.example"}
	holdAgainst(t, s, L6RSP, "is signed by an authority that is not trusted here")
	if hello := <-heard; hello != "EHLO lb.example\r\n" {
		t.Errorf("introduced itself with %q", hello)
	}
	s.Target, s.SMTP = serve(t, server("250 injected\r\n")), &SMTP{StartTLS: true, TLS: &TLS{}}
	holdAgainst(t, s, L7RSP, "sent something between STARTTLS and the handshake")
}

func TestTalkInLines(t *testing.T) {
	password := write(t, "password", []byte("s3cret\n"))
	login := Talk{Protocol: "redis", PasswordFile: password, User: "lb"}
	for _, tt := range []struct {
		name   string
		check  Talk
		server func(net.Conn)
		code   Code
		detail string
	}{
		{name: "ftp", check: Talk{Protocol: "ftp"}, server: dialog("220-files\r\n220 ready\r\n", nil), code: L7OK, detail: `TARGET greets with "files"`},
		{name: "ftp full", check: Talk{Protocol: "ftp"}, server: dialog("421 too many users\r\n", nil), code: L7STS, detail: `answered "421 too many users", expected 220`},
		{name: "nntp", check: Talk{Protocol: "nntp"}, server: dialog("201 no posting\r\n", nil), code: L7OK},
		{name: "nntp closed", check: Talk{Protocol: "nntp"}, server: dialog("400 not now\r\n", nil), code: L7STS, detail: "expected 200 or 201"},
		{name: "imap", check: Talk{Protocol: "imap"}, server: dialog("* OK [CAPABILITY IMAP4rev1] ready\r\n", nil), code: L7OK},
		{name: "imap known client", check: Talk{Protocol: "imap"}, server: dialog("* preauth hello\r\n", nil), code: L7OK},
		{name: "imap full", check: Talk{Protocol: "imap"}, server: dialog("* BYE too many\r\n", nil), code: L7STS, detail: `answered "* BYE too many"`},
		{name: "imap on another port", check: Talk{Protocol: "imap"}, server: dialog("+OK POP3\r\n", nil), code: L7RSP, detail: `sent "+OK POP3", expected * OK`},
		{name: "pop3", check: Talk{Protocol: "pop3"}, server: dialog("+OK\r\n", nil), code: L7OK},
		{name: "pop3 locked", check: Talk{Protocol: "pop3"}, server: dialog("-ERR locked\r\n", nil), code: L7STS},
		{name: "redis", check: Talk{Protocol: "redis"}, server: dialog("", map[string]string{"PING": "+PONG\r\n"}), code: L7OK, detail: "TARGET answered PONG"},
		{name: "redis locked", check: Talk{Protocol: "redis"}, server: dialog("", map[string]string{"PING": "-NOAUTH Authentication required.\r\n"}), code: L7OK, detail: "wants a password"},
		{name: "redis loading", check: Talk{Protocol: "redis"}, server: dialog("", map[string]string{"PING": "-LOADING Redis is loading\r\n"}), code: L7STS, detail: "-LOADING"},
		{
			name: "redis with a password", check: login, code: L7OK,
			server: dialog("", map[string]string{"*3": "", "$4": "", "AUTH": "", "$2": "", "lb": "", "$6": "", "s3cret": "+OK\r\n", "PING": "+PONG\r\n"}),
		},
		{
			name: "redis with a wrong password", check: login, code: L7STS, detail: "-WRONGPASS",
			server: dialog("", map[string]string{"*3": "", "$4": "", "AUTH": "", "$2": "", "lb": "", "$6": "", "s3cret": "-WRONGPASS invalid\r\n"}),
		},
		{name: "no password file", check: Talk{Protocol: "redis", PasswordFile: "/nonexistent"}, server: hang, code: L7RSP, detail: "cannot read the secret"},
		{
			name: "sip", check: Talk{Protocol: "sip", TCP: true}, code: L7OK, detail: `answered "SIP/2.0 200 OK"`,
			server: answering(say("SIP/2.0 100 Trying\r\nVia: x\r\n\r\nSIP/2.0 200 OK\r\n\r\n")),
		},
		{name: "sip overloaded", check: Talk{Protocol: "sip", TCP: true}, code: L7STS, server: answering(say("SIP/2.0 503 Busy\r\n\r\n"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			holdAgainst(t, Spec{Target: serve(t, tt.server), Timeout: time.Second, Talk: &tt.check}, tt.code, tt.detail)
		})
	}
}

func TestTalkInBytes(t *testing.T) {
	afterAny := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 512))
			_, _ = c.Write([]byte(text))
			hang(c)
		}
	}
	mysql := func(packet string) func(net.Conn) {
		return then(say(string([]byte{byte(len(packet)), 0, 0, 0})+packet), hang)
	}
	postgresMessage := func(typ, body string) string {
		return typ + string([]byte{0, 0, 0, byte(len(body) + 4)}) + body
	}
	postgres := func(typ, body string) func(net.Conn) { return afterAny(postgresMessage(typ, body)) }
	welcome := postgresMessage("R", "\x00\x00\x00\x00") + postgresMessage("S", "server_version\x0016\x00")
	for _, tt := range []struct {
		name, protocol string
		server         func(net.Conn)
		code           Code
		detail         string
	}{
		{"mysql", "mysql", mysql("\x0a8.0.36\x00rest"), L7OK, "TARGET greets as version 8.0.36"},
		{"mysql full", "mysql", mysql("\xff\x10\x04#08004Too many connections"), L7STS, `refuses with error 1040: "Too many connections"`},
		{"mysql blocked", "mysql", mysql("\xff\x69\x04Host is blocked"), L7STS, `refuses with error 1129: "Host is blocked"`},
		{"mysql short", "mysql", then(say("\x40\x00\x00\x00\x0a8.0"), func(net.Conn) {}), L7RSP, "and closed the connection"},
		{"mysql other version", "mysql", mysql("\x09old\x00"), L7RSP, "no greeting of MySQL"},
		{"postgresql", "postgresql", afterAny(welcome + postgresMessage("Z", "I")), L7OK, "takes connections"},
		{"postgresql stranger", "postgresql", afterAny(welcome + postgresMessage("E", "C3D000\x00Mno such database\x00\x00")), L7STS, "SQLSTATE 3D000"},
		{"postgresql half", "postgresql", afterAny(welcome), L7TOUT, "did not send an answer"},
		{"postgresql nonsense", "postgresql", afterAny(welcome + postgresMessage("D", "x")), L7RSP, "no answer of PostgreSQL"},
		{"postgresql password", "postgresql", postgres("R", "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"), L7OK, "asks for a password"},
		{"postgresql starting", "postgresql", postgres("E", "SFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00"), L7STS, `refuses with SQLSTATE 57P03: "the database system is starting up"`},
		{"postgresql huge", "postgresql", afterAny("R\x7f\xff\xff\xff"), L7RSP, "no answer of PostgreSQL"},
		{"ldap", "ldap", afterAny("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"), L7OK, "takes an anonymous bind"},
		{"ldap long lengths", "ldap", afterAny("\x30\x84\x00\x00\x00\x10\x02\x01\x01\x61\x84\x00\x00\x00\x07\x0a\x01\x00\x04\x00\x04\x00"), L7OK, ""},
		{"ldap no anonymous", "ldap", afterAny("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x30\x04\x00\x04\x00"), L7OK, "takes no anonymous bind (result 48)"},
		{"ldap busy", "ldap", afterAny("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x33\x04\x00\x04\x00"), L7STS, "answered the bind with result 51"},
		{"ldap other answer", "ldap", afterAny("\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00"), L7RSP, "none to an LDAP bind"},
		{"ldap cut", "ldap", afterAny("\x30\x03\x02\x01\x01"), L7RSP, "none to an LDAP bind"},
		{"ldap endless", "ldap", afterAny("\x30\x89"), L7RSP, "no answer of LDAP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			holdAgainst(t, Spec{Target: serve(t, tt.server), Timeout: time.Second, Talk: &Talk{Protocol: tt.protocol}}, tt.code, tt.detail)
		})
	}
}
