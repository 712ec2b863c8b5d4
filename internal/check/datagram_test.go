package check

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RADIUS
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

func TestUDP(t *testing.T) {
	echo := func(b []byte) [][]byte { return [][]byte{bytes.Clone(b)} }
	silent := func([]byte) [][]byte { return nil }
	for _, tt := range []struct {
		name   string
		server func([]byte) [][]byte
		check  UDP
		code   Code
		detail string
	}{
		{"answer", echo, UDP{Send: "ping"}, L7OK, "TARGET answered"},
		{"expected", echo, UDP{Send: "ping pong", Expect: "ping"}, L7OK, "answered as expected"},
		{"not expected", echo, UDP{Send: "ping", Expect: "pong"}, L7RSP, `TARGET answered "ping", expected "pong"`},
		{"silence", silent, UDP{Send: "ping"}, L4OK, "did not refuse the datagram within 200ms"},
		{"empty datagram", silent, UDP{}, L4OK, ""},
		{"silence, answer wanted", silent, UDP{RequireReply: true}, L7TOUT, "TARGET did not answer within 200ms"},
		{"silence, text wanted", silent, UDP{Expect: "x"}, L7TOUT, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			holdAgainst(t, Spec{Target: serveUDP(t, tt.server), Timeout: 200 * time.Millisecond, UDP: &tt.check}, tt.code, tt.detail)
		})
	}
	holdAgainst(t, Spec{Target: refusingUDP(t), Timeout: time.Second, UDP: &UDP{Send: "x"}}, L4CON, "nobody listens at this UDP port")
}

func TestNTP(t *testing.T) {
	clock := func(edit func([]byte)) func([]byte) [][]byte {
		return func(q []byte) [][]byte {
			r := make([]byte, 48)
			r[0], r[1] = 4<<3|4, 2
			copy(r[24:], q[40:48])
			edit(r)
			return [][]byte{r}
		}
	}
	for _, tt := range []struct {
		name   string
		edit   func([]byte)
		most   int
		code   Code
		detail string
	}{
		{"good", func([]byte) {}, 0, L7OK, "TARGET has the time, with stratum 2"},
		{"stratum", func(r []byte) { r[1] = 5 }, 4, L7STS, "has stratum 5, expected 4 at most"},
		{"not synchronised", func(r []byte) { r[0] |= 3 << 6 }, 0, L7STS, "TARGET is not synchronised"},
		{"stratum 16", func(r []byte) { r[1] = 16 }, 0, L7STS, "TARGET is not synchronised"},
		{"kiss of death", func(r []byte) { r[1] = 0; copy(r[12:], "RATE") }, 0, L7STS, `TARGET refuses with "RATE"`},
		{"somebody else's answer", func(r []byte) { r[24]++ }, 0, L7TOUT, "did not answer"},
		{"a request", func(r []byte) { r[0] = 4<<3 | 3 }, 0, L7TOUT, "did not answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Spec{Target: serveUDP(t, clock(tt.edit)), Timeout: 300 * time.Millisecond, Talk: &Talk{Protocol: "ntp", MaxStratum: tt.most}}
			holdAgainst(t, s, tt.code, tt.detail)
		})
	}
}

// radiusServer knows the secret and one user, and wants every request signed.
func radiusServer(t *testing.T, secret, signed string) func([]byte) [][]byte {
	return func(q []byte) [][]byte {
		if len(q) < 38 || int(binary.BigEndian.Uint16(q[2:])) != len(q) {
			t.Errorf("request %x", q)
			return nil
		}
		mac := hmac.New(md5.New, []byte(secret))
		mac.Write(q[:len(q)-16])
		mac.Write(make([]byte, 16))
		if !hmac.Equal(mac.Sum(nil), q[len(q)-16:]) {
			t.Error("the request is not signed")
			return nil
		}
		code := byte(radiusAccept)
		if q[0] == radiusAccessRequest {
			if user, password := radiusLogin(q, []byte(secret)); user != "lb" || password != "a password of more than 16 bytes" {
				code = radiusReject
			}
		}
		r := []byte{code, q[1], 0, 20}
		sum := md5.Sum(append(append(bytes.Clone(r), q[4:20]...), signed...)) //nolint:gosec // RADIUS
		return [][]byte{append(r, sum[:]...)}
	}
}

func radiusLogin(q, secret []byte) (user, password string) {
	for a := q[20:]; len(a) >= 2 && int(a[1]) <= len(a); a = a[a[1]:] {
		value := a[2:a[1]]
		switch a[0] {
		case radiusUserName:
			user = string(value)
		case radiusUserPassword:
			last := q[4:20]
			var plain []byte
			for i := 0; i < len(value); i += 16 {
				mask := md5.Sum(append(bytes.Clone(secret), last...)) //nolint:gosec // RADIUS
				for j := range 16 {
					plain = append(plain, value[i+j]^mask[j])
				}
				last = value[i : i+16]
			}
			password = strings.TrimRight(string(plain), "\x00")
		}
	}
	return user, password
}

func TestRADIUS(t *testing.T) {
	secret := write(t, "secret", []byte("s3cret\n"))
	good := write(t, "password", []byte("a password of more than 16 bytes\n"))
	wrong := write(t, "password", []byte("wrong\n"))
	for _, tt := range []struct {
		name, signed string
		check        Talk
		code         Code
		detail       string
	}{
		{"status", "s3cret", Talk{}, L7OK, "TARGET answered Access-Accept"},
		{"login", "s3cret", Talk{User: "lb", PasswordFile: good}, L7OK, "TARGET answered Access-Accept"},
		{"wrong login", "s3cret", Talk{User: "lb", PasswordFile: wrong}, L7OK, "TARGET answered Access-Reject"},
		{"wrong secret", "other", Talk{}, L7RSP, "is not signed with the shared secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.check.Protocol, tt.check.SecretFile = "radius", secret
			s := Spec{Target: serveUDP(t, radiusServer(t, "s3cret", tt.signed)), Timeout: time.Second, Talk: &tt.check}
			holdAgainst(t, s, tt.code, tt.detail)
		})
	}
}

func TestSIP(t *testing.T) {
	server := func(lines ...string) func([]byte) [][]byte {
		return func(q []byte) (out [][]byte) {
			_, via, _ := strings.Cut(string(q), "Via: ")
			via, _, _ = strings.Cut(via, "\r\n")
			for _, l := range lines {
				out = append(out, []byte(l+"\r\nVia: "+via+"\r\nContent-Length: 0\r\n\r\n"))
			}
			return out
		}
	}
	for _, tt := range []struct {
		name   string
		server func([]byte) [][]byte
		code   Code
		detail string
	}{
		{"good", server("SIP/2.0 100 Trying", "SIP/2.0 200 OK"), L7OK, `TARGET answered "SIP/2.0 200 OK"`},
		{"wants a login", server("SIP/2.0 401 Unauthorized"), L7OK, ""},
		{"does not know OPTIONS", server("SIP/2.0 405 Method Not Allowed"), L7OK, ""},
		{"overloaded", server("SIP/2.0 503 Service Unavailable"), L7STS, `TARGET answered "SIP/2.0 503 Service Unavailable"`},
		{"other", server("HTTP/1.1 200 OK"), L7RSP, "which is not SIP"},
		{"echo", func(q []byte) [][]byte { return [][]byte{bytes.Clone(q)} }, L7RSP, "which is not SIP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			holdAgainst(t, Spec{Target: serveUDP(t, tt.server), Timeout: time.Second, Talk: &Talk{Protocol: "sip"}}, tt.code, tt.detail)
		})
	}
}
