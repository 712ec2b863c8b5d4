package interop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"baton/test/lab"
)

// pair is baton and keepalived, and a client, on one segment.
type pair struct {
	t    testing.TB
	mode mode
	lab  *lab.Lab

	client            *lab.Host
	baton, keepalived *member
	wire              *lab.Capture // everything that concerns the addresses

	// misreads is the router whose checksums tshark cannot agree with; nil: none.
	misreads *member
}

// program is what runs on a member.
type program interface {
	name() string
	// configure writes the program's files from the member's settings.
	configure(m *member)
	// command starts the program.
	command(m *member) lab.Proc
	// state asks the running program: init, backup, master or fault.
	state(m *member) (string, error)
	// rejected asks the running program how many packets it did not believe, by reason.
	rejected(m *member) (map[string]uint64, error)
}

// settings are what the two members may differ in.
type settings struct {
	priority  int
	interval  time.Duration
	password  string
	nopreempt bool
}

// member is one of the two routers.
type member struct {
	program
	settings
	pair   *pair
	number int // last of its address
	host   *lab.Host
	dir    string
	proc   *lab.Process
}

// build makes the hosts; nothing runs yet. baton has the lower address.
func build(t testing.TB, m mode) *pair {
	t.Helper()
	p := &pair{t: t, mode: m, baton: newBaton(t, 1), keepalived: newKeepalived(2)}
	p.connect()
	return p
}

// connect makes the hosts and the network.
func (p *pair) connect() {
	p.t.Helper()
	p.lab = lab.New(p.t)
	lan := p.lab.Bridge("lan")
	p.client = p.lab.Host("client")
	p.client.Connect(lan, "eth0", prefixes(9)...)
	first, second := p.baton, p.keepalived
	if second.number < first.number {
		first, second = second, first // link-local addresses follow the order of creation
	}
	for _, m := range []*member{first, second} {
		m.pair, m.host = p, p.lab.Host(m.name())
		m.interval, m.password = p.mode.interval, p.mode.password
		m.host.Connect(lan, "eth0", prefixes(m.number)...)
		// Not the lab's folder: its path may be too long for a socket.
		dir, err := os.MkdirTemp("", "baton-interop-")
		must(p.t, err)
		m.dir = dir
		p.t.Cleanup(func() { must(p.t, os.RemoveAll(dir)) })
	}
	p.wire = p.lab.CaptureBridge(lan, "ip proto 112 or ip6 proto 112 or arp or icmp6")
	t := p.t // not that of a step
	t.Cleanup(func() { p.decode(t) })
}

// other is the one that is not m.
func (p *pair) other(m *member) *member {
	if m == p.baton {
		return p.keepalived
	}
	return p.baton
}

// begin starts both, one with the higher priority, and returns when that one is
// master.
func (p *pair) begin(master *member) {
	p.t.Helper()
	backup := p.other(master)
	master.priority, backup.priority = high, low
	began := time.Now()
	master.start()
	backup.start()
	p.settled(master)
	p.t.Logf("%s is master %v after the start of both", master, time.Since(began).Round(time.Millisecond))
}

// step is a part of a test that leaves the pair as it found it.
func (p *pair) step(name string, f func()) {
	whole, ok := p.t.(*testing.T)
	if !ok || whole.Failed() {
		return // the state that the step would begin with is not there
	}
	whole.Run(name, func(t *testing.T) {
		p.t = t
		defer func() { p.t = whole }()
		f()
	})
}

func (m *member) String() string { return m.name() }

// start writes the configuration and starts the program.
func (m *member) start() {
	m.pair.t.Helper()
	m.configure(m)
	m.proc = m.host.Start(m.command(m))
}

// stop is the planned stop; it waits for the end.
func (m *member) stop() {
	m.pair.t.Helper()
	m.signal(syscall.SIGTERM)
	m.ended()
}

// ended waits for the end of a program that was asked to stop.
func (m *member) ended() {
	m.pair.t.Helper()
	select {
	case <-m.proc.Done():
	case <-time.After(lab.Patience(10 * time.Second)):
		m.pair.t.Fatalf("%s does not stop", m)
	}
	if err := m.proc.Wait(); err != nil {
		m.pair.t.Errorf("%s ended with %v", m, err)
	}
}

func (m *member) signal(s syscall.Signal) {
	m.pair.t.Helper()
	must(m.pair.t, m.proc.Signal(s))
}

// holds reports whether the host has the VIP.
func (m *member) holds() bool { return m.host.Has(m.pair.mode.vip().Addr().String()) }

// mac is the hardware address of the member's interface.
func (m *member) mac() string { return m.host.Link("eth0").MAC().String() }

// takesOver is how soon a router of m's settings is master when the present one
// is lost.
func (m *member) takesOver() time.Duration {
	return m.pair.mode.down(m.priority, m.pair.other(m).interval)
}

// is reports what keeps a member from being in a state.
func (m *member) is(want string) error {
	state, err := m.state(m)
	if err == nil && state != want {
		err = fmt.Errorf("%s is %s, not %s", m, state, want)
	}
	return err
}

// settled waits until one member is master, alone with the VIP, the other a
// backup, and the client's packets go to the right one.
func (p *pair) settled(master *member) {
	p.t.Helper()
	lab.Eventually(p.t, 2*master.takesOver()+5*time.Second, func() error {
		return errors.Join(master.is("master"), p.other(master).is("backup"), p.alone(master))
	})
	p.reach()
	p.knows(master)
}

// alone reports what keeps a member from being the only one with the VIP.
func (p *pair) alone(m *member) error {
	if other := p.other(m); !m.holds() || other.holds() {
		return fmt.Errorf("the VIP is not on %s alone: there %v, on %s %v", m, m.holds(), other, other.holds())
	}
	return nil
}

// reach waits until the client gets an answer from the VIP.
func (p *pair) reach() {
	p.t.Helper()
	lab.Eventually(p.t, 3*time.Second, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), lab.Patience(5*time.Second))
		defer cancel()
		_, err := p.client.Run(ctx, "ping", "-n", "-c", "1", "-W", "1", p.mode.vip().Addr().String())
		return err
	})
}

// knows waits until the client's neighbour table leads to a member.
func (p *pair) knows(m *member) {
	p.t.Helper()
	lab.Eventually(p.t, time.Second, func() error { return p.leadsTo(m) })
}

// leadsTo reports what keeps the client's packets from going to a member.
func (p *pair) leadsTo(m *member) error {
	list, err := p.client.Netlink().NeighList(0, 0)
	if err != nil {
		return err
	}
	for _, n := range list {
		if a, ok := netip.AddrFromSlice(n.IP); ok && a.Unmap() == p.mode.vip().Addr() {
			if n.HardwareAddr.String() == m.mac() {
				return nil
			}
			return fmt.Errorf("the client sends to %s, which is not %s (%s)", n.HardwareAddr, m, m.mac())
		}
	}
	return errors.New("the client has no neighbour entry for the VIP")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
