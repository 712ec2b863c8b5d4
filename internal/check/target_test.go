package check

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// margin is what a probe may take longer than its timeout on a busy machine.
const margin = time.Second

// serve runs a server on a free port of 127.0.0.1 that does f with each
// connection. It ends, and all its goroutines with it, when the test does.
func serve(t *testing.T, f func(c net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				// A server that hangs does so until the client has gone.
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				f(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// serveTLS is serve with TLS.
func serveTLS(t *testing.T, conf *tls.Config, f func(c net.Conn)) netip.AddrPort {
	t.Helper()
	return serve(t, func(c net.Conn) {
		s := tls.Server(c, conf)
		if s.Handshake() == nil {
			f(s)
			_ = s.Close()
		}
	})
}

// The things a server does with a connection.

func hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) } // until the client has gone

func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) } // and close, after that

func say(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// resetLater waits for the first byte: a reset that comes earlier can end the
// connect itself.
func resetLater(c net.Conn) {
	_, _ = c.Read(make([]byte, 1))
	reset(c)
}

// slowly writes a byte every 20 ms until the client has gone.
func slowly(text string) func(net.Conn) {
	return func(c net.Conn) {
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		hang(c)
	}
}

// forever writes text again and again until the client has gone.
func forever(text string) func(net.Conn) {
	return func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

func then(steps ...func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		for _, f := range steps {
			f(c)
		}
	}
}

// answer reads the head of a request and does f.
func answering(f func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		br := bufio.NewReader(c)
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				f(c)
				return
			}
		}
	}
}

// refusing is an address where nobody listens. It is held, so that no connection
// of this process gets its port.
func refusing(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))
}

// blackHole is an address where a connect gets no answer: a listener that accepts
// nobody and whose backlog is full.
func blackHole(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // a backlog of 0 takes one connection
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(c) })
		_ = unix.Connect(c, sa) // in progress, or not even that
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))
}

// holdAgainst runs a probe and compares its result with what is wanted. detail
// is a part of the sentence, with TARGET for the target.
func holdAgainst(t *testing.T, s Spec, code Code, detail string) {
	t.Helper()
	r := examine(t, s)
	if r.Code != code {
		t.Errorf("%s (%s), want %s", r.Code, r.Detail, code)
	}
	if want := strings.ReplaceAll(detail, "TARGET", s.Target.String()); !strings.Contains(r.Detail, want) {
		t.Errorf("detail %q, want %q", r.Detail, want)
	}
}

// examine runs a probe and looks at what has to be true of every one.
func examine(t *testing.T, s Spec) Result {
	t.Helper()
	before := connectedTo(t, s.Target)
	start := time.Now()
	r := Probe(context.Background(), s)
	took := time.Since(start)
	if strings.ContainsAny(r.Detail, "\r\n") {
		t.Errorf("detail %q is more than one line", r.Detail)
	}
	if took > s.Timeout+margin || r.Took > took || r.At.IsZero() {
		t.Errorf("took %s (by itself %s), timeout %s", took, r.Took, s.Timeout)
	}
	// Of another connection, the server's end may still be closing; the probe's
	// own is closed when it returns, or when whoever reads from it has noticed.
	after := connectedTo(t, s.Target)
	for end := time.Now().Add(time.Second); after > before && time.Now().Before(end); after = connectedTo(t, s.Target) {
		time.Sleep(time.Millisecond)
	}
	if after > before {
		t.Errorf("%d connections to %s are left open", after-before, s.Target)
	}
	if (*poller)(nil).takes(s) {
		// Whichever way a probe is made, it comes to the same result.
		if p := poll(t, s); !alike(p.Detail, r.Detail) || p.Code != r.Code && !hungUp(r) {
			t.Errorf("by the poller: %s (%s), otherwise %s (%s)", p.Code, p.Detail, r.Code, r.Detail)
		}
	}
	return r
}

// hungUp reports whether the server hung up on a probe. It depends on what the
// probe had sent by then whether that is seen as an end or as a reset.
func hungUp(r Result) bool { return strings.Contains(r.Detail, "the connection before it had sent") }

// alike compares sentences without their numbers: how much had come before the
// time was up differs. What is no HTTP is recognised sooner or later.
func alike(a, b string) bool {
	const hangUp = "the connection before it had sent"
	if strings.Contains(a, "is not HTTP") || strings.Contains(a, hangUp) && strings.Contains(b, hangUp) {
		return true
	}
	digits := func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}
	return strings.Map(digits, a) == strings.Map(digits, b)
}

// connectedTo counts the sockets of this process that are connected to target.
func connectedTo(t *testing.T, target netip.AddrPort) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		var fd int
		for _, d := range f.Name() {
			fd = 10*fd + int(d-'0')
		}
		sa, err := unix.Getpeername(fd)
		if in, ok := sa.(*unix.SockaddrInet4); err == nil && ok && netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)) == target {
			n++
		}
	}
	return n
}

// authority signs the certificates of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // in PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	c := a.issue(func(c *x509.Certificate) {
		c.Subject.CommonName = "test authority"
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	a.cert, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	a.file = write(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
	return a
}

// issue makes a certificate for web.example and 127.0.0.1, valid for 30 days
// unless edit says otherwise. The first one of an authority signs itself.
func (a *authority) issue(edit func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "web.example"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(30 * 24 * time.Hour),
		DNSNames:     []string{"web.example"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(c)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// files writes a certificate and its key.
func (a *authority) files(c tls.Certificate) (cert, key string) {
	a.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return write(a.t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		write(a.t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
