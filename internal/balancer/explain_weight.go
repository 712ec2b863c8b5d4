package balancer

import (
	"fmt"
	"time"
)

// posture says what of a service is not as on ordinary days: panic, backups.
func (s ServiceStatus) posture() (out []string) {
	if s.Panic {
		held := 0
		for _, srv := range s.Servers {
			if srv.Kept {
				held++
			}
		}
		out = append(out, fmt.Sprintf("It panics: fewer than %d %% of its servers are up (panic_threshold), so that no check takes one out "+
			"any more; %s. The panic ends when %d %% are up; draining or disabling a server by hand still works.",
			s.PanicThreshold, keptText(held), s.PanicThreshold))
	}
	if s.BackupsServe {
		out = append(out, fmt.Sprintf("Its backups serve, because the others do not make the quorum; they leave when these weigh %d again.", s.comeback()))
	}
	if s.Factor > 1 {
		out = append(out, fmt.Sprintf("One unit of weight is %d units in the kernel, so that parts of it can be given.", s.Factor))
	}
	return out
}

func keptText(n int) string {
	switch n {
	case 0:
		return "none of those that fail was up before, so none of them serves on"
	case 1:
		return "1 server that fails serves on"
	}
	return fmt.Sprintf("%d servers that fail serve on", n)
}

// weighing says what has made the server's weight what it is.
func (s ServerStatus) weighing(service ServiceStatus) (out []string) {
	switch {
	case s.Kept:
		out = append(out, "It fails and serves on all the same, because too few servers of the service are up (panic_threshold).")
	case s.Spare:
		out = append(out, fmt.Sprintf("It is a backup: it gets new clients when the weights of the live servers that are none add up to less than %d.", service.limit()))
	case s.Backup:
		out = append(out, "It is a backup.")
	}
	if s.Weighted {
		said := fmt.Sprintf("Its checks say weight %d, instead of the configured %d", s.CheckWeight, s.ConfiguredWeight)
		if s.Override != nil && s.Override.Weight != nil {
			said += "; an operator's weight counts instead of both"
		}
		out = append(out, said+".")
	}
	if s.Agent != nil {
		out = append(out, s.Agent.explain())
	}
	if s.Ramp > 0 {
		out = append(out, fmt.Sprintf("It starts slowly (slow_start: %s): it has reached %d %% of its weight, and has all of it at %s.",
			service.SlowStart, s.Ramp, when(s.RampUntil)))
	}
	return out
}

// explain says what a server's agent asks for, and how much that is worth.
func (a *AgentStatus) explain() string {
	name := "Its agent at " + a.Subject()
	switch holds := a.Says.String(); {
	case !a.Known:
		return name + " has not been asked yet."
	case a.Failures > 0 && holds == "nothing":
		return fmt.Sprintf("%s has said nothing, which changes nothing: %s (%s).", name, a.Last.Detail, a.Last.Code)
	case a.Failures > 0:
		return fmt.Sprintf("%s is silent since %s; its last word holds: %s. The reason: %s (%s).",
			name, count(a.Failures, "try"), holds, a.Last.Detail, a.Last.Code)
	default:
		return fmt.Sprintf("%s wants: %s. At %s it was heard last: %s (%s).", name, holds, when(a.Last.At), a.Last.Detail,
			a.Last.Took.Round(100*time.Microsecond))
	}
}
