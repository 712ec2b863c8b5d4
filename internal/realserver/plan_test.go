package realserver

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"baton/internal/network"
)

const (
	ignore   = "set net.ipv4.conf.all.arp_ignore from 0 to 1"
	announce = "set net.ipv4.conf.all.arp_announce from 0 to 2"
)

func TestWhatIsDone(t *testing.T) {
	for _, c := range []struct {
		name  string
		specs []string
		found Found
		want  []string
	}{
		{"dr", []string{"10.0.0.100 dr"}, fresh(), []string{ignore, announce, "add address 10.0.0.100/32 to lo"}},
		{"dr, settings that do already", []string{"10.0.0.100 dr"}, fresh("all/arp_ignore=8", "all/arp_announce=2"), []string{
			"add address 10.0.0.100/32 to lo",
		}},
		{"dr, IPv6 needs no settings", []string{"fd00::100 dr"}, fresh(), []string{"add address fd00::100/128 to lo"}},
		{"two VIPs share the settings", []string{"10.0.0.100 dr", "10.0.0.101 dr"}, fresh(), []string{
			ignore, announce, "add address 10.0.0.100/32 to lo", "add address 10.0.0.101/32 to lo",
		}},
		{"ipip, nothing checks sources", []string{"10.0.0.100 tun"}, fresh(), []string{
			ignore, announce, "bring interface tunl0 up", "add address 10.0.0.100/32 to tunl0",
		}},
		{"ipip, strict for all", []string{"10.0.0.100 tun"}, fresh("all/rp_filter=1"), []string{
			ignore, announce, "set net.ipv4.conf.tunl0.rp_filter from 0 to 2", "bring interface tunl0 up",
			"add address 10.0.0.100/32 to tunl0",
		}},
		{"ipip, loose for all", []string{"10.0.0.100 tun"}, fresh("all/rp_filter=2", "tunl0/rp_filter=1"), []string{
			ignore, announce, "bring interface tunl0 up", "add address 10.0.0.100/32 to tunl0",
		}},
		{"ipip, module not loaded", []string{"10.0.0.100 tun"}, fresh("default/rp_filter=1").without("tunl0"), []string{
			"load kernel module ipip", ignore, announce, "set net.ipv4.conf.tunl0.rp_filter from 1 to 2",
			"bring interface tunl0 up", "add address 10.0.0.100/32 to tunl0",
		}},
		{"IPv6 in IPv4", []string{"fd00::100 tun ipip inet"}, fresh(), []string{
			"bring interface sit0 up", "add address fd00::100/128 to sit0",
		}},
		{"GUE over IPv6, both families", []string{"10.0.0.100 tun gue inet6", "fd00::100 tun gue inet6"}, fresh(), []string{
			"load kernel module ip6_tunnel", "create interface baton-ip6", ignore, announce, "bring interface baton-ip6 up",
			"load kernel module fou", "receive GUE at UDP port 6080 (inet6)",
			"add address 10.0.0.100/32 to baton-ip6", "add address fd00::100/128 to baton-ip6",
		}},
		{"GRE over IPv6", []string{"fd00::100 tun gre"}, fresh(), []string{
			"bring interface ip6gre0 up", "add address fd00::100/128 to ip6gre0",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := planUp(specsOf(t, c.specs...), c.found, Record{})
			must(t, err)
			if diff := cmp.Diff(c.want, lines(p.steps, short)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			again, err := planUp(specsOf(t, c.specs...), c.found, p.record)
			must(t, err)
			if diff := cmp.Diff(p.steps, again.steps, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("with a record of what did not come about (-first +then):\n%s", diff)
			}
		})
	}
}

// Whatever a program that is killed had done, and wherever it was killed, down
// brings back what was; so it does when up comes again first.
func TestKilledHalfWay(t *testing.T) {
	for _, texts := range [][]string{
		{"10.0.0.100 dr", "fd00::100 dr"},
		{"10.0.0.100 tun", "fd00::100 tun ipip inet"},
		{"10.0.0.100 tun gue inet6", "fd00::100 tun gue inet6", "10.0.0.101 tun gue inet6"},
		{"10.0.0.100 tun gre", "fd00::100 tun gre"},
	} {
		before := fresh("all/rp_filter=1", "all/arp_announce=1").without("tunl0", "gre0")
		for again := range 2 {
			for at := 1; ; at++ {
				s, k := server(t, before)
				k.dieAt = at
				if !killed(func() { _, err := s.Up(context.Background(), specsOf(t, texts...), false); must(t, err) }) {
					break
				}
				if again > 0 {
					_, err := s.Up(context.Background(), specsOf(t, texts...), false)
					must(t, err)
				}
				k.dieAt = 0
				_, err := s.Down(context.Background(), nil, true, false)
				must(t, err)
				if diff := same(before, k.Found); diff != "" {
					t.Fatalf("%v, killed before step %d, up again %v (-before +after down):\n%s", texts, at, again > 0, diff)
				}
				if _, err := os.Stat(s.store.path); !os.IsNotExist(err) {
					t.Fatalf("a record is left: %v", err)
				}
			}
		}
	}
}

func killed(f func()) (dead bool) {
	defer func() {
		if r := recover(); r != nil {
			dead = r == any(errKilled)
			if !dead {
				panic(r)
			}
		}
	}()
	f()
	return false
}

// A step that fails takes those before it back.
func TestFailedStep(t *testing.T) {
	before := fresh("all/rp_filter=1")
	for at := 1; at <= 5; at++ {
		s, k := server(t, before)
		k.failAt = at
		_, err := s.Up(context.Background(), specsOf(t, "10.0.0.100 tun"), false)
		if !errors.Is(err, errBroken) {
			t.Fatalf("step %d: %v", at, err)
		}
		if diff := same(before, k.Found); diff != "" {
			t.Errorf("after step %d failed (-before +after):\n%s", at, diff)
		}
		if _, err := os.Stat(s.store.path); !os.IsNotExist(err) {
			t.Errorf("a record is left: %v", err)
		}
	}
}

// Nothing is touched if it cannot be remembered, or may not be done.
func TestNothingWithoutRecordOrPrivilege(t *testing.T) {
	s, k := server(t, fresh())
	k.denied = errors.New("run baton as root")
	if _, err := s.Up(context.Background(), specsOf(t, "10.0.0.100 dr"), false); err == nil || err.Error() != "run baton as root" {
		t.Errorf("without privileges: %v", err)
	}
	k.denied = nil
	must(t, os.MkdirAll(s.store.path, 0o755)) // nothing can be renamed to a folder
	must(t, os.WriteFile(s.store.path+"/x", nil, 0o644))
	if _, err := s.Up(context.Background(), specsOf(t, "10.0.0.100 dr"), false); err == nil {
		t.Error("no error without a record")
	}
	if k.count != 0 {
		t.Errorf("%d steps were taken", k.count)
	}
}

func TestSettingsStayWhileNeeded(t *testing.T) {
	before := fresh()
	s, k := server(t, before)
	ctx := context.Background()
	for _, text := range []string{"10.0.0.100 dr", "10.0.0.101 dr", "fd00::100 dr"} {
		_, err := s.Up(ctx, specsOf(t, text), false)
		must(t, err)
	}
	r, err := s.Down(ctx, VIPs(specsOf(t, "10.0.0.100 dr")), false, false)
	must(t, err)
	if diff := cmp.Diff([]string{"remove address 10.0.0.100/32 from lo"}, lines(r.Steps, short)); diff != "" {
		t.Errorf("the first (-want +got):\n%s", diff)
	}
	r, err = s.Down(ctx, VIPs(specsOf(t, "10.0.0.100 dr")), false, false)
	must(t, err)
	if r.Changed || !contains(r.Notes, "10.0.0.100 is not set up here") {
		t.Errorf("the first once more: %+v", r)
	}
	r, err = s.Down(ctx, VIPs(specsOf(t, "10.0.0.101 dr")), false, false)
	must(t, err)
	if !contains(lines(r.Steps, short), "set net.ipv4.conf.all.arp_ignore from 1 to 0") {
		t.Errorf("the last one that needs them: %v", r.Steps)
	}
	_, err = s.Down(ctx, nil, true, false)
	must(t, err)
	if diff := same(before, k.Found); diff != "" {
		t.Errorf("after all (-before +after):\n%s", diff)
	}
}

// What others did meanwhile is left, and said.
func TestOthersChanges(t *testing.T) {
	s, k := server(t, fresh())
	ctx := context.Background()
	_, err := s.Up(ctx, specsOf(t, "10.0.0.100 tun"), false)
	must(t, err)
	k.Found = k.with(Step{Op: Set, Key: confKey("all", "arp_ignore"), To: "2"})
	k.Addresses = append(k.Addresses, network.HostAddress{Prefix: netip.MustParsePrefix("192.168.9.1/24"), Interface: "tunl0"})
	r, err := s.Down(ctx, nil, true, false)
	must(t, err)
	if !contains(r.Notes, "net.ipv4.conf.all.arp_ignore is left at 2: it was 0 before") || !contains(r.Notes, "interface tunl0 is left as it is") {
		t.Errorf("notes: %q", r.Notes)
	}
	if !k.Interfaces["tunl0"].Up || k.Sysctls[confKey("all", "arp_ignore")] != "2" || k.Sysctls[confKey("all", "arp_announce")] != "0" {
		t.Errorf("after down: %v", r.Steps)
	}
}

// Without its record the VIP is found by its mark, or its label on kernels that
// keep no marks; what was before is not known.
func TestLostRecord(t *testing.T) {
	for _, marks := range []bool{true, false} {
		s, k := server(t, fresh())
		k.Marks = marks
		_, err := s.Up(context.Background(), specsOf(t, "10.0.0.100 dr"), false)
		must(t, err)
		if !marks {
			k.Addresses[len(k.Addresses)-1].Mark = 0
		}
		must(t, os.Remove(s.store.path))
		if st, err := s.Status(nil); err != nil || !st.OK || len(st.VIPs) != 1 {
			t.Errorf("status: %+v, %v", st, err)
		}
		r, err := s.Down(context.Background(), nil, true, false)
		must(t, err)
		if diff := cmp.Diff([]string{"remove address 10.0.0.100/32 from lo"}, lines(r.Steps, short)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !contains(r.Notes, "there is no record of what was before") {
			t.Errorf("notes: %q", r.Notes)
		}
	}
}

func TestObstacles(t *testing.T) {
	on := func(prefix, iface string, mark uint8) Found {
		f := fresh()
		f.Addresses = append(f.Addresses, network.HostAddress{Prefix: netip.MustParsePrefix(prefix), Interface: iface, Mark: mark})
		return f
	}
	vxlan := fresh()
	vxlan.Interfaces["tunl0"] = network.Interface{Name: "tunl0", Kind: "vxlan"}
	noIPv6 := fresh()
	noIPv6.Sysctls[disableKey("lo")] = "1"
	for _, c := range []struct {
		spec  string
		found Found
		want  string
	}{
		{"10.0.0.100 dr", on("10.0.0.100/24", "eth0", 0), "this host answers for it on the network: remove it (ip address del 10.0.0.100/24 dev eth0)"},
		{"10.0.0.100 dr", on("10.0.0.100/24", "eth0", network.Protocol), "on eth0 as a director"},
		{"10.0.0.100 dr", on("10.0.0.100/24", "lo", 0), "makes that whole network this host"},
		{"10.0.0.100 dr", on("10.0.0.100/32", "tunl0", Mark), "take it down first"},
		{"10.0.0.100 tun", vxlan, "of the kind vxlan, not ipip"},
		{"fd00::100 dr", noIPv6, "IPv6 is disabled on lo: sysctl -w net.ipv6.conf.lo.disable_ipv6=0"},
	} {
		s, k := server(t, c.found)
		_, err := s.Up(context.Background(), specsOf(t, c.spec), false)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.spec, err, c.want)
		}
		if k.count != 0 {
			t.Errorf("%s: %d steps", c.spec, k.count)
		}
	}
}

