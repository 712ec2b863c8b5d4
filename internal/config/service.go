package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	"baton/internal/pool"
)

// service is a service while it is built.
type service struct {
	*rawService
	at   pos
	out  pool.Service
	from []pos // of each of its keys
	bad  bool  // its keys are not known, so nothing is held against them
	ipv6 bool
}

// buildService builds a service; block is how it stands in the file.
func (b *builder) buildService(raw *block[rawService], block *node) {
	if raw.bad {
		return
	}
	s := &service{rawService: &raw.v, at: raw.at}
	b.unique(b.services, "service", s.Name)
	s.out.Name = string(s.Name.v)
	b.buildKeys(s)
	b.claimKeys(s)
	b.buildRouterOf(s)
	b.buildScheduling(s)
	b.buildPersistence(s)
	s.out.Forward = forwards[s.Forward.v]
	if s.OnFailure.v == "quiesce" {
		s.out.OnFailure = pool.Quiesce
		if s.OnFailure.own && !s.isMark() && s.Protocol.v == "udp" {
			b.warn(s.OnFailure.at, "on_failure: a failed server of protocol udp is removed all the same, or the flows that it has would stay with it for as long as they last")
		}
	}
	if s.Admit.v == "at-once" {
		s.out.Admit = pool.AdmitAtOnce
	}
	s.out.DrainTimeout = time.Duration(s.Drain.v)
	b.buildQuorum(s)
	b.buildSlowStart(s)
	s.out.PanicThreshold = uint8(s.Panic.v)
	b.checkAgent(s)
	b.checkUnused(s)
	b.buildServers(s)
	b.buildSources(s, block)
	b.buildFallback(s)
	b.buildSourceNAT(s)
	b.warnScheduling(s)
	b.warnWeights(s)
	b.cfg.Balancer.Services = append(b.cfg.Balancer.Services, s.out)
}

var (
	protocols = map[word]pool.Protocol{"tcp": pool.TCP, "udp": pool.UDP, "sctp": pool.SCTP}
	forwards  = map[word]pool.Forward{"nat": pool.NAT, "dr": pool.DR, "tun": pool.TUN}
)

// isMark reports whether the service is selected by firewall mark.
func (s *service) isMark() bool { return s.FWMark.set }

// port returns the port of a service that has only one. The second result is
// false for a range, whose servers take the port of each key.
func (s *service) port() (uint16, bool) {
	if len(s.out.Keys) == 0 {
		return 0, false
	}
	first := s.out.Keys[0].Port
	for _, k := range s.out.Keys {
		if k.Port != first {
			return 0, false
		}
	}
	return first, true
}

// buildRouterOf finds the router that owns the service's addresses, or checks
// the one that is named.
func (b *builder) buildRouterOf(s *service) {
	if s.Router.bad {
		return
	}
	if s.Router.set {
		s.out.Router = string(s.Router.v)
		if _, known := b.routers[s.out.Router]; !known {
			b.add(s.Router.at, "router: there is no router %q%s", s.out.Router, b.suggestRouter(s.out.Router))
			return
		}
	}
	for i, k := range s.out.Keys {
		vip, ok := b.vips[k.Address]
		switch {
		case !ok || s.out.Router == vip.name:
		case s.Router.set:
			b.add(s.Router.at, "router: %s belongs to router %q at %s, not to %q", k.Address, vip.name, vip.at, s.out.Router)
			return
		case s.out.Router == "":
			s.out.Router = vip.name
		default:
			b.add(s.from[i], "address: %s belongs to router %q at %s, another address of this service to %q; write two services", k.Address, vip.name, vip.at, s.out.Router)
			return
		}
	}
}

func (b *builder) suggestRouter(written string) string {
	return suggestName(written, slices.Collect(maps.Keys(b.routers)))
}

// schedulerFlags are the kernel's numbers of the flags.
var schedulerFlags = map[word]pool.Flags{
	"sh-fallback": pool.Sched1,
	"sh-port":     pool.Sched2,
	"mh-fallback": pool.Sched1,
	"mh-port":     pool.Sched2,
}

func (b *builder) buildScheduling(s *service) {
	s.out.Scheduler = string(s.Scheduler.v)
	for i := range s.Flags.items {
		f := &s.Flags.items[i]
		if !f.ok() {
			continue
		}
		if owner, _, _ := strings.Cut(string(f.v), "-"); owner != s.out.Scheduler && !s.Scheduler.bad {
			if s.Scheduler.own && !s.Flags.own {
				continue // the defaults had them for another scheduler
			}
			b.add(f.at, "scheduler_flags: %s belongs to the scheduler %s, but the service has %s", f.v, owner, s.out.Scheduler)
			continue
		}
		if s.out.Flags&schedulerFlags[f.v] != 0 {
			b.add(f.at, "scheduler_flags: %s is given twice", f.v)
		}
		s.out.Flags |= schedulerFlags[f.v]
	}
	if s.OnePacket.v {
		s.out.Flags |= pool.OnePacket
		if !s.isMark() && !s.Protocol.bad && s.Protocol.v != "udp" {
			b.add(s.OnePacket.at, "one_packet: it is for protocol udp, but the service has %s", s.Protocol.v)
		}
	}
}

