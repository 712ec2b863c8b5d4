package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"baton/test/lab"
)

// host makes a host with eth0 and eth1 and a manager on it.
func host(t testing.TB) (*lab.Host, *Manager) {
	t.Helper()
	l := lab.New(t)
	h := l.Host("a")
	lan := l.Bridge("lan")
	h.Connect(lan, "eth0")
	h.Connect(lan, "eth1")
	m := manager(t, h)
	lab.Eventually(t, 5*time.Second, func() error { // their link-local addresses come by themselves
		for _, ifname := range []string{"eth0", "eth1"} {
			if l, err := m.Link(ifname); err != nil || !l.Up || len(l.Addresses) == 0 {
				return fmt.Errorf("%+v, %w", l, err)
			}
		}
		return nil
	})
	return h, m
}

func manager(t testing.TB, h *lab.Host) *Manager {
	t.Helper()
	var m *Manager
	must(t, h.Do(func() (err error) {
		m, err = Open(slog.New(slog.DiscardHandler))
		return err
	}))
	t.Cleanup(m.Close)
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// state reads "10.0.0.100/24 fd00::1/64@eth1"; eth0 where no interface is named.
func state(lease time.Duration, list string) State {
	s := State{Lease: lease}
	for _, f := range strings.Fields(list) {
		prefix, ifname, found := strings.Cut(f, "@")
		if !found {
			ifname = "eth0"
		}
		s.Addresses = append(s.Addresses, Address{Prefix: netip.MustParsePrefix(prefix), Interface: ifname})
	}
	return s
}

// onHost lists a host's addresses in the same way, sorted, without link-local
// ones and those of lo. marked: only ours.
func onHost(t testing.TB, h *lab.Host, marked bool) string {
	t.Helper()
	var out []string
	for _, ifname := range []string{"eth0", "eth1"} {
		l, err := h.Netlink().LinkByName(ifname)
		if err != nil {
			continue
		}
		list, err := h.Netlink().AddrList(l, netlink.FAMILY_ALL)
		must(t, err)
		for _, a := range list {
			p, _ := toPrefix(a.IPNet)
			if p.Addr().IsLinkLocalUnicast() || (marked && a.Protocol != Protocol) {
				continue
			}
			s := p.String()
			if ifname != "eth0" {
				s += "@" + ifname
			}
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func wantOnHost(t testing.TB, h *lab.Host, want string) {
	t.Helper()
	f := strings.Fields(want)
	slices.Sort(f)
	if got := onHost(t, h, false); got != strings.Join(f, " ") {
		t.Fatalf("the host has %q, want %q", got, strings.Join(f, " "))
	}
}

// forever is the lifetime of an address without a lease.
const forever = math.MaxUint32

// find returns an address of the host.
func find(t testing.TB, h *lab.Host, prefix string) netlink.Addr {
	t.Helper()
	list, err := h.Netlink().AddrList(nil, netlink.FAMILY_ALL)
	must(t, err)
	for _, a := range list {
		if p, _ := toPrefix(a.IPNet); p.String() == prefix {
			return a
		}
	}
	t.Fatalf("the host does not have %s", prefix)
	return netlink.Addr{}
}

// monitor counts the kernel's reports of addresses, as `ip monitor` shows them.
func monitor(t testing.TB, h *lab.Host) (count func() int) {
	t.Helper()
	updates, done := make(chan netlink.AddrUpdate, 4096), make(chan struct{})
	must(t, h.Do(func() error { return netlink.AddrSubscribe(updates, done) }))
	t.Cleanup(func() { close(done) })
	count = func() (n int) {
		for {
			select {
			case <-updates:
				n++
			case <-time.After(100 * time.Millisecond):
				return n
			}
		}
	}
	count() // new IPv6 addresses are reported a little later than they are there
	return count
}

const both = "10.0.0.100/24 10.0.0.101/32@eth1 fd00::100/64 fd00::101/128@eth1"

func TestSetAddsMarksAndReleases(t *testing.T) {
	h, m := host(t)
	must(t, m.Set(t.Context(), "web", state(30*time.Second, both)))
	wantOnHost(t, h, both)
	for _, a := range state(0, both).Addresses {
		k := find(t, h, a.Prefix.String())
		six := a.Prefix.Addr().Is6()
		preferred := k.ValidLft
		if six {
			preferred = 0
		}
		if k.Protocol != Protocol || k.ValidLft < 29 || k.ValidLft > 30 || k.PreferedLft != preferred {
			t.Errorf("%s has mark %#x and lifetimes %d, %d", a.Prefix, k.Protocol, k.ValidLft, k.PreferedLft)
		}
		if nodad := k.Flags&unix.IFA_F_NODAD != 0; six != nodad || k.Flags&unix.IFA_F_TENTATIVE != 0 {
			t.Errorf("%s has flags %#x", a.Prefix, k.Flags)
		}
	}
	must(t, m.Set(t.Context(), "web", State{}))
	wantOnHost(t, h, "")
	must(t, m.Set(t.Context(), "web", State{}))
}

// TestAddressIsNoSource has the host send to neighbours that are closer, by the
// rules for the choice of a source, to the VIP than to the host's own address.
func TestAddressIsNoSource(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24", "fd00::1/64")
	const vips = "10.0.0.200/24 fd00::200/64"
	for _, lease := range []time.Duration{0, 30 * time.Second, 0} {
		must(t, m.Set(t.Context(), "web", state(lease, vips)))
		for to, want := range map[string]string{"10.0.0.201": "10.0.0.1", "fd00::201": "fd00::1"} {
			conn, err := h.Dial(t.Context(), "udp", net.JoinHostPort(to, "9"))
			must(t, err)
			got, _, err := net.SplitHostPort(conn.LocalAddr().String())
			must(t, err)
			must(t, conn.Close())
			if got != want {
				t.Errorf("with a lease of %s packets to %s come from %s, not from %s", lease, to, got, want)
			}
		}
		if k := find(t, h, "fd00::200/64"); lease == 0 && k.ValidLft != forever {
			t.Errorf("without a lease the address lives for %d s", k.ValidLft)
		}
	}
}

func TestSetTwiceChangesNothing(t *testing.T) {
	h, m := host(t)
	must(t, m.Set(t.Context(), "web", state(0, both)))
	if k := find(t, h, "10.0.0.100/24"); k.ValidLft != forever {
		t.Errorf("without a lease the address lives for %d s", k.ValidLft)
	}
	reports := monitor(t, h)
	for range 3 {
		must(t, m.Set(t.Context(), "web", state(0, both)))
	}
	if n := reports(); n != 0 {
		t.Errorf("setting the same again made the kernel report %d changes", n)
	}
	wantOnHost(t, h, both)
	// From for ever to leased and back.
	must(t, m.Set(t.Context(), "web", state(20*time.Second, both)))
	if k := find(t, h, "fd00::100/64"); k.ValidLft > 20 {
		t.Errorf("with a lease of 20 s the address lives for %d s", k.ValidLft)
	}
	must(t, m.Set(t.Context(), "web", state(0, both)))
	for _, a := range state(0, both).Addresses {
		if k := find(t, h, a.Prefix.String()); k.ValidLft != forever {
			t.Errorf("%s lives for %d s", a.Prefix, k.ValidLft)
		}
	}
}

func TestLeaseRunsOut(t *testing.T) {
	h, m := host(t)
	h.Sysctl("net.ipv4.conf.all.promote_secondaries", "1") // or the first of the subnet takes the others with it
	const renewed = "10.0.0.100/24 fd00::100/64"
	must(t, m.Set(t.Context(), "dies", state(300*time.Millisecond, "10.0.0.200/24 fd00::200/64")))
	began := time.Now()
	var lost time.Duration
	for time.Since(began) < lab.Patience(4*time.Second) {
		must(t, m.Set(t.Context(), "lives", state(3*time.Second, renewed)))
		if got := onHost(t, h, false); lost == 0 && got == renewed {
			lost = time.Since(began)
		} else if !strings.Contains(got, "10.0.0.100/24") || !strings.Contains(got, "fd00::100/64") {
			t.Fatalf("after %v the host has %q: a renewed lease ran out", time.Since(began), got)
		}
		time.Sleep(200 * time.Millisecond)
	}
	wantOnHost(t, h, renewed)
	t.Logf("a lease of 1 s was gone after %v", lost)
	if lost == 0 || lost < 500*time.Millisecond {
		t.Errorf("a lease of 1 s was gone after %v", lost)
	}
	lab.Eventually(t, 8*time.Second, func() error { // and now nobody renews
		if got := onHost(t, h, false); got != "" {
			return errors.New("still there: " + got)
		}
		return nil
	})
	// It comes back by being set.
	must(t, m.Set(t.Context(), "lives", state(time.Minute, renewed)))
	wantOnHost(t, h, renewed)
}

func TestForeignAddressIsLeftAlone(t *testing.T) {
	for _, tt := range []struct{ name, theirs, want string }{
		{"IPv4", "10.0.0.100/24", "10.0.0.100/24"},
		{"IPv4, another prefix length", "10.0.0.100/32", "10.0.0.100/24"},
		{"IPv6", "fd00::100/64", "fd00::100/64"},
		{"IPv6, another prefix length", "fd00::100/128", "fd00::100/64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, m := host(t)
			h.Address("eth0", tt.theirs)
			const mine = "10.0.0.7/24 fd00::7/64"
			for range 2 {
				err := m.Set(t.Context(), "web", state(time.Second, tt.want+" "+mine))
				var foreign *ForeignError
				if !errors.As(err, &foreign) || !errors.Is(err, ErrForeign) ||
					foreign.Address != state(0, tt.want).Addresses[0] || foreign.Present != tt.theirs {
					t.Fatalf("error %v", err)
				}
				if !strings.Contains(err.Error(), "ip address del "+tt.theirs+" dev eth0") {
					t.Errorf("no remedy in %q", err)
				}
			}
			wantOnHost(t, h, tt.theirs+" "+mine)
			untouched := func() {
				t.Helper()
				if k := find(t, h, tt.theirs); k.Protocol == Protocol || k.ValidLft != forever {
					t.Errorf("the administrator's address has mark %#x and lives for %d s", k.Protocol, k.ValidLft)
				}
			}
			untouched()
			must(t, m.Remove(t.Context(), state(0, tt.want+" "+tt.theirs)))
			must(t, m.Set(t.Context(), "web", State{}))
			_, err := m.Sweep(t.Context())
			must(t, err)
			wantOnHost(t, h, tt.theirs)
			untouched()
		})
	}
}

// An administrator who sets, in place of ours, an address of his own keeps it.
func TestAddressTakenOverByAdministrator(t *testing.T) {
	h, m := host(t)
	for _, a := range []string{"10.0.0.100/24", "fd00::100/64"} {
		must(t, m.Set(t.Context(), "web", state(5*time.Second, a)))
		k := find(t, h, a)
		must(t, h.Netlink().AddrDel(linkOf(t, h, "eth0"), &netlink.Addr{IPNet: k.IPNet}))
		h.Address("eth0", a)
		if err := m.Set(t.Context(), "web", state(5*time.Second, a)); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: renewing: %v", a, err)
		}
		must(t, m.Set(t.Context(), "web", State{}))
		if k := find(t, h, a); k.ValidLft != forever || k.Protocol != 0 {
			t.Errorf("%s: mark %#x, lives for %d s", a, k.Protocol, k.ValidLft)
		}
	}
}

func linkOf(t testing.TB, h *lab.Host, ifname string) netlink.Link {
	t.Helper()
	l, err := h.Netlink().LinkByName(ifname)
	must(t, err)
	return l
}

func TestOneFailureDoesNotStopTheRest(t *testing.T) {
	h, m := host(t)
	err := m.Set(t.Context(), "web", state(0, "10.0.0.100/24@eth9 10.0.0.101/24 fd00::1/64@eth9 fd00::2/64"))
	var missing *InterfaceError
	if !errors.As(err, &missing) || missing.Name != "eth9" || !errors.Is(err, ErrNoInterface) {
		t.Fatalf("error %v", err)
	}
	if s := err.Error(); !strings.Contains(s, "10.0.0.100/24 on eth9") || !strings.Contains(s, "fd00::1/64 on eth9") {
		t.Errorf("the error does not name both addresses: %v", err)
	}
	wantOnHost(t, h, "10.0.0.101/24 fd00::2/64")

	if err := m.Set(t.Context(), "bad", State{Addresses: []Address{{Interface: "eth0"}}}); err == nil {
		t.Error("an invalid prefix was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Set(ctx, "web", State{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	wantOnHost(t, h, "10.0.0.101/24 fd00::2/64")
	must(t, m.Set(t.Context(), "web", State{})) // nothing was forgotten
	wantOnHost(t, h, "")
}

func TestInterfaceVanishes(t *testing.T) {
	h, m := host(t)
	want := state(5*time.Second, both)
	must(t, m.Set(t.Context(), "web", want))
	must(t, h.Netlink().LinkDel(linkOf(t, h, "eth1")))
	err := m.Set(t.Context(), "web", want)
	if !errors.Is(err, ErrNoInterface) {
		t.Fatalf("error %v", err)
	}
	wantOnHost(t, h, "10.0.0.100/24 fd00::100/64")
	must(t, m.Remove(t.Context(), State{Addresses: want.Addresses[1:2]}))

	add := netlink.NewLinkAttrs()
	add.Name = "eth1"
	must(t, h.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: add, PeerName: "peer1"}))
	must(t, h.Netlink().LinkSetUp(linkOf(t, h, "eth1")))
	must(t, m.Set(t.Context(), "web", want))
	wantOnHost(t, h, both)

	// Renamed: what is wanted on eth1 must not stay on what is called otherwise now.
	must(t, h.Netlink().LinkSetDown(linkOf(t, h, "eth1")))
	must(t, h.Netlink().LinkSetName(linkOf(t, h, "eth1"), "lan1"))
	if err := m.Set(t.Context(), "web", want); !errors.Is(err, ErrNoInterface) {
		t.Fatalf("error %v", err)
	}
	for _, a := range []string{"10.0.0.101/32", "fd00::101/128"} {
		list, err := h.Netlink().AddrList(linkOf(t, h, "lan1"), netlink.FAMILY_ALL)
		must(t, err)
		if slices.ContainsFunc(list, func(k netlink.Addr) bool { return k.IPNet.String() == a }) {
			t.Errorf("%s is still on the renamed interface", a)
		}
	}
	must(t, m.Set(t.Context(), "web", State{}))
	wantOnHost(t, h, "")
}

// Interfaces that come and go while Set runs cause errors, and no more.
func TestInterfaceVanishesInTheMiddle(t *testing.T) {
	h, m := host(t)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				add := netlink.NewLinkAttrs()
				add.Name = "flap"
				if err := h.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: add, PeerName: "flap1"}); err != nil {
					return err
				}
				if err := h.Netlink().LinkDel(&netlink.Veth{LinkAttrs: add}); err != nil {
					return err
				}
			}
		}()
	}()
	var list []string
	for i := range 20 {
		list = append(list, fmt.Sprintf("10.0.9.%d/24@flap fd09::%d/64@flap", i+1, i+1))
	}
	want := state(time.Minute, strings.Join(list, " ")+" 10.0.0.100/24")
	for range 50 {
		err := m.Set(t.Context(), "web", want)
		if err != nil && !gone(err) {
			t.Errorf("error %v", err)
		}
		wantOnHost(t, h, "10.0.0.100/24")
	}
	close(stop)
	must(t, <-ended)
	must(t, m.Set(t.Context(), "web", State{}))
}