func TestIncompleteSpecs(t *testing.T) {
	vip := netip.MustParseAddr("10.0.0.100")
	for _, c := range []struct {
		s    Spec
		want string
	}{
		{Spec{VIP: vip, Forward: "nat"}, "with nat the real server needs a route"},
		{Spec{VIP: vip, Forward: DR, Tunnel: GRE}, "belong to the forwarding method tun"},
		{Spec{VIP: vip, Forward: TUN, Tunnel: GUE}, "gue needs the UDP port"},
		{Spec{VIP: vip, Forward: TUN, Port: 6080}, "the other tunnels have none"},
		{Spec{VIP: vip, Forward: TUN, Tunnel: "vxlan"}, "is no tunnel"},
		{Spec{VIP: vip, Forward: TUN, Outer: "ipv6"}, "inet or inet6"},
		{Spec{VIP: vip, Forward: DR, Interfaces: []string{"../all"}}, "is no name of an interface"},
		{Spec{VIP: vip, Forward: DR, Interfaces: []string{"all"}}, "is no name of an interface"},
		{Spec{VIP: netip.MustParseAddr("224.0.0.18"), Forward: DR}, "cannot be a VIP"},
		{Spec{VIP: netip.MustParseAddr("fe80::1"), Forward: DR}, "cannot be a VIP"},
		{Spec{Forward: DR}, "cannot be a VIP"},
	} {
		if _, err := c.s.Complete(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.s, err, c.want)
		}
	}
}

