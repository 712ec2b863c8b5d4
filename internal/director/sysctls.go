package director

import (
	"context"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/config"
	"baton/internal/ipvs"
	"baton/internal/network"
	"baton/internal/pool"
)

// setSysctls makes the kernel forward as the services need it, or says what
// would have to be set. A setting is never turned back: something else may have
// come to need it.
func (d *Director) setSysctls(cfg *config.Config) {
	needed := neededSysctls(cfg)
	if d.hasIPVS.Load() {
		needed = append(needed, neededIPVSSysctls(cfg)...)
	}
	d.ensureSysctls(needed, cfg.Sysctls == config.SysctlsManage)
}

func (d *Director) ensureSysctls(needed []network.Sysctl, manage bool) {
	changes, errs := network.EnsureSysctls(needed, manage)
	for _, c := range changes {
		if c.Changed {
			d.log.Info("kernel setting changed", "key", c.Key, "from", c.Old, "to", c.Value, "why", c.Why)
			d.event(api.Event{Kind: api.KindConfig, Name: c.Key, From: c.Old, To: c.Value, Reason: c.Why})
		} else {
			d.log.Warn("a kernel setting is not as the services need it; set it, or write sysctls: manage",
				"key", c.Key, "is", c.Old, "needed", c.Value, "why", c.Why)
		}
	}
	for _, err := range errs {
		d.log.Error("a kernel setting that the services need cannot be had", "error", err)
	}
}

// neededSysctls are the settings that the routers and services need.
func neededSysctls(cfg *config.Config) []network.Sysctl {
	var v4, v6 bool
	for _, s := range cfg.Balancer.Services {
		if !uses(s, pool.NAT) {
			continue
		}
		for _, k := range s.Keys {
			v4, v6 = v4 || !k.IPv6, v6 || k.IPv6
		}
	}
	var out []network.Sysctl
	if len(cfg.Routers) > 0 {
		// For all interfaces, also those that appear later; the kernel takes it
		// together with the interface's own setting.
		out = append(out, network.PromoteSecondaries("all"))
	}
	if v4 {
		out = append(out, network.Sysctl{
			Key: "net.ipv4.ip_forward", Value: "1",
			Why: "replies of NAT real servers pass this director",
		})
	}
	if v6 {
		out = append(out, network.Sysctl{
			Key: "net.ipv6.conf.all.forwarding", Value: "1",
			Why: "replies of IPv6 NAT real servers pass this director",
		})
	}
	return out
}

// neededIPVSSysctls are the settings of IPVS itself that the services need. They
// are there when its module is.
//
// Both are of the whole network namespace, so they are set only where a service
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
			Key: "net.ipv4.vs.expire_quiescent_template", Value: "1",
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
	return out
}

// openIPVS opens the kernel's table and sees to its settings.
func (d *Director) openIPVS(ctx context.Context) (balancer.Kernel, error) {
	k, err := ipvs.Open(ctx, ipvs.Options{})
	if err != nil {
		return nil, err // not k: a nil pointer in an interface is not nil
	}
	d.mu.Lock()
	cfg := d.cfg
	d.mu.Unlock()
	d.hasIPVS.Store(true)
	d.ensureSysctls(neededIPVSSysctls(cfg), cfg.Sysctls == config.SysctlsManage)
	return k, nil
}

func uses(s pool.Service, f pool.Forward) bool {
	for _, server := range s.Servers {
		if server.Forward == f {
			return true
		}
	}
	return s.Fallback != nil && s.Fallback.Forward == f
}
