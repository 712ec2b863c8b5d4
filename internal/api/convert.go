package api

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/discovery"
	"baton/internal/pool"
	"baton/internal/speaker"
)

// FromSnapshot makes the document of a snapshot that was taken at the time now.
func FromSnapshot(s Snapshot, now time.Time) Status {
	out := Status{
		Node: s.Node, Version: s.Version, At: now.UTC(), Config: utc(s.Config),
		Routers:  make([]Router, len(s.Routers.Routers)),
		Services: make([]Service, len(s.Balancer.Services)),
		Foreign:  make([]ForeignService, len(s.Balancer.Foreign)),
	}
	for i, r := range s.Routers.Routers {
		out.Routers[i] = fromRouter(r)
		if c, ok := s.Sync[r.Spec.Name]; ok {
			out.Routers[i].ConnectionSync = &c
		}
	}
	for i, svc := range s.Balancer.Services {
		out.Services[i] = fromService(svc)
		out.Services[i].Sources = fromSources(s.Sources, svc.Name)
	}
	for _, a := range s.Absent {
		out.Absent = append(out.Absent, fromAbsent(a))
	}
	for i, f := range s.Balancer.Foreign {
		address, protocol := describeKeys([]pool.Key{f.Key})
		out.Foreign[i] = ForeignService{
			Address: address, Protocol: protocol, Scheduler: f.Scheduler, Servers: f.Servers,
		}
	}
	k := s.Balancer.Keeps
	out.Keeps = Keeps{EveryMS: k.Every.Milliseconds(), RemoveForeign: k.RemoveForeign, Timeouts: k.Timeouts}
	out.Problems = problems(s, out)
	return out
}

// utc makes times comparable by eye: all of them are UTC in documents.
func utc(c ConfigStatus) ConfigStatus {
	c.Loaded, c.LastErrorAt = c.Loaded.UTC(), c.LastErrorAt.UTC()
	return c
}

func fromRouter(r speaker.RouterStatus) Router {
	e := r.Election
	out := Router{
		Name: r.Spec.Name, ID: r.Spec.ID, Interface: r.Spec.Interface, Version: r.Spec.Version,
		State: e.State.String(), Priority: r.Spec.Priority, EffectivePriority: e.Priority,
		Owner: addrText(e.Owner), OwnerPriority: e.OwnerPriority, Source: addrText(r.Source),
		Peers: make([]string, len(r.Spec.Peers)), Addresses: make([]string, len(r.Spec.Addresses)),
		Held: r.Held, Since: e.Since.UTC(), Reason: e.Reason,
		Resigned: e.Resigned, HandingOver: e.HandsOver, LastHeard: e.LastHeard.UTC(),
		Adverts:       Adverts{Sent: r.Sent, Received: r.Received, Rejected: map[string]uint64{}},
		Announcements: r.Announced, Rivals: r.Rivals, Conflicts: r.Conflicts,
		Authenticated: r.Authenticated, SyncGroup: r.Group, Problem: r.Problem, Stranger: r.Stranger,
	}
	for i, p := range r.Spec.Peers {
		out.Peers[i] = p.String()
	}
	for i, a := range r.Spec.Addresses {
		out.Addresses[i] = a.Prefix.String()
	}
	for _, a := range r.Spec.Extra {
		out.ExtraAddresses = append(out.ExtraAddresses, a.Prefix.String())
	}
	for _, t := range r.Tracks {
		out.Tracks = append(out.Tracks, fromTrack(t))
	}
	for _, h := range r.Heartbeats {
		out.Heartbeats = append(out.Heartbeats, Heartbeat{
			Interface: h.Interface, Source: addrText(h.Source), Problem: h.Problem, LastHeard: h.LastHeard.UTC(),
		})
	}
	for _, n := range r.Transitions {
		out.Transitions += n
	}
	for reason, n := range r.Rejected {
		out.Adverts.Rejected[reason] = n
	}
	return out
}

func fromTrack(t speaker.TrackState) Track {
	state := "down"
	switch {
	case !t.Known:
		state = "unknown"
	case t.Up:
		state = "up"
	}
	return Track{Name: t.Name, State: state, Weight: t.Weight, Detail: t.Detail, Since: t.Since.UTC()}
}

func fromService(s balancer.ServiceStatus) Service {
	address, protocol := describeKeys(s.Keys)
	out := Service{
		Name: s.Name, Address: address, Protocol: protocol, Router: s.Router,
		Scheduler: s.Scheduler, Forward: s.Forward.String(), SourceNAT: s.SourceNAT, Up: s.Up,
		Quorum:         Quorum{Min: s.Quorum.Min, Hysteresis: s.Quorum.Hysteresis, Weight: s.Weight},
		WeightFactor:   max(s.Factor, 1),
		FallbackActive: s.FallbackActive, Panic: s.Panic, BackupsActive: s.BackupsServe,
		Since: s.Since.UTC(), Reason: s.Reason, Standby: s.Standby, Problem: s.Problem, Lacking: s.Lacking,
		Servers: make([]RealServer, len(s.Servers)),
	}
	for i, srv := range s.Servers {
		out.Servers[i] = fromServer(srv)
	}
	if s.FallbackServer != nil {
		f := fromServer(*s.FallbackServer)
		out.Fallback = &f
	}
	return out
}

