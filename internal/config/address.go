package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// parseAddress reads an address that a host may have.
func parseAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return a, fmt.Errorf("%s is not an address", quote(s))
	case a.Is4In6():
		return a, fmt.Errorf("%s is an IPv4 address in IPv6 notation; write %s", s, a.Unmap())
	case a.Zone() != "":
		return a, fmt.Errorf("%s has a zone; write the address without %%%s", quote(s), a.Zone())
	case a.IsUnspecified():
		return a, fmt.Errorf("%s is no host's address", s)
	case a.IsMulticast():
		return a, fmt.Errorf("%s is a multicast address", s)
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return a, fmt.Errorf("%s is the broadcast address", s)
	}
	return a, nil
}

// splitPort parts "10.0.0.1:80" and "[2001:db8::1]:80" into address and port;
// the port is empty where there is none.
func splitPort(s string) (address, port string, err error) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		address, port, ok = strings.Cut(rest, "]")
		if !ok || port != "" && !strings.HasPrefix(port, ":") || !strings.Contains(address, ":") {
			return "", "", fmt.Errorf("%s is not an address and port", quote(s))
		}
		if port == ":" {
			return "", "", fmt.Errorf("%s has an empty port", quote(s))
		}
		return address, strings.TrimPrefix(port, ":"), nil
	}
	switch strings.Count(s, ":") {
	case 0:
		return s, "", nil
	case 1:
		address, port, _ = strings.Cut(s, ":")
		if port == "" {
			return "", "", fmt.Errorf("%s has an empty port", quote(s))
		}
		return address, port, nil
	}
	return s, "", nil
}

// parsePort reads a port. Zero is left to the caller to judge.
func parsePort(s string) (uint16, error) {
	v, err := strconv.ParseUint(s, 10, 16)
	if err != nil || len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("%s is not a port from 0 to 65535", quote(s))
	}
	return uint16(v), nil
}

// address is an IPv4 or IPv6 address.
type address struct{ netip.Addr }

func (v *address) parse(n *node, _ *rule) (err error) {
	v.Addr, err = parseAddress(n.text)
	return err
}

func (*address) allowed(*rule) string { return "an IPv4 or IPv6 address" }

// vip is an address with the length of its network's prefix.
type vip struct{ netip.Prefix }

func (v *vip) parse(n *node, _ *rule) error {
	bare, length, hasLength := strings.Cut(n.text, "/")
	a, err := parseAddress(bare)
	if err != nil {
		return err
	}
	bits := a.BitLen()
	if hasLength {
		bits, err = strconv.Atoi(length)
		if err != nil || bits < 1 || bits > a.BitLen() || strconv.Itoa(bits) != length {
			return fmt.Errorf("%s: the prefix length is not 1 to %d", quote(n.text), a.BitLen())
		}
	}
	v.Prefix = netip.PrefixFrom(a, bits)
	return v.hostOfNetwork()
}

func (*vip) allowed(*rule) string {
	return "an address with or without prefix length, such as 10.0.0.100/24"
}

// hostOfNetwork refuses the first and the last address of an IPv4 network, which
// mean the network itself and all of its hosts.
func (v vip) hostOfNetwork() error {
	a := v.Addr()
	if !a.Is4() || v.Bits() > 30 {
		return nil
	}
	if a == v.Masked().Addr() {
		return fmt.Errorf("%s is the network, not a host in it", v)
	}
	if next := a.Next(); !next.IsValid() || !v.Contains(next) {
		return fmt.Errorf("%s is the broadcast address of its network", v)
	}
	return nil
}

// ports is an address with one port or a range of them.
type ports struct {
	addr     netip.Addr
	from, to uint16
}

func (v *ports) parse(n *node, _ *rule) error {
	host, port, err := splitPort(n.text)
	if err != nil {
		return err
	}
	if v.addr, err = parseAddress(host); err != nil {
		return err
	}
	if port == "" {
		return fmt.Errorf("%s has no port", quote(n.text))
	}
	low, high, isRange := strings.Cut(port, "-")
	if v.from, err = parsePort(low); err != nil {
		return err
	}
	v.to = v.from
	if !isRange {
		return nil
	}
	if v.to, err = parsePort(high); err != nil {
		return err
	}
	if v.from == 0 || v.from >= v.to {
		return fmt.Errorf("%s is not a range of ports: the first is less than the second and not 0", quote(port))
	}
	return nil
}

func (*ports) allowed(*rule) string { return "IP:port, [IPv6]:port, or a range IP:port-port" }

// endpoint is an address with or without a port.
type endpoint struct {
	addr    netip.Addr
	port    uint16
	hasPort bool
}

func (v *endpoint) parse(n *node, _ *rule) error {
	host, port, err := splitPort(n.text)
	if err != nil {
		return err
	}
	if v.addr, err = parseAddress(host); err != nil {
		return err
	}
	if port == "" {
		return nil
	}
	v.hasPort = true
	if v.port, err = parsePort(port); err == nil && v.port == 0 {
		err = errors.New("port 0 is no port; leave it out to take the service's")
	}
	return err
}

func (*endpoint) allowed(*rule) string { return "IP:port or [IPv6]:port, or an address alone" }

// prefix is a network as a destination or a selector.
type prefix struct {
	netip.Prefix        // invalid: the default route
	text         string // as it is to be called in messages
}

func (v *prefix) parse(n *node, r *rule) error {
	v.text = n.text
	if slices.Contains(r.words, n.text) {
		return nil
	}
	bare, length, hasLength := strings.Cut(n.text, "/")
	a, err := netip.ParseAddr(bare)
	switch {
	case err != nil:
		return fmt.Errorf("%s is not an address or network", quote(n.text))
	case a.Is4In6():
		return fmt.Errorf("%s is an IPv4 address in IPv6 notation; write %s", bare, a.Unmap())
	case a.Zone() != "":
		return fmt.Errorf("%s has a zone; write the address without %%%s", quote(bare), a.Zone())
	}
	bits := a.BitLen()
	if hasLength {
		bits, err = strconv.Atoi(length)
		if err != nil || bits < 0 || bits > a.BitLen() || strconv.Itoa(bits) != length {
			return fmt.Errorf("%s: the prefix length is not 0 to %d", quote(n.text), a.BitLen())
		}
	}
	v.Prefix = netip.PrefixFrom(a, bits)
	if m := v.Masked(); m != v.Prefix {
		return fmt.Errorf("%s has bits beyond its prefix length; write %s", n.text, m)
	}
	return nil
}

func (*prefix) allowed(r *rule) string {
	const form = "a network such as 10.9.0.0/16 or 2001:db8:9::/48, or an address"
	if len(r.words) > 0 {
		return strings.Join(r.words, ", ") + ", " + form
	}
	return form
}

// multicast is the address of a group.
type multicast struct{ netip.Addr }

func (v *multicast) parse(n *node, _ *rule) error {
	a, err := netip.ParseAddr(n.text)
	switch {
	case err != nil:
		return fmt.Errorf("%s is not an address", quote(n.text))
	case a.Zone() != "":
		return fmt.Errorf("%s has a zone; write the address without %%%s", quote(n.text), a.Zone())
	case a.Is4In6() || !a.IsMulticast():
		return fmt.Errorf("%s is not a multicast address", n.text)
	}
	v.Addr = a
	return nil
}

func (*multicast) allowed(*rule) string {
	return "a multicast address such as 224.0.0.81 or ff02::81"
}
