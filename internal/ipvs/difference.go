package ipvs

import (
	"fmt"
	"net/netip"
	"strings"

	"baton/internal/pool"
)

// Difference is one way in which the kernel's table is not what it should be.
type Difference struct {
	Key    pool.Key
	Server netip.AddrPort // invalid: the service itself, with all its servers
	Kind   DifferenceKind
	Detail string // for Changed, the kernel's value first: "weight 5, not 1"
}

// DifferenceKind says in which way a service or server differs.
type DifferenceKind uint8

// The kinds of difference.
const (
	Missing    DifferenceKind = iota + 1 // it should be in the kernel and is not
	Unexpected                           // it is in the kernel and should not be
	Changed                              // it is there with other settings
)

// String returns the kind in one word.
func (k DifferenceKind) String() string {
	switch k {
	case Missing:
		return "missing"
	case Unexpected:
		return "unexpected"
	case Changed:
		return "changed"
	}
	return fmt.Sprintf("difference-%d", uint8(k))
}

// String says what differs, in words: "tcp 10.0.0.100:80: server 10.0.0.11:80
// changed: weight 5, not 1".
func (d Difference) String() string {
	what := "service"
	if d.Server.IsValid() {
		what = "server " + d.Server.String()
	}
	s := fmt.Sprintf("%v: %s %v", d.Key, what, d.Kind)
	if d.Detail != "" {
		s += ": " + d.Detail
	}
	return s
}

// Diff returns in which ways the services of a dump differ from a desired table,
// in the table's order. Services that the table does not name come last, as
// Unexpected: whether they are somebody else's only a [Reconciler] knows.
func Diff(have []Service, want pool.Table) []Difference {
	entries := make(map[pool.Key]*entry, len(have))
	for _, s := range have {
		entries[s.Key()] = entryOf(s)
	}
	var list []Difference
	for _, v := range want {
		v = normalService(v)
		list = append(list, differences(steps(entries[v.Key], v))...)
		delete(entries, v.Key)
	}
	for _, s := range have {
		if entries[s.Key()] != nil {
			list = append(list, Difference{Key: s.Key(), Kind: Unexpected})
		}
	}
	return list
}

// differences describes the changes of one service. A service that is missing
// is one difference, whatever the number of its servers.
func differences(list []step) []Difference {
	if len(list) > 0 && list[0].op.Kind == NewService {
		list = list[:1]
	}
	out := make([]Difference, 0, len(list))
	for _, s := range list {
		out = append(out, s.difference())
	}
	return out
}

// difference describes what the step repairs.
func (s step) difference() Difference {
	d := Difference{Key: s.op.Service.Key}
	if s.op.Kind.ofServer() {
		d.Server = s.op.Server.AddrPort()
	}
	switch s.op.Kind {
	case NewService, NewServer:
		d.Kind = Missing
	case DelService, DelServer:
		d.Kind = Unexpected
	case EditService:
		d.Kind, d.Detail = Changed, settingsDetail(s.before.settings, s.op.Service)
	case EditServer:
		at, _ := s.before.find(s.op.Server)
		d.Kind, d.Detail = Changed, serverDetail(s.before.servers[at], s.op.Server)
	}
	return d
}

func settingsDetail(is, should pool.VirtualService) string {
	var d detail
	d.add("scheduler", is.Scheduler, should.Scheduler)
	d.add("flags", flagsText(is), flagsText(should))
	d.add("persistence timeout", is.PersistenceSeconds, should.PersistenceSeconds)
	d.add("persistence netmask", is.PersistencePrefix, should.PersistencePrefix)
	d.add("persistence engine", is.PersistenceEngine, should.PersistenceEngine)
	return d.String()
}

func serverDetail(is, should pool.RealServer) string {
	var d detail
	d.add("weight", is.Weight, should.Weight)
	d.add("forward", is.Forward, should.Forward)
	d.add("tunnel", tunnelText(is), tunnelText(should))
	d.add("upper", is.Upper, should.Upper)
	d.add("lower", is.Lower, should.Lower)
	return d.String()
}

// flagsText names flags as ipvsadm does.
func flagsText(v pool.VirtualService) string {
	fallback, port := "flag-1", "flag-2"
	if v.Scheduler == "sh" || v.Scheduler == "mh" {
		fallback, port = v.Scheduler+"-fallback", v.Scheduler+"-port"
	}
	var names []string
	for _, f := range []struct {
		flag pool.Flags
		name string
	}{{pool.Persistent, "persistent"}, {pool.OnePacket, "one-packet"}, {pool.Sched1, fallback}, {pool.Sched2, port}, {pool.Sched3, "flag-3"}} {
		if v.Flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ",")
}

// tunnelText names what packets to the server are wrapped in; empty: nothing.
func tunnelText(s pool.RealServer) string {
	if s.Forward != pool.TUN {
		return ""
	}
	var text string
	switch t := s.Tunnel; t.Type {
	case pool.IPIP:
		return "ipip"
	case pool.GUE:
		text = fmt.Sprintf("gue port %d", t.Port)
	case pool.GRE:
		text = "gre"
	default:
		text = fmt.Sprintf("type %d port %d", t.Type, t.Port)
	}
	switch s.Tunnel.Flags {
	case 0:
		return text
	case 1:
		return text + " csum"
	case 2:
		return text + " remcsum"
	}
	return fmt.Sprintf("%s flags %#x", text, s.Tunnel.Flags)
}

// detail collects the settings that differ.
type detail []string

func (d *detail) add(name string, is, should any) {
	if is == should {
		return
	}
	if s, ok := is.(string); ok && s == "" {
		is = "none"
	}
	if s, ok := should.(string); ok && s == "" {
		should = "none"
	}
	*d = append(*d, fmt.Sprintf("%s %v, not %v", name, is, should))
}

func (d detail) String() string { return strings.Join(d, "; ") }
