package pool

import "net/netip"

// Place is a server within a service, whether or not the specification has it.
type Place struct {
	Service string
	Server  netip.AddrPort // as [Server.AddrPort]
}

// Override is what somebody wants of a server, whatever its specification says.
// Its reasons are words for the operator. The zero value wants nothing.
type Override struct {
	Drain   string // why it is to drain; empty: it need not
	Disable string // why it is to have no place, which cuts its connections; empty: it need not

	Weighs    bool   // Weight counts instead of the configured one
	Weight    uint32 // 0–1<<31-1
	WeightWhy string
}

// noOverride is what most servers have. Like all overrides that the pool has been told
// of, nobody changes it.
var noOverride = &Override{}

// Override replaces all overrides and reports whether anything changed by it.
// Those of servers that there are not wait for them. A fallback has none.
func (p *Pool) Override(overrides map[Place]Override) (changed bool) {
	p.overrides = overrides
	for _, s := range p.services {
		moved := false
		for srv := range s.all() {
			moved = srv.override(p) || moved
		}
		if moved {
			s.judge()
			changed = true
		}
	}
	return changed
}

// override takes over what is wanted of the server and reports whether that is
// something else than before.
func (s *server) override(p *Pool) (changed bool) {
	want, ok := p.overrides[Place{s.service.spec.Name, s.spec.AddrPort()}]
	if s.fallback || want == *s.wanted {
		return false
	}
	s.wanted = noOverride
	if ok {
		kept := want // in memory of its own: most servers have none
		s.wanted = &kept
	}
	if !s.service.fresh { // else it is judged when its service starts
		s.service.touch()
		s.judge(p.verdicts)
	}
	return true
}

// disabled reports whether the server is to have no place: somebody wants it, or its
// agent.
func (s *server) disabled() bool { return s.wanted.Disable != "" || s.said.Agent.Mode == AgentMaint }

// judgeDisabled is [server.judge] for a server that is to have no place.
func (s *server) judgeDisabled() (changed bool) {
	changed = s.state != Disabled
	s.adopted, s.seated, s.released = false, false, true
	s.service.touch()
	s.set(Disabled)
	return changed
}
