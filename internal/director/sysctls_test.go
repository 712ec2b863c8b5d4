package director

import (
	"net/netip"
	"slices"
	"testing"

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
			var got []string
			for _, s := range neededIPVSSysctls(cfg) {
				got = append(got, s.Key+"="+s.Value)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
