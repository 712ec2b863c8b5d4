package director

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/config"
	"baton/internal/network"
	"baton/internal/pool"
	"baton/internal/speaker"
)

// settingsStage is a keeper in a world of two settings.
type settingsStage struct {
	*settings
	values map[string]string
	events []string
	needed []network.Sysctl
	blind  error
	ipvs   bool
	now    time.Time
	cfg    *config.Config
}

func newSettingsStage(mode config.Sysctls) *settingsStage {
	s := &settingsStage{
		values: map[string]string{"net.ipv4.ip_forward": "0"}, now: time.Unix(1000, 0),
		needed: []network.Sysctl{{Key: "net.ipv4.ip_forward", Value: "1", Why: "NAT"}, conntrack("source NAT")},
		cfg:    &config.Config{Sysctls: mode},
	}
	s.settings = newSettings(settingsWorld{
		needed: func(*config.Config) ([]network.Sysctl, error) { return s.needed, s.blind },
		ensure: s.change,
		ipvs:   func() bool { return s.ipvs },
		event: func(e api.Event) {
			s.events = append(s.events, fmt.Sprintf("%s: %s -> %s: %s", e.Name, e.From, e.To, e.Reason))
		},
		log: slog.New(slog.DiscardHandler),
	})
	return s
}

func (s *settingsStage) change(want []network.Sysctl, manage bool) (changes []network.SysctlChange, errs []error) {
	for _, w := range want {
		old, ok := s.values[w.Key]
		switch {
		case !ok:
			errs = append(errs, errors.New("there is no "+w.Key))
		case old != w.Value:
			changes = append(changes, network.SysctlChange{Sysctl: w, Old: old, Changed: manage})
			if manage {
				s.values[w.Key] = w.Value
			}
		}
	}
	return changes, errs
}

// after looks again some time later and returns what has been told since.
func (s *settingsStage) after(d time.Duration) []string {
	s.events = nil
	s.now = s.now.Add(d)
	s.look(s.now)
	return s.events
}

func (s *settingsStage) expect(t *testing.T, step string, told []string, want ...string) {
	t.Helper()
	if !slices.Equal(told, want) {
		t.Errorf("%s: told %q, want %q", step, told, want)
	}
}

func TestSettingsAreKept(t *testing.T) {
	s := newSettingsStage(config.SysctlsManage)
	s.configure(s.cfg, s.now)
	s.expect(t, "at the start", s.events, "net.ipv4.ip_forward: 0 -> 1: NAT")
	s.expect(t, "nothing happens", s.after(time.Hour))
	if len(s.shown()) > 0 {
		t.Errorf("without IPVS its settings are a problem: %q", s.shown())
	}
	s.values["net.ipv4.vs.conntrack"], s.ipvs = "0", true
	s.expect(t, "IPVS is loaded", s.after(0), "net.ipv4.vs.conntrack: 0 -> 1: source NAT")

	s.now = s.now.Add(time.Hour)
	forwarding := "net.ipv4.ip_forward: 0 -> 1: somebody else had changed it; NAT"
	for i := range 12 { // somebody changes it again and again, for two minutes
		s.values["net.ipv4.ip_forward"] = "0"
		told := s.after(10 * time.Second)
		if s.values["net.ipv4.ip_forward"] != "1" {
			t.Fatal("it was not set again")
		}
		if i%6 == 0 {
			s.expect(t, "once a minute", told, forwarding)
		} else {
			s.expect(t, "within a minute", told)
		}
	}

	s.ipvs = true
	delete(s.values, "net.ipv4.vs.conntrack") // a kernel without it
	missing := "a kernel setting that the services need cannot be had: there is no net.ipv4.vs.conntrack"
	s.expect(t, "cannot be had", s.after(time.Hour), "net.ipv4.vs.conntrack: as needed -> not as needed: "+missing)
	s.expect(t, "still", s.after(time.Hour))
	if !slices.Equal(s.shown(), []string{missing}) {
		t.Errorf("problems %q", s.shown())
	}
	s.values["net.ipv4.vs.conntrack"] = "1"
	s.expect(t, "again", s.after(time.Hour), "net.ipv4.vs.conntrack: not as needed -> as needed: it is as the services need it")
	if len(s.shown()) > 0 {
		t.Errorf("problems %q", s.shown())
	}
}

