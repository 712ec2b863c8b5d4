package pool

import "math"

// A server's weight is made of these, in this order:
//
//   - the weight that an operator has given it, which makes all of the following
//     count for nothing but the last;
//   - the weight that its checks say (the smallest, if several say one), or else
//     the configured one;
//   - of that the percentage that its agent asks for;
//   - of that, while the server starts slowly, the percentage that it has reached.
//
// All but the last is its effective weight. That is what counts for the quorum,
// which is why a change of it has to go through [server.recount].

// fine is how many units of the kernel's weight one configured unit becomes where a
// part of a weight has to be expressed: servers mostly have weight 1.
const fine = 100

// proportional are the schedulers that share connections in proportion to the
// weights, or only compare them: a common factor changes nothing. To lblc, lblcr
// and ovf a weight is a number of connections, sh fills a table of 256 places by
// it, and the others take no notice of it (net/netfilter/ipvs/ip_vs_*.c).
var proportional = map[string]bool{"wlc": true, "wrr": true, "sed": true, "nq": true, "mh": true, "twos": true, "fo": true}

// Proportional reports whether parts of a weight mean something to a scheduler.
func Proportional(scheduler string) bool { return proportional[scheduler] }

// factor is how many units of the kernel's weight one configured unit of the
// service is: more than 1 where parts of a weight occur, as far as the heaviest
// server allows.
func (s *Service) factor() uint32 {
	heaviest, agents := uint32(1), false
	for i := range s.Servers {
		heaviest = max(heaviest, s.Servers[i].Weight)
		agents = agents || s.Servers[i].Agent != ""
	}
	if !proportional[s.Scheduler] || s.SlowStart == 0 && !agents {
		return 1
	}
	return max(min(fine, math.MaxInt32/heaviest), 1)
}

// full is the server's effective weight in units of the kernel.
func (s *server) full() uint64 {
	factor := uint64(s.service.factor)
	switch {
	case s.wanted.Weighs:
		return min(uint64(s.wanted.Weight)*factor, math.MaxInt32)
	case s.borrows:
		return uint64(s.borrowed)
	}
	weight := uint64(s.spec.Weight)
	if s.said.Weighted {
		weight = uint64(s.said.Weight)
	}
	weight *= factor
	if a := s.said.Agent; a.Weighs {
		weight = (weight*uint64(a.Percent) + 99) / 100 // never to nothing, unless it asks for that
	}
	return min(weight, math.MaxInt32)
}

// weight is the server's effective weight in the units of the configuration, parts
// of one counting as one: a server that works at a tenth still is one server.
func (s *server) weight() uint32 {
	factor := uint64(s.service.factor)
	return uint32((s.full() + factor - 1) / factor)
}

// present is the server's weight as the kernel shall have it while it gets clients.
func (s *server) present() uint32 {
	full := s.full()
	if s.ramp == 0 || full == 0 {
		return uint32(full)
	}
	return uint32(max(full*uint64(s.ramp)/100, 1))
}

// live is what the server contributes to its service's sum of live weights.
func (s *server) live() uint64 {
	if s.fallback || !s.serves() {
		return 0
	}
	return uint64(s.weight())
}

// recount brings the service's sums of live weights up to date after a change of
// the server's state or of its weight. The caller has the service judge its quorum
// afterwards.
func (s *server) recount() {
	now := s.live()
	if now == s.counted {
		return
	}
	sum := &s.service.weight
	if s.spec.Backup {
		sum = &s.service.reserve
	}
	*sum += now - s.counted // modulo 2⁶⁴, and never below zero in the end
	s.counted = now
	s.service.touch()
}