func TestTwoOwnersOfOneAddress(t *testing.T) {
	h, m := host(t)
	must(t, m.Set(t.Context(), "a", state(0, "10.0.0.100/24 10.0.0.101/24")))
	must(t, m.Set(t.Context(), "b", state(0, "10.0.0.101/24 10.0.0.102/24")))
	must(t, m.Set(t.Context(), "a", State{}))
	wantOnHost(t, h, "10.0.0.101/24 10.0.0.102/24")
	must(t, m.Set(t.Context(), "b", State{}))
	wantOnHost(t, h, "")
}

func TestPrefixLengthChanges(t *testing.T) {
	h, m := host(t)
	must(t, m.Set(t.Context(), "web", state(0, "10.0.0.100/24 fd00::100/64")))
	must(t, m.Set(t.Context(), "web", state(0, "10.0.0.100/32 fd00::100/128")))
	wantOnHost(t, h, "10.0.0.100/32 fd00::100/128")
	must(t, m.Set(t.Context(), "web", state(9*time.Second, "10.0.0.100/16 fd00::100/48")))
	wantOnHost(t, h, "10.0.0.100/16 fd00::100/48")
	must(t, m.Set(t.Context(), "web", State{}))
	wantOnHost(t, h, "")
}

// With promote_secondaries off the kernel removes all addresses of a subnet with
// the first.
func TestRemovingTheFirstOfASubnetKeepsTheOthers(t *testing.T) {
	h, m := host(t)
	h.Sysctl("net.ipv4.conf.all.promote_secondaries", "0")
	h.Sysctl("net.ipv4.conf.eth0.promote_secondaries", "0")
	must(t, m.Set(t.Context(), "a", state(9*time.Second, "10.0.0.100/24 10.0.0.101/24")))
	must(t, m.Set(t.Context(), "b", state(9*time.Second, "10.0.0.102/24")))
	must(t, m.Set(t.Context(), "a", state(9*time.Second, "10.0.0.101/24")))
	wantOnHost(t, h, "10.0.0.101/24 10.0.0.102/24")
	must(t, m.Set(t.Context(), "a", State{}))
	wantOnHost(t, h, "10.0.0.102/24")
	if k := find(t, h, "10.0.0.102/24"); k.ValidLft > 9 || k.Protocol != Protocol {
		t.Errorf("it came back with mark %#x for %d s", k.Protocol, k.ValidLft)
	}

	// An administrator's address behind a VIP survives with the setting.
	must(t, h.Do(func() error {
		_, errs := EnsureSysctls([]Sysctl{PromoteSecondaries("eth0")}, true)
		return errors.Join(errs...)
	}))
	h.Address("eth0", "10.0.0.1/24")
	must(t, m.Set(t.Context(), "b", State{}))
	wantOnHost(t, h, "10.0.0.1/24")
}