func TestSettingsAreLeft(t *testing.T) {
	s := newSettingsStage(config.SysctlsLeave)
	problem := "the kernel setting net.ipv4.ip_forward is 0, and not 1 as needed: NAT; set it, or write sysctls: manage"
	s.configure(s.cfg, s.now)
	s.expect(t, "at the start", s.events, "net.ipv4.ip_forward: as needed -> not as needed: "+problem)
	s.expect(t, "still", s.after(time.Hour))
	if !slices.Equal(s.shown(), []string{problem}) || s.values["net.ipv4.ip_forward"] != "0" {
		t.Errorf("problems %q, values %v", s.shown(), s.values)
	}
	s.values["net.ipv4.ip_forward"] = "1"
	s.expect(t, "somebody sets it", s.after(time.Hour), "net.ipv4.ip_forward: not as needed -> as needed: it is as the services need it")
}

func TestSettingsOfAHostThatCannotBeSeen(t *testing.T) {
	s := newSettingsStage(config.SysctlsManage)
	s.blind = errors.New("no routes")
	s.configure(s.cfg, s.now)
	if s.values["net.ipv4.ip_forward"] != "1" || !slices.ContainsFunc(s.shown(), func(p string) bool { return strings.Contains(p, "no routes") }) {
		t.Errorf("values %v, problems %q", s.values, s.shown())
	}
}

// natService is a service with real servers; a mark is that of a firewall.
func natService(vip string, mark uint32, forward pool.Forward, servers ...string) pool.Service {
	s := pool.Service{Name: vip, Forward: forward, Keys: []pool.Key{{FWMark: mark}}}
	if mark == 0 {
		s.Keys = []pool.Key{pool.KeyOf(pool.TCP, netip.MustParseAddrPort(vip))}
	}
	for _, a := range servers {
		s.Servers = append(s.Servers, pool.Server{Address: netip.MustParseAddr(a), Port: 80, Forward: forward})
	}
	return s
}

func TestOneArmed(t *testing.T) {
	have := []network.Address{
		{Prefix: netip.MustParsePrefix("10.0.0.1/24"), Interface: "eth0"},
		{Prefix: netip.MustParsePrefix("10.0.1.1/24"), Interface: "eth1"},
		{Prefix: netip.MustParsePrefix("10.0.1.99/32"), Interface: "eth1"},
	}
	routers := []speaker.Router{{Addresses: []network.Address{{Prefix: netip.MustParsePrefix("10.0.0.100/24"), Interface: "eth0"}}}}
	tests := []struct {
		name     string
		services []pool.Service
		want     []string
	}{
		{"two arms", []pool.Service{natService("10.0.0.100:80", 0, pool.NAT, "10.0.1.11")}, nil},
		{"one arm", []pool.Service{natService("10.0.0.100:80", 0, pool.NAT, "10.0.1.11", "10.0.0.11")}, []string{"eth0"}},
		{"dr", []pool.Service{natService("10.0.0.100:80", 0, pool.DR, "10.0.0.11")}, nil},
		{"a VIP of this host", []pool.Service{natService("10.0.1.99:80", 0, pool.NAT, "10.0.1.11")}, []string{"eth1"}},
		{"a VIP of nobody", []pool.Service{natService("10.0.1.98:80", 0, pool.NAT, "10.0.1.11")}, nil},
		{"behind a gateway", []pool.Service{natService("10.0.0.100:80", 0, pool.NAT, "10.9.0.11")}, nil},
		{"a mark", []pool.Service{natService("mark", 7, pool.NAT, "10.0.0.11")}, nil},
		{"IPv6", []pool.Service{natService("[fd00::1]:80", 0, pool.NAT, "fd00::11")}, nil},
		{"both", []pool.Service{
			natService("10.0.1.99:80", 0, pool.NAT, "10.0.1.11"), natService("10.0.0.100:80", 0, pool.NAT, "10.0.0.11"),
		}, []string{"eth0", "eth1"}},
	}
	for _, tt := range tests {
		cfg := &config.Config{Routers: routers, Balancer: balancer.Spec{Services: tt.services}}
		if got := oneArmed(cfg, have); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := noRedirects(nil); got != nil {
		t.Errorf("without one arm redirects are switched off: %v", got)
	}
	var keys []string
	for _, s := range noRedirects([]string{"eth0.5"}) {
		keys = append(keys, s.Key+"="+s.Value)
	}
	if want := []string{"net/ipv4/conf/all/send_redirects=0", "net/ipv4/conf/eth0.5/send_redirects=0"}; !slices.Equal(keys, want) {
		t.Errorf("%q", keys)
	}
}
