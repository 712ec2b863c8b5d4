package metrics

import (
	"bytes"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"

	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/discovery"
	"baton/internal/ipvs"
	"baton/internal/pool"
	"baton/internal/speaker"
	"baton/internal/vrrp"
)

var update = flag.Bool("update", false, "write the golden file anew")

var now = time.Date(2026, 1, 31, 4, 5, 6, 0, time.UTC)

// snapshot has at least one sample of every family.
func snapshot() Snapshot {
	web := speaker.RouterStatus{
		Spec:        speaker.Router{Name: "web"},
		Election:    vrrp.Status{State: vrrp.Master, Priority: 150, LastHeard: now.Add(-1500 * time.Millisecond)},
		Held:        true,
		Transitions: map[string]uint64{"backup": 1, "master": 2},
		Sent:        11520, Received: 40, Rejected: map[string]uint64{"ttl": 2, "checksum": 1}, Announced: 400, Rivals: 1, Conflicts: 2,
		Authenticated: "hmac", ClockSkew: -20 * time.Millisecond,
		Tracks: []speaker.TrackState{
			{Name: "interface eth1", Known: true, Up: true},
			{Name: "script /uplink.sh", Known: true, Weight: -60},
			{Name: "ping 10.0.0.254"},
		},
	}
	for _, late := range []time.Duration{50 * time.Microsecond, 80 * time.Microsecond, 3 * time.Millisecond, 2 * time.Second} {
		web.Lateness.Observe(late)
	}
	lan := speaker.RouterStatus{
		Spec:     speaker.Router{Name: "lan"},
		Election: vrrp.Status{State: vrrp.Fault, Priority: 1, Resigned: true},
		Problem:  "interface eth1 is down",
	}
	at := netip.MustParseAddrPort
	fallback := balancer.ServerStatus{Address: at("10.0.0.13:80"), State: balancer.Up}
	return Snapshot{
		Routers: speaker.Status{Routers: []speaker.RouterStatus{web, lan}},
		Balancer: balancer.Status{
			Services: []balancer.ServiceStatus{{
				Name: "http", Up: true, Panic: true, Factor: 100, Weight: 3, Quorum: pool.Quorum{Min: 2}, FallbackServer: &fallback,
				Servers: []balancer.ServerStatus{
					{
						Address: at("10.0.0.11:80"), State: balancer.Up, Weight: 3, KernelWeight: 250, Active: 12, Inactive: 30,
						Stats: balancer.Stats{Connections: 100, InPackets: 1000, OutPackets: 900, InBytes: 50000, OutBytes: 900000},
					},
					{Address: at("[2001:db8::12]:80"), State: balancer.Down},
				},
			}, {
				// The fallback is also an ordinary server: one series, not two.
				Name: "mail", Standby: true, FallbackActive: true, Problem: "refused", FallbackServer: &fallback,
				Servers: []balancer.ServerStatus{fallback},
			}},
			Foreign: []balancer.ForeignService{{}},
			Problem: "no ip_vs",
			Writes:  map[string]uint64{"new_service": 2, "new_server": 3},
			Drift:   1,
			Checks:  []balancer.CheckCount{{Kind: "http", Code: check.L7OK, Count: 180000}, {Kind: "tcp", Code: check.L4CON, Count: 60}},
		},
		Sync: map[string]ipvs.SyncRole{"web": ipvs.SyncMaster | ipvs.SyncBackup},
		Sources: []discovery.Status{
			{Service: "http", Kind: "dns", Target: "web.example.net SRV", Servers: 12, LastSuccess: now.Add(-time.Minute)},
			{Service: "http", Kind: "file", Target: "/run/web.yaml", Servers: 3, Held: 2, LastSuccess: now.Add(-time.Hour), Error: "no such file", Failures: 7},
			{Service: "mail", Kind: "consul", Target: "http://127.0.0.1:8500 mail", Error: "refused", Failures: 1},
		},
		Config: Config{Hash: "1f2e3d4c5b6a", LastOK: true, LastLoaded: now.Add(-time.Hour)},
	}
}

func sources() Sources {
	return Sources{Version: "1.2.3", Snapshot: snapshot, Restarts: func() int64 { return 2 }}
}

