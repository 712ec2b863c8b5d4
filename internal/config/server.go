package config

import (
	"net/netip"
	"slices"

	"baton/internal/pool"
)

// seats are what the servers of a service have taken.
type seats struct {
	addresses map[netip.AddrPort]pos
	names     map[string]pos
}

func newSeats() seats {
	return seats{make(map[netip.AddrPort]pos), make(map[string]pos)}
}

func (b *builder) buildServers(s *service) {
	if !s.Servers.set && !s.ServersFrom.set {
		missing(b.problems, serversRule, "service", s.at)
	}
	taken := newSeats()
	s.out.Servers = slices.Grow(s.out.Servers, len(s.Servers.items))
	for i := range s.Servers.items {
		b.buildServer(s, &s.Servers.items[i], taken)
	}
}

func (b *builder) buildServer(s *service, raw *block[rawServer], taken seats) {
	if raw.bad {
		return
	}
	r := &raw.v
	b.unique(taken.names, "server of this service", r.Name)
	out, ok := b.destination(s, destination{&r.Address, &r.Forward, &r.Tunnel})
	if !ok {
		return
	}
	if first, twice := taken.addresses[out.AddrPort()]; twice {
		b.add(r.Address.at, "address: %s is already a server of this service at %s", out.show(), first)
		return
	}
	taken.addresses[out.AddrPort()] = r.Address.at
	out.Name, out.Weight = string(r.Name.v), uint32(r.Weight.v)
	out.Upper, out.Lower = b.thresholds(r)
	out.Backup = bool(r.Backup.v)
	out.Checks = b.checksOf(s, r, out)
	b.buildAgent(s, &out)
	s.out.Servers = append(s.out.Servers, out.Server)
}

// thresholds follow the kernel, which refuses a lower one above the upper.
func (b *builder) thresholds(r *rawServer) (upper, lower uint32) {
	if !r.Upper.bad && r.Lower.ok() && r.Lower.v > r.Upper.v {
		if r.Upper.v == 0 {
			b.add(r.Lower.at, "lower: %d has no effect without upper", r.Lower.v)
		} else {
			b.add(r.Lower.at, "lower: %d is more than upper, %d", r.Lower.v, r.Upper.v)
		}
	}
	return uint32(r.Upper.v), uint32(r.Lower.v)
}

// destination is what servers and the fallback have in common.
type destination struct {
	address *value[endpoint]
	forward *value[word]
	tunnel  *block[rawTunnel]
}

// built is a server while it is built.
type built struct{ pool.Server }

// show prints the address, with its port if it has one of its own.
func (s built) show() string {
	if s.Port == 0 {
		return s.Address.String()
	}
	return s.AddrPort().String()
}

// destination builds the part of a server that tells the kernel where packets
// go. It reports false when that is not known.
func (b *builder) destination(s *service, d destination) (built, bool) {
	var out built
	if !d.address.ok() {
		return out, false
	}
	out.Address, out.Port = d.address.v.addr, d.address.v.port
	out.Forward = s.out.Forward
	known := !s.Forward.bad && !d.forward.bad
	if d.forward.ok() {
		out.Forward = forwards[d.forward.v]
	}
	out.Tunnel = b.tunnelOf(d, out.Forward, known)
	if s.bad || !known {
		return out, true
	}
	if out.Address.Is6() != s.ipv6 && out.Forward != pool.TUN {
		b.add(d.address.at, "address: %s is of another family than the service; only forward: tun can cross families", out.Address)
	}
	if out.Address.Is6() != s.ipv6 && len(b.syncs) > 0 {
		b.add(d.address.at, "address: %s is of another family than the service, which the kernel refuses while its sync daemon runs; see connection_sync at %s", out.Address, b.syncs[0].at)
	}
	b.portOf(s, d, &out)
	return out, true
}

// portOf gives a server without a port the service's, and refuses a port that
// the kernel would not use.
func (b *builder) portOf(s *service, d destination, out *built) {
	port, one := s.port()
	switch {
	case !d.address.v.hasPort:
		out.Port = port
	case one && port == out.Port:
	case one && port == 0 && !s.isMark():
		b.add(d.address.at, "address: the service has all ports, which are not mapped; write %s without port %d", out.Address, out.Port)
	case out.Forward == pool.NAT:
	case s.isMark():
		b.add(d.address.at, "address: forward: %s cannot change the port; write %s without port %d, and give it to the check as connect: {port: %d}", out.Forward, out.Address, out.Port, out.Port)
	case one:
		b.add(d.address.at, "address: forward: %s cannot change the port from the service's %d to %d", out.Forward, port, out.Port)
	default:
		b.add(d.address.at, "address: forward: %s cannot change the ports of the service to %d; write %s without a port", out.Forward, out.Port, out.Address)
	}
}

var tunnelTypes = map[word]pool.TunnelType{"ipip": pool.IPIP, "gue": pool.GUE, "gre": pool.GRE}

// tunnelChecksums are the kernel's IP_VS_TUNNEL_ENCAP_FLAG_*.
var tunnelChecksums = map[word]uint16{"none": 0, "csum": 1, "remcsum": 2}

func (b *builder) tunnelOf(d destination, f pool.Forward, known bool) pool.Tunnel {
	if !d.tunnel.set || d.tunnel.bad {
		return pool.Tunnel{}
	}
	t := &d.tunnel.v
	if known && f != pool.TUN {
		b.add(d.tunnel.at, "tunnel: it belongs to forward: tun, but the server has %s", f)
	}
	if t.Type.bad {
		return pool.Tunnel{}
	}
	isGUE := t.Type.v == "gue"
	switch {
	case isGUE && !t.Port.set:
		b.add(d.tunnel.at, "tunnel: gue needs a port")
	case !isGUE && t.Port.ok():
		b.add(t.Port.at, "port: a tunnel of type %s has no port", t.Type.v)
	}
	if t.Checksum.ok() && t.Checksum.v != "none" && (t.Type.v == "ipip" || t.Checksum.v == "remcsum" && !isGUE) {
		b.add(t.Checksum.at, "checksum: a tunnel of type %s does not have %s", t.Type.v, t.Checksum.v)
	}
	return pool.Tunnel{Type: tunnelTypes[t.Type.v], Port: uint16(t.Port.v), Flags: tunnelChecksums[t.Checksum.v]}
}

// buildFallback builds the sorry server. It has the checks that it names and no
// others: what tells a web server from a broken one is no test of its stand-in.
func (b *builder) buildFallback(s *service) {
	if !s.Fallback.set || s.Fallback.bad {
		return
	}
	r := &s.Fallback.v
	out, ok := b.destination(s, destination{&r.Address, &r.Forward, &r.Tunnel})
	if !ok {
		return
	}
	out.Weight = 1
	out.Checks = b.listed(s, &r.Check, out)
	s.out.Fallback = &out.Server
}
