package balancer

import (
	"fmt"
	"net/netip"

	"baton/internal/pool"
)

// vipHints name what is probably wrong where a server answers at its own address
// and not through the VIP.
func (s ServerStatus) vipHints() []string {
	var plain bool // it answers at its own address
	var failing *CheckStatus
	for i := range s.Checks {
		c := &s.Checks[i]
		switch {
		case !c.Known:
		case c.Kind() == "exec", c.Kind() == "file", c.Kind() == "ping": // which say nothing of the service
		case c.Via() == nil && c.Failures > 0:
			return nil
		case c.Via() == nil:
			plain = true
		case failing == nil && c.Failures > 0:
			failing = c
		}
	}
	if failing == nil {
		return nil
	}
	vip, err := netip.ParseAddrPort(failing.Subject())
	if err != nil {
		return nil
	}
	text := "it does not answer through the VIP"
	if plain {
		text = "it answers at its own address and not through the VIP"
	}
	return []string{text + ": " + s.vipCause(vip.Addr(), failing)}
}

// vipCause says what is probably wrong, and the remedy.
func (s ServerStatus) vipCause(vip netip.Addr, c *CheckStatus) string {
	if s.Forward != pool.TUN {
		return fmt.Sprintf("%s is probably missing on its lo. On the server, \"baton realserver up --vip %s --forward dr\" puts it there, "+
			"and \"baton realserver status\" tells what there is.", vip, vip)
	}
	via := c.Via()
	options := map[pool.TunnelType]string{pool.GUE: fmt.Sprintf(" --tunnel gue --port %d", via.Tunnel.Port), pool.GRE: " --tunnel gre"}[via.Tunnel.Type]
	if vip.Is6() != via.Server.Is6() {
		options += " --outer " + map[bool]string{false: "inet", true: "inet6"}[via.Server.Is6()]
	}
	return fmt.Sprintf("its tunnel device is probably missing or down, does not have %s, or rp_filter drops what comes out of it; "+
		"a firewall may drop the tunnel, too. On the server, \"baton realserver up --vip %s --forward tun%s\" sets it up, "+
		"and \"baton realserver status\" tells what there is.", vip, vip, options)
}
