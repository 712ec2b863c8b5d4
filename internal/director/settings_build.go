package director

import (
	"context"
	"errors"
	"os"
	"time"

	"baton/internal/balancer"
	"baton/internal/config"
	"baton/internal/ipvs"
	"baton/internal/network"
)

// newSettings makes the keeper of the kernel's settings for the director.
func (d *Director) newSettings() *settings {
	return newSettings(settingsWorld{
		needed: sysctlsNow, ensure: network.EnsureSysctls, ipvs: ipvsSettings, event: d.event, log: d.log,
	})
}

// ipvsSettings reports whether the kernel has the settings of IPVS: they come with
// the module.
func ipvsSettings() bool {
	_, err := os.Stat("/proc/sys/net/ipv4/vs")
	return err == nil
}

// sysctlsNow are the settings that are needed with this host as it is at present,
// in the order to set them. The error is for what could not be seen of it.
func sysctlsNow(cfg *config.Config) ([]network.Sysctl, error) {
	var out []network.Sysctl
	var errs []error
	if needsIPv6Forwarding(cfg) {
		if now, err := network.ReadSysctl(ipv6ForwardingKey); err == nil && now != "1" {
			interfaces, err := network.AdvertisedInterfaces()
			errs = append(errs, err)
			out = append(out, advertised(interfaces)...)
		}
	}
	out = append(out, neededSysctls(cfg)...)
	if anyService(cfg, mayBeOneArmed) {
		have, err := network.IPv4Addresses()
		errs = append(errs, err)
		out = append(out, noRedirects(oneArmed(cfg, have))...)
	}
	if checksVIPs(cfg) {
		have, err := network.IPv4Addresses()
		more, missed := viaSysctls(cfg, viaWorld{have, network.InterfaceTo, network.ReadSysctl})
		out, errs = append(out, more...), append(errs, err, missed)
	}
	return out, errors.Join(errs...)
}

// checksVIPs reports whether servers are checked through a VIP.
func checksVIPs(cfg *config.Config) bool { return cfg.Balancer.Marks.Count() > 0 }

// openIPVS opens the kernel's table. The settings of IPVS, which may have come with
// it only now, are seen to before the first service is there.
func (d *Director) openIPVS(ctx context.Context) (balancer.Kernel, error) {
	k, err := ipvs.Open(ctx, ipvs.Options{})
	if err != nil {
		return nil, err // not k: a nil pointer in an interface is not nil
	}
	d.settings.look(time.Now())
	return k, nil
}
