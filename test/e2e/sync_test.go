//go:build vm

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"baton/internal/api"
	"baton/test/lab"
	"baton/test/scene"
)

// chatPort is where the real servers repeat what a client says.
const chatPort = 7001

const chatService = `  - name: chat
    address: 10.0.0.100:7001
    protocol: tcp
    scheduler: wrr
    forward: %s
    servers: [%s.11, %[2]s.12, %[2]s.13]
`

// syncFlush is how long a master's connections are under way: the kernel sends
// them after two seconds and looks once a second, and the machine is slow.
const syncFlush = 3*time.Second + 2*slack

// repeater repeats on a real server what clients say.
func repeater(t *testing.T, r *scene.RealServer) {
	t.Helper()
	var l net.Listener
	must(t, r.Host.Do(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", chatPort))
		return err
	}))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // until the client or the test ends
			}()
		}
	}()
}

// chats are connections through the VIP in which something is said all the time:
// a line a second in each. One goroutine does it for all of them, for the machine
// is slow.
type chats struct {
	t    *testing.T
	s    *scene.Scene
	stop chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	all    []*chat
	broken map[int]error
}

type chat struct {
	id    int
	conn  net.Conn
	lines *bufio.Reader
	said  string
	heard atomic.Int64 // when it was answered last, in nanoseconds
}

func (c *chat) answered() time.Time { return time.Unix(0, c.heard.Load()) }

func newChats(t *testing.T, s *scene.Scene) *chats {
	c := &chats{t: t, s: s, stop: make(chan struct{}), broken: map[int]error{}}
	c.wg.Go(c.talk)
	t.Cleanup(c.end)
	return c
}

// end closes all connections.
func (c *chats) end() {
	close(c.stop)
	c.wg.Wait()
	for _, one := range c.all {
		one.conn.Close()
	}
}

// open opens another n connections.
func (c *chats) open(n int) {
	c.t.Helper()
	for range n {
		must(c.t, c.one())
	}
}

func (c *chats) one() error {
	var conn net.Conn
	err := c.s.Client.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp4", netip.AddrPortFrom(scene.VIP, chatPort).String(), lab.Patience(patience))
		return err
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, &chat{id: len(c.all), conn: conn, lines: bufio.NewReader(conn)})
	return nil
}

// talk goes round until the end: everybody says something, then everybody
// listens.
func (c *chats) talk() {
	for round := 0; ; round++ {
		next := time.After(time.Second)
		for _, act := range []func(*chat, int) error{(*chat).say, (*chat).hear} {
			for _, one := range c.living() {
				if err := act(one, round); err != nil {
					c.mu.Lock()
					c.broken[one.id] = err
					c.mu.Unlock()
				}
			}
		}
		select {
		case <-c.stop:
			return
		case <-next:
		}
	}
}

func (c *chats) living() (out []*chat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.all {
		if c.broken[one.id] == nil {
			out = append(out, one)
		}
	}
	return out
}

func (c *chat) say(round int) error {
	if err := c.conn.SetDeadline(time.Now().Add(lab.Patience(patience))); err != nil {
		return err
	}
	c.said = fmt.Sprintf("%d %d\n", c.id, round)
	_, err := io.WriteString(c.conn, c.said)
	return err
}

func (c *chat) hear(int) error {
	if c.said == "" { // it was opened in the middle of the round
		return nil
	}
	answer, err := c.lines.ReadString('\n')
	if err == nil && answer != c.said {
		err = fmt.Errorf("said %q, heard %q", c.said, answer)
	}
	c.said = ""
	c.heard.Store(time.Now().UnixNano())
	return err
}

// alive fails the test unless every connection is answered from now on.
func (c *chats) alive(what string) {
	c.t.Helper()
	since := time.Now()
	eventually(c.t, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.broken) > 0 {
			return nil
		}
		for _, one := range c.all {
			if !one.answered().After(since) {
				return fmt.Errorf("%s: connection %d of %d is not answered", what, one.id, len(c.all))
			}
		}
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, err := range c.broken {
		c.t.Errorf("%s: connection %d: %v", what, id, err)
	}
	c.t.Logf("%s: %d of %d connections live, answered within %s",
		what, len(c.all)-len(c.broken), len(c.all), time.Since(since).Round(time.Millisecond))
}

// known returns how many connections of the chat service a director has.
func known(t *testing.T, d *scene.Director) (n int) {
	t.Helper()
	for line := range strings.Lines(ipvsadm(t, d, "-Lnc")) {
		if f := strings.Fields(line); len(f) > 4 && f[2] == "ESTABLISHED" && strings.HasSuffix(f[4], ":7001") {
			n++
		}
	}
	return n
}

// counted returns how many of them the daemon counts.
func counted(t *testing.T, d *scene.Director) (n int) {
	t.Helper()
	st, err := d.Status()
	must(t, err)
	for _, svc := range st.Services {
		for _, server := range svc.Servers {
			if svc.Name == "chat" {
				n += int(server.Active)
			}
		}
	}
	return n
}

