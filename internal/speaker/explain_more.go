package speaker

import (
	"fmt"
	"strings"
	"time"

	"baton/internal/vrrp"
)

// explainGroup says what a router waits for that would be master by itself.
func (s RouterStatus) explainGroup() string {
	if len(s.GroupWaitsFor) == 0 {
		return fmt.Sprintf("It is ready to be master, and so is all of sync group %s.", s.Group)
	}
	return fmt.Sprintf("It hears no master that it would leave alone, but the routers of sync group %s become master together, "+
		"and it waits for %s: \"baton explain router %s\" says why.",
		s.Group, strings.Join(s.GroupWaitsFor, ", "), s.GroupWaitsFor[0])
}

// explainTracks lists what is tracked and does not count as fault, which is the
// reason of the state.
func (s RouterStatus) explainTracks() []string {
	var out []string
	for i, t := range s.Tracks {
		weight := 0
		if i < len(s.Spec.Track) {
			weight = s.Spec.Track[i].Weight
		}
		switch {
		case !t.Known:
			out = append(out, fmt.Sprintf("Tracked %s: no result yet.", t.Name))
		case t.Weight != 0:
			out = append(out, fmt.Sprintf("Tracked %s changes the priority by %+d: %s.", t.Name, t.Weight, t.Detail))
		case weight == 0 && !t.Up && s.Election.State != vrrp.Fault:
			out = append(out, fmt.Sprintf("Tracked %s is down: %s.", t.Name, t.Detail))
		}
	}
	if p := s.Election.Priority; p != s.Spec.Priority && !s.Election.Resigned && s.Election.State.Listens() {
		out = append(out, fmt.Sprintf("So its priority is %d instead of %d.", p, s.Spec.Priority))
	}
	return out
}

// explainHeartbeats tells of the further paths for adverts.
func (s RouterStatus) explainHeartbeats(now time.Time) []string {
	var out []string
	for _, h := range s.Heartbeats {
		text := "Heartbeat path on " + h.Interface
		switch {
		case h.Problem != "":
			text += " does not work: " + h.Problem + "."
		case h.LastHeard.IsZero():
			text += " works; nothing was heard there yet."
		default:
			text += " works; the last advert came " + ago(now, h.LastHeard) + "."
		}
		out = append(out, text)
	}
	return out
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
