package director

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"baton/internal/config"
	"baton/internal/pool"
)

// Both settings are of the whole host, so a service that can do without gets
// none.
func TestNeededIPVSSysctls(t *testing.T) {
	const template, nodest = "net.ipv4.vs.expire_quiescent_template=1", "net.ipv4.vs.expire_nodest_conn=1"
	at := netip.MustParseAddrPort("10.0.0.100:80")
	tcp, udp := pool.KeyOf(pool.TCP, at), pool.KeyOf(pool.UDP, at)
	for _, tt := range []struct {
		name     string
		services []pool.Service
		want     []string
	}{
		{"TCP", []pool.Service{{Keys: []pool.Key{tcp}}}, nil},
		{"persistence", []pool.Service{{Keys: []pool.Key{tcp}, PersistenceSeconds: 300}}, []string{template}},
		{"UDP", []pool.Service{{Keys: []pool.Key{tcp}}, {Keys: []pool.Key{udp}}}, []string{nodest}},
		{"UDP without flows", []pool.Service{{Keys: []pool.Key{udp}, Flags: pool.OnePacket}}, nil},
		{"a firewall mark", []pool.Service{{Keys: []pool.Key{{FWMark: 7}}}}, nil},
		{"both", []pool.Service{{Keys: []pool.Key{udp}, PersistenceSeconds: 300}}, []string{template, nodest}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := &config.Config{}
			cfg.Balancer.Services = tt.services
			wantNeeded(t, cfg, tt.want...)
		})
	}
}

func wantNeeded(t *testing.T, cfg *config.Config, want ...string) {
	t.Helper()
	var got []string
	for _, s := range neededIPVSSysctls(cfg) {
		got = append(got, s.Key+"="+s.Value)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What the file says of connection sync is kept; what it does not is set once, and
// only where nobody else has set it.
func TestWrittenSyncSysctls(t *testing.T) {
	c := config.ConnectionSync{Router: "web", Timing: config.SyncTiming{Threshold: 3, Period: 100, Refresh: time.Minute, Retries: 1}}
	wantNeeded(t, &config.Config{ConnectionSync: []config.ConnectionSync{c}})
	if syncSpecOf(&config.Config{ConnectionSync: []config.ConnectionSync{c}}).settled {
		t.Error("what the file does not say is not seen to")
	}
	c.Timing.Written = true
	cfg := &config.Config{ConnectionSync: []config.ConnectionSync{c}}
	wantNeeded(t, cfg, "net.ipv4.vs.sync_refresh_period=60", "net.ipv4.vs.sync_threshold=3 100", "net.ipv4.vs.sync_retries=1")
	if !syncSpecOf(cfg).settled {
		t.Error("what the file says is set against an administrator's settings")
	}
}
