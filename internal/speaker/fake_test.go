package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"baton/internal/network"
	"baton/internal/vrrp"
	"baton/internal/wire"
)

// segment is a network of channels: what one conn sends, all others hear.
type segment struct {
	mu    sync.Mutex
	conns []*fakeConn
	sent  []string
}

type fakeConn struct {
	seg    *segment
	source netip.Addr
	queue  chan wire.Packet
	closed chan struct{}
	once   sync.Once
}

func (s *segment) open(source netip.Addr) *fakeConn {
	c := &fakeConn{seg: s, source: source, queue: make(chan wire.Packet, 1024), closed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	return c
}

func (c *fakeConn) Receive(buf []byte) (wire.Packet, error) {
	select {
	case p := <-c.queue:
		n := copy(buf, p.Payload)
		p.Payload = buf[:n]
		return p, nil
	case <-c.closed:
		return wire.Packet{}, net.ErrClosed
	}
}

func (c *fakeConn) Poll(buf []byte) (wire.Packet, bool, error) {
	select {
	case p := <-c.queue:
		n := copy(buf, p.Payload)
		p.Payload = buf[:n]
		return p, true, nil
	default:
		return wire.Packet{}, false, nil
	}
}

func (c *fakeConn) Send(payload []byte, src, dst netip.Addr) error {
	c.seg.mu.Lock()
	defer c.seg.mu.Unlock()
	c.seg.sent = append(c.seg.sent, fmt.Sprintf("%s→%s %d", src, dst, payload[2]))
	for _, o := range c.seg.conns {
		if o == c || (!dst.IsMulticast() && o.source != dst) {
			continue
		}
		select {
		case o.queue <- wire.Packet{Source: src, Dest: dst, TTL: 255, At: time.Now(), Payload: slices.Clone(payload)}:
		default:
		}
	}
	return nil
}

func (c *fakeConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// host is the network of one director: it prints what it was asked for.
type host struct {
	mu      sync.Mutex
	link    network.Link
	gone    error // what Link says instead
	has     map[netip.Addr]bool
	sets    int
	told    map[netip.Addr]int
	report  func(network.Change)
	refuse  error // what Set says
	watch   *fakeWatch
	others  map[string]network.Link
	watched []netip.Addr
}

func newHost(source string) *host {
	return &host{
		link: network.Link{Name: "eth0", Index: 2, Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix(source)}},
		has:  map[netip.Addr]bool{}, told: map[netip.Addr]int{},
	}
}

func (h *host) Set(_ context.Context, _ string, want network.State) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sets++
	if h.refuse != nil {
		return h.refuse
	}
	clear(h.has)
	for _, a := range want.Addresses {
		h.has[a.Prefix.Addr()] = true
	}
	return nil
}

func (h *host) Sweep(context.Context) ([]string, error) {
	return nil, nil
}

func (h *host) Delivers(netip.Addr) bool { return true }

func (h *host) Link(name string) (network.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone != nil {
		return network.Link{}, h.gone
	}
	if other, ok := h.others[name]; ok {
		return other, nil
	}
	if name != h.link.Name && h.others != nil {
		return network.Link{}, &network.InterfaceError{Name: name}
	}
	return h.link, nil
}

func (h *host) Watch(ctx context.Context, report func(network.Change)) error {
	h.mu.Lock()
	h.report = report
	h.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (h *host) Announce(a netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told[a]++
	return nil
}

func (h *host) Close() error { return nil }

func (h *host) holds(a netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.has[a]
}

func (h *host) setCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sets
}

// change alters the link and lets the speaker know.
func (h *host) change(f func()) {
	h.mu.Lock()
	f()
	report := h.report
	h.mu.Unlock()
	report(network.Change{Kind: network.LinkChanged, Interface: "eth0", Index: 2})
}

var vip = netip.MustParseAddr("10.0.0.100")

