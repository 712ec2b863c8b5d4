package ipvs

import (
	"net/netip"
	"strconv"
	"strings"

	"baton/internal/pool"
)

// These helpers make tables short to write in tests.

// service returns "tcp 10.0.0.100:80 wlc" or "fwmark 7 inet6 rr" with servers.
func service(spec string, servers ...pool.RealServer) pool.VirtualService {
	f := strings.Fields(spec)
	v := pool.VirtualService{Scheduler: f[len(f)-1], Servers: servers}
	switch f[0] {
	case "fwmark":
		n, err := strconv.ParseUint(f[1], 10, 32)
		if err != nil {
			panic(err)
		}
		v.Key = pool.Key{FWMark: uint32(n), IPv6: f[2] == "inet6"}
	default:
		p := map[string]pool.Protocol{"tcp": pool.TCP, "udp": pool.UDP, "sctp": pool.SCTP}[f[0]]
		v.Key = pool.KeyOf(p, netip.MustParseAddrPort(f[1]))
	}
	v.PersistencePrefix = fullPrefix(v.IPv6)
	return v
}

// server returns "10.0.0.11:80 nat 1".
func server(spec string) pool.RealServer {
	f := strings.Fields(spec)
	ap := netip.MustParseAddrPort(f[0])
	w, err := strconv.ParseUint(f[2], 10, 32)
	if err != nil {
		panic(err)
	}
	fwd := map[string]pool.Forward{"nat": pool.NAT, "dr": pool.DR, "tun": pool.TUN}[f[1]]
	return pool.RealServer{Address: ap.Addr(), Port: ap.Port(), Forward: fwd, Weight: uint32(w)}
}

func persistent(v pool.VirtualService, seconds uint32, prefix uint8) pool.VirtualService {
	v.Flags |= pool.Persistent
	v.PersistenceSeconds, v.PersistencePrefix = seconds, prefix
	return v
}

func flagged(v pool.VirtualService, f pool.Flags) pool.VirtualService {
	v.Flags |= f
	return v
}

func limited(s pool.RealServer, lower, upper uint32) pool.RealServer {
	s.Lower, s.Upper = lower, upper
	return s
}

func tunnelled(s pool.RealServer, t pool.Tunnel) pool.RealServer {
	s.Forward, s.Tunnel = pool.TUN, t
	return s
}

func table(t ...pool.VirtualService) pool.Table { return pool.Table(t) }

// worlds are states of a table. A walk goes from any to any.
var worlds = []struct {
	name  string
	table pool.Table
}{
	{"empty", nil},
	{"one service without servers", table(service("tcp 10.0.0.100:80 wlc"))},
	{"one service", table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"), server("10.0.0.12:80 nat 2")))},
	{"other weights", table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 0"), server("10.0.0.12:80 nat 70000")))},
	{"other scheduler", table(service("tcp 10.0.0.100:80 rr", server("10.0.0.11:80 nat 1"), server("10.0.0.12:80 nat 2")))},
	{"other servers", table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.13:8080 nat 1")))},
	{"other forwarding", table(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 dr 1"), server("10.0.0.12:80 tun 2")))},
	{"thresholds", table(service("tcp 10.0.0.100:80 wlc", limited(server("10.0.0.11:80 nat 1"), 800, 1000)))},
	{"persistent", table(persistent(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1")), 300, 32))},
	{"persistent networks", table(persistent(service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1")), 300, 24))},
	{"sh with flags", table(flagged(service("tcp 10.0.0.100:80 sh", server("10.0.0.11:80 nat 1")), pool.Sched1|pool.Sched2))},
	{"one packet", table(flagged(service("udp 10.0.0.100:53 rr", server("10.0.0.11:53 nat 1")), pool.OnePacket))},
	{"tunnels", table(service("tcp 10.0.0.100:80 wlc",
		tunnelled(server("10.0.0.11:80 tun 1"), pool.Tunnel{Type: pool.IPIP}),
		tunnelled(server("10.0.0.12:80 tun 1"), pool.Tunnel{Type: pool.GUE, Port: 6080, Flags: 1}),
		tunnelled(server("10.0.0.13:80 tun 1"), pool.Tunnel{Type: pool.GRE, Flags: 1})))},
	{"mixed families", table(
		service("tcp 10.0.0.100:80 wlc", server("[2001:db8::11]:80 tun 1"), server("10.0.0.12:80 tun 1")),
		service("tcp [2001:db8::100]:80 wlc", server("10.0.0.12:80 tun 1")))},
	{"IPv6", table(
		persistent(service("tcp [2001:db8::100]:80 wlc", server("[2001:db8::11]:80 nat 1")), 60, 64),
		service("udp [2001:db8::100]:53 rr", server("[2001:db8::11]:53 dr 1")))},
	{"firewall marks", table(
		service("fwmark 7 inet rr", server("10.0.0.11:0 dr 1")),
		service("fwmark 7 inet6 rr", server("[2001:db8::11]:0 dr 1")))},
	{"many", many(12, 5)},
	{"many others", many(5, 12)},
}

// many returns n services with m servers each.
func many(n, m int) pool.Table {
	var t pool.Table
	for i := range n {
		v := service("tcp 10.0.0.100:80 wlc")
		v.Key = pool.KeyOf(pool.TCP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80))
		for j := range m {
			s := server("10.0.0.11:80 nat 1")
			s.Address = netip.AddrFrom4([4]byte{10, 2, byte(j >> 8), byte(j)})
			s.Weight = uint32(1 + (i+j)%3)
			v.Servers = append(v.Servers, s)
		}
		t = append(t, v)
	}
	return t
}
