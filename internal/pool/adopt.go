package pool

import "slices"

// Adopt takes note of the kernel's table as it was found: by a program that has
// been restarted, or that replaces another one. A server that was found under a
// key of its service, with a weight, and that no check has spoken about yet,
// stays in service until a check fails. So a restart under load loses nothing,
// and neither does one while the checks cannot run. A server that was found there
// and that the service does not name drains, as if it had been removed just now;
// one that is to drain goes on with it.
func (p *Pool) Adopt(found Table) {
	for _, s := range p.services {
		s.adopt(found, p.verdicts)
	}
}

func (s *service) adopt(found Table, verdicts map[CheckID]Verdict) {
	fallback, served, judged, backups := false, false, false, false
	for _, k := range s.spec.Keys {
		v := found.Find(k)
		if v == nil {
			continue
		}
		for _, srv := range s.servers {
			failing, waiting := srv.tally(verdicts)
			judged = judged || waiting < len(srv.spec.Checks)
			weight, in := v.weight(srv.spec.At(k))
			if !in || failing > 0 {
				continue
			}
			served = served || weight > 0
			backups = backups || weight > 0 && srv.spec.Backup
			if srv.drains() { // it did so before this program began
				srv.seated, srv.released = true, !s.keepsPlaces()
				continue
			}
			if waiting > 0 {
				srv.adopted = srv.adopted || weight > 0
				srv.seated = true
				srv.borrows, srv.borrowed = srv.spec.Dynamic, weight
			}
		}
		for _, r := range v.Servers {
			s.adoptStranger(k, r)
		}
		if s.fallback != nil {
			weight, _ := v.weight(s.fallback.spec.At(k))
			fallback = fallback || weight > 0
		}
	}
	for _, srv := range s.servers {
		srv.judge(verdicts)
	}
	// The servers served and the fallback did not: the service had its quorum,
	// and keeps it as long as one that it has. Without this a service that lives
	// between its two thresholds would lose its servers by a restart. Once a check
	// has spoken the quorum has been decided and the kernel is no evidence.
	if served && !fallback && !judged {
		s.up = true
		s.backups = backups
	}
	s.judge()
}

// weight finds a server by its address and port.
func (v *VirtualService) weight(r RealServer) (weight uint32, in bool) {
	i, in := slices.BinarySearchFunc(v.Servers, r, RealServer.Compare)
	if !in {
		return 0, false
	}
	return v.Servers[i].Weight, true
}

// Adopted returns, sorted, the checks without a verdict of servers that are in
// service all the same because they were before. Their first result must not be
// taken for more than it is: one lost packet is no reason to stop a server that
// works.
func (p *Pool) Adopted() []CheckID {
	var out []CheckID
	for id, servers := range p.byCheck {
		if _, known := p.verdicts[id]; known {
			continue
		}
		if slices.ContainsFunc(servers, func(s *server) bool { return s.adopted && s.spec.Agent != id }) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
