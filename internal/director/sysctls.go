package director

import (
	"net/netip"
	"os"
	"slices"

	"baton/internal/config"
	"baton/internal/network"
	"baton/internal/pool"
)

// neededSysctls are the settings that the routers and services need. Those of
// IPVS, net.ipv4.vs.*, are there when the module is; the keeper waits for it.
//
// Not among them is rp_filter, which is for the real servers: whatever comes to a
// director, comes from where its own route to the sender leads, but for the answers
// to checks through the VIP; see viaSysctls.
func neededSysctls(cfg *config.Config) []network.Sysctl {
	var out []network.Sysctl
	if len(cfg.Routers) > 0 {
		// For all interfaces, also those that appear later; the kernel takes it
		// together with the interface's own setting.
		out = append(out, network.PromoteSecondaries("all"))
	}
	if anyService(cfg, func(s pool.Service) bool { return usesNAT(s) && !ofIPv6(s) }) {
		out = append(out, network.Sysctl{
			Key: "net.ipv4.ip_forward", Value: "1",
			Why: "replies of NAT real servers pass this director",
		})
	}
	if needsIPv6Forwarding(cfg) {
		out = append(out, network.Sysctl{
			Key: ipv6ForwardingKey, Value: "1",
			Why: "replies of IPv6 NAT real servers pass this director",
		})
	}
	return append(out, neededIPVSSysctls(cfg)...)
}

// neededIPVSSysctls are the settings of IPVS itself that the services need. They
// are there when its module is.
//
// All are of the whole network namespace, so they are set only where a service
// cannot do without.
func neededIPVSSysctls(cfg *config.Config) []network.Sysctl {
	var persistent, datagrams bool
	for _, s := range cfg.Balancer.Services {
		persistent = persistent || s.PersistenceSeconds > 0
		datagrams = datagrams || s.Datagrams() && s.Flags&pool.OnePacket == 0
	}
	var out []network.Sysctl
	if persistent {
		// ip_vs_check_template asks for this when a client comes back.
		out = append(out, network.Sysctl{
			Key: quiescentKey, Value: "1",
			Why: "persistence does not lead clients back to a server of weight 0, which would never get empty",
		})
	}
	if datagrams {
		// A flow of datagrams from one port is one connection for as long as it
		// lasts. Without this its packets are dropped when its server is gone
		// (ip_vs_in), until a pause of the UDP timeout. TCP does without: a
		// connection whose server is taken out and put back within minutes goes on
		// (ip_vs_trash_get_dest), which this setting prevents.
		out = append(out, network.Sysctl{
			Key: "net.ipv4.vs.expire_nodest_conn", Value: "1",
			Why: "UDP flows of a server that is taken out move to another one",
		})
	}
	if len(cfg.ConnectionSync) > 0 && cfg.ConnectionSync[0].Timing.Written {
		out = append(out, writtenSyncSysctls(cfg.ConnectionSync[0].Timing)...)
	}
	if anyService(cfg, func(s pool.Service) bool { return s.SourceNAT }) {
		out = append(out, conntrack("without it the NAT of nftables does not see the connections of services with source_nat"))
	} else if anyService(cfg, needsFTP) && ftpLoaded() {
		out = append(out, conntrack("the kernel's ip_vs_ftp changes the addresses that FTP servers send"))
	}
	return out
}

const quiescentKey = "net.ipv4.vs.expire_quiescent_template"

// clientsReturn reports whether the kernel leads clients with persistence back to
// a server of weight 0, because the administrator wants it so.
func clientsReturn() bool {
	v, err := network.ReadSysctl(quiescentKey)
	return err == nil && v == "0"
}

const ipv6ForwardingKey = "net.ipv6.conf.all.forwarding"

// conntrack makes connection tracking, and so nftables' NAT, see what IPVS sends.
// A connection keeps the value that it began with.
func conntrack(why string) network.Sysctl {
	return network.Sysctl{Key: "net.ipv4.vs.conntrack", Value: "1", Why: why}
}

func needsIPv6Forwarding(cfg *config.Config) bool {
	return anyService(cfg, func(s pool.Service) bool { return usesNAT(s) && ofIPv6(s) })
}