// With interfaces named, only they are kept quiet.
func TestNamedInterfaces(t *testing.T) {
	s, err := Spec{VIP: netip.MustParseAddr("10.0.0.100"), Forward: DR, Interfaces: []string{"eth0"}}.Complete()
	must(t, err)
	p, err := planUp([]Spec{s}, fresh("all/arp_announce=2"), Record{})
	must(t, err)
	want := []string{"set net.ipv4.conf.eth0.arp_ignore from 0 to 1", "add address 10.0.0.100/32 to lo"}
	if diff := cmp.Diff(want, lines(p.steps, short)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.Interfaces = []string{"eth7"}
	if _, err := planUp([]Spec{s}, fresh(), Record{}); err == nil || !strings.Contains(err.Error(), "there is no interface eth7") {
		t.Errorf("an interface that is not there: %v", err)
	}
}

func TestStatusNamesWhatIsMissing(t *testing.T) {
	s, k := server(t, fresh())
	ctx := context.Background()
	wanted := specsOf(t, "10.0.0.100 tun gue")
	_, err := s.Up(ctx, wanted, false)
	must(t, err)
	for _, c := range []struct {
		name  string
		spoil Step
		want  string
	}{
		{"address", Step{Op: Delete, Address: wanted[0].prefix(), Interface: "tunl0"}, "10.0.0.100/32 on tunl0"},
		{"device", Step{Op: Down, Interface: "tunl0"}, "interface tunl0"},
		{"arp", Step{Op: Set, Key: confKey("all", "arp_ignore"), To: "0"}, "net.ipv4.conf.all.arp_ignore"},
		{"rp_filter", Step{Op: Set, Key: confKey("all", "rp_filter"), To: "1"}, "net.ipv4.conf.tunl0.rp_filter"},
		{"port", Step{Op: Close, Port: 6080, Outer: Inet}, "GUE at UDP port 6080 (inet)"},
		{"two", Step{Op: Add, Address: netip.MustParsePrefix("10.0.0.100/24"), Interface: "eth0"}, "10.0.0.100 elsewhere"},
	} {
		healthy := k.Found
		k.Found = k.with(c.spoil)
		for _, asked := range [][]Spec{nil, wanted, {{VIP: wanted[0].VIP}}} {
			st, err := s.Status(slices.Clone(asked))
			must(t, err)
			var bad []string
			for _, v := range st.VIPs {
				for _, check := range v.Checks {
					if !check.OK {
						bad = append(bad, check.What)
						if check.Remedy == "" {
							t.Errorf("%s: %s has no remedy", c.name, check.What)
						}
					}
				}
			}
			if diff := cmp.Diff([]string{c.want}, bad); diff != "" || st.OK {
				t.Errorf("%s: ok %v (-want +got):\n%s", c.name, st.OK, diff)
			}
		}
		k.Found = healthy
	}
	if st, err := s.Status(nil); err != nil || !st.OK {
		t.Errorf("healthy: %s, %v", st.Text(), err)
	}
}
