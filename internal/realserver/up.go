package realserver

import (
	"errors"
	"fmt"
	"slices"

	"baton/internal/network"
)

// moduleGUE is the kernel module that unwraps GUE.
const moduleGUE = "fou"

// plan is what has to be done.
type plan struct {
	steps  []Step
	notes  []string
	record Record // as it is when all is done
	found  Found  // the same of the kernel
}

func (p *plan) do(s Step) {
	p.steps = append(p.steps, s)
	p.record = p.record.withStep(s)
	p.found = p.found.with(s)
}

func (p *plan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// planUp returns what has to be done for VIPs, or everything that stands in
// their way.
func planUp(specs []Spec, f Found, r Record) (plan, error) {
	p := plan{record: r, found: f}
	var errs []error
	for _, s := range specs {
		errs = append(errs, obstacles(s, f, r)...)
	}
	if err := errors.Join(errs...); err != nil {
		return plan{}, err
	}
	for _, s := range specs {
		p.bring(s)
	}
	return p, nil
}

// bring plans for one VIP. The address comes last: by then nothing answers for it.
func (p *plan) bring(s Spec) {
	u := s.usual()
	if s.Forward == TUN {
		_, there := p.found.Interfaces[s.Device]
		switch {
		case there || s.Device != u.name:
		case u.made:
			if !p.found.Modules[u.module] {
				p.do(Step{Op: Load, Module: u.module})
			}
			p.do(Step{Op: Create, Interface: s.Device, Why: "it unwraps what comes in a tunnel over IPv6"})
		default:
			p.do(Step{Op: Load, Module: u.module, Interface: s.Device, Why: s.Device + " comes with it"})
		}
	}
	for _, k := range s.settings() {
		if !k.right(p.found.Sysctls) {
			p.do(Step{Op: Set, Key: k.key(), From: p.found.Sysctls[k.key()], To: k.want, Why: k.why})
		}
	}
	if s.Forward == TUN && !p.found.Interfaces[s.Device].Up {
		p.do(Step{Op: Up, Interface: s.Device})
	}
	p.openPort(s)
	if a, there := p.found.has(s); !there {
		p.do(Step{Op: Add, Address: s.prefix(), Interface: s.Device, Label: s.label()})
	} else if !p.record.ours(s.addStep(), marked(a)) {
		p.note("%s is on %s already and was not set by baton: \"down\" leaves it there", a.Prefix, s.Device)
	}
	p.record = p.record.withVIP(s)
}

func (p *plan) openPort(s Spec) {
	if s.Tunnel != GUE {
		return
	}
	if !p.found.GUE {
		p.do(Step{Op: Load, Module: moduleGUE, Why: "it unwraps GUE"})
	}
	if !slices.Contains(p.found.Ports, s.port()) {
		p.do(Step{Op: Open, Port: s.Port, Outer: s.Outer})
	}
}

func (s Spec) port() network.ReceivePort {
	return network.ReceivePort{Port: s.Port, IPv6: s.Outer == Inet6}
}

func (s Spec) addStep() Step { return Step{Op: Add, Address: s.prefix(), Interface: s.Device} }

// obstacles are the reasons why a VIP cannot be brought up.
func obstacles(s Spec, f Found, r Record) (errs []error) {
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{s.VIP}, args...)...))
	}
	if e, ok := r.find(s); ok && (e.Device != s.Device || e.Tunnel != s.Tunnel || e.Outer != s.Outer || e.Port != s.Port) {
		fail("it is set up in another way (%s): take it down first (baton realserver down --vip %s)", e, s.VIP)
		return errs
	}
	for _, a := range f.at(s.VIP) {
		if a.Interface != s.Device || a.Prefix != s.prefix() {
			fail("%s", misplaced(s, a))
		}
	}
	if i, there := f.Interfaces[s.Device]; s.Forward == TUN {
		u := s.usual()
		switch {
		case !there && s.Device != u.name:
			fail("there is no interface %s: make it, or leave --device out", s.Device)
		case there && i.Kind != u.kind:
			fail("%s is an interface of the kind %s, not %s: such packets would not come in by it (ip -d link show %s)",
				s.Device, i.Kind, u.kind, s.Device)
		}
	}
	for _, name := range s.Interfaces {
		if _, there := f.Interfaces[name]; !there {
			fail("there is no interface %s (ip link shows those that exist)", name)
		}
	}
	if s.VIP.Is6() {
		if err := withoutIPv6(s.Device, f); err != "" {
			fail("%s", err)
		}
	}
	return errs
}

// misplaced says what is wrong with an address that is the VIP, but not as it has
// to be.
func misplaced(s Spec, a network.HostAddress) string {
	remedy := fmt.Sprintf("remove it (ip address del %s dev %s)", a.Prefix, a.Interface)
	switch {
	case a.Mark == network.Protocol:
		return fmt.Sprintf("this host has it on %s as a director: "+
			"a real server for DR or TUN cannot be the director of the same VIP at the same time", a.Interface)
	case marked(a):
		return fmt.Sprintf("it is on %s already, for another way to receive it: "+
			"take it down first (baton realserver down --vip %s)", a.Interface, s.VIP)
	case a.Interface == s.Device:
		return fmt.Sprintf("it is on %s as %s, which makes that whole network this host: %s", a.Interface, a.Prefix, remedy)
	}
	return fmt.Sprintf("it is on %s as %s, where this host answers for it on the network: %s", a.Interface, a.Prefix, remedy)
}

// withoutIPv6 says why an interface cannot have an IPv6 address, if so.
func withoutIPv6(name string, f Found) string {
	key := disableKey(name)
	if _, there := f.Sysctls[key]; !there {
		// That it will have: some interfaces get their settings when they come up.
		key = disableKey("default")
	}
	switch v, ok := f.Sysctls[key]; {
	case !ok:
		return "this kernel has no IPv6"
	case v != "0":
		return fmt.Sprintf("IPv6 is disabled on %s: sysctl -w %s=0", name, spell(key))
	}
	return ""
}
