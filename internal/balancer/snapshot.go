package balancer

import (
	"fmt"
	"slices"
	"time"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// publish renews the snapshot: of the services that have changed, and at a refresh
// also of the others, with their counters and the results of their checks. With
// many servers the others take turns.
func (e *engine) publish(all bool) {
	if all {
		e.agenda.publish = time.Now().Add(refresh)
		e.renew()
	}
	s := &Status{
		Services: make([]ServiceStatus, len(e.book.pages)),
		Foreign:  e.view.foreign,
		Problem:  e.view.problem,
		Keeps: Keeps{
			Every: e.resync(), RemoveForeign: e.spec.RemoveForeign, Timeouts: e.spec.Timeouts != (Timeouts{}),
		},
		Writes: make(map[string]uint64, len(e.view.writes)),
		Drift:  e.view.drift,
	}
	for i, p := range e.book.pages {
		if p.shown == nil || p.shown.Problem != e.problem(p.state.Spec) {
			st := e.service(p)
			p.shown = &st
		}
		s.Services[i] = *p.shown
		p.shown = &s.Services[i] // the one before is of the last snapshot
	}
	for op, n := range e.view.writes {
		s.Writes[op] = n
	}
	for _, c := range e.b.options.Runner.Counts() {
		s.Checks = append(s.Checks, CheckCount{Kind: c.Kind, Code: c.Code, Count: c.N})
	}
	e.b.status.Store(s)
}

// renew has the next pages in turn shown anew.
func (e *engine) renew() {
	pages := e.book.pages
	least := (len(pages) + publishRounds - 1) / publishRounds
	now := time.Now()
	until := now.Add(shortPublish)
	if now.Sub(time.Unix(0, e.b.asked.Load())) < looking {
		until = now.Add(longPublish)
	}
	for n := range pages {
		if n >= least && !time.Now().Before(until) {
			break
		}
		e.book.turn = (e.book.turn + 1) % len(pages)
		p := pages[e.book.turn]
		st := e.service(p)
		p.shown = &st
	}
}

func (e *engine) service(p *page) ServiceStatus {
	st := p.state
	spec := st.Spec
	out := ServiceStatus{
		Name:           spec.Name,
		Router:         spec.Router,
		Keys:           spec.Keys,
		Scheduler:      spec.Scheduler,
		Forward:        spec.Forward,
		SourceNAT:      spec.SourceNAT,
		Up:             st.Up,
		Quorum:         spec.Quorum,
		Weight:         st.Weight,
		FallbackActive: st.FallbackActive,
		Panic:          st.Panic,
		PanicThreshold: spec.PanicThreshold,
		BackupsServe:   st.BackupsServe,
		SlowStart:      spec.SlowStart,
		Factor:         st.Factor,
		Since:          p.since,
		Reason:         st.Reason,
		Standby:        e.standby(spec),
		Problem:        e.problem(spec),
		Lacking:        firstOf(e.view.lacking, spec.Keys),
		Servers:        make([]ServerStatus, len(st.Servers)+len(st.Leaving)),
	}
	for i, srv := range st.All() {
		l := &p.lines[i]
		out.Servers[i] = e.server(st, srv)
		at := pool.Place{Service: spec.Name, Server: srv.Spec.AddrPort()}
		out.Servers[i].Override, out.Servers[i].Held = e.wishes.overrides[at], e.wishes.held[at]
		out.Servers[i].Since, out.Servers[i].Reason = l.since, l.reason
	}
	if spec.Fallback != nil {
		out.Fallback = spec.Fallback.AddrPort()
		f := e.server(st, &st.Fallback)
		f.Since, f.Reason = p.since, e.book.reason(&st.Fallback)
		out.FallbackServer = &f
	}
	return out
}

// problem says what the kernel refuses of a service, or of its checks, or nothing.
func (e *engine) problem(spec *pool.Service) string {
	if p := firstOf(e.view.failed, spec.Keys); p != "" || len(e.vias.wait) == 0 || len(e.view.failed) == 0 {
		return p
	}
	for _, srv := range spec.Servers {
		for _, id := range srv.Checks {
			if why := e.waiting(id); why != "" {
				return fmt.Sprintf("the check of %s through the VIP does not run: %s", srv.AddrPort(), why)
			}
		}
	}
	return ""
}

// firstOf returns the error of one of a service's keys, or nothing.
func firstOf(errs map[pool.Key]error, keys []pool.Key) string {
	for _, k := range keys {
		if err := errs[k]; err != nil {
			return err.Error()
		}
	}
	return ""
}

var serverStates = map[pool.State]ServerState{
	pool.Checking: Checking, pool.Up: Up, pool.Down: Down, pool.Draining: Draining,
	pool.Disabled: Disabled,
}

func (e *engine) server(of *pool.ServiceState, srv *pool.ServerState) ServerStatus {
	service := of.Spec
	out := ServerStatus{
		Name:             srv.Spec.Name,
		Source:           srv.Spec.Source,
		Address:          srv.Spec.AddrPort(),
		State:            serverStates[srv.State],
		ConfiguredWeight: srv.Spec.Weight,
		Weighted:         srv.Said.Weighted,
		CheckWeight:      srv.Said.Weight,
		Ramp:             srv.Ramp,
		RampUntil:        srv.RampUntil,
		Backup:           srv.Spec.Backup,
		Spare:            srv.Spare,
		Kept:             srv.Held,
		Forward:          srv.Spec.Forward,
		Drained:          srv.State == pool.Draining && !srv.InTable && e.table != nil,
		DrainUntil:       e.deadline(service, srv),
	}
	for _, k := range service.Keys {
		e.inKernel(&out, k, srv.Spec.At(k))
	}
	out.Weight = (out.KernelWeight + of.Factor - 1) / of.Factor
	if n := len(srv.Spec.Checks); n > 0 {
		out.Checks = make([]CheckStatus, 0, n)
	}
	for _, id := range srv.Spec.Checks {
		out.Checks = append(out.Checks, e.check(id))
	}
	if id := srv.Spec.Agent; id != "" {
		out.Agent = &AgentStatus{CheckStatus: e.check(id)}
		if st, ok := e.b.options.Runner.Status(string(id)); ok {
			out.Agent.Says = st.Verdict.Word
		}
	}
	return out
}

// inKernel adds what the kernel has of a server under one key. A service that is
// there at several keys (a range of ports) is shown as one: counters are added,
// and the weight is the same everywhere.
func (e *engine) inKernel(out *ServerStatus, k pool.Key, want pool.RealServer) {
	seen := e.view.services[k]
	var found *ipvs.Server
	if seen != nil {
		found = seen.Find(want)
	}
	if found != nil {
		out.Active += found.Active
		out.Inactive += found.Inactive
		out.Stats.Connections += found.Stats.Connections
		out.Stats.InPackets += found.Stats.PacketsIn
		out.Stats.OutPackets += found.Stats.PacketsOut
		out.Stats.InBytes += found.Stats.BytesIn
		out.Stats.OutBytes += found.Stats.BytesOut
	}
	if e.table == nil {
		return
	}
	// What was seen is what was there before the last writes. Where these have
	// succeeded, what was wanted is there now.
	if wanted := e.view.wanted.Find(k); wanted != nil && e.view.failed[k] == nil {
		found = nil
		if i, ok := slices.BinarySearchFunc(wanted.Servers, want, pool.RealServer.Compare); ok {
			found = &ipvs.Server{RealServer: wanted.Servers[i]}
		}
	}
	if found != nil {
		out.InKernel, out.KernelWeight = true, found.Weight
	}
}

func (e *engine) check(id pool.CheckID) CheckStatus {
	st, ok := e.b.options.Runner.Status(string(id))
	if !ok {
		return CheckStatus{ID: id, Job: e.jobs[id], Waiting: e.waiting(id)}
	}
	return CheckStatus{
		ID:        id,
		Job:       st.Job,
		Known:     !st.Last.At.IsZero(),
		Up:        st.Up,
		Last:      st.Last,
		Successes: st.Successes,
		Failures:  st.Failures,
	}
}