// TestGolden holds the whole output, except of the Go runtime and the process.
func TestGolden(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	checks := newCheckDuration()
	checks.WithLabelValues("http").Observe(0.0012)
	registry.MustRegister(&scraper{sources: sources(), now: func() time.Time { return now }}, checks)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&got, f); err != nil {
			t.Fatal(err)
		}
	}
	const path = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s differs (go test ./internal/metrics -update writes it anew); got:\n%s", path, &got)
	}
	// Every family that is described has a sample here.
	for _, name := range described() {
		if !strings.Contains(got.String(), "\n# TYPE "+name+" ") {
			t.Errorf("%s has no sample", name)
		}
	}
}

// described are the names of all families of the scraper.
func described() []string {
	descs := make(chan *prometheus.Desc, 100)
	(&scraper{}).Describe(descs)
	close(descs)
	var out []string
	for d := range descs {
		_, rest, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		out = append(out, name)
	}
	return out
}

// TestLint applies Prometheus' conventions, as "promtool check metrics" does.
func TestLint(t *testing.T) {
	c := New(sources())
	c.Observe("http", check.L7OK, time.Millisecond)
	rec := httptest.NewRecorder()
	c.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != 200 {
		t.Fatal(rec.Code, rec.Body)
	}
	problems, err := promlint.New(rec.Body).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestUsualCollectors(t *testing.T) {
	families, err := New(sources()).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range families {
		have[f.GetName()] = true
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "baton_build_info"} {
		if !have[name] {
			t.Errorf("no %s", name)
		}
	}
}

// TestContract holds the names that the contract promises.
func TestContract(t *testing.T) {
	golden, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range []string{
		`baton_router_state{router="web"} 2`,
		`baton_router_state{router="lan"} 3`,
		`baton_router_priority{router="web"} 150`,
		`baton_router_transitions_total{router="web",to="master"} 2`,
		`baton_adverts_sent_total{router="web"} 11520`,
		`baton_adverts_received_total{router="web"} 40`,
		`baton_adverts_rejected_total{reason="ttl",router="web"} 2`,
		`baton_router_last_advert_age_seconds{router="web"} 1.5`,
		`baton_advert_lateness_seconds_bucket{router="web",le="0.0001"} 2`,
		`baton_advert_lateness_seconds_bucket{router="web",le="0.005"} 3`,
		`baton_advert_lateness_seconds_count{router="web"} 4`,
		`baton_announcements_total{router="web"} 400`,
		`baton_rival_masters_total{router="web"} 1`,
		`baton_service_up{service="http"} 1`,
		`baton_service_quorum_weight{service="http"} 3`,
		`baton_server_up{server="[2001:db8::12]:80",service="http"} 0`,
		`baton_server_weight{server="10.0.0.11:80",service="http"} 2.5`,
		`baton_service_panic{service="http"} 1`,
		`baton_service_panic{service="mail"} 0`,
		`baton_check_duration_seconds_count{kind="http"} 1`,
		`baton_checks_total{code="L7OK",kind="http"} 180000`,
		`baton_ipvs_connections_total{direction="in",server="10.0.0.11:80",service="http"} 100`,
		`baton_ipvs_packets_total{direction="out",server="10.0.0.11:80",service="http"} 900`,
		`baton_ipvs_bytes_total{direction="in",server="10.0.0.11:80",service="http"} 50000`,
		`baton_ipvs_connections{server="10.0.0.11:80",service="http",state="active"} 12`,
		`baton_ipvs_drift_total 1`,
		`baton_ipvs_writes_total{op="new_server"} 3`,
		`baton_config_hash{hash="1f2e3d4c5b6a"} 1`,
		`baton_config_last_reload_successful 1`,
	} {
		if !strings.Contains(string(golden), "\n"+sample+"\n") {
			t.Errorf("no sample %s", sample)
		}
	}
}

// TestOneBadSample does not cost the others, and is logged.
func TestOneBadSample(t *testing.T) {
	var log bytes.Buffer
	s := sources()
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	s.Snapshot = func() Snapshot {
		snap := snapshot()
		snap.Routers.Routers[1].Spec.Name = "no UTF-8: \xff"
		return snap
	}
	rec := httptest.NewRecorder()
	New(s).Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), `baton_service_up{service="http"} 1`) {
		t.Error(rec.Code, rec.Body)
	}
	if !strings.Contains(log.String(), "no UTF-8") {
		t.Errorf("logged: %s", &log)
	}
}

func TestNothingYet(t *testing.T) {
	c := New(Sources{Snapshot: func() Snapshot { return Snapshot{} }, Restarts: func() int64 { return 0 }})
	if _, err := c.registry.Gather(); err != nil {
		t.Error(err)
	}
}
