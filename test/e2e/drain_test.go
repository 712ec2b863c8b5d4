//go:build vm

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/internal/api"
	"baton/test/lab"
	"baton/test/scene"
)

// drainServices are a service with persistence, and two over UDP whose servers
// live while their web servers do. For the UDP the kernel forgets the connections
// of a server that fails: those of the first one do not, on however slow a machine.
const drainServices = `  - name: chat
    address: 10.0.0.100:7001
    scheduler: rr
    persistence: {timeout: 300s}
    check: {tcp: {}, timeout: 500ms, fall: 10}
    servers: [10.0.1.11, 10.0.1.12, 10.0.1.13]
  - name: dns
    address: 10.0.0.100:53
    protocol: udp
    scheduler: rr
    check: {tcp: {}, connect: {port: 80}}
    servers: [10.0.1.11:5353, 10.0.1.12:5353, 10.0.1.13:5353]
  - name: dns2
    address: 10.0.0.100:54
    protocol: udp
    scheduler: rr
    on_failure: quiesce
    check: {tcp: {}, connect: {port: 80}}
    servers: [10.0.1.11:5353, 10.0.1.12:5353, 10.0.1.13:5353]
`

// talker is one connection to the chat service.
type talker struct {
	t *testing.T
	*net.TCPConn
}

func dialChat(t *testing.T, s *scene.Scene) talker {
	t.Helper()
	conn, err := s.Client.Dial(context.Background(), "tcp4", fmt.Sprintf("%s:%d", scene.VIP, chatPort))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return talker{t, conn.(*net.TCPConn)}
}