// syncs waits until ipvsadm and the daemon say that a director's sync daemon has
// this role and no other.
func syncs(t *testing.T, d *scene.Director, role string) {
	t.Helper()
	eventually(t, func() error {
		list := ipvsadm(t, d, "--list --daemon")
		if strings.Count(list, "sync daemon") != 1 || !strings.HasPrefix(list, role+" sync daemon") {
			return fmt.Errorf("%s runs %q, not a %s", d.Name, list, role)
		}
		st, err := d.Status()
		if err != nil {
			return err
		}
		if c := st.Routers[0].ConnectionSync; c == nil || c.Role != role || c.Problem != "" {
			return fmt.Errorf("%s shows %+v, not a %s", d.Name, c, role)
		}
		return nil
	})
}

// emptied makes a director that was killed lose its table, as a host does that
// starts again.
func emptied(t *testing.T, d *scene.Director) {
	t.Helper()
	// With this setting the kernel forgets connections with their service.
	run(t, d.Host, "sysctl", "-q", "-w", "net.ipv4.vs.expire_nodest_conn=1")
	ipvsadm(t, d, "--stop-daemon master")
	ipvsadm(t, d, "-C")
	eventually(t, func() error {
		if n := known(t, d); n > 0 {
			return fmt.Errorf("%s still knows %d connections", d.Name, n)
		}
		return nil
	})
	// Left so, the connections of a server whose checks fail for a moment, as they do
	// on a slow machine, would end.
	run(t, d.Host, "sysctl", "-q", "-w", "net.ipv4.vs.expire_nodest_conn=0")
}

// syncScene is a scene in which the directors synchronise their connections.
func syncScene(t *testing.T, forward scene.Forward, wait time.Duration) *scene.Scene {
	t.Helper()
	network := map[scene.Forward]string{scene.NAT: "10.0.1", scene.DR: "10.0.0"}[forward]
	s := build(t, scene.Options{
		Forward: forward, More: fmt.Sprintf(chatService, forward, network),
		Router: fmt.Sprintf("    connection_sync: {interface: eth0}\n    preempt_after_sync: %s\n", wait),
	})
	for _, r := range s.Real {
		repeater(t, r)
	}
	must(t, s.Start())
	must(t, s.Ready(patience))
	syncs(t, s.Directors[0], "master")
	syncs(t, s.Directors[1], "backup")
	return s
}

// history is what happened to the routers of a director since a time.
func history(t *testing.T, d *scene.Director, since time.Time) (out []api.Event) {
	t.Helper()
	var list api.Events
	if err := json.Unmarshal([]byte(baton(t, d, "events", "--json", "-n", "200")), &list); err != nil {
		t.Fatalf("baton events --json: %v", err)
	}
	for _, e := range list.Events {
		if e.Kind == api.KindRouter && e.At.After(since) {
			out = append(out, e)
			t.Logf("%s %s: %s → %s: %s", e.At.Format("15:04:05.000"), d.Name, e.From, e.To, e.Reason)
		}
	}
	return out
}

// when is the time of the first event that leads to a state.
func when(events []api.Event, to string) (e api.Event, err error) {
	for _, e := range events {
		if e.To == to {
			return e, nil
		}
	}
	return api.Event{}, errors.New("there is no event that leads to " + to)
}

// conversations are how many connections have to survive, and more how many come
// later.
const conversations, more = 300, 30

// TestConnectionSync has everything happen that operators do, and what they fear,
// and no connection that is a few seconds old may break.
func TestConnectionSync(t *testing.T) {
	t.Run("NAT", func(t *testing.T) { connectionSync(t, scene.NAT) })
	t.Run("DR", func(t *testing.T) { connectionSync(t, scene.DR) })
}

