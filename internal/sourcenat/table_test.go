package sourcenat

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"baton/internal/pool"
	"baton/test/lab"
)

// stage is a host with a table of somebody else in it.
type stage struct {
	*testing.T
	host  *lab.Host
	table *Table
	state State
}

const foreign = `table inet filter {
	set tcp4 {
		type ipv4_addr . inet_service
		elements = { 10.0.0.100 . 80 }
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "eth9" masquerade
	}
}
table ip baton {
	chain postrouting {
	}
}
`

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{T: t, host: lab.New(t).Host("lb"), state: everything()}
	var err error
	if s.table, err = New(); err != nil {
		t.Fatal(err)
	}
	s.nft(foreign)
	return s
}

// nft runs nft with a script.
func (s *stage) nft(script string) string {
	s.Helper()
	out, err := s.host.Run(context.Background(), "nft", script)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// apply applies the state and holds the answer against what the kernel counts.
func (s *stage) apply(changes bool) {
	s.Helper()
	err := s.host.Do(func() error {
		before, err := s.table.conn.GetGen()
		if err != nil {
			return err
		}
		changed, err := s.table.Apply(s.state)
		if err != nil {
			return err
		}
		after, err := s.table.conn.GetGen()
		if err != nil {
			return err
		}
		if changed != changes || (after.ID > before.ID) != changes {
			return fmt.Errorf("changed %v, want %v; generation %d, then %d", changed, changes, before.ID, after.ID)
		}
		return nil
	})
	if err != nil {
		s.Error(err)
	}
}

// others lists all tables but ours.
func (s *stage) others() string {
	return s.nft("list table inet filter") + s.nft("list table ip baton")
}

func everything() State {
	key := func(p pool.Protocol, at string) pool.Key { return pool.KeyOf(p, netip.MustParseAddrPort(at)) }
	return State{
		Keys: []pool.Key{
			key(pool.TCP, "10.0.0.100:5000"), key(pool.TCP, "10.0.0.100:5001"), key(pool.UDP, "10.0.0.100:53"),
			key(pool.SCTP, "10.0.0.100:36412"), key(pool.TCP, "[fd00:a::100]:80"), key(pool.UDP, "[fd00:a::100]:53"),
			key(pool.TCP, "10.0.0.101:0"), key(pool.UDP, "[fd00:a::101]:0"),
			{FWMark: 7},
			{FWMark: 8, IPv6: true},
		},
		Others: []pool.Key{
			key(pool.TCP, "10.0.0.101:443"), key(pool.TCP, "10.0.0.100:443"), key(pool.UDP, "10.0.0.101:53"),
			key(pool.UDP, "[fd00:a::101]:5353"),
			{FWMark: 9},
			{FWMark: 10, IPv6: true},
		},
		Servers: []netip.Addr{
			netip.MustParseAddr("10.0.1.12"), netip.MustParseAddr("10.0.1.11"), netip.MustParseAddr("10.0.1.12"),
			netip.MustParseAddr("fd00:b::11"),
		},
	}
}

// The table as nft shows it, and reads it back.
const listed = `table inet baton {
	set servers4 {
		type ipv4_addr
		elements = { 10.0.1.11, 10.0.1.12 }
	}

	set other_marks4 {
		type mark
		elements = { 0x00000009 }
	}

	set marks4 {
		type mark
		elements = { 0x00000007 }
	}

	set other_tcp4 {
		type ipv4_addr . inet_service
		elements = { 10.0.0.101 . 443 }
	}

	set tcp4 {
		type ipv4_addr . inet_service
		elements = { 10.0.0.100 . 5000,
			     10.0.0.100 . 5001 }
	}

	set all_tcp4 {
		type ipv4_addr
		elements = { 10.0.0.101 }
	}

	set udp4 {
		type ipv4_addr . inet_service
		elements = { 10.0.0.100 . 53 }
	}

	set sctp4 {
		type ipv4_addr . inet_service
		elements = { 10.0.0.100 . 36412 }
	}

	set servers6 {
		type ipv6_addr
		elements = { fd00:b::11 }
	}

	set other_marks6 {
		type mark
		elements = { 0x0000000a }
	}

	set marks6 {
		type mark
		elements = { 0x00000008 }
	}

	set tcp6 {
		type ipv6_addr . inet_service
		elements = { fd00:a::100 . 80 }
	}

	set other_udp6 {
		type ipv6_addr . inet_service
		elements = { fd00:a::101 . 5353 }
	}

	set udp6 {
		type ipv6_addr . inet_service
		elements = { fd00:a::100 . 53 }
	}

	set all_udp6 {
		type ipv6_addr
		elements = { fd00:a::101 }
	}

	chain services4 {
		meta mark @other_marks4 return comment "services without source_nat"
		ct original ip daddr != @servers4 meta mark @marks4 counter packets 0 bytes 0 masquerade
		meta l4proto tcp ct original ip daddr . ct original proto-dst @other_tcp4 return comment "services without source_nat"
		meta l4proto tcp ct original ip daddr . ct original proto-dst @tcp4 counter packets 0 bytes 0 masquerade
		meta l4proto tcp ct original ip daddr @all_tcp4 counter packets 0 bytes 0 masquerade
		meta l4proto udp ct original ip daddr . ct original proto-dst @udp4 counter packets 0 bytes 0 masquerade
		meta l4proto sctp ct original ip daddr . ct original proto-dst @sctp4 counter packets 0 bytes 0 masquerade
	}

	chain services6 {
		meta mark @other_marks6 return comment "services without source_nat"
		ct original ip6 daddr != @servers6 meta mark @marks6 counter packets 0 bytes 0 masquerade
		meta l4proto tcp ct original ip6 daddr . ct original proto-dst @tcp6 counter packets 0 bytes 0 masquerade
		meta l4proto udp ct original ip6 daddr . ct original proto-dst @other_udp6 return comment "services without source_nat"
		meta l4proto udp ct original ip6 daddr . ct original proto-dst @udp6 counter packets 0 bytes 0 masquerade
		meta l4proto udp ct original ip6 daddr @all_udp6 counter packets 0 bytes 0 masquerade
	}

	chain postrouting {
		type nat hook postrouting priority srcnat - 10; policy accept;
		ip daddr @servers4 goto services4
		ip6 daddr @servers6 goto services6
	}
}
`

func TestTable(t *testing.T) {
	s := newStage(t)
	others := s.others()
	nothing := s.state
	s.state = State{}
	s.apply(false) // nothing wanted, nothing there
	s.state = nothing

	s.apply(true)
	if diff := cmp.Diff(listed, s.nft("list table inet baton")); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
	s.apply(false) // by comparison
	s.apply(false) // by the generation
	s.nft("add table inet another")
	s.apply(false) // somebody else's change

	for _, harm := range []string{
		"flush ruleset; " + others,
		"delete table inet baton",
		"flush set inet baton tcp4",
		"add element inet baton servers4 { 10.9.9.9 }",
		"delete element inet baton marks6 { 8 }",
		"flush chain inet baton services4",
		"insert rule inet baton services6 return",
		"insert rule inet baton services4 numgen random mod 2 0 drop",
		"add rule inet baton postrouting masquerade",
		"add set inet baton more { type ipv4_addr; flags interval; }",
		"add set inet baton more { type ipv4_addr; }",
		"add map inet baton more { type ipv4_addr : verdict; }",
		"add chain inet baton more",
		"add chain inet baton more { type filter hook input priority 0; }",
		"add table inet baton { flags dormant; }",
		"delete table inet baton; add table inet baton { chain postrouting { type nat hook postrouting priority 100; } ; }",
	} {
		s.nft(harm)
		s.apply(true)
		if diff := cmp.Diff(listed, s.nft("list table inet baton")); diff != "" {
			t.Errorf("repaired after %q (-want +got):\n%s", harm, diff)
		}
		s.apply(false)
	}
	if got := s.others(); got != others {
		t.Errorf("tables of others were\n%s\nand are\n%s", others, got)
	}

	// What nft lists, nft reads: operators keep rulesets so.
	s.nft("delete table inet baton; " + listed)
	s.apply(false)

	s.state = State{}
	s.apply(true)
	if list := s.nft("list tables"); strings.Contains(list, "inet baton") {
		t.Errorf("the table is still there: %s", list)
	}
	s.apply(false)
	if got := s.others(); got != others {
		t.Errorf("tables of others were\n%s\nand are\n%s", others, got)
	}
}

// The largest service that the configuration allows, and a second handle, as after
// a restart.
func TestLargeTable(t *testing.T) {
	s := newStage(t)
	s.state = State{}
	for port := range 4096 {
		for _, vip := range []string{"10.0.0.100", "fd00:a::100"} {
			s.state.Keys = append(s.state.Keys, pool.KeyOf(pool.TCP, netip.AddrPortFrom(netip.MustParseAddr(vip), uint16(10000+port))))
		}
		s.state.Servers = append(s.state.Servers, netip.AddrFrom4([4]byte{10, 1, byte(port >> 8), byte(port)}))
	}
	s.state.Servers = append(s.state.Servers, netip.MustParseAddr("fd00:b::11"))
	s.apply(true)
	s.apply(false)
	var err error
	if s.table, err = New(); err != nil {
		t.Fatal(err)
	}
	s.apply(false)
	s.state.Keys = s.state.Keys[1:]
	s.apply(true)
}

// A family without servers, or without services, has no part in the table.
func TestEmptyFamilies(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.1.11"), netip.MustParseAddr("fd00:b::11")
	web := pool.KeyOf(pool.TCP, netip.MustParseAddrPort("10.0.0.100:80"))
	for _, tt := range []struct {
		state  State
		chains int
	}{
		{State{}, 0},
		{State{Keys: []pool.Key{web}}, 0},
		{State{Servers: []netip.Addr{v4}}, 0},
		{State{Keys: []pool.Key{web}, Servers: []netip.Addr{v4, v6}}, 2},
		{State{Keys: []pool.Key{web, {FWMark: 7, IPv6: true}}, Servers: []netip.Addr{v4, v6}}, 3},
		{State{Keys: []pool.Key{{FWMark: 7, IPv6: true}}, Servers: []netip.Addr{v4, v6}}, 2},
	} {
		if got := len(rulesetOf(tt.state).chains); got != tt.chains {
			t.Errorf("%+v: %d chains, want %d", tt.state, got, tt.chains)
		}
	}
}

func TestStateOf(t *testing.T) {
	key := pool.Key{FWMark: 7}
	server := func(last byte, f pool.Forward) pool.Server {
		return pool.Server{Address: netip.AddrFrom4([4]byte{10, 0, 1, last}), Forward: f}
	}
	sorry := server(99, pool.NAT)
	services := []pool.Service{
		{Keys: []pool.Key{{FWMark: 1}}, Servers: []pool.Server{server(1, pool.NAT)}},
		{Keys: []pool.Key{key}, SourceNAT: true, Fallback: &sorry, Servers: []pool.Server{server(2, pool.NAT), server(3, pool.DR)}},
	}
	want := State{Keys: []pool.Key{key}, Others: []pool.Key{{FWMark: 1}}, Servers: []netip.Addr{server(2, 0).Address, sorry.Address}}
	if got := StateOf(services); !got.equal(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := StateOf(services[:1]); !got.Empty() || !got.equal(State{}) {
		t.Errorf("without source NAT: %+v", got)
	}
	if len(services[1].Servers) != 2 {
		t.Error("the services were changed")
	}
}
