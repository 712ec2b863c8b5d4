package pool

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// ServiceState is what a pool knows of a service. It is immutable.
type ServiceState struct {
	Spec           *Service
	Up             bool   // has its quorum
	Weight         uint64 // of the live servers
	FallbackActive bool
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
	Spec     *Server
	State    State
	Adopted  bool      // in service although not all of its checks have spoken
	InTable  bool      // wanted in the kernel's table
	Weight   uint32    // there
	Failing  []CheckID // the checks that fail
	Waiting  []CheckID // the checks that have not said anything
	Reason   string    // why it is in this state, in words
	Override Override  // what is wanted of it beyond its specification
}

// snapshot returns the service's state, the same one until it changes.
func (s *service) snapshot(verdicts map[CheckID]bool) *ServiceState {
	if s.state != nil {
		return s.state
	}
	s.state = &ServiceState{
		Spec:           &s.spec,
		Up:             s.up,
		Weight:         s.weight,
		FallbackActive: s.fallbackServes(),
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

func (s *server) snapshot(verdicts map[CheckID]bool) ServerState {
	st := ServerState{Spec: s.spec, State: s.state, Override: s.wanted}
	st.Weight, st.InTable = s.place()
	for _, id := range s.spec.Checks {
		up, known := verdicts[id]
		switch {
		case !known:
			st.Waiting = append(st.Waiting, id)
		case !up:
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
	switch {
	case s.state == Disabled:
		return s.wanted.Disable
	case s.drains() && failing > 0:
		return fmt.Sprintf("%s, and %s failing", s.drainReason(), ofChecks(failing, all))
	case s.drains():
		return s.drainReason()
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
	case s.leaving:
		why = append(why, "it is no longer in the configuration")
	case s.spec.Drain:
		why = append(why, "it was told to drain")
	}
	if s.wanted.Drain != "" {
		why = append(why, s.wanted.Drain)
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
	q := max(s.spec.Quorum.Min, 1)
	b := "live weight " + strconv.FormatUint(s.weight, 10) + " of a quorum of " + strconv.FormatUint(q, 10)
	if s.up {
		return b
	}
	parts := []string{b}
	if back := q + s.spec.Quorum.Hysteresis; s.spec.Quorum.Hysteresis > 0 {
		parts = append(parts, fmt.Sprintf("it comes back at %d", back))
	}
	if total := s.total(); total < q+s.spec.Quorum.Hysteresis {
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
	if s.weight > 0 && !s.fallbackServes() {
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
