package pool

// Verdict is what a check, or an agent, says of the servers that have it. The zero
// value is that of a check that fails.
type Verdict struct {
	Up bool // of an agent: it answers

	// Weighted: the check passes and says that its servers should have this Weight
	// instead of the configured one; with 0 they get no new clients.
	Weighted bool
	Weight   uint32 // at most 1<<31-1

	Agent Agent // of an agent: all that it has said until now
}

// Agent is what the agent of a server asks for (HAProxy's agent-check protocol).
// What it has not mentioned it does not ask for; the zero value asks for nothing.
type Agent struct {
	Weighs  bool // Percent counts
	Percent uint32
	Down    bool // it says that the server must not be used: down, fail, stopped
	Mode    AgentMode
}

// AgentMode is what an agent asks for as an administrator would.
type AgentMode uint8

// The modes that an agent can ask for.
const (
	AgentReady AgentMode = iota // nothing special
	AgentDrain                  // no new connections
	AgentMaint                  // out of service
)

// learn takes over what the checks and the agent say about the server's weight,
// and reports whether its weight changed by it. Of a server that fails the last
// weight is kept: it may have to serve on; see [Service.PanicThreshold].
func (s *server) learn(verdicts map[CheckID]Verdict, failing, waiting int) (changed bool) {
	before := s.full()
	agent, heard := verdicts[s.spec.Agent]
	if heard || s.spec.Agent == "" { // one that a reload has changed is about to speak
		s.said.Agent = agent.Agent
	}
	if failing == 0 {
		s.said.Weighted = false
		for _, id := range s.spec.Checks {
			if v := verdicts[id]; v.Weighted && (!s.said.Weighted || v.Weight < s.said.Weight) {
				s.said.Weighted, s.said.Weight = true, v.Weight
			}
		}
	}
	if failing > 0 || waiting == 0 && (heard || s.spec.Agent == "") {
		s.borrows = false
	}
	return s.full() != before
}

// tally counts the server's checks that fail and those that have said nothing.
func (s *server) tally(verdicts map[CheckID]Verdict) (failing, waiting int) {
	for _, id := range s.spec.Checks {
		v, known := verdicts[id]
		switch {
		case !known:
			waiting++
		case !v.Up:
			failing++
		}
	}
	return failing, waiting
}