func anyService(cfg *config.Config, is func(pool.Service) bool) bool {
	return slices.ContainsFunc(cfg.Balancer.Services, is)
}

// ofIPv6: all keys of a service are of one family.
func ofIPv6(s pool.Service) bool { return s.Keys[0].IPv6 }

func usesNAT(s pool.Service) bool {
	for _, server := range s.Servers {
		if server.Forward == pool.NAT {
			return true
		}
	}
	return s.Fallback != nil && s.Fallback.Forward == pool.NAT
}

// needsFTP reports whether the kernel's helper for FTP is for the service.
func needsFTP(s pool.Service) bool {
	return usesNAT(s) && slices.ContainsFunc(s.Keys, func(k pool.Key) bool { return k.Protocol == pool.TCP && k.Port == 21 })
}

func ftpLoaded() bool {
	_, err := os.Stat("/sys/module/ip_vs_ftp")
	return err == nil
}

// advertised are the settings by which a host goes on to learn its IPv6 default
// route from advertisements while it forwards. They come before the forwarding:
// when that begins, the kernel drops such routes.
func advertised(interfaces []string) []network.Sysctl {
	var out []network.Sysctl
	for _, name := range interfaces {
		out = append(out, network.Sysctl{
			Key: "net/ipv6/conf/" + name + "/accept_ra", Value: "2",
			Why: "a host that forwards IPv6 would otherwise lose the default route that it has by router advertisements",
		})
	}
	return out
}

// noRedirects are the settings for one-armed NAT: where a real server's replies
// leave by the interface they came in by, the kernel tells the server of the
// shorter way to the client, past the director. It does so where either of the
// two settings allows it. For IPv6 the kernel has none.
func noRedirects(interfaces []string) []network.Sysctl {
	var out []network.Sysctl
	if len(interfaces) > 0 {
		interfaces = append([]string{"all"}, interfaces...)
	}
	for _, name := range interfaces {
		out = append(out, network.Sysctl{
			Key: "net/ipv4/conf/" + name + "/send_redirects", Value: "0",
			Why: "NAT real servers on the clients' segment must not be told of a way past this director",
		})
	}
	return out
}

// mayBeOneArmed reports whether a service's servers know their clients and answer
// them through this director, so that it matters on which segment they are.
func mayBeOneArmed(s pool.Service) bool { return usesNAT(s) && !ofIPv6(s) && !s.SourceNAT }

// oneArmed returns the interfaces, sorted, on which a VIP and a NAT real server
// behind it are, as far as can be known: a firewall mark has no VIP. have are the
// addresses of this host, among which VIPs are those that it owns.
func oneArmed(cfg *config.Config, have []network.Address) []string {
	vips := map[netip.Addr]string{}
	for _, a := range have {
		vips[a.Prefix.Addr()] = a.Interface
	}
	for _, r := range cfg.Routers {
		for _, a := range slices.Concat(r.Addresses, r.Extra) {
			vips[a.Prefix.Addr()] = a.Interface
		}
	}
	var out []string
	for _, s := range cfg.Balancer.Services {
		if !mayBeOneArmed(s) {
			continue
		}
		for _, arm := range arms(s, have) {
			has := func(k pool.Key) bool { return vips[k.Address] == arm }
			if slices.ContainsFunc(s.Keys, has) && !slices.Contains(out, arm) {
				out = append(out, arm)
			}
		}
	}
	slices.Sort(out)
	return out
}

// arms are the interfaces on whose networks NAT servers of a service are.
func arms(s pool.Service, have []network.Address) []string {
	var out []string
	servers := s.Servers
	if s.Fallback != nil {
		servers = append(servers[:len(servers):len(servers)], *s.Fallback)
	}
	for _, a := range have {
		on := func(r pool.Server) bool { return r.Forward == pool.NAT && a.Prefix.Contains(r.Address) }
		if !a.Prefix.IsSingleIP() && !slices.Contains(out, a.Interface) && slices.ContainsFunc(servers, on) {
			out = append(out, a.Interface)
		}
	}
	return out
}
