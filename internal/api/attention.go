package api

import (
	"fmt"
	"strings"
)

// problems lists what needs attention: what concerns everything first, then
// lost addresses, then lost services, then what is only strange.
func problems(s Snapshot, doc Status) []string {
	out := append([]string{}, s.Problems...)
	if s.Config.LastError != "" {
		out = append(out, "configuration: "+configProblem(doc.Config))
	}
	if s.Balancer.Problem != "" {
		out = append(out, "kernel table: "+s.Balancer.Problem)
	}
	var strange []string
	for _, r := range doc.Routers {
		serious, other := r.problems()
		out = append(out, serious...)
		strange = append(strange, other...)
	}
	for _, svc := range doc.Services {
		serious, other := svc.problems()
		out = append(out, serious...)
		strange = append(strange, other...)
	}
	for _, source := range s.Sources {
		if problem := source.Problem(); problem != "" {
			strange = append(strange, "service "+source.Service+": "+problem)
		}
	}
	return append(out, strange...)
}

func configProblem(c ConfigStatus) string {
	mistakes := strings.Split(strings.TrimSpace(c.LastError), "\n")
	text := "the last reload failed, so the one loaded before is still in force: " + mistakes[0]
	if n := len(mistakes) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more; see \"baton check -c %s\")", n, c.Path)
	}
	return text
}

func (r Router) problems() (serious, strange []string) {
	at := "router " + r.Name + ": "
	if r.State == "fault" {
		serious = append(serious, at+"fault: "+r.Reason)
	}
	if r.Problem != "" && r.Problem != r.Reason {
		serious = append(serious, at+r.Problem)
	}
	if r.State == "master" && !r.Held && r.Problem == "" {
		serious = append(serious, at+"is master, but its addresses are not on the interface yet")
	}
	if r.Stranger != "" {
		strange = append(strange, at+r.Stranger)
	}
	if r.Conflicts > 0 && r.State == "master" {
		strange = append(strange, at+"somebody else announced one of its addresses; \"baton explain router "+r.Name+"\" says who")
	}
	for _, h := range r.Heartbeats {
		if h.Problem != "" {
			strange = append(strange, at+"heartbeat path lost: "+h.Problem)
		}
	}
	if r.ConnectionSync != nil && r.ConnectionSync.Problem != "" {
		strange = append(strange, at+"connections are not synchronised: "+r.ConnectionSync.Problem)
	}
	if r.Resigned {
		strange = append(strange, at+"stands back after a failover; \"baton resume "+r.Name+"\" lets it take part again")
	}
	return serious, strange
}

func (s Service) problems() (serious, strange []string) {
	at := "service " + s.Name + ": "
	if s.Problem != "" {
		serious = append(serious, at+s.Problem)
	}
	if s.Lacking != "" {
		serious = append(serious, at+s.Lacking)
	}
	if s.Panic && s.Up { // else the reason for its being down says so
		serious = append(serious, at+"panic: "+s.Reason)
	}
	if s.BackupsActive {
		strange = append(strange, at+"its backups serve, because the other servers have not the quorum")
	}
	if s.Up {
		down := 0
		for _, srv := range s.Servers {
			if srv.State == "down" {
				down++
			}
		}
		if down > 0 {
			are := "are"
			if down == 1 {
				are = "is"
			}
			strange = append(strange, fmt.Sprintf("%s%d of %d servers %s down", at, down, len(s.Servers), are))
		}
		return serious, strange
	}
	if s.FallbackActive && s.Fallback != nil {
		return append(serious, fmt.Sprintf("%sdown, the fallback %s serves: %s", at, s.Fallback.Address, s.Reason)), strange
	}
	return append(serious, at+"down: "+s.Reason), strange
}
