package speaker

import (
	"fmt"
	"slices"
	"time"

	"baton/internal/network"
	"baton/internal/wire"
)

// Looking at an interface and opening sockets on it asks the kernel for a lock
// that all network configuration shares. On a host that starts and ends many
// containers it is not to be had for long moments, and adverts must go out
// meanwhile. So it is done aside, and the outcome comes back as a command.

// sight is what was found of an interface, and what was opened on it.
type sight struct {
	link    network.Link
	err     error
	conns   [2]Conn // of the families that were asked for
	refused [2]error
	senders map[senderKey]Sender
	senderr map[senderKey]error
}

// ask is what shall be opened, if the interface is up.
type ask struct {
	index    int // of the interface that the sockets are on that are open
	families [2]bool
	senders  []senderKey
}

// refresh looks at the interface, opens or closes its sockets, and tells its
// routers: soon, not at once.
func (i *iface) refresh() {
	if i.looking {
		i.again = true
		return
	}
	i.looking = true
	i.retryAt = time.Time{}
	want := i.ask()
	go func() {
		seen := i.look(want)
		if !i.s.tryPost(func() { i.seen(seen) }) {
			seen.close()
		}
	}()
}

// ask lists what is wanted of the interface and not there.
func (i *iface) ask() ask {
	want := ask{index: i.link.Index}
	for n, f := range families {
		want.families[n] = i.socket(f).users > 0 && i.socket(f).conn == nil
	}
	for _, r := range i.s.routers {
		if k, ok := r.senderKey(); ok && r.paths[0].iface == i && i.senders[k].Sender == nil {
			want.senders = append(want.senders, k)
		}
	}
	return want
}

// look asks the kernel. It is not called by the speaker's goroutine.
func (i *iface) look(want ask) *sight {
	seen := &sight{senders: map[senderKey]Sender{}, senderr: map[senderKey]error{}}
	if seen.link, seen.err = i.s.edges.Network.Link(i.name); seen.err != nil || !seen.link.Up {
		return seen
	}
	for n, f := range families {
		if want.families[n] {
			seen.conns[n], seen.refused[n] = i.s.edges.OpenConn(i.name, f)
		}
	}
	for _, k := range want.senders {
		if s, err := i.s.edges.OpenSender(i.name, k.family, k.mac); err == nil {
			seen.senders[k] = s
		} else {
			seen.senderr[k] = err
		}
	}
	return seen
}

// close closes what nobody took.
func (s *sight) close() {
	for _, c := range s.conns {
		if c != nil {
			_ = c.Close() // never used
		}
	}
	for _, c := range s.senders {
		_ = c.Close() // never used
	}
}

// seen takes what was found.
func (i *iface) seen(seen *sight) {
	i.looking, i.looked = false, true
	if i.s.ifaces[i.name] != i {
		seen.close() // not needed any more
		return
	}
	i.judge(seen)
	i.take(seen)
	if i.again {
		i.again = false
		i.refresh()
	}
	if i.problem == "" && i.lacks() {
		i.refresh() // wanted since the look began
	}
	i.watchConflicts()
	i.tell()
}

// lacks reports whether something is wanted that was neither opened nor refused.
func (i *iface) lacks() bool {
	for _, f := range families {
		if k := i.socket(f); k.users > 0 && k.conn == nil && k.problem == "" {
			return true
		}
	}
	return slices.ContainsFunc(i.ask().senders, func(k senderKey) bool { return i.senders[k].problem == "" })
}

// judge makes of what was found whether the interface works.
func (i *iface) judge(seen *sight) {
	switch {
	case seen.err != nil:
		i.setProblem(fmt.Sprintf("interface %s: %v", i.name, seen.err))
		i.closeConns()
	case !seen.link.Up:
		i.setProblem(fmt.Sprintf("interface %s is down or has no carrier", i.name))
		i.closeConns()
	default:
		if seen.link.Index != i.link.Index {
			i.closeConns() // another interface took the name
		}
		i.setProblem("")
	}
	i.link = seen.link
}

// take takes the sockets that were opened.
func (i *iface) take(seen *sight) {
	for n, f := range families {
		k := i.socket(f)
		switch conn := seen.conns[n]; {
		case seen.refused[n] != nil:
			k.problem = fmt.Sprintf("interface %s: %v", i.name, seen.refused[n])
			i.retrySoon()
		case conn == nil:
		case k.conn != nil || k.users == 0:
			go conn.Close() //nolint:errcheck // never used
		default:
			k.problem, k.conn = "", conn
			go i.s.read(i, f, conn)
		}
	}
	for key, s := range seen.senders {
		if old := i.senders[key].Sender; old != nil {
			go old.Close() //nolint:errcheck // replaced
		}
		i.senders[key] = sender{Sender: s}
	}
	for key, err := range seen.senderr {
		i.senders[key] = sender{problem: err.Error()}
		i.retrySoon()
	}
}

// setProblem notes whether the interface works.
func (i *iface) setProblem(problem string) {
	if (i.problem == "") != (problem == "") {
		i.since = time.Now()
	}
	i.problem = problem
	if problem != "" {
		i.retrySoon()
	}
}

// lost is called when the kernel reports that the interface does not work: that
// need not wait for a look.
func (i *iface) lost(problem string) {
	if i.problem != "" {
		return
	}
	i.setProblem(problem)
	i.tell()
}

// tell lets the routers know.
func (i *iface) tell() {
	for _, r := range i.s.routers {
		if r.uses(i) {
			r.interfaceChanged()
		}
	}
}

func (i *iface) retrySoon() { i.retryAt = time.Now().Add(reopenAfter) }

// closeConn closes the socket of a family. Leaving its group takes the lock, too.
func (i *iface) closeConn(f wire.Family) {
	k := i.socket(f)
	if k.conn == nil {
		return
	}
	conn := k.conn
	k.conn = nil
	go func() {
		if err := conn.Close(); err != nil {
			i.s.log.Warn("closing the VRRP socket failed", "interface", i.name, "error", err)
		}
	}()
}

func (i *iface) closeConns() {
	for _, f := range families {
		i.closeConn(f)
	}
	for k, s := range i.senders {
		if s.Sender != nil {
			go s.Close() //nolint:errcheck // nothing waits in it
		}
		delete(i.senders, k)
	}
	i.watch.close()
	i.watch = nil
}
