package check

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
)

// pings are the sockets of the pings that are under way: one for all that take
// the same path out of this host. A raw socket gets a copy of every ICMP packet
// that the host receives; with one for each of a thousand pings, each answer
// would be looked at a thousand times.
var pings = pinger{hubs: make(map[pingPath]*pingHub)}

type pinger struct {
	mu   sync.Mutex
	hubs map[pingPath]*pingHub // open, and not broken
}

// pingPath is what a socket is bound to.
type pingPath struct {
	v6     bool
	source netip.Addr
	device string
	mark   uint32
}

// pingHub is a socket and the pings that wait for an answer at it.
type pingHub struct {
	path   pingPath
	conn   net.PacketConn
	raw    bool   // the packets carry our own identifier
	id     uint16 // of a raw socket's
	users  int    // guarded by pinger.mu
	closed chan struct{}

	mu      sync.Mutex
	seq     uint16
	waiting map[uint16]*ping
	broken  error // listen has ended
}

// ping is a request that waits for its answer.
type ping struct {
	target  netip.Addr
	seq     uint16
	payload [pingPayload]byte
	result  chan error // one: nil for an answer
}

// pingPayload is the size of the data in a request: as common tools have it.
const pingPayload = 56

// take returns the socket of a path and opens it for the first user.
func (p *pinger) take(s Spec, v6 bool) (*pingHub, error) {
	path := pingPath{v6: v6, source: s.Source, device: s.Interface, mark: s.FWMark}
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hubs[path]
	if h == nil {
		h = &pingHub{path: path, closed: make(chan struct{}), waiting: make(map[uint16]*ping)}
		if err := h.open(s); err != nil {
			return nil, err
		}
		p.hubs[path] = h
		go h.listen()
	}
	h.users++
	return h, nil
}

// release closes the socket after the last user, so that checks which only wait
// for their next run hold none.
func (p *pinger) release(h *pingHub) {
	p.mu.Lock()
	h.users--
	last := h.users == 0
	if last {
		p.drop(h)
		_ = h.conn.Close()
	}
	p.mu.Unlock()
	if last {
		<-h.closed
	}
}

// retire makes the next user open another socket: what this one is bound to may
// have gone and come back under the same name.
func (p *pinger) retire(h *pingHub) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(h)
}

func (p *pinger) drop(h *pingHub) {
	if p.hubs[h.path] == h {
		delete(p.hubs, h.path)
	}
}

// send sends a request. The caller forgets it.
func (h *pingHub) send(ctx context.Context, target netip.Addr) (*ping, error) {
	e := &ping{target: target.WithZone(""), result: make(chan error, 1)}
	_, _ = rand.Read(e.payload[:])
	if err := h.enlist(e); err != nil {
		return nil, err
	}
	packet, err := h.encode(e)
	if err == nil {
		// The deadline is that of whoever sends last, which is near enough.
		deadline, _ := ctx.Deadline()
		_ = h.conn.SetWriteDeadline(deadline)
		_, err = h.conn.WriteTo(packet, h.address(target))
	}
	if err != nil {
		h.forget(e)
		if !isTimeout(err) && (h.path.device != "" || h.path.source.IsValid()) {
			pings.retire(h)
		}
		return nil, err
	}
	return e, nil
}

// enlist gives a request a free sequence number.
func (h *pingHub) enlist(e *ping) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken != nil {
		return h.broken
	}
	for range 1 << 16 {
		h.seq++
		if h.waiting[h.seq] == nil {
			e.seq = h.seq
			h.waiting[h.seq] = e
			return nil
		}
	}
	return errors.New("65536 pings are under way already")
}

func (h *pingHub) forget(e *ping) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiting, e.seq)
}

// listen hands answers to those who wait for them, until the socket is closed or
// has failed.
func (h *pingHub) listen() {
	defer close(h.closed)
	buf := make([]byte, 2048)
	for {
		n, from, err := h.conn.ReadFrom(buf)
		if err != nil {
			pings.retire(h)
			h.fail(err)
			return
		}
		h.answer(buf[:n], from)
	}
}

// answer takes a packet, which may be anything from anybody.
func (h *pingHub) answer(packet []byte, from net.Addr) {
	seq, payload, ok := h.decode(packet)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.waiting[seq]
	if e == nil || e.target != addrOf(from) || string(payload) != string(e.payload[:]) {
		return
	}
	delete(h.waiting, seq)
	e.result <- nil
}

// fail tells all who wait that there will be no answer.
func (h *pingHub) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = err
	for seq, e := range h.waiting {
		delete(h.waiting, seq)
		e.result <- err
	}
}