// warnScheduling warns of two things that the kernel does and nobody expects.
func (b *builder) warnScheduling(s *service) {
	// ip_vs_sh_get and ip_vs_mh_get: a connection that is hashed to a server without
	// weight has no server.
	scheduler := s.out.Scheduler
	if (scheduler == "sh" || scheduler == "mh") && s.out.Flags&pool.Sched1 == 0 && (len(s.out.Servers) > 1 || s.finds()) {
		b.warn(s.at, "scheduler: %s refuses the clients of a server that has weight 0 or is at its upper threshold; write scheduler_flags: [%s-fallback] to send them to another one",
			scheduler, scheduler)
	}
	// Such packets leave no entry by which the kernel could translate the answers,
	// but for the engine's (ip_vs_new_conn_out).
	isNAT := func(r pool.Server) bool { return r.Forward == pool.NAT }
	if bool(s.OnePacket.v) && s.out.PersistenceEngine == "" &&
		(slices.ContainsFunc(s.out.Servers, isNAT) || s.finds() && s.out.Forward == pool.NAT) {
		b.warn(s.OnePacket.at, "one_packet: with forward: nat the answers reach the clients with the address of the server that sent them; use dr or tun, unless nobody waits for answers")
	}
}

// finds reports whether the service has servers that the file does not name.
func (s *service) finds() bool { return len(s.ServersFrom.items) > 0 }

// isPersistent reports whether clients stay on their server. A timeout of 0s
// switches inherited persistence off.
func (s *service) isPersistent() bool {
	p := &s.Persistence
	return p.set && (p.bad || p.v.Timeout.bad || p.v.Timeout.v > 0)
}

func (b *builder) buildPersistence(s *service) {
	bits := 32
	if s.ipv6 {
		bits = 128
	}
	s.out.PersistencePrefix = uint8(bits)
	if s.isPersistent() {
		s.out.Flags |= pool.Persistent
		s.out.PersistenceSeconds = uint32(time.Duration(s.Persistence.v.Timeout.v) / time.Second)
		if m := &s.Persistence.v.Netmask; m.ok() {
			if !s.bad && int(m.v) > bits {
				b.add(m.at, "netmask: %d is out of range; allowed: a prefix length from 1 to %d for this family", m.v, bits)
			}
			s.out.PersistencePrefix = uint8(m.v)
		}
	}
	if !s.Engine.ok() {
		return
	}
	s.out.PersistenceEngine = string(s.Engine.v)
	if !s.isPersistent() {
		b.add(s.Engine.at, "persistence_engine: %s needs persistence", s.Engine.v)
	}
	if !s.isMark() && !s.Protocol.bad && s.Protocol.v != "udp" {
		b.add(s.Engine.at, "persistence_engine: %s is for protocol udp, but the service has %s", s.Engine.v, s.Protocol.v)
	}
}

// buildSourceNAT comes after the servers. Of a service with one_packet the kernel
// remembers no connection, by which the answer could be given its addresses back.
func (b *builder) buildSourceNAT(s *service) {
	raw := &s.SourceNAT
	if !raw.ok() || !bool(raw.v) || s.Forward.bad {
		return
	}
	isNAT := func(r pool.Server) bool { return r.Forward == pool.NAT }
	switch {
	case s.out.Forward != pool.NAT && !slices.ContainsFunc(s.out.Servers, isNAT):
		if raw.own {
			b.add(raw.at, "source_nat: it belongs to forward: nat, but the service has %s", s.out.Forward)
		}
	case bool(s.OnePacket.v):
		if raw.own {
			b.add(raw.at, "source_nat: with one_packet answers cannot be led back to the client; leave one of them out")
		}
	default:
		s.out.SourceNAT = true
	}
}

func (b *builder) buildQuorum(s *service) {
	q := &s.Quorum.v
	s.out.Quorum = pool.Quorum{Min: uint64(q.Min.v), Hysteresis: uint64(q.Hysteresis.v)}
	if q.Hysteresis.ok() && !q.Min.bad && q.Hysteresis.v >= q.Min.v {
		b.add(q.Hysteresis.at, "hysteresis: %d is not less than the quorum's min of %d; the quorum could never be lost", q.Hysteresis.v, q.Min.v)
	}
	b.buildQuorumCommands(s)
}
