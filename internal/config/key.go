package config

import (
	"net/netip"
	"slices"

	"baton/internal/pool"
)

// maxKeys bounds a service: each key is a service of its own in the kernel.
const maxKeys = 4096

// buildKeys says what the service is called in the kernel.
func (b *builder) buildKeys(s *service) {
	switch {
	case s.isMark() && s.Address.set:
		b.add(s.FWMark.at, "fwmark: the service has an address too, at %s; allowed: one of them", s.Address.at)
		s.bad = true
	case s.isMark():
		b.markKey(s)
	case s.Address.set:
		b.addressKeys(s)
	default:
		b.add(s.at, "%q is missing in service; allowed: address or fwmark", "address")
		s.bad = true
	}
	s.bad = s.bad || len(s.out.Keys) == 0
	s.ipv6 = !s.bad && s.out.Keys[0].IPv6
}

func (s *service) addKey(k pool.Key, from pos) {
	s.out.Keys, s.from = append(s.out.Keys, k), append(s.from, from)
}

func (b *builder) markKey(s *service) {
	if s.Protocol.ok() && s.Protocol.own {
		b.add(s.Protocol.at, "protocol: a firewall mark has no protocol; leave the key out")
	}
	if s.FWMark.bad || s.Family.bad {
		return
	}
	s.addKey(pool.Key{FWMark: uint32(s.FWMark.v), IPv6: s.Family.v == "inet6"}, s.FWMark.at)
}

func (b *builder) addressKeys(s *service) {
	if s.Family.ok() && s.Family.own {
		b.add(s.Family.at, "family: it follows from the address; the key belongs to fwmark")
	}
	if !s.Address.bad && len(s.Address.items) == 0 {
		b.add(s.Address.at, "address: the list is empty")
	}
	s.bad = s.Protocol.bad
	for i := range s.Address.items {
		a := &s.Address.items[i]
		if !a.ok() || !b.fits(s, a) {
			s.bad = true
			continue
		}
		for port := int(a.v.from); port <= int(a.v.to); port++ {
			s.addKey(pool.KeyOf(protocols[s.Protocol.v], netip.AddrPortFrom(a.v.addr, uint16(port))), a.at)
		}
	}
	b.mixedPortZero(s)
}

// fits reports whether an address can stand beside those before it.
func (b *builder) fits(s *service, a *value[ports]) bool {
	if first := s.Address.items[0]; first.ok() && first.v.addr.Is6() != a.v.addr.Is6() {
		b.add(a.at, "address: %s and %s are of different families; write two services", a.v.addr, first.v.addr)
		return false
	}
	if len(s.out.Keys)+int(a.v.to-a.v.from) >= maxKeys {
		b.add(a.at, "address: these are more than %d ports in one service; use port 0 with persistence, or a fwmark", maxKeys)
		return false
	}
	if a.v.from == 0 && !s.isPersistent() {
		b.add(a.at, "address: port 0 stands for all ports, which needs persistence so that a client stays on its server")
	}
	return true
}

// mixedPortZero refuses a list that has port 0 among others: their servers
// cannot have one port that fits both.
func (b *builder) mixedPortZero(s *service) {
	isZero := func(k pool.Key) bool { return k.Port == 0 }
	if _, one := s.port(); !one && slices.ContainsFunc(s.out.Keys, isZero) {
		b.add(s.Address.at, "address: port 0 cannot stand beside other ports; write two services")
		s.bad = true
	}
}

// claimKeys records the service's keys and reports those that another service,
// or the same one before, already has.
func (b *builder) claimKeys(s *service) {
	for i, k := range s.out.Keys {
		if first, twice := b.keys[k]; twice {
			b.add(s.from[i], "%s is already balanced by service %q at %s", k, first.name, first.at)
			return
		}
		b.keys[k] = owned{s.out.Name, s.from[i]}
	}
}
