package check

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// serveHTTP2 runs a server that speaks HTTP/2 only: over TLS with a certificate,
// without in the clear.
func serveHTTP2(t *testing.T, cert *tls.Certificate, f http.HandlerFunc) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: f, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	hs.Protocols.SetHTTP2(true)
	hs.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if cert != nil {
			hs.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
			_ = hs.ServeTLS(l, "", "")
			return
		}
		_ = hs.Serve(l)
	}()
	t.Cleanup(func() { _ = hs.Close(); <-done })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestHTTP2(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(nil)
	page := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.ProtoMajor != 2 || r.Header.Get("Connection") != "":
			http.Error(w, "wrong request", http.StatusBadRequest)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case r.URL.Path == "/slow":
			<-r.Context().Done()
		case r.URL.Path == "/half":
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case r.URL.Path == "/ok":
			_, _ = io.WriteString(w, "host "+r.Host+" "+r.Method)
		default:
			http.NotFound(w, r)
		}
	}
	clear, secure := serveHTTP2(t, nil, page), serveHTTP2(t, &cert, page)
	verify := &TLS{Verify: true, CAFile: ca.file}
	for _, tt := range []struct {
		name   string
		target netip.AddrPort
		check  HTTP
		code   Code
		detail string
	}{
		{"clear", clear, HTTP{Path: "/ok", Host: "web.example", ExpectBody: "host web.example GET"}, L7OK, "HTTP status 200"},
		{"tls", secure, HTTP{Path: "/ok", TLS: verify, ExpectBody: "host 127.0.0.1"}, L7OK, "HTTP status 200"},
		{"post", clear, HTTP{Path: "/ok", Method: "POST", Body: "x", ExpectBody: "POST"}, L7OK, ""},
		{"status", clear, HTTP{Path: "/none"}, L7STS, "HTTP status 404, expected 200-299"},
		{"redirect", clear, HTTP{Path: "/moved", Follow: 1}, L7OK, ""},
		{"not verified", secure, HTTP{Path: "/ok", TLS: &TLS{Verify: true}}, L6RSP, "not trusted here"},
		{"slow", clear, HTTP{Path: "/slow"}, L7TOUT, "TARGET did not send an answer within 1s"},
		{"half", clear, HTTP{Path: "/half"}, L7TOUT, "the body was not complete within 1s (4 bytes so far)"},
	} {
		t.Run(tt.name, func(t *testing.T) { // not beside others: the server is one for all
			tt.check.Version = "2"
			holdAgainst(t, Spec{Target: tt.target, Timeout: time.Second, HTTP: &tt.check}, tt.code, tt.detail)
		})
	}
	old := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}, hang)
	s := Spec{Target: old, Timeout: time.Second, HTTP: &HTTP{Version: "2", TLS: verify}}
	holdAgainst(t, s, L6RSP, "no application protocol")
	s.Target = serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, hang)
	holdAgainst(t, s, L7RSP, "TARGET does not offer HTTP/2 over TLS (ALPN h2)")
	s = Spec{Target: serve(t, answering(say("HTTP/1.1 200 OK\r\n\r\n"))), Timeout: time.Second, HTTP: &HTTP{Version: "2"}}
	holdAgainst(t, s, L7RSP, "TARGET does not speak HTTP/2")
}

func TestBodyMD5(t *testing.T) {
	target := serve(t, answering(say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")))
	check := HTTP{BodyMD5: "5D41402ABC4B2A76B9719D911017C592"}
	holdAgainst(t, Spec{Target: target, Timeout: time.Second, HTTP: &check}, L7OK, "HTTP status 200")
	check = HTTP{BodyMD5: strings.Repeat("0", 32)}
	holdAgainst(t, Spec{Target: target, Timeout: time.Second, HTTP: &check}, L7RSP, "the digest of its body (5 bytes) is 5d41402abc4b2a76b9719d911017c592")
	check = HTTP{BodyMD5: "5d41402abc4b2a76b9719d911017c592", MaxBody: 3}
	holdAgainst(t, Spec{Target: target, Timeout: time.Second, HTTP: &check}, L7RSP, "longer than max_body (3 bytes)")
}

func TestGRPC(t *testing.T) {
	frame := func(message string) string {
		return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))) + message
	}
	health := func(body, status string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			asked, _ := io.ReadAll(r.Body)
			if r.URL.Path != grpcPath || r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" {
				http.NotFound(w, r)
				return
			}
			if strings.HasSuffix(string(asked), "unknown") {
				body, status = "", "5"
			}
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
			_, _ = io.WriteString(w, body)
			w.Header().Set("Grpc-Status", status)
			w.Header().Set("Grpc-Message", "a%20word")
		}
	}
	for _, tt := range []struct {
		name   string
		server http.HandlerFunc
		check  GRPC
		code   Code
		detail string
	}{
		{"serving", health(frame("\x08\x01"), "0"), GRPC{}, L7OK, "TARGET is SERVING"},
		{"a service", health(frame("\x08\x01"), "0"), GRPC{Service: "shop.Cart"}, L7OK, `TARGET is SERVING "shop.Cart"`},
		{"a field more", health(frame("\x12\x02ab\x08\x01"), "0"), GRPC{}, L7OK, ""},
		{"not serving", health(frame("\x08\x02"), "0"), GRPC{}, L7STS, "TARGET is NOT_SERVING"},
		{"not decided", health(frame(""), "0"), GRPC{}, L7STS, "TARGET is UNKNOWN"},
		{"strange", health(frame("\x08\x63"), "0"), GRPC{}, L7STS, "TARGET is 99"},
		{"no such service", health("", ""), GRPC{Service: "unknown"}, L7STS, "gRPC status 5 (NOT_FOUND: it does not know the service): \"a word\""},
		{"no health service", health("", "12"), GRPC{}, L7STS, "gRPC status 12 (UNIMPLEMENTED: it has no health service)"},
		{"not gRPC", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, GRPC{}, L7RSP, "did not end its answer as gRPC does"},
		{"no page", http.NotFound, GRPC{}, L7STS, "HTTP status 404, which is no answer of gRPC"},
		{"cut", health("\x00\x00\x00\x00\x09\x08", "0"), GRPC{}, L7RSP, "none of the health service"},
		{"broken field", health(frame("\x08\xff"), "0"), GRPC{}, L7RSP, "a field without an end"},
		{"other field", health(frame("\x0d\x01\x01\x01\x01"), "0"), GRPC{}, L7RSP, "a field of type 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			holdAgainst(t, Spec{Target: serveHTTP2(t, nil, tt.server), Timeout: time.Second, GRPC: &tt.check}, tt.code, tt.detail)
		})
	}
	ca := newAuthority(t)
	cert := ca.issue(nil)
	s := Spec{Target: serveHTTP2(t, &cert, health(frame("\x08\x01"), "0")), Timeout: time.Second, GRPC: &GRPC{TLS: &TLS{Verify: true, CAFile: ca.file}}}
	holdAgainst(t, s, L7OK, "is SERVING")
}

func FuzzGRPCHealth(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02\x08\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x04\x12\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if status, err := grpcHealth(b); err != nil && status != 0 {
			t.Errorf("status %d beside %v", status, err)
		}
	})
}

func FuzzBindResult(f *testing.F) {
	f.Add([]byte("\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"))
	f.Add([]byte("\x02\x01\x01\x61\x84\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if code, err := bindResult(b); err != nil && code != 0 {
			t.Errorf("code %d beside %v", code, err)
		}
	})
}
