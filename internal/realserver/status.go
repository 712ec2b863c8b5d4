package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"baton/internal/network"
)

// Status is how things are on this host.
type Status struct {
	OK    bool        `json:"ok"` // everything is right, and there is something
	VIPs  []VIPStatus `json:"vips"`
	Notes []string    `json:"notes"`
}

// VIPStatus is how one VIP is.
type VIPStatus struct {
	Spec
	OK     bool    `json:"ok"`
	Checks []Check `json:"checks"`
}

// Check is one thing that has to be so.
type Check struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"` // if not OK
}

// Status looks at VIPs, or without any at all that are set up here. Specs may be
// incomplete: what a VIP is received by is then taken from the record or, without
// one, from the interface that has it.
func (s *Server) Status(specs []Spec) (Status, error) {
	out := Status{VIPs: []VIPStatus{}, Notes: []string{}}
	r, err := s.store.Load()
	if err != nil {
		out.Notes = append(out.Notes, err.Error())
	}
	f, err := s.kernel.Look(nil, false)
	if err != nil {
		return out, err
	}
	if len(specs) == 0 {
		for _, vip := range known(f, r) {
			specs = append(specs, Spec{VIP: vip})
		}
	}
	for i, spec := range specs {
		if specs[i], err = guess(spec, f, r); err != nil {
			return out, err
		}
	}
	f, err = s.kernel.Look(keys(specs), false)
	if err != nil {
		return out, err
	}
	var portsErr error
	if needsPorts(specs) {
		var g Found
		if g, portsErr = s.kernel.Look(nil, true); portsErr == nil {
			f.Ports, f.GUE = g.Ports, g.GUE
		}
	}
	out.OK = len(specs) > 0
	for _, spec := range specs {
		v := VIPStatus{Spec: spec, Checks: checks(spec, f, portsErr)}
		v.OK = !slices.ContainsFunc(v.Checks, func(c Check) bool { return !c.OK })
		out.OK = out.OK && v.OK
		out.VIPs = append(out.VIPs, v)
	}
	return out, nil
}

// guess completes what was not said of a VIP.
func guess(s Spec, f Found, r Record) (Spec, error) {
	if s.Forward == "" || (s.Forward == TUN && s.Tunnel == "" && s.Outer == "" && s.Device == "") {
		if e, ok := r.find(Spec{VIP: s.VIP.Unmap()}); ok && (s.Forward == "" || s.Forward == e.Forward) {
			if len(s.Interfaces) > 0 {
				e.Interfaces = s.Interfaces
			}
			return e, nil
		}
	}
	if s.Forward == "" {
		s.Forward = DR
		for _, a := range f.at(s.VIP) {
			if t, ok := byDevice(a, f); ok {
				s.Forward, s.Tunnel, s.Outer, s.Device = TUN, t.Tunnel, t.Outer, a.Interface
			}
		}
	}
	return s.Complete()
}

// byDevice tells how a VIP on a tunnel interface is received. GUE cannot be told
// from IPIP, whose interfaces it uses.
func byDevice(a network.HostAddress, f Found) (Spec, bool) {
	switch f.Interfaces[a.Interface].Kind {
	case "ipip", "sit":
		return Spec{Tunnel: IPIP, Outer: Inet}, true
	case "ip6tnl":
		return Spec{Tunnel: IPIP, Outer: Inet6}, true
	case "gre":
		return Spec{Tunnel: GRE, Outer: Inet}, true
	case "ip6gre":
		return Spec{Tunnel: GRE, Outer: Inet6}, true
	}
	return Spec{}, false
}

