package pool

import (
	"fmt"
	"iter"
	"strings"
	"time"
)

// ServiceState is what a pool knows of a service. It is immutable.
type ServiceState struct {
	Spec           *Service
	Up             bool   // has its quorum
	Weight         uint64 // of the live servers, in configured units; backups count while they serve
	FallbackActive bool
	BackupsServe   bool          // for the other servers have not the quorum
	Panic          bool          // fewer servers are up than its threshold, and nobody is taken out
	Factor         uint32        // units of the kernel's weight in one configured unit
	Reason         string        // why it is up or down, in words
	Servers        []ServerState // in the order of Spec.Servers
	Leaving        []ServerState // that the specification does not have any more, and that drain
	Fallback       ServerState   // without meaning where there is none
}

// All yields the servers, those that are leaving at last.
func (s *ServiceState) All() iter.Seq2[int, *ServerState] {
	return func(yield func(int, *ServerState) bool) {
		for i := range s.Servers {
			if !yield(i, &s.Servers[i]) {
				return
			}
		}
		for i := range s.Leaving {
			if !yield(len(s.Servers)+i, &s.Leaving[i]) {
				return
			}
		}
	}
}

// ServerState is what a pool knows of a real server.
type ServerState struct {
	Spec    *Server
	State   State
	Adopted bool   // in service although not all of its checks have spoken
	InTable bool   // wanted in the kernel's table
	Weight  uint32 // there, in units of the kernel
	Held    bool   // it fails and serves on: its service panics
	Spare   bool   // a live backup that does not serve

	Effective uint32    // its weight in configured units, before a slow start makes it less
	Said      Verdict   // what its checks and its agent say of that
	Ramp      uint32    // percentage that its slow start has reached; 0: none is under way
	RampUntil time.Time // when that ends

	Failing []CheckID // the checks that fail
	Waiting []CheckID // the checks that have not said anything
	Reason  string    // why it is in this state, in words

	Override *Override // what is wanted of it beyond its specification; never nil, and not to be changed
}

// snapshot returns the service's state, the same one until it changes.
func (s *service) snapshot(verdicts map[CheckID]Verdict) *ServiceState {
	if s.state != nil {
		return s.state
	}
	s.state = &ServiceState{
		Spec:           &s.spec,
		Up:             s.up,
		Weight:         s.serving(),
		FallbackActive: s.fallbackServes(),
		BackupsServe:   s.backups,
		Panic:          s.panic,
		Factor:         s.factor,
		Reason:         s.reason(),
		Servers:        make([]ServerState, len(s.servers)),
	}
	for i, srv := range s.servers {
		s.state.Servers[i] = srv.snapshot(verdicts)
	}
	for _, srv := range s.leaving {
		s.state.Leaving = append(s.state.Leaving, srv.snapshot(verdicts))
	}
	if s.fallback != nil {
		s.state.Fallback = s.fallback.snapshot(verdicts)
	}
	return s.state
}

func (s *server) snapshot(verdicts map[CheckID]Verdict) ServerState {
	st := ServerState{Spec: s.spec, State: s.state, Override: s.wanted}
	st.Weight, st.InTable = s.place()
	st.Held = s.held && s.state == Down
	st.Spare = s.spec.Backup && s.state == Up && !s.service.backups
	st.Effective, st.Said, st.Ramp = s.weight(), s.said, s.ramp
	if s.ramp > 0 {
		st.RampUntil = s.warming.Add(s.service.spec.SlowStart)
	}
	for _, id := range s.spec.Checks {
		v, known := verdicts[id]
		switch {
		case !known:
			st.Waiting = append(st.Waiting, id)
		case !v.Up:
			st.Failing = append(st.Failing, id)
		}
	}
	st.Adopted = s.adopted && len(st.Waiting) > 0
	st.Reason = s.reason(len(st.Failing), len(st.Waiting))
	return st
}

