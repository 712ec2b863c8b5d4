//go:build vm

package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/test/lab"
	"baton/test/scene"
)

// dnsService is a service over UDP, on other ports than its servers have.
const dnsService = `  - name: dns
    address: 10.0.0.100:53
    protocol: udp
    scheduler: rr
    forward: nat
    servers: [10.0.1.11:5353, 10.0.1.12:5353, 10.0.1.13:5353]
`

func TestUDP(t *testing.T) {
	s := build(t, scene.Options{More: dnsService})
	for _, r := range s.Real {
		answerQueries(t, r)
	}
	must(t, s.Start())
	must(t, s.Ready(patience))

	// Each query from a port of its own, as resolvers do: dealt out in turn.
	const queries = 90
	counts := map[string]int{}
	for i := range queries {
		counts[query(t, s.Client, uint16(i), 1)[0]]++
	}
	for _, r := range s.Real {
		if counts[r.Name] != queries/len(s.Real) {
			t.Errorf("%s answered %d of %d queries, not a third: %v", r.Name, counts[r.Name], queries, counts)
		}
	}
	// All from one port: to one server.
	names := query(t, s.Client, 1000, 10)
	for _, name := range names {
		if name != names[0] {
			t.Errorf("queries from one port went to several servers: %q", names)
			break
		}
	}

	want := virtual{Key: "udp 10.0.0.100:53", Scheduler: "rr"}
	for _, r := range s.Real {
		want.Servers = append(want.Servers, server{Address: r.Address.Addr().String() + ":5353", Forward: scene.NAT, Weight: 1})
	}
	seen := agree(t, s.Directors[0])
	if diff := cmp.Diff(append(expected(s), want), seen.idle()); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
}

// answerQueries runs on a real server what a name server is to a balancer: the
// query comes back, marked as an answer, with the server's name.
func answerQueries(t *testing.T, r *scene.RealServer) {
	t.Helper()
	conn, err := r.Host.ListenPacket("udp4", ":5353")
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil || n < 12 {
				continue
			}
			buf[2] |= 0x80                                        // it is an answer
			_, _ = conn.WriteTo(append(buf[:n], r.Name...), from) // one that cannot be sent is missed by the client
		}
	}()
}

// query sends n queries from one port, each after the answer to the one before,
// and returns who answered.
func query(t *testing.T, from *lab.Host, id uint16, n int) (names []string) {
	t.Helper()
	conn, err := from.Dial(context.Background(), "udp4", "10.0.0.100:53")
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(lab.Patience(2*time.Second))))
	buf := make([]byte, 512)
	for i := range n {
		q := make([]byte, 12, 32)
		binary.BigEndian.PutUint16(q, id+uint16(i))
		q = append(q, "\x05baton\x04test\x00\x00\x01\x00\x01"...)
		if _, err := conn.Write(q); err != nil {
			t.Fatal(err)
		}
		got, err := conn.Read(buf)
		if err != nil {
			t.Fatal(fmt.Errorf("query %d: %w", id+uint16(i), err))
		}
		q[2] |= 0x80
		name, ok := strings.CutPrefix(string(buf[:got]), string(q))
		if !ok {
			t.Fatalf("query %x was answered by %x", q, buf[:got])
		}
		names = append(names, name)
	}
	return names
}
