package check

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// One socket makes many connections, each of them judged for itself, and the server
// is left with none.
func TestSpareSockets(t *testing.T) {
	p, results := openPoller(t)
	defer p.close()
	check := func(s Spec, want Code) {
		t.Helper()
		s.Timeout = 200 * time.Millisecond
		p.start(&job{Job: &Job{Spec: s}, place: -1}, time.Now())
		if r := (<-results).result; r.Code != want {
			t.Errorf("%s: %s (%s), want %s", s.Target, r.Code, r.Detail, want)
		}
	}
	probe := func(target netip.AddrPort, want Code) {
		t.Helper()
		check(Spec{Target: target, TCP: &TCP{}}, want)
	}
	request := func(target netip.AddrPort, want Code) {
		t.Helper()
		check(Spec{Target: target, HTTP: &HTTP{ExpectBody: "right"}}, want)
	}
	spares := func(v4, v6, uses int) {
		t.Helper()
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.spare.v4) != v4 || len(p.spare.v6) != v6 {
			t.Fatalf("%d and %d spare sockets, want %d and %d", len(p.spare.v4), len(p.spare.v6), v4, v6)
		}
		if v4 > 0 && p.spare.v4[0].uses != uses {
			t.Errorf("used %d times, want %d", p.spare.v4[0].uses, uses)
		}
	}
	good, other, bad, silent := serve(t, hang), serve(t, hang), refusing(t), blackHole(t)
	for range 50 {
		probe(good, L4OK)
		probe(other, L4OK)
	}
	spares(1, 0, 100)
	probe(bad, L4CON)
	spares(0, 0, 0) // it is not kept after a failure
	probe(good, L4OK)
	spares(1, 0, 1)
	probe(silent, L4TOUT)
	spares(0, 0, 0)
	for range mostUses + 2 {
		probe(good, L4OK)
	}
	spares(1, 0, 1)
	right, wrong := serve(t, answering(reply(200, "right"))), serve(t, answering(reply(200, "wrong")))
	lasting := serve(t, answering(then(reply(200, "right"), hang)))
	for range 50 {
		request(right, L7OK)
		probe(good, L4OK)
	}
	spares(1, 0, 101)
	request(wrong, L7RSP)
	spares(0, 0, 0)
	request(lasting, L7OK) // nothing is kept of a connection that the server keeps
	spares(0, 0, 0)
	request(right, L7OK)
	request(bad, L4CON)
	spares(0, 0, 0)
	request(right, L7OK)
	spares(1, 0, 1)
	ends := make(chan error, 2)
	patient := serve(t, answering(then(reply(200, "right"), func(c net.Conn) {
		_, err := c.Read(make([]byte, 1))
		ends <- err
	})))
	request(bad, L4CON)
	probe(good, L4OK) // whose socket is the next one's
	request(patient, L7OK)
	if err := <-ends; !errors.Is(err, io.EOF) {
		t.Errorf("a server that keeps its connection saw %v, want an orderly end", err)
	}
	request(right, L7OK)
	probe(good, L4OK)
	six := listenOn(t, "[::1]:0")
	probe(six, L4OK)
	probe(good, L4OK)
	spares(1, 1, 3)
	for _, target := range []netip.AddrPort{good, other, six, right, wrong, lasting} {
		if n := connectedTo(t, target); n > 0 {
			t.Errorf("%d connections to %s are left", n, target)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if next := p.spare.age(time.Now()); next.IsZero() {
		t.Error("spare sockets are not looked at again")
	}
	p.spare.age(time.Now().Add(idleSpares))
	if len(p.spare.v4)+len(p.spare.v6) > 0 {
		t.Error("spare sockets are kept although nobody needs them")
	}
}

func listenOn(t *testing.T, address string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}