// The route to an IPv6 network that a router's advertisement made belongs to the
// host, not to the VIP in that network: it must neither get the lease's lifetime
// nor end with the VIP.
func TestRouteToTheNetworkOutlivesTheVIP(t *testing.T) {
	h, m := host(t)
	l := linkOf(t, h, "eth0")
	own, err := netlink.ParseAddr("fd00::1/64")
	must(t, err)
	own.ValidLft, own.PreferedLft = 1000, 1000 // as by SLAAC
	must(t, h.Netlink().AddrAdd(l, own))
	expires := func() string {
		out, err := h.Run(t.Context(), "ip", "-6", "route", "show", "fd00::/64")
		must(t, err)
		return strings.TrimSpace(out)
	}
	for range 2 {
		must(t, m.Set(t.Context(), "web", state(2*time.Second, "fd00::100/64")))
		if r := expires(); !strings.Contains(r, "expires 9") && !strings.Contains(r, "expires 1000") {
			t.Fatalf("the route to the network is %q", r)
		}
	}
	must(t, m.Set(t.Context(), "web", State{}))
	if r := expires(); !strings.Contains(r, "expires 9") {
		t.Errorf("after the release, the route to the network is %q", r)
	}
	// Where the VIP is the only one of its network, it brings the route.
	must(t, m.Set(t.Context(), "web", state(20*time.Second, "fd02::100/64")))
	out, err := h.Run(t.Context(), "ip", "-6", "route", "show", "fd02::/64")
	must(t, err)
	if !strings.Contains(out, "dev eth0") {
		t.Errorf("no route to the VIP's network: %q", out)
	}
}

