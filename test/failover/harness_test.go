package failover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"baton/internal/api"
	"baton/test/lab"
	"baton/test/stream"
)

var (
	vip   = netip.MustParseAddr("10.0.0.100")
	addrA = netip.MustParseAddr("10.0.0.1")
	addrB = netip.MustParseAddr("10.0.0.2")
)

const (
	lease = 3 * time.Second // the default
	// leaseSlop is how late the kernel may be with the end of a lease. It puts it off by
	// up to a quarter of a second, to do such things together (net/addrconf.h:
	// ADDRCONF_TIMER_FUZZ); its timers of more than 512 ticks are as coarse as 64 ticks,
	// another quarter of a second at 250 Hz (kernel/time/timer.c); and a busy machine
	// takes its time, too.
	leaseSlop = 750 * time.Millisecond
	second    = time.Second
	fast      = 100 * time.Millisecond

	priorityA, priorityB = 150, 100

	echoPort = 7
)

// program returns the binary under test: BATON_BIN, or what "make build" made.
func program(t testing.TB) string {
	t.Helper()
	path := os.Getenv("BATON_BIN")
	if path == "" {
		path = filepath.Join("..", "..", "bin", "baton")
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v: run \"make build\" first, or make test-netns", err)
	}
	return path
}

// pair is two hosts that can run directors, and a client, on one segment.
type pair struct {
	t      testing.TB
	lab    *lab.Lab
	lan    *lab.Bridge
	client *lab.Host
	a, b   *director
	held   *timeline
}

// director is one director.
type director struct {
	pair   *pair
	name   string
	host   *lab.Host
	baton  string
	dir    string
	config string
	socket string
	proc   *lab.Process
}

// build makes the hosts; nothing runs yet.
func build(t testing.TB) *pair {
	t.Helper()
	p := &pair{t: t, lab: lab.New(t)}
	p.lan = p.lab.Bridge("lan")
	p.client = p.lab.Host("client")
	p.client.Connect(p.lan, "eth0", "10.0.0.9/24")
	p.a, p.b = p.director("a"), p.director("b")
	p.a.host.Connect(p.lan, "eth0", addrA.String()+"/24")
	p.b.host.Connect(p.lan, "eth0", addrB.String()+"/24")
	p.echo(p.a.host)
	p.echo(p.b.host)
	p.held = watch(t, p.a.host, p.b.host)
	return p
}

// director makes a host without an interface.
func (p *pair) director(name string) *director {
	p.t.Helper()
	// Not the lab's folder: its path may be too long for a socket.
	dir, err := os.MkdirTemp("", "baton-failover-")
	must(p.t, err)
	p.t.Cleanup(func() { must(p.t, os.RemoveAll(dir)) })
	return &director{
		pair: p, name: name, host: p.lab.Host(name), baton: program(p.t), dir: dir,
		config: filepath.Join(dir, "baton.yaml"), socket: filepath.Join(dir, "sock"),
	}
}

// start writes both configurations and starts both directors; it returns when a
// owns the VIP and b follows it.
func start(t testing.TB, advert time.Duration) *pair {
	t.Helper()
	p := build(t)
	p.begin(advert, "", "")
	return p
}

func (p *pair) begin(advert time.Duration, extraA, extraB string) {
	p.t.Helper()
	p.a.configure(router(priorityA, advert, extraA))
	p.b.configure(router(priorityB, advert, extraB))
	p.a.start()
	// Then the other one: on a busy machine it might be the first to take over.
	p.held.await(p.a.host, vip, true, time.Time{}, 4*advert+5*time.Second)
	p.b.start()
	p.settled(p.a, p.b, 4*advert+5*time.Second)
	must(p.t, p.dial().Close()) // from now on the client has a neighbour entry to get wrong
}

// router is the configuration of the router that most tests are about.
func router(priority int, advert time.Duration, extra string) string {
	return fmt.Sprintf("  - {name: web, interface: eth0, id: 51, priority: %d, advert_interval: %s, addresses: [%s/24]%s}\n",
		priority, advert, vip, extra)
}

// configure writes the configuration file.
func (d *director) configure(routers string) {
	d.pair.t.Helper()
	text := fmt.Sprintf("node: %s\nstate_dir: %s/state\napi: {socket: %s}\nrouters:\n%s", d.name, d.dir, d.socket, routers)
	must(d.pair.t, os.WriteFile(d.config, []byte(text), 0o600))
}

func (d *director) start() {
	d.proc = d.host.Start(lab.Proc{Args: []string{d.baton, "run", "-c", d.config}})
}

// command runs "baton ARGS…" against the director.
func (d *director) command(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(30*time.Second))
	defer cancel()
	return d.host.Run(ctx, d.baton, append(args, "--socket", d.socket)...)
}

// status asks the daemon for its router called web.
func (d *director) status() (api.Router, error) { return d.router("web") }

