package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"baton/internal/api"
	"baton/internal/api/apitest"
	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/pool"
	"baton/internal/speaker"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC // times are shown in the reader's zone
	os.Exit(m.Run())
}

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test ./internal/api -update writes it anew); got:\n%s", path, got)
	}
}

func TestStatusGolden(t *testing.T) {
	doc := api.FromSnapshot(apitest.Snapshot(), apitest.Now)
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "status.json", append(b, '\n'))
	// What was encoded is what is decoded: the client sees all that the server has.
	var back api.Status
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, doc) {
		t.Errorf("decoded:\n%+v\nwant:\n%+v", back, doc)
	}
}

// TestStatusContract holds the names and values of the contract's example.
func TestStatusContract(t *testing.T) {
	b, err := json.Marshal(api.FromSnapshot(apitest.Snapshot(), apitest.Now))
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"node": "lb-a", "version": "1.2.3", "config.path": "/etc/baton/baton.yaml", "config.hash": "1f2e3d4c5b6a",
		"config.loaded":  "2026-01-29T02:05:06Z",
		"routers.0.name": "web", "routers.0.id": 51.0, "routers.0.interface": "eth0", "routers.0.state": "master",
		"routers.0.priority": 150.0, "routers.0.effective_priority": 150.0, "routers.0.owner": "10.0.0.1",
		"routers.0.addresses.0": "10.0.0.100/24", "routers.0.since": "2026-01-31T00:53:06Z",
		"routers.0.reason": "nothing heard from master 10.0.0.2 for 3.41s", "routers.0.transitions": 3.0,
		"services.0.name": "http", "services.0.address": "10.0.0.100:80", "services.0.protocol": "tcp",
		"services.0.scheduler": "wlc", "services.0.forward": "nat", "services.0.up": true,
		"services.0.quorum.min": 1.0, "services.0.quorum.weight": 3.0, "services.0.fallback_active": false,
		"services.0.servers.0.address": "10.0.0.11:80", "services.0.servers.0.state": "up",
		"services.0.servers.0.weight": 1.0, "services.0.servers.0.configured_weight": 1.0,
		"services.0.servers.0.active": 12.0, "services.0.servers.0.inactive": 30.0,
		"services.0.servers.0.check.code": "L7OK", "services.0.servers.0.check.detail": "HTTP status 200",
		"services.0.servers.0.check.at": "2026-01-31T04:05:04.8Z", "services.0.servers.0.check.took_ms": 1.235,
		"services.0.servers.0.since": "2026-01-29T02:05:06Z", "services.0.servers.0.reason": "its checks pass",
		"services.1.address": "10.0.0.100:5000-5002", "services.2.address": "fwmark 7", "services.2.protocol": "fwmark",
	} {
		if at := lookup(got, path); at != want {
			t.Errorf("%s is %v, want %v", path, at, want)
		}
	}
}

// lookup finds a value in decoded JSON.
func lookup(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i := int(name[0] - '0')
			if i >= len(x) {
				return nil
			}
			v = x[i]
		}
	}
	return v
}

func TestNothingIsNull(t *testing.T) {
	b, err := json.Marshal(api.FromSnapshot(api.Snapshot{
		Routers:  speaker.Status{Routers: []speaker.RouterStatus{{}}},
		Balancer: balancer.Status{Services: []balancer.ServiceStatus{{}}},
	}, apitest.Now))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "null") {
		t.Errorf("lists must be empty, not null: %s", b)
	}
}

func TestAddressOfService(t *testing.T) {
	key := func(s string) pool.Key { return pool.KeyOf(pool.TCP, netip.MustParseAddrPort(s)) }
	for want, keys := range map[string][]pool.Key{
		"":                                 nil,
		"10.0.0.1:80":                      {key("10.0.0.1:80")},
		"10.0.0.1:80-82":                   {key("10.0.0.1:80"), key("10.0.0.1:81"), key("10.0.0.1:82")},
		"10.0.0.1:80,10.0.0.2:81":          {key("10.0.0.1:80"), key("10.0.0.2:81")},
		"[2001:db8::1]:80-81,10.0.0.1:443": {key("[2001:db8::1]:80"), key("[2001:db8::1]:81"), key("10.0.0.1:443")},
		"10.0.0.1:0":                       {key("10.0.0.1:0")},
		"fwmark 7,fwmark 7 inet6":          {{FWMark: 7}, {FWMark: 7, IPv6: true}},
		"10.0.0.1:80,10.0.0.1:82-83":       {key("10.0.0.1:80"), key("10.0.0.1:82"), key("10.0.0.1:83")},
	} {
		s := api.FromSnapshot(api.Snapshot{Balancer: balancer.Status{Services: []balancer.ServiceStatus{{Keys: keys}}}}, apitest.Now)
		if got := s.Services[0].Address; got != want {
			t.Errorf("%v is shown as %q, want %q", keys, got, want)
		}
	}
}

