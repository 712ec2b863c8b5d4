package pool

import "time"

// State is the state of a real server.
type State uint8

// The states of a server. Only one that is [Up] is live: it counts for the
// quorum and gets connections.
const (
	Checking State = iota // a check has not yet said anything
	Up
	Down
	Draining // it finishes the connections that it has
	Disabled // an operator has taken it out
)

// String returns the word that status shows.
func (s State) String() string {
	switch s {
	case Checking:
		return "checking"
	case Up:
		return "up"
	case Down:
		return "down"
	case Draining:
		return "draining"
	case Disabled:
		return "disabled"
	}
	return "unknown"
}

// server is one real server of one service.
type server struct {
	spec    *Server
	service *service
	wanted  *Override // never nil, and not to be changed

	fallback bool
	state    State
	counted  uint64  // what it contributes to a sum of live weights
	said     Verdict // what its checks and its agent say of its weight, and of its mode
	// borrows: the weight under which it was found in the kernel counts, until those
	// that decide about its weight have spoken.
	borrows  bool
	borrowed uint32

	cold    bool      // it starts slowly when it comes up
	warming time.Time // of a slow start: since when
	ramp    uint32    // percentage that it has reached; 0: none is under way
	watched bool      // the clock knows of it

	held bool // it stays in service although it fails: the service panics
	fell bool // it has gone from up to down since the service was judged last

	// adopted: it served before its checks had spoken, under an earlier run of
	// the program or an earlier configuration, and serves on until one of them
	// fails.
	adopted bool
	// seated: it has a place in the kernel's table. While it is not yet known
	// whether the server works the place is kept, at weight 0: taking it away
	// would cut the connections that the server has, perhaps just to give the
	// place back a second later.
	seated bool

	released bool  // of a draining one: it has no place any more
	leaving  bool  // the specification does not have it any more
	found    bool  // … because it was found in the kernel only
	keys     []Key // of a leaving one: under which it has a place
}

// judge derives the server's state and weight from the verdicts and reports
// whether one of them changed.
func (s *server) judge(verdicts map[CheckID]Verdict) (changed bool) {
	failing, waiting := s.tally(verdicts)
	weighs := s.learn(verdicts, failing, waiting)
	s.service.touch() // what the checks say is part of the snapshot
	switch {
	case s.disabled():
		return s.judgeDisabled() || weighs
	case s.drains():
		return s.judgeDraining(failing) || weighs
	}
	state := Up
	switch {
	case failing > 0, s.said.Agent.Down:
		state = Down
		s.adopted = false // the benefit of the doubt is used up
	case waiting == 0, s.adopted, s.service.spec.Admit == AdmitAtOnce, s.fallback:
	default:
		state = Checking
	}
	moved := state != s.state
	s.set(state)
	return moved || weighs
}

// set changes the state and keeps the service's sum of live weights.
func (s *server) set(state State) {
	was := s.state
	if state == Checking && was != Checking {
		_, s.seated = s.place()
	}
	s.state = state
	switch {
	case state == Up && was != Up:
		s.warm()
	case state == Down || state == Draining || state == Disabled:
		s.fell = s.fell || was == Up && state == Down
		s.cold, s.ramp = true, 0
	}
	s.recount()
}

// serves reports whether the server is live: it counts for the quorum and gets
// clients.
func (s *server) serves() bool { return s.state == Up || s.state == Down && s.held }

// place returns whether the server is in the table and with which weight.
func (s *server) place() (weight uint32, in bool) {
	if s.fallback {
		// A fallback of weight 0 would be none.
		return max(s.present(), 1), s.service.fallbackServes()
	}
	if s.serves() {
		return s.share()
	}
	switch s.state {
	case Down:
		return 0, s.service.quiesces()
	case Draining:
		return 0, !s.released
	case Disabled:
		return 0, false
	default:
		return 0, s.seated && s.service.keepsPlaces()
	}
}

// share is [server.place] for a server that is live.
func (s *server) share() (weight uint32, in bool) {
	weight = s.present()
	// Beside a fallback that serves there is nobody else, or clients would get one
	// or the other by chance, and so it is with backups that do not serve. A server
	// of weight 0 gets no clients and only finishes what it has.
	if s.service.fallbackServes() || s.spec.Backup && !s.service.backups {
		weight = 0
	}
	return weight, weight > 0 || s.spec.Weight == 0 || s.service.keepsPlaces()
}

// At returns the server as the kernel is told of it under one key of its
// service, with its configured weight. With DR and TUN the packet's port is not
// changed, so the kernel wants the service's port there; with NAT only a server
// without a port of its own takes the service's.
func (s Server) At(k Key) RealServer {
	port := s.Port
	if s.Forward != NAT || port == 0 {
		port = k.Port
	}
	return RealServer{
		Address: s.Address,
		Port:    port,
		Weight:  s.Weight,
		Forward: s.Forward,
		Tunnel:  s.Tunnel,
		Upper:   s.Upper,
		Lower:   s.Lower,
	}
}
