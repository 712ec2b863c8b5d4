//go:build vm

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"baton/test/scene"
)

// TestMetrics has Prometheus' own tool look at a director that has worked.
func TestMetrics(t *testing.T) {
	s := start(t, scene.Options{})
	a, b := s.Directors[0], s.Directors[1]
	const n = 30
	_, err := s.Curl(n)
	must(t, err)

	file := filepath.Join(t.TempDir(), "metrics")
	run(t, a.Host, "curl", "--silent", "--show-error", "--fail", "--output", file, "http://127.0.0.1:9165/metrics")
	if out := run(t, a.Host, "sh", "-c", "promtool check metrics <"+file); out != "" {
		t.Errorf("promtool check metrics:\n%s", out)
	}

	eventually(t, func() error {
		if got := scrape(t, a).sum("baton_ipvs_connections_total"); got != n {
			return fmt.Errorf("baton_ipvs_connections_total is %v in sum, not %d", got, n)
		}
		return nil
	})
	active, backup := scrape(t, a), scrape(t, b)
	for _, m := range []struct {
		of   samples
		name string
		want float64
	}{
		{active, `baton_router_state{router="web"}`, 2},
		{backup, `baton_router_state{router="web"}`, 1},
		{active, `baton_router_addresses_held{router="web"}`, 1},
		{backup, `baton_router_addresses_held{router="web"}`, 0},
		{active, `baton_router_priority{router="web"}`, 200},
		{active, `baton_service_up{service="http"}`, 1},
		{active, `baton_service_quorum_weight{service="http"}`, 6},
		{active, `baton_server_weight{server="10.0.1.11:80",service="http"}`, 3},
		{active, `baton_ipvs_writes_total{op="new_service"}`, 1},
		{active, `baton_ipvs_writes_total{op="new_server"}`, 3},
		{active, `baton_ipvs_drift_total`, 0},
		{active, `baton_director_restarts_total`, 0},
		{active, `baton_config_last_reload_successful`, 1},
	} {
		if got := m.of.one(t, m.name); got != m.want {
			t.Errorf("%s is %v, not %v", m.name, got, m.want)
		}
	}
	for _, family := range []string{
		"baton_adverts_sent_total", "baton_announcements_total", "baton_checks_total", "baton_check_duration_seconds_count",
		"baton_advert_lateness_seconds_count", "baton_ipvs_packets_total", "baton_ipvs_bytes_total", "baton_build_info",
	} {
		if active.sum(family) == 0 {
			t.Errorf("%s is absent or 0", family)
		}
	}
	if backup.sum("baton_adverts_received_total") == 0 {
		t.Error("the backup has received no adverts")
	}
}