func TestNextProcessAdopts(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24")
	must(t, m.Set(t.Context(), "web", state(0, both)))
	must(t, m.Set(t.Context(), "old", state(0, "10.0.0.200/24 fd00::200/64@eth1")))

	next := manager(t, h) // after a crash
	reports := monitor(t, h)
	must(t, next.Set(t.Context(), "web", state(0, both)))
	if n := reports(); n != 0 {
		t.Errorf("adopting made the kernel report %d changes", n)
	}
	removed, err := next.Sweep(t.Context())
	must(t, err)
	slices.Sort(removed)
	if want := []string{"address 10.0.0.200/24 on eth0", "address fd00::200/64 on eth1"}; !slices.Equal(removed, want) {
		t.Errorf("swept %v, want %v", removed, want)
	}
	wantOnHost(t, h, both+" 10.0.0.1/24")
	must(t, next.Set(t.Context(), "web", State{}))
	wantOnHost(t, h, "10.0.0.1/24")
}

// The process that executes a will knows only what it was told.
func TestRemoveByAnotherProcess(t *testing.T) {
	h, m := host(t)
	h.Sysctl("net.ipv4.conf.all.promote_secondaries", "1") // as systemd sets it
	must(t, m.Set(t.Context(), "web", state(0, both)))
	must(t, m.Set(t.Context(), "lan", state(0, "10.0.0.7/24")))
	executor := manager(t, h)
	will := state(0, both+" 10.0.0.250/24 10.0.0.100/24@eth9 10.0.0.100/16")
	for range 2 {
		must(t, executor.Remove(t.Context(), will))
	}
	wantOnHost(t, h, "10.0.0.7/24")
	// The first process notices and can put it back.
	must(t, m.Set(t.Context(), "web", state(0, both)))
	wantOnHost(t, h, both+" 10.0.0.7/24")
}

