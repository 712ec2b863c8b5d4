package check

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RADIUS has no other
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// talkNTP asks for the time (RFC 5905). A server that is not synchronised itself
// is of no use, and says so.
func talkNTP(d *datagrams, t *Talk) (string, error) {
	request := make([]byte, 48)
	request[0] = 4<<3 | 3 // version 4, client
	// The server repeats what we say the time is, so it may be anything: then
	// nobody else can answer for it.
	_, _ = rand.Read(request[40:])
	var stratum byte
	err := d.ask(request, func(reply []byte) (bool, error) {
		if len(reply) < 48 || reply[0]&7 != 4 || !bytes.Equal(reply[24:32], request[40:]) {
			return false, nil
		}
		stratum = reply[1]
		most := t.MaxStratum
		if most == 0 {
			most = 15
		}
		switch {
		case stratum == 0:
			return true, failf(L7STS, "%s refuses with %s", d.target, quote(reply[12:16])) // a kiss of death
		case reply[0]>>6 == 3 || stratum > 15:
			return true, failf(L7STS, "%s is not synchronised", d.target)
		case int(stratum) > most:
			return true, failf(L7STS, "%s has stratum %d, expected %d at most", d.target, stratum, most)
		}
		return true, nil
	})
	return "has the time, with stratum " + strconv.Itoa(int(stratum)), err
}

// The codes and attributes of RADIUS (RFC 2865, RFC 5997).
const (
	radiusAccessRequest = 1
	radiusAccept        = 2
	radiusReject        = 3
	radiusChallenge     = 11
	radiusStatusServer  = 12

	radiusUserName      = 1
	radiusUserPassword  = 2
	radiusNASIdentifier = 32
	radiusMessageAuth   = 80
)

// talkRADIUS asks the server for its status (RFC 5997), or where the check has a
// user sends an Access-Request, which older servers want. Any answer that is
// signed with the shared secret proves the service, also a rejection.
func talkRADIUS(d *datagrams, t *Talk) (string, error) {
	secret, err := secretOf(t.SecretFile)
	if err != nil {
		return "", failf(L7RSP, "%s", err)
	}
	request, err := radiusRequest(t, []byte(secret))
	if err != nil {
		return "", failf(L7RSP, "%s", err)
	}
	var code byte
	err = d.ask(request, func(reply []byte) (bool, error) {
		if len(reply) < 20 || reply[1] != request[1] {
			return false, nil
		}
		n := int(binary.BigEndian.Uint16(reply[2:]))
		if n < 20 || n > len(reply) {
			return false, nil
		}
		reply = reply[:n]
		sum := md5.New() //nolint:gosec // as above
		sum.Write(reply[:4])
		sum.Write(request[4:20])
		sum.Write(reply[20:])
		sum.Write([]byte(secret))
		if !hmac.Equal(sum.Sum(nil), reply[4:20]) {
			return true, failf(L7RSP, "the answer of %s is not signed with the shared secret", d.target)
		}
		code = reply[0]
		return true, nil
	})
	if err != nil {
		return "", err
	}
	switch code {
	case radiusAccept:
		return "answered Access-Accept", nil
	case radiusReject:
		return "answered Access-Reject", nil
	case radiusChallenge:
		return "answered Access-Challenge", nil
	}
	return fmt.Sprintf("answered with code %d", code), nil
}

func radiusRequest(t *Talk, secret []byte) ([]byte, error) {
	p := make([]byte, 20, 128)
	_, _ = rand.Read(p[1:2])
	_, _ = rand.Read(p[4:20])
	p[0] = radiusStatusServer
	add := func(typ byte, value []byte) { p = append(append(p, typ, byte(len(value)+2)), value...) }
	if t.User != "" {
		p[0] = radiusAccessRequest
		password := ""
		if t.PasswordFile != "" {
			var err error
			if password, err = secretOf(t.PasswordFile); err != nil {
				return nil, err
			}
		}
		if len(password) > 128 || len(t.User) > 253 {
			return nil, fmt.Errorf("RADIUS has room for a user of 253 and a password of 128 bytes")
		}
		add(radiusUserName, []byte(t.User))
		add(radiusUserPassword, radiusHide(password, secret, p[4:20]))
	}
	add(radiusNASIdentifier, []byte("baton"))
	add(radiusMessageAuth, make([]byte, md5.Size))
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	mac := hmac.New(md5.New, secret)
	mac.Write(p)
	copy(p[len(p)-md5.Size:], mac.Sum(nil))
	return p, nil
}