// fromSources makes the documents of the sources of one service.
func fromSources(all []discovery.Status, service string) (out []Source) {
	for _, s := range all {
		if s.Service == service {
			out = append(out, Source{
				Kind: s.Kind, Target: s.Target, Servers: s.Servers, Held: s.Held, LastSuccess: s.LastSuccess.UTC(),
				Error: s.Error, Failures: s.Failures, Refused: s.Refused,
			})
		}
	}
	return out
}

func fromServer(s balancer.ServerStatus) RealServer {
	out := RealServer{
		Address: s.Address.String(), Name: s.Name, Source: s.Source, State: string(s.State),
		Weight: s.Weight, ConfiguredWeight: s.ConfiguredWeight, Forward: s.Forward.String(),
		InKernel: s.InKernel, Active: s.Active, Inactive: s.Inactive, Drained: s.Drained, DrainUntil: s.DrainUntil.UTC(),
		Override: fromOverride(s.Override), Held: s.Held,
		KernelWeight: s.KernelWeight, SlowStartPercent: s.Ramp, Backup: s.Backup, Kept: s.Kept,
		Packets: Packets{
			Connections: s.Stats.Connections, In: s.Stats.InPackets, Out: s.Stats.OutPackets,
			InBytes: s.Stats.InBytes, OutBytes: s.Stats.OutBytes,
		},
		Checks: []Check{},
		Since:  s.Since.UTC(), Reason: s.Reason,
	}
	for _, c := range s.Checks {
		if c.Known {
			out.Checks = append(out.Checks, fromCheck(c))
		}
	}
	if s.Agent != nil && s.Agent.Known {
		out.Agent = &Agent{Says: s.Agent.Says.String(), Last: fromCheck(s.Agent.CheckStatus)}
	}
	out.Check = decisive(out.Checks)
	return out
}

func fromCheck(c balancer.CheckStatus) Check {
	via := ""
	if c.Via() != nil {
		via = "vip"
	}
	return Check{
		Via:  via,
		Kind: c.Kind(), Target: c.Subject(), Up: c.Up,
		Code: string(c.Last.Code), Detail: c.Last.Detail, At: c.Last.At.UTC(),
		TookMS:    float64(c.Last.Took.Round(time.Microsecond)) / float64(time.Millisecond),
		Successes: c.Successes, Failures: c.Failures,
	}
}

func fromPast(c balancer.CheckStatus, streaks []check.Streak) CheckPast {
	out := CheckPast{Kind: c.Kind(), Target: c.Subject(), Results: make([]CheckStreak, len(streaks))}
	for i, s := range streaks {
		out.Results[i] = CheckStreak{
			Code: string(s.Code), Detail: s.Detail, From: s.From.UTC(), To: s.To.UTC(), Results: s.Results, Gap: s.Gap,
		}
	}
	return out
}

// decisive returns the check to look at first: one that holds the server down,
// else one that has begun to fail, else the latest.
func decisive(checks []Check) *Check {
	var best *Check
	rank := func(c *Check) int {
		switch {
		case !c.Up:
			return 2
		case c.Failures > 0:
			return 1
		}
		return 0
	}
	for i := range checks {
		c := &checks[i]
		if best == nil || rank(c) > rank(best) || (rank(c) == rank(best) && c.At.After(best.At)) {
			best = c
		}
	}
	return best
}

// describeKeys returns where a service is reached: consecutive ports of one
// address as a range, several places separated by commas.
func describeKeys(keys []pool.Key) (address, protocol string) {
	if len(keys) == 0 {
		return "", ""
	}
	var places []string
	for i := 0; i < len(keys); {
		k := keys[i]
		last := i
		for last+1 < len(keys) && follows(keys[last], keys[last+1]) {
			last++
		}
		switch {
		case k.FWMark != 0:
			places = append(places, k.String())
		case last > i:
			places = append(places, fmt.Sprintf("%s-%d", netip.AddrPortFrom(k.Address, k.Port), keys[last].Port))
		default:
			places = append(places, netip.AddrPortFrom(k.Address, k.Port).String())
		}
		i = last + 1
	}
	return strings.Join(places, ","), keys[0].Protocol.String()
}

// follows reports whether b is the next port of a.
func follows(a, b pool.Key) bool {
	return a.FWMark == 0 && b.FWMark == 0 && a.Protocol == b.Protocol && a.Address == b.Address &&
		a.Port != 0 && b.Port == a.Port+1
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