// On an interface with many addresses a look serves for a moment. What happens
// meanwhile must be found out all the same.
func TestCrowdedInterface(t *testing.T) {
	h, m := host(t)
	for i := range crowded + 20 {
		h.Address("eth0", fmt.Sprintf("192.0.2.%d/32", i+1), fmt.Sprintf("2001:db8::%x/128", i+1))
	}
	del := func(a string) {
		t.Helper()
		must(t, h.Netlink().AddrDel(linkOf(t, h, "eth0"), &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(a))}))
	}
	watch(t, m, nil)
	for _, a := range []string{"10.0.0.100/32", "fd00::100/128"} {
		want := state(time.Minute, a)
		must(t, m.Set(t.Context(), "web", want))
		if len(m.views) == 0 {
			t.Fatal("the interface is not regarded as crowded: this test shows nothing")
		}
		del(a)
		must(t, m.Set(t.Context(), "web", want)) // comes back
		if k := find(t, h, a); k.Protocol != Protocol {
			t.Errorf("%s came back with mark %#x", a, k.Protocol)
		}
		del(a)
		h.Address("eth0", a)
		must(t, m.Set(t.Context(), "web", State{})) // not ours now
		if k := find(t, h, a); k.Protocol != 0 {
			t.Errorf("%s has mark %#x", a, k.Protocol)
		}
		del(a)
		must(t, m.Set(t.Context(), "web", State{}))
		must(t, m.Set(t.Context(), "other", State{Addresses: state(0, "10.0.0.7/32 fd00::7/128").Addresses})) // has looked
		h.Address("eth0", a)
		if err := m.Set(t.Context(), "web", want); !errors.Is(err, ErrForeign) {
			t.Errorf("%s was set by someone else after we had looked: %v", a, err)
		}
		if k := find(t, h, a); k.Protocol != 0 || k.ValidLft != forever {
			t.Errorf("%s has mark %#x and lives for %d s", a, k.Protocol, k.ValidLft)
		}
	}
}

