package balancer

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

var noon = time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)

func upServer(edit func(*ServerStatus)) ServerStatus {
	s := ServerStatus{
		Address: netip.MustParseAddrPort("10.0.0.1:80"), State: Up, InKernel: true, Weight: 1, ConfiguredWeight: 1,
		Active: 3, Inactive: 2, Since: noon, Reason: "its check passes: HTTP status 200",
		Stats: Stats{Connections: 9, InPackets: 90, OutPackets: 80},
		Checks: []CheckStatus{{
			Job: &check.Job{
				Spec:     check.Spec{Target: netip.MustParseAddrPort("10.0.0.1:80"), HTTP: &check.HTTP{}},
				Schedule: check.Schedule{Interval: 2 * time.Second, FastInterval: time.Second, Rise: 2, Fall: 3},
			},
			Known: true, Up: true, Successes: 7,
			Last: check.Result{Code: check.L7OK, Detail: "HTTP status 200", At: noon, Took: 1234567},
		}},
	}
	edit(&s)
	return s
}

func webStatus(servers ...ServerStatus) ServiceStatus {
	return ServiceStatus{
		Name: "web", Keys: []pool.Key{key("10.0.0.100:80")}, Up: true, Quorum: pool.Quorum{Min: 1}, Weight: 1,
		Since: noon, Reason: "live weight 1 of a quorum of 1", Servers: servers,
	}
}

