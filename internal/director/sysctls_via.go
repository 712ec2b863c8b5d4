package director

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"baton/internal/config"
	"baton/internal/network"
)

// viaWorld is what the settings for checks through the VIP depend on.
type viaWorld struct {
	have   []network.Address // of this host, IPv4
	route  func(server netip.Addr) (ifname string, err error)
	sysctl func(key string) (string, error)
}

// viaSysctls are the settings by which a director that owns a VIP takes answers
// from it: they come from outside with an address of its own as their source
// (fib_validate_source). IPv6 has no such rule.
func viaSysctls(cfg *config.Config, w viaWorld) ([]network.Sysctl, error) {
	homes := vipHomes(cfg, w.have)
	arms, elsewhere := []string{}, map[string]bool{}
	routes := map[netip.Addr]string{}
	var errs []error
	for _, j := range cfg.Balancer.Jobs {
		via, vip := j.Spec.Via, j.Spec.Target.Addr()
		if via == nil || !vip.Is4() {
			continue
		}
		arm, known := routes[via.Server]
		if !known {
			var err error
			if arm, err = w.arm(j.Spec.Source, via.Server); err != nil {
				errs = append(errs, err)
			}
			routes[via.Server] = arm
		}
		if arm == "" || arm == "lo" {
			continue
		}
		if !slices.Contains(arms, arm) {
			arms = append(arms, arm)
		}
		if home, known := homes[vip]; !known || home != arm {
			elsewhere[arm] = true
		}
	}
	slices.Sort(arms)
	var out []network.Sysctl
	for _, arm := range arms {
		out = append(out, network.Sysctl{
			Key: "net/ipv4/conf/" + arm + "/accept_local", Value: "1",
			Why: "real servers answer checks through the VIP (via: vip) with the VIP as their source, which is an address of this director while it is the owner",
		})
		if elsewhere[arm] && w.strict(arm) {
			out = append(out, network.Sysctl{
				Key: "net/ipv4/conf/" + arm + "/rp_filter", Value: "2",
				Why: "real servers answer checks through the VIP (via: vip) by this interface, and the VIP is on another one",
			})
		}
	}
	return out, errors.Join(errs...)
}

// arm is the interface by which a server's answers to the source address of checks
// come back; empty: not known.
func (w viaWorld) arm(source, server netip.Addr) (string, error) {
	for _, a := range w.have {
		switch own := a.Prefix.Addr(); {
		case source.IsValid() && own == source:
			return a.Interface, nil
		case !source.IsValid() && !a.Prefix.IsSingleIP() && a.Prefix.Contains(server):
			return a.Interface, nil
		}
	}
	name, err := w.route(server)
	if err != nil {
		return "", fmt.Errorf("find the interface that leads to %s: %w", server, err)
	}
	return name, nil
}

// strict reports whether the kernel drops what comes in by another interface than
// it would answer by.
func (w viaWorld) strict(arm string) bool {
	strictest := "0"
	for _, name := range []string{"all", arm} {
		if v, err := w.sysctl("net/ipv4/conf/" + name + "/rp_filter"); err == nil {
			strictest = max(strictest, v)
		}
	}
	return strictest == "1"
}

// vipHomes are the interfaces on which VIPs are, here or on another director. A
// virtual MAC has one of its own.
func vipHomes(cfg *config.Config, have []network.Address) map[netip.Addr]string {
	homes := map[netip.Addr]string{}
	for _, r := range cfg.Routers {
		for _, a := range slices.Concat(r.Addresses, r.Extra) {
			if !r.VirtualMAC {
				homes[a.Prefix.Addr()] = a.Interface
			}
		}
	}
	for _, a := range have {
		homes[a.Prefix.Addr()] = a.Interface
	}
	return homes
}
