package realserver

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"baton/internal/network"
)

// paper is a kernel on paper: steps change what it shows.
type paper struct {
	Found
	failAt int // the number of the step that fails, from 1; 0: none
	dieAt  int // as if the program had been killed before this step
	count  int
	denied error // what Check says
}

var errBroken, errKilled = errors.New("broken"), errors.New("killed")

func (p *paper) Look([]string, bool) (Found, error) { return p.Found, nil }
func (p *paper) Check(Step) error                   { return p.denied }

func (p *paper) Do(_ context.Context, s Step) error {
	p.count++
	switch p.count {
	case p.failAt:
		return errBroken
	case p.dieAt:
		panic(errKilled)
	}
	p.Found = p.Found.with(s)
	// A fallback interface has its kind.
	if i, ok := p.Interfaces[s.Interface]; ok && i.Kind == "" {
		i.Kind = kinds[s.Interface]
		p.Interfaces[s.Interface] = i
	}
	return nil
}

var kinds = map[string]string{
	"tunl0": "ipip", "sit0": "sit", "gre0": "gre", "ip6gre0": "ip6gre", ownDevice: "ip6tnl", "ip6tnl0": "ip6tnl", "lo": "device", "eth0": "device",
}

// fresh is a host as it boots, with some interfaces and settings.
func fresh(settings ...string) Found {
	f := Found{
		Interfaces: map[string]network.Interface{}, Sysctls: map[string]string{}, Modules: map[string]bool{},
		Marks: true,
	}
	for _, name := range []string{"lo", "eth0", "tunl0", "sit0", "gre0", "ip6gre0"} {
		f.Interfaces[name] = network.Interface{Name: name, Kind: kinds[name], Up: name == "lo" || name == "eth0"}
	}
	for _, name := range []string{"all", "default", "lo", "eth0", "tunl0", "sit0", "gre0", "ip6gre0"} {
		for _, leaf := range []string{"arp_ignore", "arp_announce", "rp_filter"} {
			f.Sysctls[confKey(name, leaf)] = "0"
		}
		f.Sysctls[disableKey(name)] = "0"
	}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		iface, leaf, _ := strings.Cut(name, "/")
		f.Sysctls[confKey(iface, leaf)] = value
	}
	f.Addresses = []network.HostAddress{
		{Prefix: netip.MustParsePrefix("127.0.0.1/8"), Interface: "lo", Local: true},
		{Prefix: netip.MustParsePrefix("10.0.0.11/24"), Interface: "eth0", Label: "eth0"},
	}
	return f
}

// without takes interfaces away that come with modules.
func (f Found) without(names ...string) Found {
	for _, name := range names {
		f = f.with(Step{Op: Remove, Interface: name})
	}
	return f
}

// same compares what a kernel shows, but for modules, which stay.
func same(want, got Found) string {
	loaded := func(f Found) Found {
		f.Modules, f.GUE = nil, false
		f.Interfaces, f.Sysctls = maps.Clone(f.Interfaces), maps.Clone(f.Sysctls)
		for _, name := range []string{"tunl0", "sit0", "gre0", "ip6gre0"} {
			if i, ok := f.Interfaces[name]; ok && !i.Up {
				delete(f.Interfaces, name)
				maps.DeleteFunc(f.Sysctls, func(k, _ string) bool { return strings.Contains(k, "/"+name+"/") })
			}
		}
		return f
	}
	return cmp.Diff(loaded(want), loaded(got), cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{}))
}

func server(t *testing.T, f Found) (*Server, *paper) {
	t.Helper()
	p := &paper{Found: f}
	return New(p, NewStore(filepath.Join(t.TempDir(), "sub", "state.json"))), p
}

// spec reads a spec as its String writes it, or "VIP FORWARD TUNNEL OUTER PORT".
func spec(t *testing.T, text string) Spec {
	t.Helper()
	f := append(strings.Fields(text), "", "", "", "")
	s := Spec{VIP: netip.MustParseAddr(f[0]), Forward: Forward(f[1]), Tunnel: Tunnel(f[2]), Outer: Family(f[3])}
	if f[2] == "gue" {
		s.Port = 6080
	}
	out, err := s.Complete()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func specsOf(t *testing.T, texts ...string) (out []Spec) {
	t.Helper()
	for _, text := range texts {
		out = append(out, spec(t, text))
	}
	return out
}

func lines[T any](list []T, text func(T) string) []string {
	out := []string{}
	for _, x := range list {
		out = append(out, text(x))
	}
	return out
}

// short is a step without its reason.
func short(s Step) string { s.Why = ""; return s.String() }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func contains(list []string, part string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) })
}
