package vrrp

import (
	"net/netip"
)

// State is a state of RFC 9568 section 6.4, or fault.
type State uint8

// The states, with the values that the metric baton_router_state has.
const (
	Init State = iota
	Backup
	Master
	Fault
)

// String returns the name as status shows it.
func (s State) String() string {
	switch s {
	case Init:
		return "init"
	case Backup:
		return "backup"
	case Master:
		return "master"
	case Fault:
		return "fault"
	}
	return "unknown"
}

// Listens reports whether adverts mean anything in this state.
func (s State) Listens() bool { return s == Backup || s == Master }

// EventKind is the kind of an [Event].
type EventKind uint8

// The events.
const (
	Startup    EventKind = iota // take part (RFC 9568 section 6.4.1)
	Received                    // an advert that passed all checks came in
	Expired                     // the time of [Router.Deadline] has come
	Shutdown                    // planned stop: hand over, then let go
	Resign                      // hand over to a peer and stand back, if one takes over
	Resume                      // take part again after Resign
	Failed                      // something this router needs is broken (Reason)
	Recovered                   // all that it needs works
	Configured                  // a new Spec
	Synced                      // the connection table has caught up with the master's
	Conflicted                  // somebody else announces one of our addresses
	Removed                     // end at once, for Reason; peers take over after their skew
)

// Event is something that happened to a router.
type Event struct {
	Kind   EventKind
	Advert *Advert    // Received; not kept
	Source netip.Addr // Received: where the advert came from
	// Path is the way an advert came, and Own our own source there: 0 is the router's
	// own interface, others are further heartbeat paths.
	Path   int
	Own    netip.Addr
	Reason string // Failed: what is broken; Removed: why
	Spec   *Spec  // Configured
}

// ActionKind is the kind of an [Action].
type ActionKind uint8

// The actions, to be carried out in the order given.
const (
	Send       ActionKind = iota // send an advert with Priority
	Hold                         // have the addresses on the interface
	Release                      // take the addresses off the interface
	Tell                         // announce the addresses to the neighbours, Repeat times
	Transition                   // From → To for Reason: log and report it
	Settled                      // the planned stop or Resign has ended; Reason is empty if all went well
	Rival                        // another router believes that it is master (Source)
)

// Action is something to be done for a router.
type Action struct {
	Kind     ActionKind
	Priority uint8
	Repeat   int
	From, To State
	Reason   string
	Source   netip.Addr
}
