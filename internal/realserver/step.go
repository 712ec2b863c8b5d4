package realserver

import (
	"fmt"
	"net/netip"
)

// Op is what a step does.
type Op string

// What is done, and what undoes it.
const (
	Load   Op = "load"   // a kernel module; it stays
	Create Op = "create" // an interface
	Remove Op = "remove"
	Up     Op = "up" // an interface
	Down   Op = "down"
	Set    Op = "set"  // a kernel setting
	Open   Op = "open" // a port that unwraps GUE
	Close  Op = "close"
	Add    Op = "add" // an address
	Delete Op = "delete"
)

// Step is one change of the kernel.
type Step struct {
	Op        Op           `json:"op"`
	Module    string       `json:"module,omitempty"`
	Interface string       `json:"interface,omitempty"`
	Key       string       `json:"key,omitempty"`
	From      string       `json:"from,omitempty"`
	To        string       `json:"to,omitempty"`
	Port      uint16       `json:"port,omitempty"`
	Outer     Family       `json:"outer,omitempty"`
	Address   netip.Prefix `json:"address,omitzero"`
	Label     string       `json:"label,omitempty"`
	Why       string       `json:"why,omitempty"`
}

var opposites = map[Op]Op{Create: Remove, Up: Down, Open: Close, Add: Delete}

// undo is the step that takes this one back; for a module there is none: others
// may use it by then.
func (s Step) undo() (Step, bool) {
	if s.Op == Set {
		s.From, s.To, s.Why = s.To, s.From, "as it was before"
		return s, s.From != s.To
	}
	s.Why = ""
	for do, back := range opposites {
		switch s.Op {
		case do:
			s.Op = back
			return s, true
		case back:
			s.Op = do
			return s, true
		}
	}
	return s, false
}

// id names what a step is about: two steps with one id concern the same thing.
func (s Step) id() string {
	if back, ok := opposites[s.Op]; ok {
		s.Op = back
	}
	return fmt.Sprint(s.Op, " ", s.Module, " ", s.Interface, " ", s.Key, " ", s.Port, s.Outer, " ", s.Address)
}

// String says what is done.
func (s Step) String() string {
	text := ""
	switch s.Op {
	case Load:
		text = "load kernel module " + s.Module
	case Create, Remove:
		text = fmt.Sprintf("%s interface %s", s.Op, s.Interface)
	case Up, Down:
		text = fmt.Sprintf("bring interface %s %s", s.Interface, s.Op)
	case Set:
		text = fmt.Sprintf("set %s from %s to %s", spell(s.Key), s.From, s.To)
	case Open:
		text = fmt.Sprintf("receive GUE at UDP port %d (%s)", s.Port, s.Outer)
	case Close:
		text = fmt.Sprintf("receive GUE at UDP port %d (%s) no more", s.Port, s.Outer)
	case Add:
		text = fmt.Sprintf("add address %s to %s", s.Address, s.Interface)
	case Delete:
		text = fmt.Sprintf("remove address %s from %s", s.Address, s.Interface)
	}
	if s.Why != "" {
		text += ": " + s.Why
	}
	return text
}
