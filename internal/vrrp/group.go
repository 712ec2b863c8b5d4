package vrrp

import (
	"fmt"
	"time"
)

// Group is a sync group: its routers are master all together or not at all,
// because traffic that comes in through one of them leaves through another.
//
//   - They become master when each of them would: none hears a master that it
//     has to leave alone.
//   - When one stops being master, the others follow. To a rival the first one yields;
//     see [Router.defers].
//   - When one is in fault, all are.
//
// A planned hand-over is asked of every member; see [Group.Step].
type Group struct {
	name    string
	names   []string // of the members
	members []*Router
	faults  []string // what is broken, by member; empty: nothing
	actions []GroupAction
}

// GroupAction is something to be done for a member of a group.
type GroupAction struct {
	Member int
	Action
}

// NewGroup returns a group of the routers, whose names are for the reasons that
// it gives. A router is in one group at most. Those that are master already
// while others are not step down at the next Step.
func NewGroup(name string, names []string, members []*Router) *Group {
	g := &Group{name: name, names: names, members: members, faults: make([]string, len(members))}
	for i, r := range members {
		r.grouped, r.follows = true, i > 0
		if r.state == Fault {
			g.faults[i] = r.reason
		}
	}
	return g
}

// Dissolve ends the group: its members go on by themselves. One that only waited
// for the others becomes master at its next Expired, at the time now.
func (g *Group) Dissolve(now time.Time) {
	for _, r := range g.members {
		r.grouped, r.follows = false, false
		if r.wants != "" {
			r.wants, r.masterDown = "", now
		}
	}
}

// Step makes a member take note of an event, and the others follow. The slice
// is valid until the next Step.
func (g *Group) Step(now time.Time, member int, ev Event) []GroupAction {
	g.actions = g.actions[:0]
	switch ev.Kind {
	case Failed:
		g.fail(now, member, ev.Reason)
	case Recovered, Startup:
		g.faults[member] = ""
		if broken := g.broken(); broken >= 0 {
			g.step(now, member, Event{Kind: Failed, Reason: g.blame(broken)})
		} else {
			g.start(now, member, ev)
		}
	default:
		g.step(now, member, ev)
	}
	g.align(now)
	return g.actions
}

// step gives one member an event.
func (g *Group) step(now time.Time, member int, ev Event) {
	g.take(member, g.members[member].Step(now, ev))
}

func (g *Group) take(member int, actions []Action) {
	for _, a := range actions {
		g.actions = append(g.actions, GroupAction{member, a})
	}
}

// fail puts all members into fault.
func (g *Group) fail(now time.Time, member int, reason string) {
	g.faults[member] = reason
	g.step(now, member, Event{Kind: Failed, Reason: reason})
	for i, r := range g.members {
		if i != member && g.faults[i] == "" && r.state != Init {
			g.step(now, i, Event{Kind: Failed, Reason: g.blame(member)})
		}
	}
}

// start starts a member, and brings those back that were in fault only because
// of it.
func (g *Group) start(now time.Time, member int, ev Event) {
	g.step(now, member, ev)
	for i, r := range g.members {
		if r.state == Fault {
			g.step(now, i, Event{Kind: Recovered})
		}
	}
}

// broken is a member that is in fault by itself, or -1.
func (g *Group) broken() int {
	for i, f := range g.faults {
		if f != "" {
			return i
		}
	}
	return -1
}

func (g *Group) blame(member int) string {
	return fmt.Sprintf("sync group %s: router %s is in fault: %s", g.name, g.names[member], g.faults[member])
}

// align makes the members equal after a step.
func (g *Group) align(now time.Time) {
	ready, masters, without := true, 0, -1
	for i, r := range g.members {
		if r.state == Master {
			masters++
			continue
		}
		ready = ready && r.wants != ""
		if without < 0 && r.cannotBeMaster() {
			without = i
		}
	}
	switch {
	case ready && masters < len(g.members):
		g.promote(now)
	case without >= 0 && masters > 0:
		g.demote(now, without)
	}
}

// cannotBeMaster reports whether the others of a group must do without this
// member. One that just listens, because it is new or stood still, may still
// join them.
func (r *Router) cannotBeMaster() bool {
	return r.state == Fault ||
		r.state == Backup && r.wants == "" && r.owner.IsValid() && r.ownerPriority != 0
}

// promote makes every member master that is not, in the order of the group.
func (g *Group) promote(now time.Time) {
	for i, r := range g.members {
		if r.state == Backup {
			r.actions = r.actions[:0]
			r.becomeMaster(now, r.wants)
			g.take(i, r.actions)
		}
	}
}

// demote makes every member backup that is master. One that is handing over
// already finishes by itself.
func (g *Group) demote(now time.Time, because int) {
	other := g.members[because]
	reason := fmt.Sprintf("sync group %s: router %s is %s: %s", g.name, g.names[because], other.state, other.reason)
	for i, r := range g.members {
		if r.state == Master && r.handover.kind == 0 {
			r.actions = r.actions[:0]
			r.followDown(now, reason)
			g.take(i, r.actions)
		}
	}
}

// defers reports whether a member of a group leaves it to the first one to yield
// to a rival. Two directors may stand in another order on each wire; if each of
// their routers decided for itself, both would yield crosswise, again and again.
// A rival that the first one does not hear counts after a down interval.
func (r *Router) defers(now time.Time) bool {
	if !r.follows {
		return false
	}
	if now.Sub(r.winnerHeard) > r.ownDownInterval() {
		r.winnerSince = now
	}
	r.winnerHeard = now
	return now.Sub(r.winnerSince) <= r.ownDownInterval()
}

// followDown gives up being master because another member of the group did. The
// peers are told, so that one of them is ready as soon as it is for the other
// member.
func (r *Router) followDown(now time.Time, reason string) {
	if r.stalled(now) {
		return
	}
	r.send(now, 0)
	r.forget()
	r.masterInterval = r.spec.Interval
	r.lingerOn(now)
	r.becomeBackup(now, r.downInterval(), reason)
}
