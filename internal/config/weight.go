package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

// schedulersByWeight are those that a slow start makes sense with.
const schedulersByWeight = "wlc, wrr, sed, nq, mh, twos"

// shares reports whether a scheduler gives each server a share by its weight; fo
// compares weights only.
func shares(scheduler string) bool { return pool.Proportional(scheduler) && scheduler != "fo" }

func (b *builder) buildSlowStart(s *service) {
	d := time.Duration(s.SlowStart.v)
	switch {
	case d == 0 || s.Scheduler.bad:
	case d < time.Second:
		b.add(s.SlowStart.at, "slow_start: %s is too short to be slow; allowed: 0s, or a duration from 1s to 24h", d)
	case shares(s.out.Scheduler):
		s.out.SlowStart = d
	case s.SlowStart.own:
		b.add(s.SlowStart.at, "slow_start: the scheduler %s does not share connections by weight; allowed with it: 0s; for a slow start: one of %s",
			s.out.Scheduler, schedulersByWeight)
	}
}

// agentAsked reports whether the service has an agent on its servers.
func (s *service) agentAsked() bool {
	a := &s.Agent
	return a.set && !a.bad && !a.v.none && a.v.Port.ok()
}

// checkAgent refuses an agent that nobody knows where to find.
func (b *builder) checkAgent(s *service) {
	a := &s.Agent
	if !a.set || a.bad || a.v.none {
		return
	}
	if !a.v.Port.set {
		b.add(a.at, "%q is missing in agent", "port")
	}
	if a.v.Timeout.ok() && !a.v.Interval.bad && a.v.Timeout.v > a.v.Interval.v {
		b.add(a.v.Timeout.at, "timeout: %s is longer than the interval of %s", time.Duration(a.v.Timeout.v), time.Duration(a.v.Interval.v))
	}
}

// buildAgent gives a server its agent, and says whether anything decides about its
// weight at run time.
func (b *builder) buildAgent(s *service, server *built) {
	for _, id := range server.Checks {
		spec := &b.cfg.Balancer.Jobs[id].Spec
		server.Dynamic = server.Dynamic || spec.File != nil || spec.Exec != nil && spec.Exec.WeightFromExit
	}
	if !s.agentAsked() {
		return
	}
	a := &s.Agent.v
	interval := time.Duration(a.Interval.v)
	job := check.Job{
		Spec: check.Spec{
			Target:  netip.AddrPortFrom(server.Address, uint16(a.Port.v)),
			Timeout: min(time.Duration(a.Timeout.v), interval),
			Agent:   &check.Agent{Send: string(a.Send.v)},
		},
		// It is shown as silent after a failure, and nothing else depends on that.
		Schedule: check.Schedule{Interval: interval, Jitter: 10, Rise: 1, Fall: 1},
	}
	server.Agent, server.Dynamic = pool.CheckID(job.ID()), true
	b.keepJob(server.Agent, job)
}

// warnWeights warns of weights that the scheduler takes no notice of.
func (b *builder) warnWeights(s *service) {
	dynamic := false
	for i := range s.out.Servers {
		dynamic = dynamic || s.out.Servers[i].Dynamic
	}
	if !dynamic || s.Scheduler.bad {
		return
	}
	switch s.out.Scheduler {
	case "rr", "lc", "dh":
		b.warn(s.at, "scheduler: %s takes no notice of weights but for 0, so that those that checks or agents say have no effect; use one of %s",
			s.out.Scheduler, schedulersByWeight)
	case "sh", "lblc", "lblcr", "ovf":
		if s.agentAsked() {
			b.warn(s.Agent.at, "agent: with the scheduler %s parts of a weight cannot be given, so that percentages are rounded up to whole units; give the servers weights of 10 or more, or use one of %s",
				s.out.Scheduler, schedulersByWeight)
		}
	}
}

// buildQuorumCommands builds what is to be run when the quorum comes and goes.
func (b *builder) buildQuorumCommands(s *service) {
	up := b.commandOf("up", &s.Quorum.v.Up)
	down := b.commandOf("down", &s.Quorum.v.Down)
	if up != nil || down != nil {
		b.cfg.QuorumCommands = append(b.cfg.QuorumCommands, QuorumCommands{Service: string(s.Name.v), Up: up, Down: down})
	}
}

// commandOf builds a command; an empty list is none.
func (b *builder) commandOf(key string, l *list[value[text]]) (command []string) {
	for i := range l.items {
		arg := &l.items[i]
		switch {
		case arg.bad:
			return nil
		case strings.ContainsRune(string(arg.v), 0):
			b.add(arg.at, "%s: %s has a zero byte, which arguments cannot have", key, quote(string(arg.v)))
		case i == 0 && !filepath.IsAbs(string(arg.v)):
			b.add(arg.at, "%s: %s is not an absolute path; allowed: the absolute path of a program and its arguments", key, quote(string(arg.v)))
		}
		command = append(command, string(arg.v))
	}
	return command
}
