package apitest

import (
	"net/netip"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/discovery"
	"baton/internal/network"
	"baton/internal/pool"
	"baton/internal/speaker"
	"baton/internal/vrrp"
)

// Now is the time at which [Snapshot] is true.
var Now = time.Date(2026, 1, 31, 4, 5, 6, 0, time.UTC)

func ago(d time.Duration) time.Time { return Now.Add(-d) }

// Snapshot is a night with something of everything: a master and a router in
// fault, a service with a server down and one that lives on its fallback, a
// range of ports, a foreign service, and a reload that failed.
func Snapshot() api.Snapshot {
	return api.Snapshot{
		Node: "lb-a", Version: "1.2.3",
		Config: api.ConfigStatus{
			Path: "/etc/baton/baton.yaml", Hash: "1f2e3d4c5b6a", Loaded: ago(50 * time.Hour),
			LastError: "/etc/baton/baton.yaml:12:5: unknown key \"prioritty\"; did you mean \"priority\"?\n" +
				"/etc/baton/baton.yaml:20:9: 70000 is no port",
			LastErrorAt: ago(3 * time.Minute),
		},
		Routers:  speaker.Status{Routers: []speaker.RouterStatus{web(), lan()}},
		Balancer: services(),
		Sources: []discovery.Status{
			{Service: "http", Kind: "dns", Target: "_web._tcp.example.net SRV", Servers: 2, LastSuccess: ago(12 * time.Second)},
			{
				Service: "http", Kind: "file", Target: "/var/lib/deploy/web.yaml", Servers: 5, Held: 4, LastSuccess: ago(3 * time.Minute),
				Error: `/var/lib/deploy/web.yaml:3:4: unknown key "wieght" in server; did you mean "weight"?`, Failures: 7,
			},
			{Service: "http", Kind: "consul", Target: "http://127.0.0.1:8500 web tag production"},
		},
		Sync: map[string]api.ConnectionSync{
			"web": {Interface: "eth1", ID: 51, Role: "master", Restarts: 1},
		},
	}
}

func web() speaker.RouterStatus {
	return speaker.RouterStatus{
		Spec: speaker.Router{
			Name: "web", Interface: "eth0", ID: 51, Version: 3, Priority: 150, Interval: time.Second, Preempt: true,
			Addresses: []network.Address{
				{Prefix: netip.MustParsePrefix("10.0.0.100/24"), Interface: "eth0"},
				{Prefix: netip.MustParsePrefix("10.0.1.100/24"), Interface: "eth1"},
			},
		},
		Election: vrrp.Status{
			State: vrrp.Master, Since: ago(3*time.Hour + 12*time.Minute), Reason: "nothing heard from master 10.0.0.2 for 3.41s",
			Priority: 150, Owner: netip.MustParseAddr("10.0.0.1"), OwnerPriority: 150,
			LastHeard: ago(3*time.Hour + 13*time.Minute), Interval: time.Second,
		},
		Source: netip.MustParseAddr("10.0.0.1"), Held: true,
		Transitions: map[string]uint64{"backup": 1, "master": 2},
		Sent:        11520, Received: 40, Rejected: map[string]uint64{"ttl": 2},
		Announced: 400, Rivals: 1,
	}
}

func lan() speaker.RouterStatus {
	return speaker.RouterStatus{
		Spec: speaker.Router{
			Name: "lan", Interface: "eth1", ID: 52, Version: 3, Priority: 100, Interval: time.Second,
			Peers:     []netip.Addr{netip.MustParseAddr("10.0.1.2")},
			Addresses: []network.Address{{Prefix: netip.MustParsePrefix("10.0.1.254/24"), Interface: "eth1"}},
		},
		Election: vrrp.Status{
			State: vrrp.Fault, Since: ago(95 * time.Second), Reason: "interface eth1 is down or has no carrier",
			Priority: 100, Interval: time.Second,
		},
		Transitions: map[string]uint64{"backup": 1, "fault": 1},
		Stranger:    "10.0.1.9 uses virtual router id 52 on eth1 for [10.0.1.253], this router has [10.0.1.254]: make the configurations equal, or give one of them another id",
	}
}

func services() balancer.Status {
	tcp := func(s string) pool.Key { return pool.KeyOf(pool.TCP, netip.MustParseAddrPort(s)) }
	return balancer.Status{
		Keeps: balancer.Keeps{Every: time.Second, Timeouts: true},
		Services: []balancer.ServiceStatus{
			{
				Name: "http", Router: "web", Keys: []pool.Key{tcp("10.0.0.100:80")}, Scheduler: "wlc", Forward: pool.NAT,
				Up: true, Quorum: pool.Quorum{Min: 1}, Weight: 3, Since: ago(50 * time.Hour), Reason: "it has the weight that it needs",
				Servers: []balancer.ServerStatus{
					server("10.0.0.11:80", "", balancer.Up, 1, 12, 30, ok()),
					server("10.0.0.12:80", "web2", balancer.Up, 2, 20, 55, ok()),
					server("10.0.0.13:80", "web3", balancer.Down, 2, 0, 4, refused()),
				},
			},
			{
				Name: "media", Keys: []pool.Key{tcp("10.0.0.100:5000"), tcp("10.0.0.100:5001"), tcp("10.0.0.100:5002")},
				Scheduler: "sh", Forward: pool.DR,
				Quorum: pool.Quorum{Min: 1}, Since: ago(7 * time.Minute), Reason: "no live server",
				FallbackActive: true, Fallback: netip.MustParseAddrPort("10.0.0.13:5000"),
				FallbackServer: fallback(),
				Servers: []balancer.ServerStatus{
					direct(server("10.0.0.21:5000", "", balancer.Down, 1, 0, 0, refused())),
					server("10.0.0.22:5000", "", balancer.Checking, 1, 0, 0, nil),
				},
			},
			{
				Name: "marked", Keys: []pool.Key{{FWMark: 7}}, Scheduler: "rr", Forward: pool.NAT,
				Up: true, Quorum: pool.Quorum{Min: 1}, Weight: 1, Since: ago(50 * time.Hour), Reason: "it has the weight that it needs",
				Servers: []balancer.ServerStatus{server("10.0.0.31:25", "", balancer.Up, 1, 0, 0, nil)},
			},
		},
		Foreign: []balancer.ForeignService{{Key: pool.KeyOf(pool.UDP, netip.MustParseAddrPort("10.0.0.99:53")), Scheduler: "rr", Servers: 2}},
		Writes:  map[string]uint64{"new_service": 5, "new_server": 6},
		Drift:   1,
		Checks:  []balancer.CheckCount{{Kind: "http", Code: check.L7OK, Count: 180000}, {Kind: "http", Code: check.L4CON, Count: 60}},
	}
}

