package speaker

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"baton/internal/vrrp"
)

// Explain says in words why the router is in its state, who has the addresses,
// what is wrong, and what would change it: one sentence or two per line.
func (s RouterStatus) Explain(now time.Time) []string {
	e := s.Election
	state := e.State.String()
	if !e.State.Listens() {
		state = "in state " + state
	}
	out := []string{fmt.Sprintf("Router %s (id %d on %s) is %s since %s, for %s: %s.",
		s.Spec.Name, s.Spec.ID, s.Spec.Interface, state, e.Since.In(now.Location()).Format("2006-01-02 15:04:05"),
		span(now.Sub(e.Since)), e.Reason)}
	switch e.State {
	case vrrp.Master:
		out = append(out, s.explainMaster(now)...)
	case vrrp.Backup:
		out = append(out, s.explainBackup(now)...)
	case vrrp.Fault:
		out = append(out, s.explainFault()...)
	case vrrp.Init:
		out = append(out, fmt.Sprintf("It takes no part in the election, and %s not on this director.", s.vipsAre()))
	}
	out = append(out, s.explainResigned()...)
	if s.ClockSkew.Abs() >= warnSkew {
		out = append(out, fmt.Sprintf("The peer's clock differs from ours by %s. Beyond a tolerance (5s, or three intervals) "+
			"directors with an HMAC do not believe each other, and both become master: check NTP on both.", span(s.ClockSkew.Abs())))
	}
	out = append(out, s.explainTracks()...)
	out = append(out, s.explainHeartbeats(now)...)
	if s.Problem != "" && s.Problem != e.Reason {
		out = append(out, "Problem: "+s.Problem)
	}
	if s.Stranger != "" {
		out = append(out, fmt.Sprintf("Conflict: %s. Any id from 1 to 255 that nobody else on this link uses will do.", s.Stranger))
	}
	out = append(out, s.explainSilence()...)
	return append(out, s.explainRejected()...)
}

func (s RouterStatus) explainMaster(now time.Time) []string {
	e := s.Election
	to := "by multicast"
	if len(s.Spec.Peers) > 0 {
		to = "to " + join(s.Spec.Peers)
	}
	out := []string{fmt.Sprintf("This director owns %s and says so with priority %d from %s every %s, %s.",
		s.vips(), e.Priority, source(s.Source), span(e.Interval), to)}
	if !s.Held && s.Problem == "" {
		out = append(out, "The addresses are just being put on the interface.")
	}
	if e.HandsOver {
		return append(out, "A planned hand-over is in progress: it gave up being master, and keeps the addresses until the advert of another router is heard.")
	}
	if s.Rivals > 0 {
		last := ""
		if !e.LastHeard.IsZero() {
			last = ", the last one " + ago(now, e.LastHeard)
		}
		out = append(out, fmt.Sprintf("%s of another router that believed to be master came meanwhile%s: "+
			"for a time both were. Usually adverts pass in one direction only: look at the firewalls and the switch between them.",
			count(s.Rivals, "advert"), last))
	}
	if s.Conflicts > 0 {
		out = append(out, fmt.Sprintf("Somebody else announced one of its addresses %s, the last time: %s. "+
			"Each time it was announced again from here. Look for a host with the same address: the switch knows the port of that hardware address.",
			times(s.Conflicts), s.LastConflict))
	}
	if e.Priority == vrrp.OwnerPriority {
		return append(out, fmt.Sprintf(
			"Nobody can have a higher priority than 255. It ends when %s fails, or with \"baton failover %s\".",
			s.Spec.Interface, s.Spec.Name))
	}
	return append(out, fmt.Sprintf("It ends when a router with a priority above %d (or the same and an address above %s) speaks, "+
		"when %s fails, or with \"baton failover %s\".", e.Priority, source(s.Source), s.Spec.Interface, s.Spec.Name))
}

func (s RouterStatus) explainBackup(now time.Time) []string {
	e := s.Election
	switch {
	case e.Wants:
		return []string{s.explainGroup()}
	case !e.Owner.IsValid():
		return []string{fmt.Sprintf("No master has been heard yet. It takes over %s, unless one is heard before.", until(now, e.MasterDown))}
	case e.OwnerPriority == 0:
		return []string{fmt.Sprintf("%s was master and gave it up %s. It takes over %s, unless another router does so before.",
			e.Owner, ago(now, e.LastHeard), until(now, e.MasterDown))}
	}
	out := []string{
		fmt.Sprintf("%s owns %s, with priority %d; its last advert came %s.", e.Owner, s.vips(), e.OwnerPriority, ago(now, e.LastHeard)),
		fmt.Sprintf("It takes over when nothing is heard of the master for %s, or at once when the master gives up.", span(e.DownInterval)),
	}
	if why := s.preemption(now); why != "" {
		out = append(out, why)
	}
	return out
}

