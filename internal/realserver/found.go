package realserver

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"baton/internal/network"
)

// Found is what the kernel has.
type Found struct {
	Interfaces map[string]network.Interface
	Addresses  []network.HostAddress
	Sysctls    map[string]string // those that are there
	Ports      []network.ReceivePort
	GUE        bool            // the kernel can unwrap it
	Modules    map[string]bool // those that are known to be loaded
	Marks      bool            // the kernel keeps the mark of addresses
}

// at returns the addresses that are a VIP, on whatever interface.
func (f Found) at(vip netip.Addr) []network.HostAddress {
	var out []network.HostAddress
	for _, a := range f.Addresses {
		if a.Prefix.Addr() == vip {
			out = append(out, a)
		}
	}
	return out
}

// has returns the address on its device.
func (f Found) has(s Spec) (network.HostAddress, bool) {
	for _, a := range f.at(s.VIP) {
		if a.Interface == s.Device && a.Prefix == s.prefix() {
			return a, true
		}
	}
	return network.HostAddress{}, false
}

// marked reports whether an address carries our mark.
func marked(a network.HostAddress) bool {
	return a.Mark == Mark || (a.Mark == 0 && strings.HasSuffix(a.Label, labelEnd))
}

// with is what the kernel would have after a step.
func (f Found) with(s Step) Found {
	f.Interfaces, f.Sysctls, f.Modules = maps.Clone(f.Interfaces), maps.Clone(f.Sysctls), maps.Clone(f.Modules)
	f.Addresses, f.Ports = slices.Clone(f.Addresses), slices.Clone(f.Ports)
	port := network.ReceivePort{Port: s.Port, IPv6: s.Outer == Inet6}
	switch s.Op {
	case Load:
		f.Modules[s.Module] = true
		f.GUE = f.GUE || s.Module == moduleGUE
		if s.Interface != "" {
			f = f.withInterface(network.Interface{Name: s.Interface})
		}
	case Create:
		f = f.withInterface(network.Interface{Name: s.Interface, Alias: alias})
	case Remove:
		delete(f.Interfaces, s.Interface)
		f.Addresses = slices.DeleteFunc(f.Addresses, func(a network.HostAddress) bool { return a.Interface == s.Interface })
		maps.DeleteFunc(f.Sysctls, func(key, _ string) bool { return strings.Contains(key, "/"+s.Interface+"/") })
	case Up, Down:
		i := f.Interfaces[s.Interface]
		i.Up = s.Op == Up
		f.Interfaces[s.Interface] = i
	case Set:
		f.Sysctls[s.Key] = s.To
	case Open:
		f.Ports = append(f.Ports, port)
	case Close:
		f.Ports = slices.DeleteFunc(f.Ports, func(p network.ReceivePort) bool { return p == port })
	case Add:
		f.Addresses = append(f.Addresses, network.HostAddress{
			Prefix: s.Address, Interface: s.Interface, Label: s.Label, Mark: Mark, Local: true,
		})
	case Delete:
		f.Addresses = slices.DeleteFunc(f.Addresses, func(a network.HostAddress) bool {
			return a.Prefix == s.Address && a.Interface == s.Interface
		})
	}
	return f
}

// withInterface adds an interface, which gets the settings of "default".
func (f Found) withInterface(i network.Interface) Found {
	f.Interfaces[i.Name] = i
	for _, key := range slices.Collect(maps.Keys(f.Sysctls)) {
		if before, leaf, ok := strings.Cut(key, "/default/"); ok {
			f.Sysctls[before+"/"+i.Name+"/"+leaf] = f.Sysctls[key]
		}
	}
	return f
}
