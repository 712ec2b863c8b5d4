package balancer

import (
	"fmt"
	"time"

	"baton/internal/pool"
)

// Explain says in words why the service is in its state and what would change
// it: one sentence or two per line.
func (s ServiceStatus) Explain() []string {
	state := "down"
	if s.Up {
		state = "up"
	}
	out := []string{fmt.Sprintf("Service %s is %s since %s: %s.", s.Name, state, when(s.Since), s.Reason)}
	if s.Problem != "" {
		out = append(out, "The kernel does not have it as wanted: "+s.Problem)
	}
	if s.SourceNAT {
		out = append(out, "Its servers see this director's address instead of the client's (source_nat).")
	}
	if s.Lacking != "" {
		out = append(out, "The kernel misses something that it needs: "+s.Lacking)
	}
	out = append(out, s.census())
	out = append(out, s.posture()...)
	switch {
	case s.Standby:
		out = append(out, s.standby())
	case s.FallbackActive:
		out = append(out, fmt.Sprintf("Its clients get the fallback %s.", s.Fallback))
	case !s.Up && s.Weight == 0:
		out = append(out, "Its clients get no answer, for nobody serves.")
	}
	if back := s.comeback(); !s.Up {
		out = append(out, fmt.Sprintf("It comes up when the weights of its live servers add up to %d; now they are %d.", back, s.Weight))
	} else {
		out = append(out, fmt.Sprintf("It goes down when the weights of its live servers are less than %d; now they are %d.", s.limit(), s.Weight))
	}
	for _, srv := range s.Servers {
		if wanted := srv.wanted(); wanted != "" {
			out = append(out, fmt.Sprintf("Server %s: %s.", srv.Address, wanted))
		}
		for _, hint := range srv.hints(s) {
			out = append(out, fmt.Sprintf("Server %s: %s", srv.Address, hint))
		}
	}
	return out
}

// standby says why the service is not in the kernel.
func (s ServiceStatus) standby() string {
	return fmt.Sprintf("It is not programmed here: standby; router %s has its addresses elsewhere (ipvs: standby: cold).", s.Router)
}

// census counts the servers by state.
func (s ServiceStatus) census() string {
	n := make(map[ServerState]int)
	for _, srv := range s.Servers {
		n[srv.State]++
	}
	text := fmt.Sprintf("Of its %s", count(len(s.Servers), "server"))
	for i, state := range []ServerState{Up, Down, Checking, Draining, Disabled} {
		if i > 0 && n[state] == 0 {
			continue
		}
		sep := ", "
		if i == 0 {
			sep = " "
		}
		text += fmt.Sprintf("%s%d %s %s", sep, n[state], isAre(n[state]), state)
	}
	return text + "."
}

// comeback is the weight at which a service that is down comes up.
func (s ServiceStatus) comeback() uint64 { return max(s.Quorum.Min, 1) + s.Quorum.Hysteresis }

// limit is the weight below which a service that is up goes down.
func (s ServiceStatus) limit() uint64 {
	q := max(s.Quorum.Min, 1)
	return max(q-min(q, s.Quorum.Hysteresis), 1)
}

// Explain says in words why the server is in its state within its service, what
// its checks say and said before, and what would change it.
func (s ServerStatus) Explain(service ServiceStatus, past Past) []string {
	out := []string{fmt.Sprintf("Server %s of service %s is %s since %s: %s.",
		s.Address, service.Name, s.State, when(s.Since), s.Reason)}
	out = append(out, s.explainWishes(service)...)
	if s.Source != "" {
		out = append(out, fmt.Sprintf("It is not in the configuration, but was found by %s.", s.Source))
	}
	out = append(out, s.traffic(service))
	out = append(out, s.weighing(service)...)
	for _, c := range s.Checks {
		out = append(out, c.explain(s.State))
		out = append(out, recalled(past(c.ID))...)
	}
	for _, hint := range s.hints(service) {
		out = append(out, "Hint: "+hint)
	}
	return out
}

// traffic says what clients have of the server.
func (s ServerStatus) traffic(service ServiceStatus) string {
	open := fmt.Sprintf("%d active and %d inactive connections", s.Active, s.Inactive)
	switch {
	case service.Standby:
		return service.standby()
	case !s.InKernel && s.State == Up && service.FallbackActive:
		return "It gets no clients, because the service has lost its quorum and the fallback serves alone."
	case !s.InKernel && s.State == Up && service.Problem != "":
		return "It gets no clients, because the kernel does not have the service as wanted: " + service.Problem
	case s.State == Draining && s.InKernel && s.DrainUntil.IsZero():
		return fmt.Sprintf("It gets no new clients and keeps its place in the kernel's table until its connections have ended; it has %s.", open)
	case s.State == Draining && s.InKernel:
		return fmt.Sprintf("It gets no new clients and keeps its place in the kernel's table until its connections have ended, "+
			"at most until %s; it has %s.", when(s.DrainUntil), open)
	case !s.InKernel:
		return "It is not in the kernel's table and gets no clients."
	case s.Weight == 0 && s.ConfiguredWeight == 0:
		return "It is configured with weight 0 and gets no new clients; it has " + open + "."
	case s.Weight == 0:
		return "It is in the kernel's table with weight 0 and gets no new clients; it has " + open + "."
	}
	return fmt.Sprintf("It is in the kernel's table with weight %d and has %s.", s.Weight, open)
}

