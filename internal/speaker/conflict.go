package speaker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"baton/internal/vrrp"
	"baton/internal/wire"
)

// ConflictWatch hears when somebody else announces one of our addresses (RFC
// 5227 section 2.4, and the like for IPv6).
type ConflictWatch interface {
	Watch(addrs []netip.Addr, own [][6]byte) error
	Receive() (wire.Conflict, error)
	Close() error
}

// conflictWatch is one interface's; nil: there is none.
type conflictWatch struct {
	conn ConflictWatch
}

func (w *conflictWatch) close() {
	if w != nil && w.conn != nil {
		conn := w.conn
		go conn.Close() //nolint:errcheck // only read from
	}
}

// watchConflicts brings the watches up to date with the addresses that a router
// has, or has no more.
func (s *Speaker) watchConflicts(r *router) {
	seen := map[string]bool{}
	for _, a := range r.state().announce {
		if i := s.ifaces[a.on]; i != nil && !seen[a.on] {
			seen[a.on] = true
			i.watchConflicts()
		}
	}
}

// watchConflicts watches for the addresses that our routers hold on this
// interface.
func (i *iface) watchConflicts() {
	var addrs []netip.Addr
	own := [][6]byte{i.link.MAC}
	for _, r := range i.s.routers {
		if !r.wantHeld {
			continue
		}
		for _, a := range r.state().announce {
			if a.on != i.name {
				continue
			}
			addrs = append(addrs, a.address.Prefix.Addr())
			if a.mac != nil && !slices.Contains(own, *a.mac) {
				own = append(own, *a.mac)
			}
		}
	}
	if len(addrs) == 0 || i.problem != "" {
		i.watch.close()
		i.watch = nil
		return
	}
	if i.watch == nil {
		i.openWatch() // and then again
		return
	}
	if i.watch.conn == nil {
		return // being opened
	}
	if err := i.watch.conn.Watch(addrs, own); err != nil && i.s.limit.allow(i.name+"/watch") {
		i.s.log.Warn("address conflicts cannot be watched for", "interface", i.name, "error", err)
	}
}

// openWatch opens the watch aside; see look.go.
func (i *iface) openWatch() {
	w := &conflictWatch{}
	i.watch = w
	go func() {
		conn, err := i.s.edges.OpenConflicts(i.name)
		if err != nil {
			i.s.post(func() { i.watchEnded(w, err) })
			return
		}
		if !i.s.tryPost(func() { i.watchOpened(w, conn) }) {
			_ = conn.Close() // never used
			return
		}
		for {
			c, err := conn.Receive()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					i.s.post(func() { i.watchEnded(w, err) })
				}
				return
			}
			i.s.post(func() { i.conflict(c) })
		}
	}()
}

// watchOpened begins to watch for the addresses that are held by now.
func (i *iface) watchOpened(w *conflictWatch, conn ConflictWatch) {
	w.conn = conn
	if i.watch != w {
		w.close() // not wanted any more
		return
	}
	i.watchConflicts()
}

// watchEnded opens a watch again that broke.
func (i *iface) watchEnded(w *conflictWatch, err error) {
	if i.watch != w {
		return
	}
	w.close()
	i.watch = nil
	if i.s.limit.allow(i.name + "/watch") {
		i.s.log.Warn("the watch for address conflicts failed; it is opened again", "interface", i.name, "error", err)
	}
	i.retrySoon()
}

// conflict is called when somebody announced one of our addresses.
func (i *iface) conflict(c wire.Conflict) {
	// A new master sends its advert before it announces, and both may be waiting: it
	// is no rival to answer.
	i.s.readAll()
	for _, r := range i.s.routers {
		if r.wantHeld && r.announces(i.name, c.Addr) {
			r.conflict(i, c)
		}
	}
}

// announces reports whether the router has the address on that interface.
func (r *router) announces(ifname string, addr netip.Addr) bool {
	return slices.ContainsFunc(r.state().announce, func(a announcement) bool {
		return a.on == ifname && a.address.Prefix.Addr() == addr
	})
}

// conflict counts and answers an announcement of our address by somebody else.
// While the addresses only linger, the new master's are to be expected; and so are,
// of a new master, the answers of the one before, which lingers on.
func (r *router) conflict(i *iface, c wire.Conflict) {
	e := r.election.Status()
	now := time.Now()
	if e.State != vrrp.Master || e.HandsOver || now.Sub(e.Since) < 2*linger {
		return
	}
	r.conflicts += max(uint64(c.Count), 1)
	mac := net.HardwareAddr(c.MAC[:]).String()
	r.lastConflict = fmt.Sprintf("%s announced %s on %s by %s", mac, c.Addr, i.name, c.Kind)
	r.step(vrrp.Event{Kind: vrrp.Conflicted})
	if !r.s.limit.allow(r.spec.Name + "/conflict/" + mac) {
		return
	}
	r.log.Warn("somebody else announces our address", "address", c.Addr, "on", i.name, "mac", mac, "by", c.Kind)
	r.s.tell(Notice{
		At: now, Router: r.spec.Name, From: mac, To: "conflict",
		Reason: r.lastConflict + "; this director owns it and announced it again",
	})
}
