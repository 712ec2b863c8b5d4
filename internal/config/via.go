package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/pool"
)

// marks is a range of firewall marks.
type marks balancer.Marks

func (m *marks) parse(n *node, _ *rule) error {
	low, high, isRange := strings.Cut(n.text, "-")
	first, errFirst := strconv.ParseUint(low, 0, 32)
	last, errLast := strconv.ParseUint(high, 0, 32)
	if !isRange || errFirst != nil || errLast != nil || first == 0 || last < first || last-first >= maxMarks {
		return fmt.Errorf("%s is not a range of firewall marks", quote(n.text))
	}
	*m = marks{uint32(first), uint32(last)}
	return nil
}

// maxMarks bounds the range, whose every mark may be looked at.
const maxMarks = 1 << 20

func (*marks) allowed(*rule) string {
	return "two marks from 1 to 4294967295 with a - between them, the first one not larger, at most 1048576 in all, such as 0x62610000-0x62613fff"
}

// throughVIP reports whether a check of a server goes through the VIP, and refuses
// what cannot. Where only the defaults ask for it, they mean the others.
func (b *builder) throughVIP(s *service, c *block[rawCheck], server built) bool {
	via := &c.v.Via
	if !via.ok() || via.v != "vip" {
		return false
	}
	var no string
	switch kind := c.v.kinds()[0]; {
	case kind == "exec" || kind == "ping" || kind == "file":
		no = fmt.Sprintf("vip is for what connects over TCP or UDP, not for %s", kind)
	case s.Forward.bad || server.Forward == pool.NAT && s.bad:
		return false
	case server.Forward == pool.NAT:
		no = fmt.Sprintf("vip is for forward: dr and tun, but the server %s has nat, and is reached at its own address alone", server.show())
	case c.v.Connect.v.FWMark.ok() && c.v.Connect.v.FWMark.v != 0:
		no = "vip needs the probe's mark for itself; leave fwmark out of connect"
	case c.v.Connect.v.Interface.ok():
		no = "vip sends by the virtual server table and not by an interface; leave interface out of connect"
	default:
		return true
	}
	if via.own {
		b.add(via.at, "via: %s", no)
	}
	return false
}

// addVIPJobs builds the probes of a server through each VIP of the service, for it
// may lack one of them.
func (b *builder) addVIPJobs(ids []pool.CheckID, s *service, c *block[rawCheck], server built) []pool.CheckID {
	for _, vip := range b.vipsOf(s, c) {
		job := b.jobOf(&c.v)
		if job.Spec.Source.IsValid() && job.Spec.Source.Is6() != vip.Addr().Is6() {
			b.add(c.v.Connect.v.Source.at, "source: %s is of another family than %s, which is to be checked", job.Spec.Source, vip.Addr())
			continue
		}
		job.Spec.Target = vip
		job.Spec.Via = &check.Via{Server: server.Address, Forward: server.Forward, Tunnel: server.Tunnel}
		b.useMark(s, *job.Spec.Via)
		ids = b.put(ids, job)
	}
	return ids
}

// vipsOf returns where the probes of a service through its VIPs are addressed to:
// each address with the first of its ports.
func (b *builder) vipsOf(s *service, c *block[rawCheck]) (out []netip.AddrPort) {
	to := &c.v.Connect.v
	if s.bad || to.Address.bad || to.Port.bad {
		return nil
	}
	known := map[netip.Addr]bool{}
	for _, k := range s.out.Keys {
		if k.FWMark != 0 || known[k.Address] {
			continue
		}
		known[k.Address] = true
		if !to.Address.ok() || to.Address.v.Addr == k.Address {
			out = append(out, netip.AddrPortFrom(k.Address, k.Port))
		}
	}
	switch {
	case s.isMark() && !to.Address.ok():
		b.add(c.v.Via.at, "via: a firewall mark has no address, so vip needs one that its servers have; write connect: {address: …, port: …}")
	case s.isMark() && to.Address.v.Is6() != s.ipv6:
		b.add(to.Address.at, "address: %s is of another family than the service", to.Address.v)
	case s.isMark():
		out = []netip.AddrPort{netip.AddrPortFrom(to.Address.v.Addr, 0)}
	case len(out) == 0:
		b.add(to.Address.at, "address: with via: vip it is one of the service's, and %s is none", to.Address.v)
	}
	for i := range out {
		if to.Port.ok() {
			out[i] = netip.AddrPortFrom(out[i].Addr(), uint16(to.Port.v))
		}
		if out[i].Port() == 0 {
			b.add(c.at, "check: there is no port to connect to, because the service has none; write connect: {port: …}, or check: none")
			return nil
		}
	}
	return out
}

// useMark counts the servers that need a mark each.
func (b *builder) useMark(s *service, to check.Via) {
	b.vias[via{to, s.ipv6}] = true
}

type via struct {
	check.Via
	ipv6 bool
}

// checkMarks holds the range of the marks against what else uses marks. Without a
// check through a VIP the range is of no importance; servers that are found may bring
// one.
func (b *builder) checkMarks() {
	mayCome := slices.ContainsFunc(b.raw.Services.items, func(s block[rawService]) bool { return len(s.v.ServersFrom.items) > 0 })
	if len(b.vias) == 0 && !mayCome || b.raw.IPVS.v.Marks.bad {
		return
	}
	r := &b.raw.IPVS.v.Marks
	all := balancer.Marks(r.v)
	b.cfg.Balancer.Marks = all
	if n := len(b.vias); n > all.Count() {
		b.add(r.at, "vip_check_marks: these are %d marks, and %d servers are checked through the VIP, each of which needs one", all.Count(), n)
	}
	taken := func(at pos, what string, mark uint32) {
		if all.Has(mark) {
			b.add(at, "%s: %d is one of the marks for checks through the VIP, %s; take another one, or another range (ipvs: {vip_check_marks: …})",
				what, mark, all)
		}
	}
	for i := range b.raw.Services.items {
		raw := &b.raw.Services.items[i].v
		if raw.FWMark.ok() {
			taken(raw.FWMark.at, "fwmark", uint32(raw.FWMark.v))
		}
		checks := raw.Check.items
		for j := range raw.Servers.items {
			checks = append(checks[:len(checks):len(checks)], raw.Servers.items[j].v.Check.items...)
		}
		for j := range checks {
			if m := &checks[j].v.Connect.v.FWMark; m.ok() {
				taken(m.at, "fwmark", uint32(m.v))
			}
		}
	}
}
