package ipvsadm

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// number reads a decimal number in a range.
func number(text string, least, most uint64) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && n >= least && n <= most
}

// addrPort reads host[:port] or [IPv6]:port; names are looked up. hasPort is
// false where there is none.
func (p *parser) addrPort(g given, protocol pool.Protocol) (ap netip.AddrPort, hasPort, ok bool) {
	host, port, hasPort, ok := splitHost(g.value)
	if !ok {
		p.wrong(g, "it is an address with a port, such as 10.0.0.1:80 or [2001:db8::1]:80")
		return ap, false, false
	}
	a, ok := p.host(g, host)
	if !ok {
		return ap, false, false
	}
	n := uint64(0)
	if hasPort {
		if n, ok = p.port(g, port, protocol); !ok {
			return ap, false, false
		}
	}
	return netip.AddrPortFrom(a, uint16(n)), hasPort, true
}

// splitHost takes the forms of an address with or without a port apart.
func splitHost(text string) (host, port string, hasPort, ok bool) {
	if rest, bracket := strings.CutPrefix(text, "["); bracket {
		host, rest, ok = strings.Cut(rest, "]")
		if a, err := netip.ParseAddr(host); !ok || err != nil || !a.Is6() {
			return "", "", false, false
		}
		if rest == "" {
			return host, "", false, true
		}
		port, ok = strings.CutPrefix(rest, ":")
		return host, port, true, ok && port != ""
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Is6() {
		return text, "", false, true
	}
	host, port, hasPort = strings.Cut(text, ":")
	return host, port, hasPort, host != "" && (!hasPort || port != "") && !strings.Contains(port, ":")
}

// host reads an address or looks a name up. ipvsadm looks for IPv4 only, and so
// does this: the family must not depend on what a name server says today.
func (p *parser) host(g given, host string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" || a.Is4In6() {
			p.wrong(g, "the kernel's table has plain addresses, without a zone and without IPv4 inside of IPv6")
			return a, false
		}
		return a, true
	}
	if strings.Trim(host, "0123456789.") == "" {
		p.wrong(g, "an IPv4 address has four numbers from 0 to 255")
		return netip.Addr{}, false
	}
	list, err := p.resolver.LookupNetIP(p.ctx, "ip4", host)
	if err != nil || len(list) == 0 {
		p.wrong(g, "the host "+host+" is not known: "+reason(err))
		return netip.Addr{}, false
	}
	return list[0].Unmap(), true
}

// port reads a port or looks the name of a service up.
func (p *parser) port(g given, text string, protocol pool.Protocol) (uint64, bool) {
	if strings.Trim(text, "0123456789") == "" {
		n, ok := number(text, 0, 65535)
		if !ok {
			p.wrong(g, "a port is a number from 0 to 65535")
		}
		return n, ok
	}
	network := "tcp" // Go has no names of services for sctp; they are the same
	if protocol == pool.UDP {
		network = "udp"
	}
	n, err := p.resolver.LookupPort(p.ctx, network, text)
	if err != nil {
		p.wrong(g, "the service "+text+" is not known: "+reason(err))
		return 0, false
	}
	return uint64(n), true
}

func reason(err error) string {
	if err == nil {
		return "it has no IPv4 address"
	}
	return err.Error()
}

// timeouts reads the three numbers of --set.
func (p *parser) timeouts(first token, list []token) {
	if len(list) != 3 {
		p.mistake(first.column, "--set needs three numbers of seconds: tcp, tcp after a FIN, udp; 0 leaves one as it is")
		return
	}
	var d [3]time.Duration
	for i, t := range list {
		n, ok := number(t.text, 0, uint64(ipvs.TimeoutMax/time.Second))
		if !ok {
			p.mistake(t.column, strconv.Quote(t.text)+": a timeout is a number of seconds from 0 to "+strconv.FormatInt(int64(ipvs.TimeoutMax/time.Second), 10))
		}
		d[i] = time.Duration(n) * time.Second
	}
	p.rule.Timeouts = ipvs.Timeouts{TCP: d[0], TCPFin: d[1], UDP: d[2]}
}

// defaultInterface is what ipvsadm takes for a sync daemon without one.
const defaultInterface = "eth0"

// daemon reads the settings of a sync daemon.
func (p *parser) daemon(w word, role token) {
	d := &p.rule.Sync
	switch role.text {
	case "master":
		d.Role = ipvs.SyncMaster
	case "backup":
		d.Role = ipvs.SyncBackup
	default:
		p.mistake(role.column, strconv.Quote(role.text)+": a sync daemon is master or backup")
	}
	if w.command == StopDaemon {
		return
	}
	d.Interface = defaultInterface
	if g, ok := p.given["mcast-interface"]; ok {
		if d.Interface = g.value; !validInterface(g.value) {
			p.wrong(g, "the name of an interface has 1 to 15 letters and digits")
		}
	}
	var id, port, ttl, length uint32
	p.setNumber("syncid", &id, 0, 255)
	p.setNumber("mcast-port", &port, 1, 65535)
	p.setNumber("mcast-ttl", &ttl, 1, 255)
	p.setNumber("sync-maxlen", &length, 1, 65535-20-8)
	d.ID, d.Port, d.TTL, d.MaxLen = uint8(id), uint16(port), uint8(ttl), uint16(length)
	if g, ok := p.given["mcast-group"]; ok {
		a, err := netip.ParseAddr(g.value)
		if err != nil || !a.IsMulticast() || a.Zone() != "" {
			p.wrong(g, "it is a multicast address, such as 224.0.0.81")
		}
		d.Group = a
	}
}