// reason says why a server is in its state.
func (s *server) reason(failing, waiting int) string {
	all := len(s.spec.Checks)
	if s.held && s.state == Down {
		return s.why(failing, waiting, all) + "; it serves on, because too few servers of the service are up (panic_threshold)"
	}
	return s.why(failing, waiting, all)
}

func (s *server) why(failing, waiting, all int) string {
	switch {
	case s.state == Disabled && s.wanted.Disable != "":
		return s.wanted.Disable
	case s.state == Disabled:
		return "its agent says that it is in maintenance"
	case s.drains() && failing > 0:
		return fmt.Sprintf("%s, and %s failing", s.drainReason(), ofChecks(failing, all))
	case s.drains():
		return s.drainReason()
	case s.state == Down && failing == 0:
		return "its agent says that it is down"
	case all == 0:
		return "it has no check and counts as up"
	case s.state == Down:
		return fmt.Sprintf("%s failing", ofChecks(failing, all))
	case s.state == Checking:
		return fmt.Sprintf("%s without a result yet", ofChecks(waiting, all))
	case waiting == 0 && all == 1:
		return "its check passes"
	case waiting == 0:
		return fmt.Sprintf("all of its %d checks pass", all)
	case s.adopted:
		return "it was in service before and no check has failed since"
	}
	return "it is used before its first check (admit: at-once)"
}

// drainReason says why a server drains. Any reason is enough, and all are named.
func (s *server) drainReason() string {
	var why []string
	switch {
	case s.found:
		why = append(why, "it was found in the kernel's table and is not in the configuration")
	case s.leaving && s.spec.Source != "":
		why = append(why, "its source does not name it any more: "+s.spec.Source)
	case s.leaving:
		why = append(why, "it is no longer in the configuration")
	case s.spec.Drain:
		why = append(why, "it was told to drain")
	}
	if s.wanted.Drain != "" {
		why = append(why, s.wanted.Drain)
	}
	if s.said.Agent.Mode == AgentDrain {
		why = append(why, "its agent asks to drain it")
	}
	return strings.Join(why, "; ")
}

func ofChecks(n, all int) string {
	if all == 1 {
		return "its check is"
	}
	verb := "are"
	if n == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%d of its %d checks %s", n, all, verb)
}

// reason says why a service is up or down and who serves.
func (s *service) reason() string {
	_, back := s.spec.Quorum.thresholds()
	weight := s.serving()
	parts := []string{fmt.Sprintf("live weight %d of a quorum of %d", weight, max(s.spec.Quorum.Min, 1))}
	if s.panic {
		parts = append(parts, s.panicReason())
	}
	if s.backups {
		parts = append(parts, fmt.Sprintf("the backups serve, for the others have a live weight of %d", s.weight))
	}
	if s.up {
		return strings.Join(parts, "; ")
	}
	if s.spec.Quorum.Hysteresis > 0 {
		parts = append(parts, fmt.Sprintf("it comes back at %d", back))
	}
	if total := s.total(); total < back {
		parts = append(parts, fmt.Sprintf("which it cannot reach, for all of its servers together weigh %d", total))
	}
	if n := s.takenOut(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d of its servers drained or disabled", n))
	}
	switch {
	case s.fallbackServes():
		parts = append(parts, "the fallback serves")
	case s.fallback != nil:
		parts = append(parts, "the fallback is down too")
	}
	if weight > 0 && !s.fallbackServes() {
		parts = append(parts, "the servers that are left serve on")
	}
	return strings.Join(parts, "; ")
}

// takenOut counts the servers that somebody has taken out of service.
func (s *service) takenOut() (n int) {
	for _, srv := range s.servers {
		if srv.state == Draining || srv.state == Disabled {
			n++
		}
	}
	return n
}

// total is the weight of all servers, live or not.
func (s *service) total() (sum uint64) {
	for _, srv := range s.servers {
		sum += uint64(srv.weight())
	}
	return sum
}
