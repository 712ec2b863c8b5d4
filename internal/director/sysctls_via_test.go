package director

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/config"
	"baton/internal/network"
	"baton/internal/pool"
	"baton/internal/speaker"
)

func TestSettingsOfChecksThroughTheVIP(t *testing.T) {
	at := func(ifname, prefix string) network.Address {
		return network.Address{Prefix: netip.MustParsePrefix(prefix), Interface: ifname}
	}
	job := func(vip, server, source string) check.Job {
		s := check.Spec{Target: netip.MustParseAddrPort(vip), Via: &check.Via{Server: netip.MustParseAddr(server)}}
		if source != "" {
			s.Source = netip.MustParseAddr(source)
		}
		return check.Job{Spec: s}
	}
	have := []network.Address{at("lo", "127.0.0.1/8"), at("eth0", "10.0.0.1/24"), at("eth1", "10.0.1.1/24")}
	router := speaker.Router{Addresses: []network.Address{at("eth0", "10.0.0.100/24")}}
	virtual := router
	virtual.VirtualMAC = true
	strict := map[string]string{"net/ipv4/conf/all/rp_filter": "1"}
	for _, c := range []struct {
		name   string
		job    check.Job
		router speaker.Router
		have   []network.Address
		values map[string]string
		want   string
		err    bool
	}{
		{name: "on one network", job: job("10.0.0.100:80", "10.0.0.11", ""), router: router, values: strict, want: "eth0/accept_local=1"},
		{name: "IPv6 asks for nothing", job: job("[fd00::100]:80", "fd00::1", ""), router: router},
		{name: "no check through a VIP", job: check.Job{Spec: check.Spec{Target: netip.MustParseAddrPort("10.0.0.11:80")}}, router: router},
		{
			name: "servers elsewhere", job: job("10.0.0.100:80", "10.0.1.11", ""), router: router, values: strict,
			want: "eth1/accept_local=1 eth1/rp_filter=2",
		},
		{
			name: "strict on the interface alone", job: job("10.0.0.100:80", "10.0.1.11", ""), router: router,
			values: map[string]string{"net/ipv4/conf/eth1/rp_filter": "1"}, want: "eth1/accept_local=1 eth1/rp_filter=2",
		},
		{
			name: "loose", job: job("10.0.0.100:80", "10.0.1.11", ""), router: router,
			values: map[string]string{"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/eth1/rp_filter": "2"}, want: "eth1/accept_local=1",
		},
		{
			name: "a virtual MAC", job: job("10.0.0.100:80", "10.0.0.11", ""), router: virtual, values: strict,
			want: "eth0/accept_local=1 eth0/rp_filter=2",
		},
		{
			name: "a virtual MAC of the owner", job: job("10.0.0.100:80", "10.0.0.11", ""), router: virtual, values: strict,
			have: append([]network.Address{at("vrrp51", "10.0.0.100/32")}, have...), want: "eth0/accept_local=1 eth0/rp_filter=2",
		},
		{
			name: "over a router", job: job("10.0.0.100:80", "192.0.2.11", ""), router: router, values: strict,
			want: "eth1/accept_local=1 eth1/rp_filter=2",
		},
		{name: "a source", job: job("10.0.0.100:80", "192.0.2.11", "10.0.0.1"), router: router, values: strict, want: "eth0/accept_local=1"},
		{name: "no route", job: job("10.0.0.100:80", "198.51.100.1", ""), router: router, err: true},
		{name: "the director itself", job: job("10.0.0.100:80", "127.0.0.1", ""), router: router},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := &config.Config{Routers: []speaker.Router{c.router}, Balancer: balancer.Spec{Jobs: map[pool.CheckID]*check.Job{"x": &c.job}}}
			if c.have == nil {
				c.have = have
			}
			got, err := viaSysctls(cfg, viaWorld{c.have, func(a netip.Addr) (string, error) {
				if a == netip.MustParseAddr("192.0.2.11") {
					return "eth1", nil
				}
				return "", errors.New("no route")
			}, func(key string) (string, error) { return c.values[key], nil }})
			var list []string
			for _, s := range got {
				list = append(list, strings.TrimPrefix(s.Key, "net/ipv4/conf/")+"="+s.Value)
			}
			if text := strings.Join(list, " "); text != c.want || (err != nil) != c.err {
				t.Errorf("got %q, %v; want %q", text, err, c.want)
			}
		})
	}
}