func routerSpec(priority uint8) Router {
	return Router{
		Name: "web", Interface: "eth0", ID: 51, Version: 3, Priority: priority, Interval: time.Second, Preempt: true,
		Addresses: []network.Address{{Prefix: netip.MustParsePrefix("10.0.0.100/24"), Interface: "eth0"}},
		Lease:     3 * time.Second, GARP: GARP{Repeat: 5, Delay: 5 * time.Second},
	}
}

// director is a speaker with its host, in a synctest bubble.
type director struct {
	*Speaker
	t       *testing.T
	host    *host
	cancel  context.CancelFunc
	ended   chan error
	events  []string
	notices []string
}

// fakeWatch is a conflict watch that reports what the test says.
type fakeWatch struct {
	host     *host
	conflict chan wire.Conflict
	closed   chan struct{}
	once     sync.Once
}

func newFakeWatch(h *host) *fakeWatch {
	w := &fakeWatch{host: h, conflict: make(chan wire.Conflict, 16), closed: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watch = w
	return w
}

func (w *fakeWatch) Watch(addrs []netip.Addr, _ [][6]byte) error {
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	w.host.watched = slices.Clone(addrs)
	return nil
}

func (w *fakeWatch) Receive() (wire.Conflict, error) {
	select {
	case c := <-w.conflict:
		return c, nil
	case <-w.closed:
		return wire.Conflict{}, net.ErrClosed
	}
}

func (w *fakeWatch) Close() error {
	w.once.Do(func() { close(w.closed) })
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	w.host.watched = nil
	return nil
}

func start(t *testing.T, seg *segment, source string, specs ...Router) *director {
	t.Helper()
	h := newHost(source)
	d := &director{t: t, host: h, ended: make(chan error, 1)}
	d.Speaker = New(slog.New(slog.DiscardHandler), Edges{
		Network: h,
		OpenConn: func(string, wire.Family) (Conn, error) {
			return seg.open(netip.MustParsePrefix(source).Addr()), nil
		},
		OpenAnnounce:  func(string, *[6]byte) (Announcer, error) { return h, nil },
		OpenConflicts: func(string) (ConflictWatch, error) { return newFakeWatch(h), nil },
	}, func(tr Transition) { d.events = append(d.events, fmt.Sprintf("%v→%v", tr.From, tr.To)) }, func(n Notice) {
		d.notices = append(d.notices, n.From+" → "+n.To+": "+n.Reason)
	})
	ctx, cancel := context.WithCancel(t.Context())
	d.cancel = cancel
	go func() { d.ended <- d.Run(ctx) }()
	if err := d.Configure(ctx, specs, nil); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // until the interface was looked at
	return d
}

// quit ends the speaker without a planned stop.
func (d *director) quit() {
	d.t.Helper()
	d.cancel()
	if err := <-d.ended; err != nil {
		d.t.Errorf("Run: %v", err)
	}
}

func (d *director) router() RouterStatus {
	d.t.Helper()
	s, err := d.Status(d.t.Context())
	if err != nil || len(s.Routers) != 1 {
		d.t.Fatalf("status %+v: %v", s, err)
	}
	return s.Routers[0]
}

func (d *director) wantState(want vrrp.State) {
	d.t.Helper()
	r := d.router()
	if r.Election.State != want || d.host.holds(vip) != (want == vrrp.Master) {
		d.t.Fatalf("state %v (%s), holds the VIP %v; want %v; history %s",
			r.Election.State, r.Election.Reason, d.host.holds(vip), want, strings.Join(d.events, " "))
	}
}

var errNoDevice = errors.New("no such device")

type remover func([]network.State)

func (r remover) Remove(_ context.Context, states ...network.State) error {
	r(states)
	return nil
}

// conflicts returns the watch, what it watches, and how often the VIP was
// announced.
func (h *host) conflicts() (*fakeWatch, []netip.Addr, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watch, slices.Clone(h.watched), h.told[vip]
}

// all returns what was sent so far.
func (s *segment) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}
