package sourcenat

import (
	"cmp"
	"net/netip"
	"slices"

	"baton/internal/pool"
)

// State is what the table is to do. The zero value is that there is none.
type State struct {
	// Keys are those of the services whose clients' addresses are rewritten.
	Keys []pool.Key
	// Others are those of all other services, some of which are exceptions from
	// Keys: a port from a service with all ports, a firewall mark from any other.
	Others []pool.Key
	// Servers are the addresses of the real servers with NAT of the services with
	// Keys. Packets to others are not touched.
	Servers []netip.Addr
}

// StateOf returns what services need: those with SourceNAT have their clients'
// addresses rewritten.
func StateOf(services []pool.Service) State {
	var s State
	for i := range services {
		if !services[i].SourceNAT {
			s.Others = append(s.Others, services[i].Keys...)
			continue
		}
		s.Keys = append(s.Keys, services[i].Keys...)
		servers := services[i].Servers
		if f := services[i].Fallback; f != nil {
			servers = append(servers[:len(servers):len(servers)], *f)
		}
		for _, r := range servers {
			if r.Forward == pool.NAT {
				s.Servers = append(s.Servers, r.Address)
			}
		}
	}
	if len(s.Keys) == 0 {
		return State{} // the others are nobody's exceptions
	}
	return s
}

// Empty reports whether nothing is to be rewritten.
func (s State) Empty() bool { return len(s.Keys) == 0 || len(s.Servers) == 0 }

// family is the part of a state that is of one family. All lists are sorted and
// without duplicates.
type family struct {
	ipv6    bool
	servers []netip.Addr
	marks   []uint32 // of services that are selected by mark
	// keepMarks are marks of others: IPVS looks for marks first.
	keepMarks []uint32
	ports     map[pool.Protocol][]netip.AddrPort // of services at an address and port
	keepPorts map[pool.Protocol][]netip.AddrPort // of others at an address of whole
	whole     map[pool.Protocol][]netip.Addr     // of services with all ports of an address
}

// protocols are those that IPVS balances, in the order of the rules.
var protocols = []pool.Protocol{pool.TCP, pool.UDP, pool.SCTP}

// of returns the part of a family.
func (s State) of(ipv6 bool) family {
	f := family{
		ipv6: ipv6, ports: map[pool.Protocol][]netip.AddrPort{}, keepPorts: map[pool.Protocol][]netip.AddrPort{},
		whole: map[pool.Protocol][]netip.Addr{},
	}
	for _, a := range s.Servers {
		if a.Is6() == ipv6 {
			f.servers = append(f.servers, a)
		}
	}
	for _, k := range s.Keys {
		switch {
		case k.IPv6 != ipv6:
		case k.FWMark != 0:
			f.marks = append(f.marks, k.FWMark)
		case k.Port == 0:
			f.whole[k.Protocol] = append(f.whole[k.Protocol], k.Address)
		default:
			f.ports[k.Protocol] = append(f.ports[k.Protocol], netip.AddrPortFrom(k.Address, k.Port))
		}
	}
	for _, k := range s.Others {
		switch {
		case k.IPv6 != ipv6:
		case k.FWMark != 0:
			f.keepMarks = append(f.keepMarks, k.FWMark)
		case slices.Contains(f.whole[k.Protocol], k.Address):
			f.keepPorts[k.Protocol] = append(f.keepPorts[k.Protocol], netip.AddrPortFrom(k.Address, k.Port))
		}
	}
	f.sort()
	return f
}

func (f *family) sort() {
	f.servers = sorted(f.servers, netip.Addr.Compare)
	f.marks = sorted(f.marks, cmp.Compare[uint32])
	f.keepMarks = sorted(f.keepMarks, cmp.Compare[uint32])
	for _, p := range protocols {
		f.ports[p] = sorted(f.ports[p], netip.AddrPort.Compare)
		f.keepPorts[p] = sorted(f.keepPorts[p], netip.AddrPort.Compare)
		f.whole[p] = sorted(f.whole[p], netip.Addr.Compare)
	}
}

func sorted[T comparable](list []T, compare func(a, b T) int) []T {
	slices.SortFunc(list, compare)
	return slices.Compact(list)
}

// empty reports whether nothing of the family is to be rewritten.
func (f family) empty() bool {
	for _, p := range protocols {
		if len(f.ports[p])+len(f.whole[p]) > 0 {
			return len(f.servers) == 0
		}
	}
	return len(f.marks) == 0 || len(f.servers) == 0
}
