package pool

import "fmt"

// When so few servers are up that it is more likely that the checks are wrong, or
// that the rest would not bear the load, no check takes a server out any more:
// the last good set serves on. A service panics while the servers that are up, or
// have not said anything yet, are fewer than its threshold. Those that somebody has
// taken out do not count, and neither do backups.

// judgePanic decides about the panic and about who is held. The servers that were
// up before the verdict that brought it about are the last good set; who comes up
// in the meantime belongs to it.
func (s *service) judgePanic() {
	if s.spec.PanicThreshold == 0 && !s.panic {
		return
	}
	all, good := 0, 0
	for _, srv := range s.servers {
		if !srv.countsForPanic() {
			continue
		}
		all++
		if srv.state != Down {
			good++
		}
	}
	panics := uint64(good)*100 < uint64(s.spec.PanicThreshold)*uint64(all)
	if panics != s.panic {
		s.panic = panics
		s.touch()
	}
	for _, srv := range s.servers {
		held := panics && (srv.held || srv.state == Up || srv.fell) && srv.countsForPanic()
		srv.fell = false
		if held != srv.held {
			srv.held = held
			srv.recount()
			s.touch()
		}
	}
}

// countsForPanic reports whether the server is one of those that the threshold is
// a percentage of.
func (s *server) countsForPanic() bool {
	return !s.spec.Backup && s.state != Draining && s.state != Disabled
}

// panicReason says how few servers are up, and what follows from it.
func (s *service) panicReason() string {
	all, up, kept := 0, 0, 0
	for _, srv := range s.servers {
		if !srv.countsForPanic() {
			continue
		}
		all++
		switch {
		case srv.state == Up:
			up++
		case srv.held:
			kept++
		}
	}
	then := "those that were up before serve on"
	if up+kept == 0 {
		then = "none was up before that could serve on"
	}
	return fmt.Sprintf("only %d of %d servers are up, fewer than %d %% (panic_threshold): %s", up, all, s.spec.PanicThreshold, then)
}