func TestDecisiveCheck(t *testing.T) {
	at := func(kind string, known, up bool, failures, second int) balancer.CheckStatus {
		return balancer.CheckStatus{
			Job: &check.Job{Spec: check.Spec{Talk: &check.Talk{Protocol: kind}}}, Known: known, Up: up, Failures: failures,
			Last: check.Result{At: apitest.Now.Add(time.Duration(second) * time.Second)},
		}
	}
	for _, tt := range []struct {
		name   string
		checks []balancer.CheckStatus
		want   string
	}{
		{"none", nil, ""},
		{"without a result", []balancer.CheckStatus{at("a", false, false, 0, 0)}, ""},
		{"the latest", []balancer.CheckStatus{at("a", true, true, 0, 2), at("b", true, true, 0, 1)}, "a"},
		{"the one that holds it down", []balancer.CheckStatus{at("a", true, true, 2, 9), at("b", true, false, 5, 1)}, "b"},
		{"the one that begins to fail", []balancer.CheckStatus{at("a", true, true, 0, 9), at("b", true, true, 1, 1)}, "b"},
	} {
		s := api.FromSnapshot(api.Snapshot{Balancer: balancer.Status{Services: []balancer.ServiceStatus{
			{Servers: []balancer.ServerStatus{{Checks: tt.checks}}},
		}}}, apitest.Now)
		got := ""
		if c := s.Services[0].Servers[0].Check; c != nil {
			got = c.Kind
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestProblems(t *testing.T) {
	quiet := func(s *api.Snapshot) {
		s.Config.LastError = ""
		s.Routers.Routers = s.Routers.Routers[:1]
		s.Balancer.Services = s.Balancer.Services[2:]
		s.Sources = nil
	}
	for _, tt := range []struct {
		name   string
		change func(*api.Snapshot)
		want   []string
	}{
		{"all is well", quiet, []string{}},
		{"everything at once", func(s *api.Snapshot) {
			s.Problems = []string{"pulse has not reported for 9s"}
			s.Balancer.Problem = "the kernel has no ip_vs: modprobe ip_vs"
		}, []string{
			"pulse has not reported for 9s",
			`configuration: the last reload failed, so the one loaded before is still in force: /etc/baton/baton.yaml:12:5: unknown key "prioritty"; did you mean "priority"? (and 1 more; see "baton check -c /etc/baton/baton.yaml")`,
			"kernel table: the kernel has no ip_vs: modprobe ip_vs",
			"router lan: fault: interface eth1 is down or has no carrier",
			"service media: down, the fallback 10.0.0.13:5000 serves: no live server",
			"router lan: 10.0.1.9 uses virtual router id 52 on eth1 for [10.0.1.253], this router has [10.0.1.254]: make the configurations equal, or give one of them another id",
			"service http: 1 of 3 servers is down",
			`service http: file /var/lib/deploy/web.yaml fails, its 5 servers are kept: /var/lib/deploy/web.yaml:3:4: unknown key "wieght" in server; did you mean "weight"?`,
		}},
		{"a router", func(s *api.Snapshot) {
			quiet(s)
			r := &s.Routers.Routers[0]
			r.Election.Resigned, r.Problem = true, "adverts cannot be sent: no buffer space available"
		}, []string{
			"router web: adverts cannot be sent: no buffer space available",
			`router web: stands back after a failover; "baton resume web" lets it take part again`,
		}},
		{"a master without its addresses", func(s *api.Snapshot) {
			quiet(s)
			s.Routers.Routers[0].Held = false
		}, []string{"router web: is master, but its addresses are not on the interface yet"}},
		{"a service", func(s *api.Snapshot) {
			quiet(s)
			svc := &s.Balancer.Services[0]
			svc.Up, svc.Reason, svc.Problem = false, "no live server", "the kernel does not know scheduler mh: modprobe ip_vs_mh"
		}, []string{
			"service marked: the kernel does not know scheduler mh: modprobe ip_vs_mh",
			"service marked: down: no live server",
		}},
	} {
		s := apitest.Snapshot()
		tt.change(&s)
		if got := api.FromSnapshot(s, apitest.Now).Problems; !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n%q\nwant\n%q", tt.name, got, tt.want)
		}
	}
}

func TestStatusText(t *testing.T) {
	doc := api.FromSnapshot(apitest.Snapshot(), apitest.Now)
	golden(t, "status.txt", []byte(doc.Text(false)))
	golden(t, "status-color.txt", []byte(doc.Text(true)))
	empty := api.FromSnapshot(api.Snapshot{Node: "lb-a", Version: "1.2.3"}, apitest.Now)
	golden(t, "status-empty.txt", []byte(empty.Text(false)))
}

func TestEventText(t *testing.T) {
	for want, e := range map[string]api.Event{
		"2026-01-31 04:05:06.000  router web: backup → master: no master heard for 3.6s": {
			At: apitest.Now, Kind: api.KindRouter, Name: "web", From: "backup", To: "master", Reason: "no master heard for 3.6s",
		},
		"2026-01-31 04:05:06.000  server 10.0.0.11:80 of http: up → down: connection refused": {
			At: apitest.Now, Kind: api.KindServer, Name: "http", Server: "10.0.0.11:80", From: "up", To: "down", Reason: "connection refused",
		},
		"2026-01-31 04:05:06.000  process director: running": {
			At: apitest.Now, Kind: api.KindProcess, Name: "director", To: "running",
		},
	} {
		if got := e.Text(false); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}

// A service of which little is as on ordinary days.
func TestMoodyService(t *testing.T) {
	s := apitest.Snapshot()
	s.Routers.Routers, s.Balancer.Services, s.Balancer.Foreign = nil, []balancer.ServiceStatus{apitest.Moody()}, nil
	doc := api.FromSnapshot(s, apitest.Now)
	b, err := json.MarshalIndent(doc.Services, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "moody.json", append(b, '\n'))
	golden(t, "moody.txt", []byte(doc.Text(false)))
}
