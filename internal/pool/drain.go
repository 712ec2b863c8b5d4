package pool

import (
	"net/netip"
	"slices"
)

// A server that drains gets no new connections: its place in the kernel's table
// is kept at weight 0, for the sake of the connections that it has. It drains
// because its specification says so ([Server.Drain]), because somebody wants it
// ([Override.Drain]), or because it left the specification while it had a place;
// then it is leaving. The pool knows neither
// connections nor time: whoever does ends it by [Pool.Release].

// leaver returns a server of the last version of the service as one that leaves
// this version; nil: it has no place to keep.
func (s *service) leaver(b *server) *server {
	keys := slices.DeleteFunc(slices.Clone(b.keysOf()), func(k Key) bool { return !slices.Contains(s.spec.Keys, k) })
	if _, in := b.place(); !in || b.fallback || len(keys) == 0 || !s.keepsPlaces() {
		return nil
	}
	return &server{spec: b.spec, service: s, wanted: noOverride, leaving: true, found: b.found, keys: keys, state: Draining}
}

// keysOf returns the keys under which the kernel has the server.
func (s *server) keysOf() []Key {
	if s.leaving {
		return s.keys
	}
	return s.service.spec.Keys
}

// takeLeavers takes over from the last version what this one does not name.
func (s *service) takeLeavers(before *service) {
	for _, b := range slices.Concat(before.servers, before.leaving) {
		if s.named(b.spec.AddrPort()) {
			continue
		}
		if l := s.leaver(b); l != nil {
			s.leaving = append(s.leaving, l)
		}
	}
}

func (s *service) named(at netip.AddrPort) bool {
	return slices.ContainsFunc(s.servers, func(srv *server) bool { return srv.spec.AddrPort() == at })
}

// adoptStranger takes a server that the kernel has under a key of the service,
// and that the service does not name, for one that was removed while the program
// did not run.
func (s *service) adoptStranger(k Key, r RealServer) {
	if !s.keepsPlaces() {
		return
	}
	for srv := range s.all() {
		if srv.spec.At(k).AddrPort() == r.AddrPort() && slices.Contains(srv.keysOf(), k) {
			return
		}
	}
	spec := Server{
		Address: r.Address, Port: r.Port, Weight: r.Weight,
		Forward: r.Forward, Tunnel: r.Tunnel, Upper: r.Upper, Lower: r.Lower,
	}
	if spec.Forward == Local { // what the kernel made of the configured one
		spec.Forward = s.spec.Forward
	}
	if s.spec.Keys[0].Port != s.spec.Keys[len(s.spec.Keys)-1].Port && r.Port == k.Port {
		spec.Port = 0 // one server of a range of ports
	}
	s.touch()
	for _, l := range s.leaving {
		if l.spec.AddrPort() == spec.AddrPort() {
			l.keys = append(l.keys, k)
			return
		}
	}
	s.leaving = append(s.leaving, &server{
		spec: &spec, service: s, wanted: noOverride, leaving: true, found: true, keys: []Key{k}, state: Draining,
	})
}

// drains reports whether the server gets no new connections for good.
func (s *server) drains() bool {
	return s.leaving || s.spec.Drain || s.wanted.Drain != "" || s.said.Agent.Mode == AgentDrain
}

// judgeDraining is [server.judge] for a server that drains. One that fails is not
// worth waiting for, unless the service keeps such servers.
func (s *server) judgeDraining(failing int) (changed bool) {
	if s.state == Draining {
		before := s.released
		s.released = before || failing > 0 && !s.service.quiesces()
		s.service.touch()
		return s.released != before
	}
	_, s.seated = s.place()
	s.released = !s.seated || !s.service.keepsPlaces()
	s.adopted = false
	s.service.touch()
	s.set(Draining)
	return true
}

// Release ends the draining of servers of a service: their places in the table
// are given up. Those that the specification does not have are forgotten.
func (p *Pool) Release(service string, servers ...netip.AddrPort) {
	s := p.byName[service]
	if s == nil {
		return
	}
	ended := func(srv *server) bool { return srv.drains() && slices.Contains(servers, srv.spec.AddrPort()) }
	for _, srv := range s.servers {
		srv.released = srv.released || ended(srv)
	}
	s.leaving = slices.DeleteFunc(s.leaving, ended)
	s.touch()
	p.indexChecks()
}
