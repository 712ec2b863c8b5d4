package director

import (
	"baton/internal/api"
	"baton/internal/config"
	"baton/internal/network"
	"baton/internal/pool"
)

// setSysctls makes the kernel forward as the services need it, or says what
// would have to be set. A setting is never turned back: something else may have
// come to need it.
func (d *Director) setSysctls(cfg *config.Config) {
	d.ensureSysctls(neededSysctls(cfg), cfg.Sysctls == config.SysctlsManage)
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

func uses(s pool.Service, f pool.Forward) bool {
	for _, server := range s.Servers {
		if server.Forward == f {
			return true
		}
	}
	return s.Fallback != nil && s.Fallback.Forward == f
}