func (d *director) router(name string) (api.Router, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c := api.Dial(d.socket)
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return api.Router{}, err
	}
	for _, r := range s.Routers {
		if r.Name == name {
			return r, nil
		}
	}
	return api.Router{}, fmt.Errorf("%s has no router %s", d.name, name)
}

// is reports what keeps the daemon's router from being in a state.
func (d *director) is(state string) error {
	r, err := d.status()
	if err == nil && r.State != state {
		err = fmt.Errorf("%s is %s (%s), not %s", d.name, r.State, r.Reason, state)
	}
	return err
}

// settled waits until one director is master and holds the VIP, and the other is
// a backup that does not.
func (p *pair) settled(master, backup *director, within time.Duration) {
	p.t.Helper()
	lab.Eventually(p.t, within, func() error {
		if err := errors.Join(master.is("master"), backup.is("backup")); err != nil {
			return err
		}
		if !master.host.Has(vip.String()) || backup.host.Has(vip.String()) {
			return fmt.Errorf("the VIP is not on %s alone", master.name)
		}
		return nil
	})
}

// child is the process id of the director process.
func (d *director) child() int {
	d.pair.t.Helper()
	for _, pid := range d.proc.Tree() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(line), "\x00director\x00") {
			return pid
		}
	}
	return 0
}

// signal sends a signal to pulse alone.
func (d *director) signal(s syscall.Signal) {
	d.pair.t.Helper()
	must(d.pair.t, d.proc.Signal(s))
}

// mac is the hardware address of the director's interface.
func (d *director) mac() string { return d.host.Link("eth0").MAC().String() }

// knows waits until the client's neighbour table leads to the director.
func (p *pair) knows(d *director, within time.Duration) {
	p.t.Helper()
	lab.Eventually(p.t, within, func() error {
		list, err := p.client.Netlink().NeighList(0, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for _, n := range list {
			if a, ok := netip.AddrFromSlice(n.IP); ok && a.Unmap() == vip {
				if n.HardwareAddr.String() == d.mac() {
					return nil
				}
				return fmt.Errorf("the client sends to %s, which is not %s (%s)", n.HardwareAddr, d.name, d.mac())
			}
		}
		return errors.New("the client has no neighbour entry for the VIP")
	})
}

// stream begins to send to the VIP, a datagram every half millisecond, and
// returns when answers come.
func (p *pair) stream() *stream.Stream {
	p.t.Helper()
	return stream.Start(p.dial(), 500*time.Microsecond)
}

// dial connects the client to the echo service behind the VIP, and has got an
// answer when it returns.
func (p *pair) dial() *net.UDPConn {
	p.t.Helper()
	var conn *net.UDPConn
	dial := func() (err error) {
		conn, err = stream.Dial(netip.AddrPortFrom(vip, echoPort))
		return err
	}
	must(p.t, p.client.Do(dial))
	roomy(p.t, conn)
	// The neighbour entry first: packets that wait for it are not what is measured.
	lab.Eventually(p.t, 3*time.Second, func() error {
		if _, err := conn.Write([]byte("hello")); err != nil {
			return err
		}
		must(p.t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		_, err := conn.Read(make([]byte, 64))
		return err
	})
	must(p.t, conn.SetReadDeadline(time.Time{}))
	return conn
}

// echo answers datagrams on a host until the test ends.
func (p *pair) echo(h *lab.Host) {
	p.t.Helper()
	c, err := h.ListenPacket("udp4", fmt.Sprintf(":%d", echoPort))
	must(p.t, err)
	conn, ok := c.(*net.UDPConn)
	if !ok {
		p.t.Fatalf("%T is no UDP socket", c)
	}
	roomy(p.t, conn)
	ended := make(chan error, 1)
	go func() { ended <- stream.Echo(conn) }()
	p.t.Cleanup(func() {
		must(p.t, conn.Close())
		if err := <-ended; err != nil {
			p.t.Errorf("the echo service of %s: %v", h, err)
		}
	})
}

// roomy gives a socket room for some seconds of datagrams: when the machine is
// busy, the judge must not lose what the directors have carried.
func roomy(t testing.TB, c *net.UDPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var set error
	must(t, raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	}))
	must(t, set)
}

// lossless ends a stream and fails the test if the client missed an answer.
func lossless(t testing.TB, s *stream.Stream, what string) {
	t.Helper()
	r := s.Stop()
	t.Logf("%s: %s", what, r)
	if r.Lost != 0 {
		t.Errorf("%s: the client lost packets: %s", what, r)
	}
	if r.Sent < 100 {
		t.Errorf("%s: only %d packets were sent: the stream proves nothing", what, r.Sent)
	}
}

// exitCode is the exit status in the error of Host.Run.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// skew is how much longer than three adverts a router waits (RFC 9568 section
// 6.1).
func skew(priority int, advert time.Duration) time.Duration {
	return time.Duration(256-priority) * advert / 256
}

// countLines is how many lines of a text contain a part.
func countLines(text, part string) int {
	n := 0
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}
