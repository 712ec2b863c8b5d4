package vrrp

import (
	"net/netip"
	"time"
)

// What happens in the world of the simulator, in the order of time.

// run lets the time pass until end, or until a rule is broken.
func (s *sim) run(end int64) {
	for s.now < end && s.rules.broken == "" {
		s.advance(end)
	}
	s.check()
}

// runUntil lets the time pass until done, and reports whether it came to that
// before end.
func (s *sim) runUntil(end int64, done func() bool) bool {
	for !done() {
		if s.now >= end || s.rules.broken != "" {
			return false
		}
		s.advance(end)
	}
	return s.rules.broken == ""
}

// advance runs to the next thing that happens, at most until end.
func (s *sim) advance(end int64) {
	s.check()
	next, node := end, -1
	for i := range s.nodes {
		n := &s.nodes[i]
		if !n.up {
			continue
		}
		at := n.at
		if n.until != 0 {
			at = n.until
		}
		if at < next {
			next, node = at, i
		}
	}
	packet := len(s.wire) > 0 && s.wire[0].at <= next
	if packet && node >= 0 && s.wire[0].at == next {
		packet = s.scripted || s.rng.IntN(2) == 0 // both orders happen
	}
	if packet {
		next = s.wire[0].at
	}
	if next > s.now {
		s.now, s.rules.steps = next, 0
	}
	if s.rules.steps++; s.rules.steps > 1000 && node >= 0 {
		s.broke(ruleSpin, node)
	}
	s.checkBounds()
	switch {
	case s.rules.broken != "":
	case packet:
		s.deliver(s.wire.pop())
	case node >= 0 && s.nodes[node].until != 0:
		s.wake(s.nodes[node].host)
	case node >= 0:
		s.step(node, Event{Kind: Expired})
	}
}

func (s *sim) deliver(p simPacket) {
	if p.strange {
		s.rules.strange--
		s.rules.calm = s.now
	}
	n := &s.nodes[p.to]
	switch {
	case !n.up:
	case n.until != 0:
		n.queue = append(n.queue, p)
	default:
		s.receive(p)
	}
}

var simAddresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, 200})}

func (s *sim) receive(p simPacket) {
	n, from := &s.nodes[p.to], &s.nodes[p.from]
	if s.trace != nil && s.packets {
		s.logf("%s reads priority %d of %s on %d", n.name, p.priority, from.name, p.path)
	}
	a := Advert{VRID: n.spec.VRID, Priority: p.priority, Interval: time.Duration(p.interval), Addresses: simAddresses}
	s.rules.reads = p
	s.step(int(p.to), Event{
		Kind: Received, Advert: &a, Path: int(p.path),
		Source: s.source(int(p.path), from.host), Own: s.source(int(p.path), n.host),
	})
}

// source is the address that a host's adverts come from.
func (s *sim) source(path, host int) netip.Addr { return s.sources[path][host] }

// command gives a router an order, or keeps it for the time when it runs again.
func (s *sim) command(i int, ev Event) {
	n := &s.nodes[i]
	switch {
	case !n.up:
	case n.until != 0:
		n.commands = append(n.commands, ev)
	default:
		s.step(i, ev)
	}
}

// start boots a host.
func (s *sim) start(host int) {
	for _, i := range s.byHost[host] {
		n := &s.nodes[i]
		n.up, n.until, n.frozen, n.want = true, 0, false, false
		n.queue, n.commands = n.queue[:0], n.commands[:0]
		n.spec.Source = s.source(0, host)
		n.r = New(n.spec, s.clock(n))
		n.model = simModel{}
	}
	s.join(host)
	if s.trace != nil {
		s.logf("%c starts", 'a'+host)
	}
	for _, i := range s.byHost[host] {
		s.step(i, Event{Kind: Startup})
	}
	s.disturbed()
}

// join makes a sync group of a host's routers, where it has more than one.
func (s *sim) join(host int) {
	on := s.byHost[host]
	if len(on) < 2 {
		return
	}
	routers := make([]*Router, len(on))
	for m, i := range on {
		routers[m] = s.nodes[i].r
	}
	g := NewGroup("edge", []string{"web", "lan"}[:len(on)], routers)
	for _, i := range on {
		s.nodes[i].group = g
	}
}

// crash ends the daemon of a host. With a will its addresses are removed and
// priority 0 is sent on its behalf; without one they stay until their lease ends.
func (s *sim) crash(host int, will bool) {
	lease := s.lease()
	if s.trace != nil && s.nodes[s.byHost[host][0]].up {
		s.logf("%c dies%s", 'a'+host, s.afterwards(host, will, lease))
	}
	for _, i := range s.byHost[host] {
		n := &s.nodes[i]
		if will && n.r.State() == Master && n.want {
			s.sent(i, 0)
			s.send(i, 0, false)
		}
		n.want = n.want && !will
		if n.until == 0 {
			n.leaseEnd = lease
		}
		n.up, n.until, n.at = false, 0, never
		s.gone(i)
	}
	s.disturbed()
}

// afterwards tells what happens to the addresses of a host without its daemon.
func (s *sim) afterwards(host int, will bool, lease int64) string {
	switch {
	case will:
		return ", and its will is executed"
	case s.nodes[s.byHost[host][0]].want:
		return ", and its kernel drops the addresses at +" + time.Duration(lease).String()
	}
	return ""
}

// lease is when the kernel drops addresses that are renewed no more: up to a
// third of the lease has passed since the last time.
func (s *sim) lease() int64 {
	if s.scripted {
		return s.now + simLease
	}
	return s.now + simLease - s.rng.Int64N(simLease/3)
}

// stall makes a host stand still, like SIGSTOP or swap. Where frozen, its clock
// stands still too, like that of a paused virtual machine.
func (s *sim) stall(host int, d int64, frozen bool) {
	lease := s.lease()
	if s.trace != nil && s.nodes[s.byHost[host][0]].runs() {
		also := s.afterwards(host, false, lease)
		if frozen {
			also = ", and its clock too"
		}
		s.logf("%c stands still for %s%s", 'a'+host, time.Duration(d), also)
	}
	for _, i := range s.byHost[host] {
		n := &s.nodes[i]
		if !n.up || n.until != 0 {
			continue
		}
		n.since, n.until, n.frozen, n.leaseEnd = s.now, s.now+d, frozen, lease
	}
	s.disturbed()
}

// wake lets a host go on. What came meanwhile may be read before the timer is
// looked at, or after it.
func (s *sim) wake(host int) {
	if s.trace != nil {
		s.logf("%c goes on", 'a'+host)
	}
	for _, i := range s.byHost[host] {
		n := &s.nodes[i]
		if n.frozen {
			n.lag += s.now - n.since
			n.deadline()
		}
		s.woken(i)
		n.until, n.frozen = 0, false
	}
	s.disturbed()
	timerFirst := !s.scripted && s.rng.IntN(2) == 0
	for _, i := range s.byHost[host] {
		n := &s.nodes[i]
		if timerFirst && n.at <= s.now {
			s.step(i, Event{Kind: Expired})
		}
		for _, p := range n.queue {
			s.receive(p)
		}
		n.queue = n.queue[:0]
		if n.at <= s.now {
			s.step(i, Event{Kind: Expired})
		}
		n.model.waking = false
	}
	for _, i := range s.byHost[host] {
		n := &s.nodes[i]
		for _, ev := range n.commands {
			s.step(i, ev)
		}
		n.commands = n.commands[:0]
	}
}