// answered returns nil if what is said comes back.
func (c talker) answered() error {
	if err := c.SetDeadline(time.Now().Add(lab.Patience(2 * time.Second))); err != nil {
		return err
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	var buf [5]byte
	_, err := c.Read(buf[:])
	return err
}

// server is who the director sends the connection to.
func (c talker) server(d *scene.Director) string {
	c.t.Helper()
	for line := range strings.Lines(ipvsadm(c.t, d, "-Lnc")) {
		if f := strings.Fields(line); len(f) > 5 && f[3] == c.LocalAddr().String() && f[2] != "NONE" {
			return f[5]
		}
	}
	c.t.Fatalf("%s does not know the connection from %s", d.Name, c.LocalAddr())
	return ""
}

// flow is a flow of datagrams from one port.
type flow struct{ net.Conn }

// who returns the name of the server that answers the next query; empty: nobody.
func (f flow) who(t *testing.T) string {
	t.Helper()
	must(t, f.SetDeadline(time.Now().Add(time.Second)))
	query := append(make([]byte, 12), "\x05baton\x04test\x00\x00\x01\x00\x01"...)
	if _, err := f.Write(query); err != nil {
		return ""
	}
	buf := make([]byte, 512)
	n, err := f.Read(buf)
	if err != nil || n < len(query) {
		return ""
	}
	return string(buf[len(query):n])
}

// served is a server of the chat service in the status of a director.
func served(t *testing.T, d *scene.Director, address string) (api.RealServer, error) {
	t.Helper()
	for _, svc := range status(t, d).Services {
		for _, srv := range svc.Servers {
			if svc.Name == "chat" && srv.Address == address {
				return srv, nil
			}
		}
	}
	return api.RealServer{}, errors.New(address + " is no server of chat")
}

// TestDrain has servers leave in all ways while they have connections.
func TestDrain(t *testing.T) {
	s := build(t, scene.Options{More: drainServices})
	for _, r := range s.Real {
		answerQueries(t, r)
		repeater(t, r)
	}
	began := time.Now()
	phase := func(what string) { t.Logf("%s: after %s", what, time.Since(began).Round(10*time.Millisecond)) }
	must(t, s.Start())
	must(t, s.Ready(patience))
	phase("ready")
	d := s.Directors[0]
	for key, want := range map[string]string{"expire_quiescent_template": "1", "expire_nodest_conn": "1"} {
		if got := strings.TrimSpace(run(t, d.Host, "sysctl", "-n", "net.ipv4.vs."+key)); got != want {
			t.Errorf("net.ipv4.vs.%s is %s, not %s", key, got, want)
		}
	}

	t.Run("a UDP flow leaves a dead server", func(t *testing.T) { deadFlows(t, s) })

	// A server is removed while a client with persistence talks to it.
	open := dialChat(t, s)
	must(t, open.answered())
	gone := open.server(d)
	text, err := os.ReadFile(d.Config)
	must(t, err)
	all := string(text)
	const list = "[10.0.1.11, 10.0.1.12, 10.0.1.13]"
	rest := strings.Replace(strings.Replace(list, strings.TrimSuffix(gone, ":7001")+", ", "", 1), ", "+strings.TrimSuffix(gone, ":7001"), "", 1)
	reload := func(text string) {
		t.Helper()
		must(t, os.WriteFile(d.Config, []byte(text), 0o644))
		if st := hangUp(t, d, reloaded); st.LastError != "" {
			t.Fatal(st.LastError)
		}
	}
	drains := func(what string) {
		t.Helper()
		defer phase(what)
		if err := open.answered(); err != nil {
			t.Errorf("%s: the connection to the draining server: %v", what, err)
		}
		eventually(t, func() error {
			srv, err := served(t, d, gone)
			if err == nil && (srv.State != "draining" || !srv.InKernel || srv.Weight != 0 || srv.Active != 1) {
				err = fmt.Errorf("%s: %+v", what, srv)
			}
			return err
		})
	}
	removed := strings.Replace(all, list, rest, 1)
	reload(removed)
	drains("after the reload")
	if text := baton(t, d, "explain", "server", "chat", gone); !strings.Contains(text, "is draining since") ||
		!strings.Contains(text, "it is no longer in the configuration") || !strings.Contains(text, "until its connections have ended; it has 1 active") {
		t.Errorf("baton explain server:\n%s", text)
	}
	again := dialChat(t, s)
	must(t, again.answered())
	if to := again.server(d); to == gone {
		t.Error("persistence leads the client back to the draining server")
	}

	// The director dies and is back: the server drains on.
	pid, err := d.Child()
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, func() error {
		if now, err := d.Child(); err != nil || now == pid {
			return fmt.Errorf("no new director: %w", err)
		}
		_, err := d.Status()
		return err
	})
	drains("after the director's death")

	// Put back it serves, removed again it drains, and in the end its time is over.
	reload(all)
	eventually(t, func() error {
		srv, err := served(t, d, gone)
		if err == nil && (srv.State != "up" || srv.Weight != 1) {
			err = fmt.Errorf("put back: %+v", srv)
		}
		return err
	})
	reload(removed)
	drains("removed again")
	reload(strings.Replace(removed, "    persistence:", "    drain_timeout: 1s\n    persistence:", 1))
	left := func() error {
		if srv, err := served(t, d, gone); err == nil {
			return fmt.Errorf("it is still there: %+v", srv)
		}
		have, err := kernelTable(d.Host)
		if err == nil && have.find("tcp 10.0.0.100:7001").server(gone) != nil {
			err = errors.New("the kernel still has it")
		}
		return err
	}
	eventually(t, left)
	phase("its time is over")
	if err := open.answered(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that is left when the time is over ends with %v, not with a reset", err)
	}

	// Another one leaves with its last connection.
	gone = again.server(d)
	reload(strings.Replace(all, list, "[10.0.1.20]", 1))
	eventually(t, func() error {
		srv, err := served(t, d, gone)
		if err == nil && srv.State != "draining" {
			err = fmt.Errorf("%+v", srv)
		}
		return err
	})
	must(t, again.answered())
	must(t, again.SetLinger(0)) // ends by a reset: the kernel forgets that in 10 s
	must(t, again.Close())
	phase("closed")
	lab.Eventually(t, 15*time.Second, left)
	phase("removed")
	events := baton(t, d, "events", "-n", "50")
	for _, want := range []string{
		"→ draining: it is no longer in the configuration", "draining → removed: it has no connections any more",
		"draining → removed: its drain_timeout of 1s is over; 1 connection left", "it was found in the kernel's table and is not in the configuration",
	} {
		if !strings.Contains(events, want) {
			t.Errorf("baton events has no %q:\n%s", want, events)
		}
	}
}

// deadFlows has a server die that two flows go to.
func deadFlows(t *testing.T, s *scene.Scene) {
	d := s.Directors[0]
	flows := map[string]flow{}
	first := map[string]string{}
	for _, port := range []string{"53", "54"} {
		conn, err := s.Client.Dial(context.Background(), "udp4", scene.VIP.String()+":"+port)
		must(t, err)
		defer conn.Close()
		flows[port] = flow{conn}
	}
	// The first of the one shall be the first of the other, for one death.
	for _, port := range []string{"53", "54"} {
		first[port] = flows[port].who(t)
		if first[port] == "" || flows[port].who(t) != first[port] {
			t.Fatalf("the flow to port %s does not stay with %q", port, first[port])
		}
	}
	dead := map[string]bool{}
	for _, r := range s.Real {
		if r.Name == first["53"] || r.Name == first["54"] {
			dead[r.Name] = true
			r.Kill()
		}
	}
	died := time.Now()
	for port, f := range flows {
		eventually(t, func() error {
			if who := f.who(t); who == "" || dead[who] {
				return fmt.Errorf("the flow to port %s gets answers from %q", port, who)
			}
			return nil
		})
	}
	t.Logf("both flows have left %v after %s", dead, time.Since(died).Round(10*time.Millisecond))
	for _, r := range s.Real {
		if dead[r.Name] {
			restart(t, s, r)
			eventually(t, func() error { return inTable(d, r) })
		}
	}
}
