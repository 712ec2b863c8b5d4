package discovery

import (
	"fmt"
	"time"
)

// Status is the state of one source.
type Status struct {
	Service string
	Kind    string // file, dns, consul
	Target  string
	Servers int // in force
	// Held are those of them that the source does not name any more, and that are
	// kept because it lost too many at once.
	Held int
	// LastSuccess is when the source last said which servers there are; zero: never.
	LastSuccess time.Time
	Error       string   // of the last attempt; empty: it succeeded
	Failures    uint64   // attempts that failed since the start
	Refused     []string // what it names and the service cannot use, in words
}

func (w *worker) status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Status{
		Service: w.service, Kind: w.source.Kind(), Target: w.source.Target(),
		Servers: len(w.trust.servers), Held: w.trust.held(), LastSuccess: w.at,
		Error: w.err, Failures: w.failures, Refused: w.refused,
	}
}

// Explain says in words how the source is and what becomes of its servers.
func (s Status) Explain() []string {
	name := s.Kind + " " + s.Target
	first := fmt.Sprintf("Its source %s has not answered yet.", name)
	if !s.LastSuccess.IsZero() {
		first = fmt.Sprintf("It has %s from %s, which last answered at %s.", servers(s.Servers), name, s.LastSuccess.Local().Format(time.DateTime))
	}
	out := []string{first}
	if s.Error != "" {
		out = append(out, fmt.Sprintf("The source %s fails, so its servers stay as they are: %s", name, s.Error))
	}
	if s.Held > 0 {
		out = append(out, fmt.Sprintf("Of them %d are kept although the source does not name them any more: an empty answer removes nobody, "+
			"and one that loses most servers at once has to be repeated %d times over %s.", s.Held, ConfirmAnswers, ConfirmTime))
	}
	if len(s.Refused) > 0 {
		out = append(out, "It names servers that cannot be used: "+few(s.Refused)+".")
	}
	return out
}

// Problem says in one line what needs attention, or nothing.
func (s Status) Problem() string {
	name := s.Kind + " " + s.Target
	switch {
	case s.Error != "":
		return fmt.Sprintf("%s fails, its %s are kept: %s", name, servers(s.Servers), s.Error)
	case s.Held > 0:
		return fmt.Sprintf("%s has lost too many servers at once, %d are kept", name, s.Held)
	case len(s.Refused) > 0:
		return fmt.Sprintf("%s names servers that cannot be used: %s", name, few(s.Refused))
	}
	return ""
}

func servers(n int) string {
	if n == 1 {
		return "1 server"
	}
	return fmt.Sprintf("%d servers", n)
}
