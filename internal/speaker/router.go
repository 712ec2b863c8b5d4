package speaker

import (
	"log/slog"
	"maps"
	"net/netip"
	"time"

	"baton/internal/network"
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
	iface    *iface
	source   netip.Addr
	vips     []netip.Addr
	holder   *holder
	waiters  []chan<- string // for the next Settled

	out   vrrp.Advert
	heard vrrp.Advert
	buf   []byte

	stopped  bool // Shutdown was asked for: nothing starts it again
	wantHeld bool
	held     bool
	problem  string
	sendFail string
	renewAt  time.Time // of the lease; zero: none

	stranger     string
	strangerFrom netip.Addr

	transitions map[string]uint64
	sent        uint64
	received    uint64
	rejected    map[string]uint64
	rivals      uint64
	lateness    Lateness
}

// electionSpec is what the election has to know of the configuration.
func (r *router) electionSpec() vrrp.Spec {
	return vrrp.Spec{
		VRID: r.spec.ID, Priority: r.spec.Priority, Interval: r.spec.Interval,
		Preempt: r.spec.Preempt, PreemptDelay: r.spec.PreemptDelay,
		Source: r.source, Addresses: r.vips, Linger: linger,
		Announce: vrrp.Announce{
			Repeat: r.spec.GARP.Repeat, Delay: r.spec.GARP.Delay, Refresh: r.spec.GARP.Refresh,
		},
	}
}

// step gives the election an event and carries out what it decides.
func (r *router) step(ev vrrp.Event) { r.stepAt(time.Now(), ev) }

func (r *router) stepAt(now time.Time, ev vrrp.Event) {
	for _, a := range r.election.Step(now, ev) {
		r.act(now, a)
	}
}

func (r *router) deadline() time.Time { return sooner(r.election.Deadline(), r.renewAt) }

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
}

func (r *router) act(now time.Time, a vrrp.Action) {
	switch a.Kind {
	case vrrp.Send:
		r.send(a.Priority)
	case vrrp.Hold:
		r.hold(now)
	case vrrp.Release:
		r.wantHeld, r.renewAt = false, time.Time{}
		r.holder.set(false, r.state())
	case vrrp.Tell:
		r.holder.tell(a.Repeat)
	case vrrp.Rival:
		r.rivals++
		// One that wins is in the transition's reason.
		if r.election.State() == vrrp.Master && r.s.limit.allow(r.spec.Name+"/rival") {
			r.log.Warn("another router believes that it is master", "rival", a.Source, "its_priority", a.Priority)
		}
	case vrrp.Settled:
		for _, w := range r.waiters {
			w <- a.Reason
		}
		r.waiters = nil
	case vrrp.Transition:
		r.transition(now, a)
	}
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
	r.wantHeld = true
	r.renewAt = time.Time{}
	if r.spec.Lease > 0 {
		r.renewAt = now.Add(r.spec.Lease / 3)
	}
	r.holder.set(true, r.state())
}

func (r *router) state() network.State {
	return network.State{Addresses: r.spec.Addresses, Lease: r.spec.Lease}
}

// send sends an advert to the group or to every peer.
func (r *router) send(priority uint8) {
	if r.iface.conn == nil {
		return // the interface is gone; its fault is being reported
	}
	r.sent++
	var failed error
	r.eachDest(func(dst netip.Addr) {
		r.buf = r.encode(r.buf[:0], priority, dst)
		if err := r.iface.conn.Send(r.buf, r.source, dst); err != nil {
			failed = err
		}
	})
	r.sendFail = ""
	if failed != nil {
		r.sendFail = "adverts cannot be sent: " + failed.Error()
		if r.s.limit.allow(r.spec.Name + "/send") {
			r.log.Error("sending an advert failed", "error", failed)
		}
	}
}

func (r *router) eachDest(f func(netip.Addr)) {
	if len(r.spec.Peers) == 0 {
		f(vrrp.GroupIPv4)
		return
	}
	for _, p := range r.spec.Peers {
		f(p)
	}
}

func (r *router) encode(b []byte, priority uint8, dst netip.Addr) []byte {
	r.out = vrrp.Advert{VRID: r.spec.ID, Priority: priority, Interval: r.spec.Interval, Addresses: r.vips}
	return r.out.Append(b, r.source, dst, vrrp.Checksum(r.spec.Checksum))
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
	if problem == "" {
		problem = r.sendFail
	}
	return RouterStatus{
		Spec: r.spec, Election: r.election.Status(), Source: r.source,
		Held: r.held, Problem: problem, Stranger: r.stranger,
		Transitions: maps.Clone(r.transitions), Sent: r.sent, Received: r.received,
		Rejected: maps.Clone(r.rejected), Announced: r.holder.announced(), Rivals: r.rivals,
		Lateness: r.lateness,
	}
}
