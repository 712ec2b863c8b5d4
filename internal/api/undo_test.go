package api_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"baton/internal/api"
	"baton/internal/pool"
)

func TestUndoes(t *testing.T) {
	key := func(p pool.Protocol, at string) pool.Key { return pool.KeyOf(p, netip.MustParseAddrPort(at)) }
	s := api.Status{
		Keeps: api.Keeps{EveryMS: 1500},
		Services: []api.Service{
			{Name: "http", Protocol: "tcp", Address: "10.0.0.100:80,10.0.0.100:8000-8010,[2001:db8::1]:80"},
			{Name: "dns", Protocol: "udp", Address: "10.0.0.100:53"},
			{Name: "marked", Protocol: "fwmark", Address: "fwmark 7 inet6"},
		},
	}
	for _, tt := range []struct {
		key  pool.Key
		want string // the services, separated by blanks
	}{
		{key(pool.TCP, "10.0.0.100:80"), "http"},
		{key(pool.TCP, "10.0.0.100:8010"), "http"},
		{key(pool.TCP, "10.0.0.100:8011"), ""},
		{key(pool.TCP, "[2001:db8::1]:80"), "http"},
		{key(pool.UDP, "10.0.0.100:80"), ""},
		{key(pool.UDP, "10.0.0.100:53"), "dns"},
		{pool.Key{FWMark: 7, IPv6: true}, "marked"},
		{pool.Key{FWMark: 7}, ""},
	} {
		got := s.UndoesServices([]pool.Key{tt.key}, false)
		if tt.want == "" && len(got) != 0 || tt.want != "" && !slices.Equal(got, []string{
			"the daemon keeps these services as its configuration says, and puts them back within 1.5s: " + tt.want,
		}) {
			t.Errorf("%v: %q", tt.key, got)
		}
	}
	if got := s.UndoesServices(nil, true); len(got) != 1 || !strings.HasSuffix(got[0], ": http, dns, marked") {
		t.Errorf("all: %q", got)
	}
	if got := append(s.UndoesTimeouts(), s.UndoesSync()...); len(got) != 0 {
		t.Errorf("nothing is configured: %q", got)
	}
	s.Keeps.RemoveForeign, s.Keeps.Timeouts = true, true
	s.Routers = []api.Router{{Name: "web", ConnectionSync: &api.ConnectionSync{Interface: "eth1"}}, {Name: "lan"}}
	if got := s.UndoesServices([]pool.Key{{FWMark: 9}}, false); len(got) != 1 || !strings.Contains(got[0], "foreign: remove") {
		t.Errorf("foreign: %q", got)
	}
	if got := append(s.UndoesTimeouts(), s.UndoesSync()...); len(got) != 2 || !strings.Contains(got[1], "router web on eth1") {
		t.Errorf("timeouts and sync: %q", got)
	}
}