// explain says what one check of a server last found and what would change its
// verdict.
func (c *CheckStatus) explain(state ServerState) string {
	name := fmt.Sprintf("The %s check of %s", c.Kind(), c.Subject())
	if c.Via() != nil {
		name += " through the VIP"
	}
	if c.Waiting != "" {
		return name + " does not run: " + c.Waiting + "."
	}
	if !c.Known {
		if state == Up {
			return name + " has no result yet; the server serves until it fails."
		}
		return name + " has no result yet; the first one decides."
	}
	text := fmt.Sprintf("%s said at %s: %s (%s, %s).", name, when(c.Last.At), c.Last.Detail, c.Last.Code,
		c.Last.Took.Round(100*time.Microsecond))
	needed, word := c.schedule().Fall-c.Failures, "failure"
	turn := "It makes the server go down"
	if !c.Up {
		needed, word = c.schedule().Rise-c.Successes, "success"
		turn = "It lets the server come up"
	}
	return fmt.Sprintf("%s %s after %s in a row, which takes %s.", text, turn, more(max(needed, 1), word, c), c.takes(max(needed, 1)))
}

// more counts the results that are needed, beyond those that are there.
func more(n int, word string, c *CheckStatus) string {
	if c.Successes > 0 && !c.Up || c.Failures > 0 && c.Up {
		word = "more " + word
	}
	return count(n, word)
}

// takes says how long n results against the verdict take.
func (c *CheckStatus) takes(n int) string {
	// The first comes with the ordinary schedule, those after it with the fast
	// one.
	s := c.schedule()
	fast := s.FastInterval
	if fast <= 0 {
		fast = s.Interval
	}
	least := time.Duration(n-1) * fast
	return fmt.Sprintf("%s to %s", least, least+s.Interval)
}

// hints names the well-known mistakes that the counters give away.
func (s ServerStatus) hints(service ServiceStatus) []string {
	if hints := s.vipHints(); hints != nil {
		return hints
	}
	// So few could still be on their way, or be somebody's port scan.
	const several = 5
	if s.Stats.Connections < several {
		return nil
	}
	switch s.Forward {
	case pool.NAT:
		if s.Stats.InPackets > 0 && s.Stats.OutPackets == 0 && !service.oneWay() {
			return []string{fmt.Sprintf("it got %d packets and sent none back through this director: %s",
				s.Stats.InPackets, service.lostReplies())}
		}
	case pool.DR, pool.TUN:
		// The director sees the clients' half of a connection only. Of one that
		// works it sees at least five packets (SYN, ACK, request, FIN, ACK), of
		// one that is never answered the SYN and its repetitions.
		if service.tcp() && s.Active == 0 && s.Inactive > 0 && s.Stats.InPackets < 3*s.Stats.Connections {
			return []string{"its connections stay half-open: the VIP is probably missing on its " +
				s.vipDevice() + ", or its answers do not reach the clients."}
		}
	}
	return nil
}

// lostReplies says why the replies of a server with NAT may not come back.
func (s ServiceStatus) lostReplies() string {
	if s.SourceNAT {
		return "they are addressed to this director itself (source_nat), so look whether the server listens, " +
			"at its firewall, and at its route to this director."
	}
	return "its default gateway is probably not this director. Make this director, or a VIP of the pair, " +
		"its gateway, or set source_nat: true, with which it sees this director instead of the client."
}

func (s ServerStatus) vipDevice() string {
	if s.Forward == pool.TUN {
		return "tunnel device"
	}
	return "lo"
}

// tcp reports whether all that the service carries is TCP.
func (s ServiceStatus) tcp() bool {
	for _, k := range s.Keys {
		if k.Protocol != pool.TCP {
			return false
		}
	}
	return true
}

// oneWay reports whether the service may carry datagrams that nobody answers,
// such as syslog.
func (s ServiceStatus) oneWay() bool {
	for _, k := range s.Keys {
		if k.Protocol == pool.UDP || k.FWMark != 0 {
			return true
		}
	}
	return false
}

func when(t time.Time) string { return t.Format(time.DateTime) }

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	switch word {
	case "success", "more success":
		return fmt.Sprintf("%d %ses", n, word)
	case "try":
		return fmt.Sprintf("%d tries", n)
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