// An address without a lease is not written again as long as it is believed to be
// there: what Watch tells of must come back also where a look serves for a moment.
func TestCrowdedInterfaceIsWatched(t *testing.T) {
	h, m := host(t)
	for i := range crowded + 20 {
		h.Address("eth0", fmt.Sprintf("192.0.2.%d/32", i+1), fmt.Sprintf("2001:db8::%x/128", i+1))
	}
	want := state(0, "10.0.0.100/32 fd00::100/128")
	must(t, m.Set(t.Context(), "web", want))
	gone := make(chan Change, 1<<10)
	watch(t, m, func(c Change) {
		if want.Lost(c) {
			gone <- c
		}
	})
	for _, a := range want.Addresses {
		must(t, m.Set(t.Context(), "web", want)) // has looked
		must(t, h.Netlink().AddrDel(linkOf(t, h, "eth0"), &netlink.Addr{IPNet: ipNet(a.Prefix)}))
		select {
		case <-gone:
		case <-time.After(lab.Patience(5 * time.Second)):
			t.Fatalf("nobody tells that %s is gone", a.Prefix)
		}
		must(t, m.Set(t.Context(), "web", want))
		if !h.Has(a.Prefix.Addr().String()) {
			t.Errorf("%s does not come back", a.Prefix)
		}
	}
}

