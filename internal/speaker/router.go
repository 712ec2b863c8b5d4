package speaker

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"time"

	"baton/internal/vrrp"
)

// linger is how long a router that yields keeps its addresses. The new master
// sends its advert first and needs some milliseconds for its addresses and their
// announcement; on a loaded host some tens.
const linger = 200 * time.Millisecond

// router is one virtual router at work. It belongs to the speaker's goroutine.
type router struct {
	s        *Speaker
	log      *slog.Logger
	spec     Router
	order    int // in the configuration
	election *vrrp.Router
	broken   string  // why adverts cannot be written; empty: they can
	paths    []*path // the first is the router's own interface
	vips     []netip.Addr
	holder   *holder
	waiters  []chan<- string // for the next Settled

	group  *group // nil: in none
	member int    // of group
	tracks map[string]*tracked

	out   vrrp.Advert
	heard vrrp.Advert
	buf   []byte

	due   time.Time // in the schedule; zero: not in it
	place int

	stopped  bool   // Shutdown was asked for: nothing starts it again
	waiting  string // for what the router has not started yet
	wantHeld bool
	held     bool
	problem  string
	renewAt  time.Time // of the lease; zero: none
	priority uint8     // effective

	stranger     string
	strangerFrom netip.Addr
	lastFrom     []time.Time // by path: when an advert was accepted

	transitions  map[string]uint64
	sent         uint64
	received     uint64
	rejected     map[string]uint64
	rivals       uint64
	conflicts    uint64
	skew         time.Duration // of a peer's clock
	lastConflict string
	lateness     Lateness
}

// electionSpec is what the election has to know of the configuration.
func (r *router) electionSpec() vrrp.Spec {
	return vrrp.Spec{
		VRID: r.spec.ID, Version: r.spec.Version, Priority: r.priority, Interval: r.spec.Interval,
		Preempt: r.spec.Preempt, PreemptDelay: r.spec.PreemptDelay, PreemptAfterSync: r.spec.PreemptAfterSync,
		Source: r.paths[0].source, Addresses: r.vips, Linger: linger,
		Announce: vrrp.Announce{
			Repeat: r.spec.GARP.Repeat, Delay: r.spec.GARP.Delay, Refresh: r.spec.GARP.Refresh,
		},
	}
}

// step gives the election an event and carries out what it decides.
func (r *router) step(ev vrrp.Event) { r.stepAt(time.Now(), ev) }

func (r *router) stepAt(now time.Time, ev vrrp.Event) {
	if r.group == nil {
		for _, a := range r.election.Step(now, ev) {
			r.act(now, a)
		}
		r.plan()
		return
	}
	for _, a := range r.group.election.Step(now, r.member, ev) {
		r.group.members[a.Member].act(now, a.Action)
	}
	for _, m := range r.group.members {
		m.plan()
	}
}

// plan puts the router into the schedule.
func (r *router) plan() {
	d := sooner(r.election.Deadline(), r.renewAt)
	for _, t := range r.tracks {
		d = sooner(d, t.changeAt)
	}
	r.s.schedule.plan(r, d)
}

// tick tells the election and the lease what time it is.
func (r *router) tick(now time.Time) {
	if d := r.election.Deadline(); !d.IsZero() && !now.Before(d) {
		if r.election.State() == vrrp.Master {
			r.lateness.Observe(now.Sub(d))
		}
		r.stepAt(now, vrrp.Event{Kind: vrrp.Expired})
	}
	if !r.renewAt.IsZero() && !now.Before(r.renewAt) {
		// Renewed by the goroutine that also sends the adverts: when it hangs, the
		// lease ends.
		r.hold(now)
	}
	r.tickTracks(now)
	r.plan()
}

func (r *router) act(now time.Time, a vrrp.Action) {
	switch a.Kind {
	case vrrp.Send:
		r.send(a.Priority)
	case vrrp.Hold:
		r.hold(now)
	case vrrp.Release:
		r.release()
	case vrrp.Tell:
		r.holder.tell(a.Repeat)
	case vrrp.Rival:
		r.rival(now, a)
	case vrrp.Settled:
		for _, w := range r.waiters {
			w <- a.Reason
		}
		r.waiters = nil
	case vrrp.Transition:
		r.transition(now, a)
	}
}

// rival counts an advert of another master. One that wins is in the reason of
// the transition.
func (r *router) rival(now time.Time, a vrrp.Action) {
	r.rivals++
	if r.election.State() != vrrp.Master || !r.s.limit.allow(r.spec.Name+"/rival") {
		return
	}
	r.log.Warn("another router believes that it is master", "rival", a.Source, "its_priority", a.Priority)
	r.s.tell(Notice{
		At: now, Router: r.spec.Name, From: a.Source.String(), To: "rival",
		Reason: fmt.Sprintf("%s says with priority %d that it is master, too; this director, %s with priority %d, stays master: "+
			"its adverts did not come through meanwhile, or ours did not", a.Source, a.Priority, r.paths[0].source, r.election.Status().Priority),
	})
}

func (r *router) transition(now time.Time, a vrrp.Action) {
	r.transitions[a.To.String()]++
	r.s.note()
	level := slog.LevelInfo
	if a.To == vrrp.Fault {
		level = slog.LevelError
	}
	r.log.Log(r.s.ctx, level, "router changed", "from", a.From.String(), "to", a.To.String(), "reason", a.Reason)
	if r.s.onTransition != nil {
		r.s.onTransition(Transition{At: now, Router: r.spec.Name, From: a.From, To: a.To, Reason: a.Reason})
	}
}