func server(address, name string, state balancer.ServerState, weight, active, inactive uint32, c *balancer.CheckStatus) balancer.ServerStatus {
	s := balancer.ServerStatus{
		Name: name, Address: netip.MustParseAddrPort(address), State: state, ConfiguredWeight: weight,
		Forward: pool.NAT, Active: active, Inactive: inactive, Since: ago(50 * time.Hour), Reason: "its checks pass",
		Stats: balancer.Stats{Connections: 100, InPackets: 1000, OutPackets: 900, InBytes: 50000, OutBytes: 900000},
	}
	switch state {
	case balancer.Up:
		s.Weight, s.KernelWeight, s.InKernel = weight, weight, true
	case balancer.Down:
		s.Since, s.Reason = ago(2*time.Minute), "a check fails: "+refused().Last.Detail
	case balancer.Checking:
		s.Since, s.Reason = ago(7*time.Minute), "waiting for the first result of its checks"
	}
	if c != nil {
		c.Job.Spec.Target = s.Address
		s.Checks = []balancer.CheckStatus{*c}
	}
	return s
}

// Moody is a service with an agent, a slow start, a backup and a panic.
func Moody() balancer.ServiceStatus {
	s := balancer.ServiceStatus{
		Name: "moody", Keys: []pool.Key{pool.KeyOf(pool.TCP, netip.MustParseAddrPort("10.0.0.100:81"))}, Scheduler: "wlc", Forward: pool.NAT, Factor: 100,
		Up: true, Quorum: pool.Quorum{Min: 2}, Weight: 3, Since: ago(time.Hour), Panic: true, PanicThreshold: 80, BackupsServe: true,
		SlowStart: time.Minute, Reason: "live weight 3 of a quorum of 2; only 2 of 3 servers are up, fewer than 80 % (panic_threshold)",
		Servers: []balancer.ServerStatus{
			server("10.0.0.41:81", "", balancer.Up, 1, 5, 5, ok()),
			server("10.0.0.42:81", "", balancer.Up, 2, 0, 0, ok()),
			server("10.0.0.43:81", "", balancer.Down, 1, 5, 5, refused()),
			server("10.0.0.44:81", "", balancer.Up, 1, 5, 5, ok()),
		},
	}
	agent := ok()
	agent.Job.Spec = check.Spec{Target: netip.MustParseAddrPort("10.0.0.41:8078"), Agent: &check.Agent{}}
	agent.Last.Detail = "the agent at 10.0.0.41:8078 says: ready 50%"
	s.Servers[0].KernelWeight = 50
	s.Servers[0].Agent = &balancer.AgentStatus{CheckStatus: *agent, Says: check.Word{Weighs: true, Percent: 50, Mode: "ready"}}
	s.Servers[1].Weight, s.Servers[1].KernelWeight, s.Servers[1].Ramp, s.Servers[1].RampUntil = 1, 10, 5, ago(-57*time.Second)
	s.Servers[2].Kept, s.Servers[2].InKernel, s.Servers[2].Weight, s.Servers[2].KernelWeight = true, true, 1, 100
	s.Servers[3].Backup, s.Servers[3].KernelWeight = true, 100
	return s
}

// direct has a server answer its clients itself.
func direct(s balancer.ServerStatus) balancer.ServerStatus {
	s.Forward, s.Stats.OutPackets, s.Stats.OutBytes = pool.DR, 0, 0
	return s
}

func fallback() *balancer.ServerStatus {
	f := direct(server("10.0.0.13:5000", "sorry", balancer.Up, 1, 3, 0, nil))
	f.Since = ago(7 * time.Minute)
	return &f
}

func ok() *balancer.CheckStatus {
	return &balancer.CheckStatus{
		ID: "a", Job: job(), Known: true, Up: true, Successes: 900,
		Last: check.Result{Code: check.L7OK, Detail: "HTTP status 200", At: ago(1200 * time.Millisecond), Took: 1234567 * time.Nanosecond},
	}
}

func refused() *balancer.CheckStatus {
	return &balancer.CheckStatus{
		ID: "b", Job: job(), Known: true, Failures: 60,
		Last: check.Result{Code: check.L4CON, Detail: "connection refused", At: ago(1500 * time.Millisecond), Took: 300 * time.Microsecond},
	}
}

// job is a check; [server] gives it its target.
func job() *check.Job {
	return &check.Job{Spec: check.Spec{HTTP: &check.HTTP{}}, Schedule: check.Schedule{Interval: 2 * time.Second, Rise: 2, Fall: 3}}
}