// preemption says why a router that hears a master does not take over from it.
func (s RouterStatus) preemption(now time.Time) string {
	e := s.Election
	switch {
	case e.Resigned:
		return "" // explainResigned says it
	case e.OwnerPriority > e.Priority:
		return fmt.Sprintf("Its own priority %d is lower than the master's %d: only a higher one would take over from it.",
			e.Priority, e.OwnerPriority)
	case e.OwnerPriority == e.Priority:
		return fmt.Sprintf("Its own priority is %d as well: between equals the master stays.", e.Priority)
	case !s.Spec.Preempt && s.Spec.Priority != vrrp.OwnerPriority:
		return fmt.Sprintf("Its own priority %d is higher than the master's %d, but preempt is false: "+
			"it leaves the addresses where they work. \"baton failover\" on the master moves them.", e.Priority, e.OwnerPriority)
	case now.Before(e.PreemptAt) && e.Unsynced:
		return fmt.Sprintf("Its own priority %d is higher than the master's %d: it takes over when its connection table has caught up "+
			"with the master's, or %s at the latest (preempt_after_sync %s, preempt_delay %s).", e.Priority, e.OwnerPriority,
			until(now, e.PreemptAt), span(s.Spec.PreemptAfterSync), span(s.Spec.PreemptDelay))
	case now.Before(e.PreemptAt):
		return fmt.Sprintf("Its own priority %d is higher than the master's %d: it takes over when its preempt_delay of %s ends, %s.",
			e.Priority, e.OwnerPriority, span(s.Spec.PreemptDelay), until(now, e.PreemptAt))
	}
	return fmt.Sprintf("Its own priority %d is higher than the master's %d: it takes over %s.",
		e.Priority, e.OwnerPriority, until(now, e.MasterDown))
}

func (s RouterStatus) explainFault() []string {
	return []string{
		fmt.Sprintf("While that lasts it takes no part in the election, and %s not on this director: a peer that hears no master takes over.", s.vipsAre()),
		"It takes part again by itself as soon as that is repaired." + s.whereToLook(),
	}
}

func (s RouterStatus) whereToLook() string {
	if !strings.HasPrefix(s.Election.Reason, "interface "+s.Spec.Interface+" ") {
		return ""
	}
	return fmt.Sprintf(" \"ip -br addr show dev %s\" shows the interface.", s.Spec.Interface)
}

func (s RouterStatus) explainResigned() []string {
	e := s.Election
	if !e.Resigned {
		return nil
	}
	text := fmt.Sprintf("It stands back after \"baton failover\": it takes part with priority %d instead of %d, so as to serve only when nobody else is left.",
		e.Priority, s.Spec.Priority)
	if e.State == vrrp.Master {
		text += " So it is now."
	}
	return []string{text, fmt.Sprintf("\"baton resume %s\" lets it take part again as configured.", s.Spec.Name)}
}

// explainSilence is for a master that has never heard anybody: all is well, or
// nothing comes through.
func (s RouterStatus) explainSilence() []string {
	if s.Election.State != vrrp.Master || s.Received > 0 {
		return nil
	}
	text := fmt.Sprintf("No advert of another router was ever accepted (sent %d, received 0).", s.Sent)
	if len(s.Rejected) > 0 {
		return []string{text} // what came is explained by why it was rejected
	}
	from := "a peer"
	switch len(s.Spec.Peers) {
	case 0:
	case 1:
		from = join(s.Spec.Peers)
	default:
		from = "one of " + join(s.Spec.Peers)
	}
	return []string{text + fmt.Sprintf(" As long as the others are backups that is as it should be. "+
		"If %s is master too: is IP protocol 112 let through by the firewalls of both, and does the switch pass %s?",
		from, s.passes())}
}

// passes names what the network between the routers has to let through.
func (s RouterStatus) passes() string {
	switch {
	case len(s.Spec.Peers) > 0:
		return "packets between " + source(s.Source) + " and " + join(s.Spec.Peers)
	case s.Source.Is6():
		return "multicast to " + vrrp.GroupIPv6.String()
	}
	return "multicast to " + vrrp.GroupIPv4.String()
}

func (s RouterStatus) vips() string {
	if len(s.Spec.Addresses) == 0 {
		return "no addresses"
	}
	vips := make([]string, len(s.Spec.Addresses))
	for i, a := range s.Spec.Addresses {
		vips[i] = a.Prefix.String()
	}
	return strings.Join(vips, ", ")
}

func (s RouterStatus) vipsAre() string {
	if len(s.Spec.Addresses) == 1 {
		return s.vips() + " is"
	}
	return s.vips() + " are"
}

func source(a netip.Addr) string {
	if !a.IsValid() {
		return "an address that is not known yet"
	}
	return a.String()
}

func join(addrs []netip.Addr) string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return strings.Join(out, ", ")
}

func ago(now, t time.Time) string { return span(max(now.Sub(t), 0)) + " ago" }

func until(now, t time.Time) string {
	if t.IsZero() || !t.After(now) {
		return "at any moment"
	}
	return "in " + span(t.Sub(now))
}

// span writes a duration as exactly as it matters to somebody who reads it.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Minute)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return text
}

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func wereWas(n uint64, what string) string {
	if n == 1 {
		return count(n, what) + " was"
	}
	return count(n, what) + " were"
}
