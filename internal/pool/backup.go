package pool

// Backups serve while the weights of the other servers that are live do not make
// the quorum. They leave again when these do, each threshold moved by the
// hysteresis as that of the quorum is. A server that is live without serving keeps
// a place at weight 0, for the sake of the connections that it has.

// judgeBackups decides whether the backups serve.
func (s *service) judgeBackups() {
	serve := s.backups
	low, high := s.spec.Quorum.thresholds()
	switch {
	case s.weight >= high || !s.hasBackups:
		serve = false
	case s.weight+s.pending() < low:
		serve = true
	}
	if serve != s.backups {
		s.backups = serve
		s.touch()
	}
}

// pending is the weight of the servers that have not said anything yet. Backups
// wait for them: at a start the first verdict may be that of a backup.
func (s *service) pending() (sum uint64) {
	for _, srv := range s.servers {
		if srv.state == Checking && !srv.spec.Backup {
			sum += uint64(srv.weight())
		}
	}
	return sum
}

// serving is the sum of the weights of those live servers that may serve.
func (s *service) serving() uint64 {
	if s.backups {
		return s.weight + s.reserve
	}
	return s.weight
}

// thresholds returns the weight below which a quorum is lost, at least 1, and the
// one at which it is regained.
func (q Quorum) thresholds() (low, high uint64) {
	least := max(q.Min, 1)
	return max(least-min(q.Hysteresis, least), 1), least + q.Hysteresis
}