// A kernel before 5.18 keeps no mark: there, ours is what an owner holds.
func TestOursWithoutMarks(t *testing.T) {
	_, m := host(t)
	m.marking = false
	mine := present{prefix: netip.MustParsePrefix("10.0.0.100/24")}
	m.owners["web"] = &holding{keys: map[key]Address{{7, mine.prefix}: {}}}
	if !m.ours(7, mine) || m.ours(8, mine) || m.ours(7, present{prefix: netip.MustParsePrefix("10.0.0.100/32")}) {
		t.Error("what is held is not ours, or what is not held is")
	}
	if !m.ours(7, present{protocol: Protocol}) || m.ours(7, mine) {
		t.Error("a kernel that has shown a mark keeps marks")
	}
}

func TestErrorWhereIPv6IsDisabled(t *testing.T) {
	h, m := host(t)
	h.Sysctl("net.ipv6.conf.eth0.disable_ipv6", "1")
	err := m.Set(t.Context(), "web", state(0, "10.0.0.100/24 fd00::100/64"))
	if err == nil || !strings.Contains(err.Error(), "fd00::100/64 on eth0") || !strings.Contains(err.Error(), "disable_ipv6") {
		t.Errorf("error %v", err)
	}
	wantOnHost(t, h, "10.0.0.100/24")
}

func TestLink(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24", "10.0.1.1/24", "fd00::1/64")
	l, err := m.Link("eth0")
	must(t, err)
	if l.Name != "eth0" || l.Index != linkOf(t, h, "eth0").Attrs().Index || !l.Up || !slices.Equal(l.MAC[:], h.Link("eth0").MAC()) {
		t.Errorf("%+v", l)
	}
	for i, p := range []string{"10.0.0.1/24", "10.0.1.1/24", "fd00::1/64"} {
		if at := slices.Index(l.Addresses, netip.MustParsePrefix(p)); at != i {
			t.Errorf("%s at %d of %v", p, at, l.Addresses)
		}
	}
	h.Link("eth0").Down()
	lab.Eventually(t, 3*time.Second, func() error {
		l, err := m.Link("eth0")
		if err == nil && l.Up {
			err = errors.New("up without a carrier")
		}
		return err
	})
	_, err = m.Link("eth9")
	var missing *InterfaceError
	if !errors.As(err, &missing) || missing.Name != "eth9" {
		t.Errorf("eth9: %v", err)
	}
}

// A renewal has to be cheap however many addresses others have.
func BenchmarkRenew(b *testing.B) {
	for _, others := range []int{0, 2000} {
		b.Run(fmt.Sprintf("beside %d others", others), func(b *testing.B) {
			h, m := host(b)
			for i := range others {
				a, err := netlink.ParseAddr(fmt.Sprintf("10.1.%d.%d/32", i/250, i%250+1))
				must(b, err)
				must(b, h.Netlink().AddrAdd(linkOf(b, h, "eth0"), a))
			}
			want := state(time.Minute, "10.0.0.100/24 10.0.0.101/24 fd00::100/64")
			for b.Loop() {
				must(b, m.Set(b.Context(), "web", want))
			}
		})
	}
}
