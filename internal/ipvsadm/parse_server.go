package ipvsadm

import (
	"fmt"
	"net/netip"

	"baton/internal/pool"
)

const (
	weightMax    = 1<<31 - 1
	thresholdMax = 1<<31 - 1
)

// server reads which server the rule is about. Without a port it has the
// service's; one by firewall mark has none.
func (p *parser) server() {
	g, ok := p.given["real-server"]
	if !ok {
		return
	}
	ap, port, ok := p.addrPort(g, p.rule.Service.Protocol)
	if !ok {
		return
	}
	if !port {
		ap = netip.AddrPortFrom(ap.Addr(), p.rule.Service.Port)
	}
	p.rule.Server.Address, p.rule.Server.Port = ap.Addr(), ap.Port()
}

// forward reads the settings of a server.
func (p *parser) forward() {
	s, service := &p.rule.Server, p.rule.Service
	s.Forward = pool.DR
	if _, ok := p.given["masquerading"]; ok {
		s.Forward = pool.NAT
	}
	if _, ok := p.given["ipip"]; ok {
		s.Forward = pool.TUN
	}
	s.Weight = 1
	p.setNumber("weight", &s.Weight, 0, weightMax)
	p.setNumber("u-threshold", &s.Upper, 0, thresholdMax)
	p.setNumber("l-threshold", &s.Lower, 0, thresholdMax)
	if g, ok := p.given["l-threshold"]; ok && s.Lower > s.Upper {
		p.wrong(g, fmt.Sprintf("the lower threshold must not be above the upper one (-x), which is %d", s.Upper))
	}
	p.tunnel()
	if !p.named() || !s.Address.IsValid() {
		return
	}
	if s.Forward != pool.TUN && s.Address.Is6() != service.IPv6 {
		p.mistake(p.given["real-server"].valueAt, fmt.Sprintf("the server %v is not of the family of its service; only a tunnel (-i) leads from one to the other", s.Address))
	}
	// The port of a packet is not changed with these methods.
	if service.FWMark == 0 && s.Forward != pool.NAT {
		s.Port = service.Port
	}
}

// setNumber reads the value of an option, if it is given.
func (p *parser) setNumber(name string, to *uint32, least, most uint64) {
	g, ok := p.given[name]
	if !ok {
		return
	}
	n, ok := number(g.value, least, most)
	if !ok {
		p.wrong(g, fmt.Sprintf("it is a number from %d to %d", least, most))
		return
	}
	*to = uint32(n)
}

// tunnelOptions are the options of each type of tunnel.
var tunnelOptions = []string{"tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum"}

var tunnelTypes = map[string]struct {
	typ   pool.TunnelType
	takes map[string]bool
}{
	"ipip": {pool.IPIP, nil},
	"gue":  {pool.GUE, map[string]bool{"tun-port": true, "tun-nocsum": true, "tun-csum": true, "tun-remcsum": true}},
	"gre":  {pool.GRE, map[string]bool{"tun-nocsum": true, "tun-csum": true}},
}

// checksums are the flags of a tunnel by their options, with the kernel's values
// (IP_VS_TUNNEL_ENCAP_FLAG_*).
var checksums = [...]string{0: "tun-nocsum", 1: "tun-csum", 2: "tun-remcsum"}

func (p *parser) tunnel() {
	s := &p.rule.Server
	name := "ipip"
	if g, ok := p.given["tun-type"]; ok {
		if _, known := tunnelTypes[g.value]; !known {
			p.wrong(g, "a tunnel is ipip, gue or gre")
			return
		}
		name = g.value
	}
	t := tunnelTypes[name]
	for _, o := range tunnelOptions {
		switch g, ok := p.given[o]; {
		case !ok:
		case s.Forward != pool.TUN:
			p.mistake(g.column, g.spelled()+" needs -i")
		case o != "tun-type" && !t.takes[o]:
			p.mistake(g.column, fmt.Sprintf("%s does not belong to a tunnel of the type %s", g.spelled(), name))
		}
	}
	s.Tunnel.Type = t.typ
	if g, ok := p.given["tun-port"]; ok {
		n, ok := number(g.value, 1, 65535)
		if !ok {
			p.wrong(g, "it is a port from 1 to 65535")
		}
		s.Tunnel.Port = uint16(n)
	} else if t.typ == pool.GUE {
		p.mistake(p.given["tun-type"].column, "a tunnel of the type gue needs --tun-port")
	}
	for flag, o := range checksums {
		if _, ok := p.given[o]; ok {
			s.Tunnel.Flags = uint16(flag)
		}
	}
}