// hold puts the addresses on their interfaces, or renews their lease.
func (r *router) hold(now time.Time) {
	was := r.wantHeld
	r.wantHeld = true
	r.renewAt = time.Time{}
	if r.spec.Lease > 0 {
		r.renewAt = now.Add(r.spec.Lease / 3)
	}
	r.holder.set(true, r.state())
	if !was {
		r.s.watchConflicts(r)
	}
	r.plan()
}

func (r *router) release() {
	was := r.wantHeld
	r.wantHeld, r.renewAt = false, time.Time{}
	r.holder.set(false, r.state())
	if was {
		r.s.watchConflicts(r)
	}
}

// send sends an advert on every path, to the group or to every peer.
func (r *router) send(priority uint8) {
	r.sent++
	for n, p := range r.paths {
		err := r.sendOn(n, p, priority)
		if err == nil {
			p.sendFail = ""
			continue
		}
		p.sendFail = fmt.Sprintf("adverts cannot be sent on %s: %v", p.iface.name, err)
		if r.s.limit.allow(r.spec.Name + "/send/" + p.iface.name) {
			r.log.Error("sending an advert failed", "on", p.iface.name, "error", err)
		}
	}
}

func (r *router) sendOn(n int, p *path, priority uint8) error {
	conn := p.iface.socket(r.family()).conn
	if conn == nil || p.codec == nil || !p.source.IsValid() {
		return nil // the interface is gone; that is being reported
	}
	var failed error
	r.eachDest(p, func(dst netip.Addr) {
		r.buf = r.encode(r.buf[:0], p, priority, dst)
		var err error
		if s := r.senderOn(n); s != nil {
			err = s.Send(r.buf, p.source, dst)
		} else {
			err = conn.Send(r.buf, p.source, dst)
		}
		if err != nil {
			failed = err
		}
	})
	return failed
}

// senderOn is what sends with the virtual hardware address on a path, or nil. The
// first adverts of a new master go without it: they would teach the switch to lead
// clients here, milliseconds before the addresses are. The announcements follow
// when they are, and teach it.
func (r *router) senderOn(path int) Sender {
	if k, ok := r.senderKey(); ok && path == 0 && (r.held || !r.wantHeld) {
		return r.paths[0].iface.senders[k].Sender
	}
	return nil
}

func (r *router) encode(b []byte, p *path, priority uint8, dst netip.Addr) []byte {
	r.out = r.advert(priority)
	return p.codec.Append(b, &r.out, p.source, dst, time.Now())
}

func (r *router) advert(priority uint8) vrrp.Advert {
	return vrrp.Advert{VRID: r.spec.ID, Priority: priority, Interval: r.spec.Interval, Addresses: r.vips}
}

// didHold is called by the holder with the outcome of its last work.
func (r *router) didHold(held bool, err error) {
	if r.held != held {
		r.s.note()
	}
	r.held = held
	was := r.problem
	r.problem = ""
	if err != nil {
		r.problem = err.Error()
	}
	if r.problem != "" && (r.problem != was || r.s.limit.allow(r.spec.Name+"/hold")) {
		r.log.Error("the addresses could not be set as wanted", "error", err)
	}
}

// status returns a copy of everything that can be seen.
func (r *router) status() RouterStatus {
	problem := r.problem
	for _, p := range r.paths {
		for _, more := range []string{p.problem, p.sendFail} {
			if problem == "" {
				problem = more
			}
		}
	}
	spec := r.spec
	spec.Auth = vrrp.Auth{} // nobody else needs it
	out := RouterStatus{
		Spec: spec, Election: r.election.Status(), Source: r.paths[0].source,
		Held: r.held, Problem: problem, Stranger: r.stranger,
		Transitions: maps.Clone(r.transitions), Sent: r.sent, Received: r.received,
		Rejected: maps.Clone(r.rejected), Announced: r.holder.announced(), Rivals: r.rivals,
		Conflicts: r.conflicts, LastConflict: r.lastConflict, ClockSkew: r.skew,
		Lateness: r.lateness, Tracks: r.trackStates(), Authenticated: r.authenticated(),
	}
	if r.group != nil {
		out.Group, out.GroupWaitsFor = r.group.spec.Name, r.waitsFor()
	}
	if r.waiting != "" && out.Election.State == vrrp.Init {
		out.Election.Reason = r.waiting
	}
	for n, p := range r.paths[1:] {
		out.Heartbeats = append(out.Heartbeats, HeartbeatStatus{
			Interface: p.iface.name, Source: p.source, Problem: p.problem, LastHeard: r.lastFrom[n+1],
		})
	}
	return out
}

// authenticated names how adverts prove where they come from.
func (r *router) authenticated() string {
	switch {
	case len(r.spec.Auth.Keys) > 0:
		return "hmac"
	case len(r.spec.Auth.Password) > 0:
		return "password"
	}
	return ""
}

// waitsFor names the members of the group that are not ready to be master.
func (r *router) waitsFor() []string {
	var out []string
	if !r.election.Status().Wants {
		return nil
	}
	for _, m := range r.group.members {
		if e := m.election.Status(); !e.Wants && e.State != vrrp.Master {
			out = append(out, m.spec.Name)
		}
	}
	return out
}
