package network

import (
	"context"
	"net/netip"
	"slices"
	"testing"
)

func TestIPv4Addresses(t *testing.T) {
	h, _ := host(t)
	h.Address("eth0", "10.0.0.1/24", "10.0.0.100/32")
	h.Address("eth1", "10.0.1.1/16")
	must(t, h.Do(func() error {
		got, err := IPv4Addresses()
		want := []Address{
			{Prefix: netip.MustParsePrefix("10.0.0.1/24"), Interface: "eth0"},
			{Prefix: netip.MustParsePrefix("10.0.0.100/32"), Interface: "eth0"},
			{Prefix: netip.MustParsePrefix("10.0.1.1/16"), Interface: "eth1"},
		}
		got = slices.DeleteFunc(got, func(a Address) bool { return a.Interface == "lo" })
		if !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		return err
	}))
}

// The kernel gives routes that it learnt the protocol ra; so does a hand.
func TestAdvertisedInterfaces(t *testing.T) {
	h, _ := host(t)
	h.Address("eth1", "fd00::1/64")
	for _, route := range [][]string{
		{"default", "via", "fd00::fe", "dev", "eth1", "proto", "static", "metric", "1"},
		{"fd00:9::/64", "via", "fd00::fe", "dev", "eth1", "proto", "ra"}, // not a default route
		{"default", "via", "fe80::1", "dev", "eth0", "proto", "ra", "metric", "1024"},
		{"default", "via", "fe80::2", "dev", "eth0", "proto", "ra", "metric", "1025"},
	} {
		if _, err := h.Run(context.Background(), "ip", append([]string{"-6", "route", "add"}, route...)...); err != nil {
			t.Fatal(err)
		}
	}
	must(t, h.Do(func() error {
		got, err := AdvertisedInterfaces()
		if !slices.Equal(got, []string{"eth0"}) {
			t.Errorf("%q", got)
		}
		return err
	}))
}
