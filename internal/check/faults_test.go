package check

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// streams are the kinds that speak over TCP, each with as little as it needs. An
// HTTP check, whose faults are finer, has tests of its own, too.
func streams(t *testing.T) map[string]Spec {
	t.Helper()
	password := write(t, "password", []byte("secret\n"))
	out := map[string]Spec{
		"tcp":       {TCP: &TCP{Expect: "hello"}},
		"tls":       {TLS: &TLS{}},
		"http":      {HTTP: &HTTP{}},
		"https":     {HTTP: &HTTP{TLS: &TLS{}}},
		"h2c":       {HTTP: &HTTP{Version: "2"}},
		"h2":        {HTTP: &HTTP{Version: "2", TLS: &TLS{}}},
		"grpc":      {GRPC: &GRPC{}},
		"grpc tls":  {GRPC: &GRPC{TLS: &TLS{}}},
		"dns":       {DNS: &DNS{Name: "example.org", Type: "A", TCP: true}},
		"smtp":      {SMTP: &SMTP{}},
		"smtps":     {SMTP: &SMTP{TLS: &TLS{}}},
		"sip":       {Talk: &Talk{Protocol: "sip", TCP: true}},
		"redis":     {Talk: &Talk{Protocol: "redis", PasswordFile: password}},
		"imaps":     {Talk: &Talk{Protocol: "imap", TLS: &TLS{}}},
		"ldaps":     {Talk: &Talk{Protocol: "ldap", TLS: &TLS{}}},
		"smtp STLS": {SMTP: &SMTP{StartTLS: true}},
	}
	for _, name := range Protocols() {
		if p := talks[name]; p.datagrams == nil {
			out[name] = Spec{Talk: &Talk{Protocol: name}}
		}
	}
	return out
}

func (s Spec) secure() bool {
	return s.TLS != nil || s.HTTP != nil && s.HTTP.TLS != nil || s.GRPC != nil && s.GRPC.TLS != nil ||
		s.SMTP != nil && s.SMTP.TLS != nil || s.Talk != nil && s.Talk.TLS != nil
}

// Whatever a server does, the probe ends in time, with a code that fits and with
// nothing left behind.
func TestFaultsOfStreams(t *testing.T) {
	const timeout = 500 * time.Millisecond
	type fault struct {
		name        string
		target      func(t *testing.T) netip.AddrPort
		code, code6 []Code // in the clear, and where the handshake meets it
	}
	server := func(f func(net.Conn)) func(*testing.T) netip.AddrPort {
		return func(t *testing.T) netip.AddrPort { return serve(t, f) }
	}
	faults := []fault{
		{"refused", refusing, []Code{L4CON}, []Code{L4CON}},
		{"black hole", blackHole, []Code{L4TOUT}, []Code{L4TOUT}},
		{"silence", server(hang), []Code{L7TOUT}, []Code{L6TOUT}},
		{"closed", server(func(net.Conn) {}), []Code{L7RSP, L4CON}, []Code{L6RSP}},
		{"reset in the middle", server(resetLater), []Code{L4CON, L7TOUT}, []Code{L6RSP}},
		{"half closed", server(then(func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }, hang)), []Code{L7RSP, L4CON}, []Code{L6RSP}},
		{"garbage", server(then(say("\x00\xff\x13 neither this nor that \x80\n\n\r\n\r\n"), hang)), []Code{L7RSP, L7TOUT}, []Code{L6RSP, L6TOUT}},
		{"garbage without end", server(forever("\xfe\xdcwhat is this\x00")), []Code{L7RSP, L7TOUT, L4CON}, []Code{L6RSP}},
		{"lines without end", server(forever("250-and so on\r\n")), []Code{L7RSP, L7STS, L7TOUT, L4CON}, []Code{L6RSP}},
		{"a byte at a time", server(slowly("* +OK 220 HTTP/1.1 hello, hello, hello, hello, hello, hello, hello")), []Code{L7TOUT, L7RSP}, []Code{L6TOUT, L6RSP}},
	}
	// Many at once, for each of them mostly waits.
	var all sync.WaitGroup
	slots := make(chan struct{}, 12)
	for name, s := range streams(t) {
		for _, f := range faults {
			probe, codes := s, f.code
			probe.Target, probe.Timeout = f.target(t), timeout
			if s.secure() {
				codes = f.code6
			}
			if name == "h2c" || name == "grpc" { // the library does not say how a connection ended
				codes = append(codes[:len(codes):len(codes)], L7RSP)
			}
			slots <- struct{}{}
			all.Go(func() {
				meets(t, name+"/"+f.name, probe, codes)
				<-slots
			})
		}
	}
	all.Wait()
}

// Datagrams are lost, refused, come from nobody knows, and hold anything.
func TestFaultsOfDatagrams(t *testing.T) {
	const timeout = 300 * time.Millisecond
	secret := write(t, "secret", []byte("s3cret\n"))
	for name, s := range map[string]Spec{
		"udp":    {UDP: &UDP{Send: "x", RequireReply: true}},
		"dns":    {DNS: &DNS{Name: "example.org", Type: "A"}},
		"ntp":    {Talk: &Talk{Protocol: "ntp"}},
		"radius": {Talk: &Talk{Protocol: "radius", SecretFile: secret}},
		"sip":    {Talk: &Talk{Protocol: "sip"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.Timeout = timeout
			s.Target = serveUDP(t, func([]byte) [][]byte { return nil })
			meets(t, name, s, []Code{L7TOUT})
			s.Target = refusingUDP(t)
			meets(t, name, s, []Code{L4CON})
			if name == "udp" {
				return
			}
			s.Target = serveUDP(t, func([]byte) [][]byte {
				return [][]byte{nil, {0}, make([]byte, 20), make([]byte, 48), []byte("neither this nor that")}
			})
			meets(t, name, s, []Code{L7TOUT, L7RSP})
		})
	}
}

// meets runs a probe and wants one of some codes.
func meets(t *testing.T, name string, s Spec, codes []Code) {
	t.Helper()
	if r := examine(t, s); !slices.Contains(codes, r.Code) {
		t.Errorf("%s: %s (%s), want one of %v", name, r.Code, r.Detail, codes)
	}
}

// serveUDP runs a server on a free UDP port of 127.0.0.1 that answers each
// datagram with others.
func serveUDP(t *testing.T, f func(request []byte) (replies [][]byte)) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			for _, reply := range f(buf[:n]) {
				_, _ = c.WriteToUDPAddrPort(reply, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// refusingUDP is a UDP port where nobody listens: its socket hears one peer alone,
// and that is somebody else.
func refusingUDP(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}
