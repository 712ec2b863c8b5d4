package config

import (
	"time"

	"baton/internal/vrrp"
)

// checkVersion refuses version 2 where it does not exist.
func (b *builder) checkVersion(r *router) {
	if r.version() != version2 || r.family != ipv6 {
		return
	}
	first := &r.Addresses.items[0].v.Address
	if r.Version.own {
		b.add(r.Version.at, "version: 2 is for IPv4 alone, but the first address, %s, is IPv6; leave the key out", first.v.Addr())
		return
	}
	b.add(first.at, "addresses: %s is IPv6, but the defaults have version 2, which is for IPv4 alone; write version: 3", first.v.Addr())
}

// checkInterval holds the interval against what the version's packets can say.
func (b *builder) checkInterval(r *router) {
	version := r.version()
	if version == 0 || r.Interval.bad {
		return
	}
	allowed, got := intervals[version], time.Duration(r.Interval.v)
	var wrong string
	switch {
	case got < allowed.step || got > allowed.most:
		wrong = "is out of range"
	case got%allowed.step != 0:
		wrong = "is not a multiple of " + allowed.step.String()
	default:
		return
	}
	suffix := ""
	if version == version2 {
		suffix = " in version 2"
	}
	if !r.Interval.own && r.Version.own {
		b.add(r.Version.at, "version: the advert_interval of the defaults at %s, %s, %s%s; allowed: %s", r.Interval.at, got, wrong, suffix, allowed.allowed)
		return
	}
	b.add(r.Interval.at, "advert_interval: %s %s%s; allowed: %s", got, wrong, suffix, allowed.allowed)
}

// checkPreemption refuses keys that the protocol gives no effect.
func (b *builder) checkPreemption(r *router) {
	never := r.Preempt.ok() && !bool(r.Preempt.v)
	if r.isOwner() && never {
		b.add(r.Preempt.at, "preempt: false has no effect with priority 255: the owner of the addresses always preempts")
	}
	if d := &r.PreemptDelay; never && d.ok() && d.own && d.v > 0 {
		b.add(d.at, "preempt_delay: %s has no effect with preempt: false", time.Duration(d.v))
	}
	d := &r.PreemptSync
	if !d.ok() || d.v == 0 {
		return
	}
	var reason string
	switch {
	case !r.Sync.set:
		reason = "without connection_sync: there is no connection table to wait for"
	case b.cfg.Balancer.Cold:
		reason = "with ipvs: {standby: cold}: without services there is no table to see growing"
	case never:
		reason = "with preempt: false"
	case r.isOwner():
		reason = "with priority 255: the owner of the addresses does not wait when it starts"
	default:
		r.out.PreemptAfterSync = time.Duration(d.v)
		return
	}
	if d.own {
		b.add(d.at, "preempt_after_sync: %s has no effect %s", time.Duration(d.v), reason)
	}
}

// buildChecksum refuses a choice where the protocol leaves none.
func (b *builder) buildChecksum(r *router) {
	c := &r.Checksum
	if c.bad || c.v != "rfc9568-none" {
		return
	}
	var reason string
	switch {
	case r.version() == version2:
		reason = "version 2, whose checksum never has the pseudo-header"
	case r.family == ipv6:
		reason = "IPv6, whose checksum always has the pseudo-header"
	default:
		r.out.Checksum = vrrp.NoPseudoHeader
		return
	}
	if c.own {
		b.add(c.at, "checksum: %s has no meaning for %s; leave the key out", c.v, reason)
	}
}