// radiusHide hides a password (RFC 2865 section 5.2).
func radiusHide(password string, secret, authenticator []byte) []byte {
	padded := make([]byte, max(16, (len(password)+15)/16*16))
	copy(padded, password)
	last := authenticator
	for i := 0; i < len(padded); i += 16 {
		mask := md5.Sum(append(bytes.Clone(secret), last...)) //nolint:gosec // as above
		for j := range 16 {
			padded[i+j] ^= mask[j]
		}
		last = padded[i : i+16]
	}
	return padded
}

// sipRequest is an OPTIONS request (RFC 3261 section 11), which a server answers
// without a login and without ringing anybody.
func sipRequest(local, target net.Addr, transport string) (request, branch string) {
	var random [8]byte
	_, _ = rand.Read(random[:])
	branch = fmt.Sprintf("z9hG4bK%x", random)
	return fmt.Sprintf("OPTIONS sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/%[3]s %[2]s;rport;branch=%[4]s\r\n"+
		"Max-Forwards: 70\r\nFrom: <sip:baton@%[2]s>;tag=%[5]x\r\nTo: <sip:%[1]s>\r\nCall-ID: %[5]x@baton\r\n"+
		"CSeq: 1 OPTIONS\r\nContact: <sip:baton@%[2]s>\r\nUser-Agent: baton\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n",
		target, local, transport, branch, random), branch
}

// sipStatus reads a status line: "SIP/2.0 200 OK".
func sipStatus(line string) (status int, ok bool) {
	rest, ok := strings.CutPrefix(line, "SIP/2.0 ")
	if !ok || len(rest) < 3 {
		return 0, false
	}
	status, err := strconv.Atoi(rest[:3])
	return status, err == nil && status >= 100 && status <= 699
}

// sipVerdict judges a final status. What asks for a login, or does not know the
// method or the user, has understood the request; a 5xx or 6xx serves nobody.
func sipVerdict(target fmt.Stringer, status int, line string) (string, error) {
	if status >= 500 {
		return "", failf(L7STS, "%s answered %s", target, quote([]byte(line)))
	}
	return "answered " + quote([]byte(line)), nil
}

func talkSIPOverUDP(d *datagrams, _ *Talk) (text string, err error) {
	request, branch := sipRequest(d.LocalAddr(), d.RemoteAddr(), "UDP")
	err = d.ask([]byte(request), func(reply []byte) (bool, error) {
		if !bytes.Contains(reply, []byte(branch)) {
			return false, nil
		}
		line, _, _ := strings.Cut(string(reply), "\r\n")
		status, ok := sipStatus(line)
		switch {
		case !ok:
			return true, failf(L7RSP, "%s answered %s, which is not SIP", d.target, quote([]byte(line)))
		case status < 200:
			return false, nil // provisional
		}
		text, err = sipVerdict(d.target, status, line)
		return true, err
	})
	return text, err
}

func talkSIPOverTCP(d *dialogue, _ *Talk) (string, error) {
	request, _ := sipRequest(d.LocalAddr(), d.RemoteAddr(), "TCP")
	if err := d.say(strings.TrimSuffix(request, "\r\n")); err != nil {
		return "", err
	}
	for range maxLines {
		line, err := d.line()
		if err != nil {
			return "", err
		}
		status, ok := sipStatus(line)
		if !ok {
			return "", failf(L7RSP, "%s answered %s, which is not SIP", d.target, quote([]byte(line)))
		}
		if status >= 200 {
			return sipVerdict(d.target, status, line)
		}
		for line != "" { // the rest of a provisional answer, which has no body
			if line, err = d.line(); err != nil {
				return "", err
			}
		}
	}
	return "", failf(L7RSP, "%s sent only provisional answers", d.target)
}