func TestExplainServer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		edit    func(*ServerStatus)
		service func(*ServiceStatus)
		want    string
	}{
		{name: "up", edit: func(*ServerStatus) {}, want: `Server 10.0.0.1:80 of service web is up since 2026-11-05 12:00:00: its check passes: HTTP status 200.
It is in the kernel's table with weight 1 and has 3 active and 2 inactive connections.
The http check of 10.0.0.1:80 said at 2026-11-05 12:00:00: HTTP status 200 (L7OK, 1.2ms). It makes the server go down after 3 failures in a row, which takes 2s to 4s.`},
		{
			name: "failing", edit: func(s *ServerStatus) { s.Checks[0].Successes, s.Checks[0].Failures = 0, 2 },
			want: "It makes the server go down after 1 more failure in a row, which takes 0s to 2s.",
		},
		{name: "down", edit: func(s *ServerStatus) {
			s.State, s.InKernel, s.Weight, s.Reason = Down, false, 0, "its check is failing: HTTP status 503, expected 200-299"
			s.Checks[0].Up, s.Checks[0].Successes, s.Checks[0].Failures = false, 0, 5
		}, want: "It is not in the kernel's table and gets no clients.\n"},
		{name: "down, and what it takes", edit: func(s *ServerStatus) {
			s.State, s.Checks[0].Up, s.Checks[0].Successes, s.Checks[0].Job.Schedule.FastInterval = Down, false, 0, 0
		}, want: "It lets the server come up after 2 successes in a row, which takes 2s to 4s."},
		{
			name: "rising", edit: func(s *ServerStatus) { s.State, s.Checks[0].Up, s.Checks[0].Successes = Down, false, 1 },
			want: "after 1 more success in a row",
		},
		{
			name: "checking", edit: func(s *ServerStatus) { s.State, s.Checks[0].Known = Checking, false },
			want: "has no result yet; the first one decides.",
		},
		{
			name: "adopted", edit: func(s *ServerStatus) { s.Checks[0].Known = false },
			want: "has no result yet; the server serves until it fails.",
		},
		{
			name: "weight 0", edit: func(s *ServerStatus) { s.Weight, s.ConfiguredWeight = 0, 0 },
			want: "It is configured with weight 0 and gets no new clients; it has 3 active",
		},
		{
			name: "quiesced", edit: func(s *ServerStatus) { s.Weight = 0 },
			want: "It is in the kernel's table with weight 0 and gets no new clients",
		},
		{
			name: "the fallback serves", edit: func(s *ServerStatus) { s.InKernel = false },
			service: func(s *ServiceStatus) { s.FallbackActive = true }, want: "lost its quorum and the fallback serves alone",
		},
		{
			name: "refused by the kernel", edit: func(s *ServerStatus) { s.InKernel = false },
			service: func(s *ServiceStatus) { s.Problem = "no scheduler xyz" }, want: "as wanted: no scheduler xyz",
		},

		{
			name: "NAT without answers", edit: func(s *ServerStatus) { s.Stats.OutPackets = 0 },
			want: "Hint: it got 90 packets and sent none back through this director: its default gateway is probably not this director. Make this director, or a VIP of the pair, its gateway, or set source_nat: true, with which it sees this director instead of the client.",
		},
		{
			name: "source NAT without answers", edit: func(s *ServerStatus) { s.Stats.OutPackets = 0 },
			service: func(s *ServiceStatus) { s.SourceNAT = true }, want: "they are addressed to this director itself (source_nat)",
		},
		{name: "DR without the VIP", edit: func(s *ServerStatus) {
			s.Forward, s.Active, s.Stats = pool.DR, 0, Stats{Connections: 9, InPackets: 20}
		}, want: "Hint: its connections stay half-open: the VIP is probably missing on its lo"},
		{name: "TUN without the VIP", edit: func(s *ServerStatus) {
			s.Forward, s.Active, s.Stats = pool.TUN, 0, Stats{Connections: 9, InPackets: 20}
		}, want: "the VIP is probably missing on its tunnel device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := upServer(tt.edit)
			service := webStatus(srv)
			if tt.service != nil {
				tt.service(&service)
			}
			if got := strings.Join(srv.Explain(service, noPast), "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("explained as\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// Nothing is suspected without reason.
func TestNoHint(t *testing.T) {
	udp := func(s *ServiceStatus) { s.Keys[0].Protocol = pool.UDP }
	for _, tt := range []struct {
		name    string
		edit    func(*ServerStatus)
		service func(*ServiceStatus)
	}{
		{name: "all is well", edit: func(*ServerStatus) {}},
		{name: "hardly any traffic", edit: func(s *ServerStatus) { s.Stats = Stats{Connections: 2, InPackets: 5} }},
		{name: "datagrams that nobody answers", service: udp, edit: func(s *ServerStatus) { s.Stats.OutPackets = 0 }},
		{name: "DR with traffic", edit: func(s *ServerStatus) { s.Forward, s.Stats.OutPackets = pool.DR, 0 }},
		{name: "DR after the traffic", edit: func(s *ServerStatus) {
			s.Forward, s.Active, s.Inactive, s.Stats = pool.DR, 0, 9, Stats{Connections: 9, InPackets: 60}
		}},
		{name: "DR with datagrams", service: udp, edit: func(s *ServerStatus) {
			s.Forward, s.Active, s.Stats = pool.DR, 0, Stats{Connections: 9, InPackets: 9}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := upServer(tt.edit)
			service := webStatus(srv)
			if tt.service != nil {
				tt.service(&service)
			}
			if got := srv.hints(service); len(got) != 0 {
				t.Errorf("hints %q", got)
			}
		})
	}
}

func TestExplainService(t *testing.T) {
	down := upServer(func(s *ServerStatus) { s.State, s.Stats.OutPackets = Down, 0 })
	for _, tt := range []struct {
		name string
		edit func(*ServiceStatus)
		want string
	}{
		{"lacking", func(s *ServiceStatus) {
			s.Servers, s.Lacking = s.Servers[:1], "the helper is not loaded: modprobe ip_vs_ftp"
		}, `Service web is up since 2026-11-05 12:00:00: live weight 1 of a quorum of 1.
The kernel misses something that it needs: the helper is not loaded: modprobe ip_vs_ftp
Of its 1 server 1 is up.
It goes down when the weights of its live servers are less than 1; now they are 1.`},
		{"up", func(s *ServiceStatus) { s.Servers = s.Servers[:1] }, `Service web is up since 2026-11-05 12:00:00: live weight 1 of a quorum of 1.
Of its 1 server 1 is up.
It goes down when the weights of its live servers are less than 1; now they are 1.`},
		{"down", func(s *ServiceStatus) {
			s.Up, s.Weight, s.Quorum, s.Problem = false, 0, pool.Quorum{Min: 3, Hysteresis: 1}, "no scheduler xyz"
		}, `Service web is down since 2026-11-05 12:00:00: live weight 1 of a quorum of 1.
The kernel does not have it as wanted: no scheduler xyz
Of its 2 servers 1 is up, 1 is down.
Its clients get no answer, for nobody serves.
It comes up when the weights of its live servers add up to 4; now they are 0.
Server 10.0.0.1:80: it got 90 packets and sent none back through this director: its default gateway is probably not this director. Make this director, or a VIP of the pair, its gateway, or set source_nat: true, with which it sees this director instead of the client.`},
		{"source NAT", func(s *ServiceStatus) { s.Servers, s.SourceNAT = s.Servers[:1], true }, `Service web is up since 2026-11-05 12:00:00: live weight 1 of a quorum of 1.
Its servers see this director's address instead of the client's (source_nat).
Of its 1 server 1 is up.
It goes down when the weights of its live servers are less than 1; now they are 1.`},
		{"fallback", func(s *ServiceStatus) {
			s.Up, s.FallbackActive, s.Fallback = false, true, netip.MustParseAddrPort("10.0.0.9:80")
		}, `Service web is down since 2026-11-05 12:00:00: live weight 1 of a quorum of 1.
Of its 2 servers 1 is up, 1 is down.
Its clients get the fallback 10.0.0.9:80.
It comes up when the weights of its live servers add up to 1; now they are 1.
Server 10.0.0.1:80: it got 90 packets and sent none back through this director: its default gateway is probably not this director. Make this director, or a VIP of the pair, its gateway, or set source_nat: true, with which it sees this director instead of the client.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := webStatus(upServer(func(*ServerStatus) {}), down)
			tt.edit(&s)
			if got := strings.Join(s.Explain(), "\n"); got != tt.want {
				t.Errorf("explained as\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
