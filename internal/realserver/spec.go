package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Mark is the protocol number of our addresses (IFA_PROTO). It differs from that
// of a director's VIPs, which a daemon on the same host sweeps away at its start.
const Mark = 0x43

// labelEnd ends the label of our IPv4 addresses: for people, and for kernels
// before 5.18, which keep no mark.
const labelEnd = ":baton"

// Forward is how the director sends packets to the real server.
type Forward string

// The methods that need a prepared real server.
const (
	DR  Forward = "dr"  // as they came, to the hardware address of the real server
	TUN Forward = "tun" // in a tunnel
)

// Tunnel is what the packets are wrapped in.
type Tunnel string

// The tunnels of IPVS.
const (
	IPIP Tunnel = "ipip"
	GUE  Tunnel = "gue"
	GRE  Tunnel = "gre"
)

// Family is an address family, as the configuration names it.
type Family string

// The families.
const (
	Inet  Family = "inet"
	Inet6 Family = "inet6"
)

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return Inet
	}
	return Inet6
}

// Spec is how one VIP is received.
type Spec struct {
	VIP     netip.Addr `json:"vip"`
	Forward Forward    `json:"forward"`
	Tunnel  Tunnel     `json:"tunnel,omitempty"` // with TUN
	Outer   Family     `json:"outer,omitempty"`  // with TUN: of the packets between director and real server
	Port    uint16     `json:"port,omitempty"`   // with GUE: the UDP port
	Device  string     `json:"device"`           // the interface that has the VIP
	// Interfaces are those that must not answer ARP for the VIP; none: all.
	Interfaces []string `json:"interfaces,omitempty"`
}

// Complete checks a spec and fills in what was left out: IPIP, the VIP's family
// for the outer packets, and the device. A complete one stays as it is.
func (s Spec) Complete() (Spec, error) {
	s.VIP = s.VIP.Unmap().WithZone("")
	if err := s.check(); err != nil {
		return Spec{}, err
	}
	if s.Forward == DR {
		s.Device = loopback
		return s, nil
	}
	if s.Tunnel == "" {
		s.Tunnel = IPIP
	}
	if s.Outer == "" {
		s.Outer = familyOf(s.VIP)
	}
	if s.Device == "" {
		s.Device = s.usual().name
	}
	return s, nil
}

func (s Spec) check() error {
	a := s.VIP
	switch {
	case !a.IsValid(), a.IsUnspecified(), a.IsLoopback(), a.IsMulticast(), a.IsLinkLocalUnicast(),
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s cannot be a VIP", a)
	case s.Forward != DR && s.Forward != TUN:
		return fmt.Errorf("%q is no forwarding method for which a real server is prepared: dr or tun "+
			"(with nat the real server needs a route through the director, nothing else)", s.Forward)
	case s.Forward == DR && (s.Tunnel != "" || s.Outer != "" || s.Port != 0 || (s.Device != "" && s.Device != loopback)):
		return errors.New("a tunnel, its outer family, port and device belong to the forwarding method tun")
	case !slices.Contains([]Tunnel{"", IPIP, GUE, GRE}, s.Tunnel):
		return fmt.Errorf("%q is no tunnel: ipip, gue or gre", s.Tunnel)
	case !slices.Contains([]Family{"", Inet, Inet6}, s.Outer):
		return fmt.Errorf("%q is no family of the outer packets: inet or inet6", s.Outer)
	case (s.Tunnel == GUE) != (s.Port != 0):
		return errors.New("gue needs the UDP port that the directors send to, as in tunnel: {type: gue, port: 6080}; the other tunnels have none")
	}
	for _, name := range append([]string{s.Device}, s.Interfaces...) {
		if strings.ContainsAny(name, "/ \t\n") || name == "." || name == ".." || len(name) > maxName ||
			slices.Contains([]string{"all", "default"}, name) {
			return fmt.Errorf("%q is no name of an interface", name)
		}
	}
	if slices.Contains(s.Interfaces, "") {
		return errors.New("an interface needs a name")
	}
	return nil
}

// loopback has the VIPs with DR.
const loopback = "lo"

// maxName is the length of an interface's name and of an address's label
// (IFNAMSIZ without the end).
const maxName = 15

// prefix is the VIP as an address of its own: with the prefix length of a network
// on lo, all of that network would be this host.
func (s Spec) prefix() netip.Prefix { return netip.PrefixFrom(s.VIP, s.VIP.BitLen()) }

// label is that of the VIP; empty: the interface's.
func (s Spec) label() string {
	if s.VIP.Is4() && len(s.Device)+len(labelEnd) <= maxName {
		return s.Device + labelEnd
	}
	return ""
}

// String is the spec as options of the command.
func (s Spec) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "--vip %s --forward %s", s.VIP, s.Forward)
	if s.Forward == TUN {
		if s.Tunnel != IPIP {
			fmt.Fprintf(&b, " --tunnel %s", s.Tunnel)
		}
		if s.Port != 0 {
			fmt.Fprintf(&b, " --port %d", s.Port)
		}
		if s.Outer != familyOf(s.VIP) {
			fmt.Fprintf(&b, " --outer %s", s.Outer)
		}
		if s.Device != s.usual().name {
			fmt.Fprintf(&b, " --device %s", s.Device)
		}
	}
	for _, name := range s.Interfaces {
		fmt.Fprintf(&b, " --interface %s", name)
	}
	return b.String()
}

// device is an interface that unwraps packets.
type device struct {
	name   string
	kind   string
	module string
	made   bool // we make it; the others come with the module
}

// ownDevice is the interface that we make for tunnels in IPv6 (see
// [network.Host.AddTunnel6] for what is wrong with the usual one).
const ownDevice = "baton-ip6"

// alias marks the interfaces that we made.
const alias = "baton realserver"

// usual is the device for a tunnel. Those that come with the module take what no
// other tunnel is for, whatever its source: nothing has to be known of directors.
func (s Spec) usual() device {
	switch {
	case s.Tunnel == GRE && s.Outer == Inet:
		return device{name: "gre0", kind: "gre", module: "ip_gre"}
	case s.Tunnel == GRE:
		return device{name: "ip6gre0", kind: "ip6gre", module: "ip6_gre"}
	case s.Outer == Inet6:
		return device{name: ownDevice, kind: "ip6tnl", module: "ip6_tunnel", made: true}
	case s.VIP.Is6():
		return device{name: "sit0", kind: "sit", module: "sit"}
	}
	return device{name: "tunl0", kind: "ipip", module: "ipip"}
}