// checks holds the kernel against what a VIP needs.
func checks(s Spec, f Found, ports error) []Check {
	up := "baton realserver up " + s.String()
	out := []Check{addressCheck(s, f, up)}
	for _, a := range f.at(s.VIP) {
		if a.Interface != s.Device || a.Prefix != s.prefix() {
			out = append(out, Check{
				What: fmt.Sprintf("%s elsewhere", s.VIP), Found: "on " + a.Interface + " as " + a.Prefix.String(),
				Remedy: misplaced(s, a),
			})
		}
	}
	if s.Forward == TUN {
		out = append(out, deviceCheck(s, f, up))
	}
	for _, k := range s.settings() {
		out = append(out, settingCheck(k, f, up))
	}
	if s.Tunnel == GUE {
		c := Check{What: fmt.Sprintf("GUE at UDP port %d (%s)", s.Port, s.Outer), Remedy: up}
		switch {
		case errors.Is(ports, os.ErrPermission):
			c.Found, c.Remedy = "unknown", "run this as root: looking needs CAP_NET_ADMIN"
		case ports != nil:
			c.Found, c.Remedy = "unknown", ports.Error()
		case !slices.Contains(f.Ports, s.port()):
			c.Found = "not received"
		default:
			c.OK, c.Found, c.Remedy = true, "received", ""
		}
		out = append(out, c)
	}
	return out
}

func addressCheck(s Spec, f Found, up string) Check {
	c := Check{What: fmt.Sprintf("%s on %s", s.prefix(), s.Device), Found: "missing", Remedy: up}
	if a, there := f.has(s); there {
		c.OK, c.Found, c.Remedy = true, "there", ""
		if !marked(a) {
			c.Found = "there, not set by baton"
		}
	}
	return c
}

func deviceCheck(s Spec, f Found, up string) Check {
	c := Check{What: "interface " + s.Device, Remedy: up}
	i, there := f.Interfaces[s.Device]
	switch {
	case !there:
		c.Found = "no such interface"
	case i.Kind != s.usual().kind:
		c.Found, c.Remedy = "it is of the kind "+i.Kind, fmt.Sprintf("packets come in by one of the kind %s: see ip -d link", s.usual().kind)
	case !i.Up:
		c.Found = "down"
	default:
		c.OK, c.Found, c.Remedy = true, "up", ""
	}
	return c
}

func settingCheck(k setting, f Found, up string) Check {
	v := k.inEffect(f.Sysctls)
	c := Check{What: spell(k.key()), OK: slices.Contains(k.good, v), Found: strconv.Itoa(v)}
	if v < 0 {
		c.Found = "there is no such setting"
	} else if own := f.Sysctls[k.key()]; own != c.Found {
		c.Found += " by " + spell(k.upper())
	}
	if !c.OK {
		c.Found, c.Remedy = c.Found+", not "+k.want, up
	}
	return c
}

// VIPs are the addresses of specs.
func VIPs(specs []Spec) []netip.Addr {
	out := make([]netip.Addr, len(specs))
	for i, s := range specs {
		out[i] = s.VIP.Unmap()
	}
	return out
}

// Text is the status for people.
func (s Status) Text() string {
	var b strings.Builder
	if len(s.VIPs) == 0 {
		b.WriteString("no VIP is set up on this host as on a real server\n")
	}
	for _, v := range s.VIPs {
		word := "ok"
		if !v.OK {
			word = "NOT RIGHT"
		}
		fmt.Fprintf(&b, "%s  %s on %s  %s\n", v.VIP, v.way(), v.Device, word)
		for _, c := range v.Checks {
			if c.OK {
				fmt.Fprintf(&b, "  ok   %s: %s\n", c.What, c.Found)
			} else {
				fmt.Fprintf(&b, "  BAD  %s: %s\n       %s\n", c.What, c.Found, c.Remedy)
			}
		}
	}
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

func (s Spec) way() string {
	if s.Forward == DR {
		return "dr"
	}
	return fmt.Sprintf("tun (%s over %s)", s.Tunnel, s.Outer)
}

// Text is the result for people.
func (r Result) Text() string {
	var b strings.Builder
	for _, s := range r.Steps {
		if r.DryRun {
			b.WriteString("would ")
		}
		fmt.Fprintln(&b, s)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(&b, "note:", n)
	}
	if !r.Changed {
		b.WriteString("nothing to change\n")
	}
	return b.String()
}
