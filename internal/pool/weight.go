package pool

// A server's effective weight is, of these, the first that there is:
//
//   - the operator's weight;
//   - the configured weight, as far as nothing makes it less or more.
//
// It is what the kernel gets and what counts for the quorum, which is why a change
// of it has to go through [server.recount].

// weight is the server's effective weight while it is in service.
func (s *server) weight() uint32 {
	if s.wanted.Weighs {
		return s.wanted.Weight
	}
	return s.spec.Weight
}

// live is what the server contributes to its service's sum of live weights.
func (s *server) live() uint64 {
	if s.fallback || s.state != Up {
		return 0
	}
	return uint64(s.weight())
}

// recount brings the service's sum of live weights up to date after a change of
// the server's state or of its weight, and reports whether the sum changed. The
// caller has the service judge its quorum afterwards.
func (s *server) recount() (changed bool) {
	now := s.live()
	if now == s.counted {
		return false
	}
	s.service.weight += now - s.counted // modulo 2⁶⁴, and never below zero in the end
	s.counted = now
	s.service.touch()
	return true
}
