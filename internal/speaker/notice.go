package speaker

import "time"

// Notice is something that happened to a router beside its transitions: for the
// event history.
type Notice struct {
	At     time.Time
	Router string
	From   string // what it was, or who
	To     string // what it is now
	Reason string
}

// tell reports a notice.
func (s *Speaker) tell(n Notice) {
	s.note()
	if s.onNotice != nil {
		s.onNotice(n)
	}
}