func connectionSync(t *testing.T, forward scene.Forward) {
	s := syncScene(t, forward, 2*time.Minute)
	a, b := s.Directors[0], s.Directors[1]
	talk := newChats(t, s)
	talk.open(conversations)
	time.Sleep(syncFlush)
	talk.alive("before")
	if n := known(t, b); n < conversations {
		t.Errorf("the backup knows %d of %d connections after %s", n, conversations, syncFlush)
	}
	// The count by which a director finds out that it has caught up.
	eventually(t, func() error {
		if n := counted(t, b); n != conversations {
			return fmt.Errorf("the backup counts %d of %d connections", n, conversations)
		}
		return nil
	})

	network := strings.TrimSuffix(s.Real[0].Address.Addr().String(), ".11")
	edit(t, a, fmt.Sprintf("[%s.11, ", network), fmt.Sprintf("[{address: %s.11, weight: 7}, %s.20, ", network, network))
	if st := hangUp(t, a, reloaded); st.LastError != "" {
		t.Error(st.LastError)
	}
	talk.alive("reload")
	child, err := a.Child()
	must(t, err)
	must(t, syscall.Kill(child, syscall.SIGKILL))
	eventually(t, func() error {
		if now, err := a.Child(); err != nil || now == child {
			return fmt.Errorf("no new director: %w", err)
		}
		_, err := a.Status()
		return err
	})
	talk.alive("death of the director process")

	baton(t, a, "failover", "web")
	eventually(t, func() error { return owner(s, b) })
	talk.alive("baton failover")
	syncs(t, b, "master")
	syncs(t, a, "backup")
	baton(t, a, "resume", "web")
	eventually(t, func() error { return owner(s, a) })
	talk.alive("baton resume")
	syncs(t, a, "master")

	talk.open(more)
	time.Sleep(syncFlush)
	a.Crash()
	eventually(t, func() error { return owner(s, b) })
	talk.alive("crash of the owner")

	// How it comes back does not depend on the forwarding, and takes long.
	if forward == scene.NAT || os.Getenv("BATON_SYNC_ALL") != "" {
		returns(t, a, s, talk)
	}

	// An upgrade where there is no peer: nobody serves for some seconds.
	must(t, b.Stop())
	if len(admTable(t, b)) > 0 {
		t.Error("the services have outlived the planned stop")
	}
	b.Start()
	eventually(t, func() error { return owner(s, b) })
	talk.alive("restart without a peer")
}

// returns has a director that crashed come back, lose its daemon, and stop as
// planned.
func returns(t *testing.T, a *scene.Director, s *scene.Scene, talk *chats) {
	t.Helper()
	// It comes back with an empty table, and waits for the connections.
	emptied(t, a)
	restarted := time.Now()
	a.Start()
	lab.Eventually(t, time.Minute, func() error { return owner(s, a) })
	talk.alive("return of the owner")
	events := history(t, a, restarted)
	inSync, err := when(events, "in sync")
	must(t, err)
	master, err := when(events, "master")
	must(t, err)
	waited := inSync.At.Sub(restarted)
	t.Logf("it was in sync after %s and master %s later", waited, master.At.Sub(inSync.At))
	if waited < 13*time.Second || !master.At.After(inSync.At) {
		t.Errorf("in sync after %s, master after %s", waited, master.At.Sub(restarted))
	}
	if want := fmt.Sprintf("the table has stopped growing at %d connections", conversations+more); !strings.Contains(inSync.Reason, want) {
		t.Errorf("it was in sync because %q, not %q", inSync.Reason, want)
	}
	if text := baton(t, a, "explain", "router", "web"); !strings.Contains(text, "It tells the other directors of its connections on eth0 (id 51).") {
		t.Errorf("baton explain router web:\n%s", text)
	}

	// Somebody stops it, and it runs again.
	syncs(t, a, "master")
	ipvsadm(t, a, "--stop-daemon master")
	syncs(t, a, "master")
	eventually(t, func() error {
		st, err := a.Status()
		if err == nil && st.Routers[0].ConnectionSync.Restarts != 1 {
			err = fmt.Errorf("it counts %d restarts", st.Routers[0].ConnectionSync.Restarts)
		}
		return err
	})
	must(t, a.Stop())
	talk.alive("SIGTERM")
	if list := ipvsadm(t, a, "--list --daemon"); list != "" {
		t.Errorf("after a planned stop runs %s", list)
	}
}

// TestConnectionSyncBound has the table grow for longer than a director that
// comes back is to wait.
func TestConnectionSyncBound(t *testing.T) {
	const bound = 25 * time.Second
	s := syncScene(t, scene.DR, bound)
	a, b := s.Directors[0], s.Directors[1]
	a.Crash()
	eventually(t, func() error { return owner(s, b) })
	emptied(t, a)
	talk := newChats(t, s)
	talk.open(conversations)
	grow := make(chan struct{})
	var growing sync.WaitGroup
	growing.Go(func() {
		for {
			select {
			case <-grow:
				return
			case <-time.After(200 * time.Millisecond):
				_ = talk.one() // may fail at the change of owners
			}
		}
	})
	restarted := time.Now()
	a.Start()
	lab.Eventually(t, time.Minute, func() error { return owner(s, a) })
	close(grow)
	growing.Wait()
	events := history(t, a, restarted)
	backup, err := when(events, "backup")
	must(t, err)
	master, err := when(events, "master")
	must(t, err)
	if early, err := when(events, "in sync"); err == nil && early.At.Before(master.At) {
		t.Errorf("it believes to be in sync: %s", early.Reason)
	}
	if waited := master.At.Sub(backup.At); waited < bound || waited > bound+takeover+2*slack {
		t.Errorf("it waited for %s, not %s and the time of a takeover", waited, bound)
	}
	if want := "the connection table did not catch up within 25s"; !strings.Contains(master.Reason, want) {
		t.Errorf("it is master because %q, not %q", master.Reason, want)
	}
}
