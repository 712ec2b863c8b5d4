package vrrp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestNewCodecRefuses(t *testing.T) {
	good := func() CodecOptions {
		return CodecOptions{VRID: 51, Version: 3, Interval: time.Second, Peers: []netip.Addr{a2}, Auth: Auth{Keys: []Key{key1}}}
	}
	tests := map[string]struct {
		change func(*CodecOptions)
		want   string
	}{
		"id 0":                  {func(o *CodecOptions) { o.VRID = 0 }, "1–255"},
		"version 4":             {func(o *CodecOptions) { o.Version = 4 }, "version 4"},
		"version 0":             {func(o *CodecOptions) { o.Version = 0 }, "version 0"},
		"checksum":              {func(o *CodecOptions) { o.Checksum = 2 }, "checksum"},
		"interval 0":            {func(o *CodecOptions) { o.Interval = 0 }, "interval 0s"},
		"interval 15ms":         {func(o *CodecOptions) { o.Interval = 15 * time.Millisecond }, "steps of 10ms"},
		"interval 41s":          {func(o *CodecOptions) { o.Interval = 41 * time.Second }, "40.95s"},
		"version 2, 1.5s":       {func(o *CodecOptions) { o.Version, o.Interval = 2, 1500*time.Millisecond }, "steps of 1s"},
		"version 2, 256s":       {func(o *CodecOptions) { o.Version, o.Interval = 2, 256*time.Second }, "4m15s"},
		"version 2, IPv6":       {func(o *CodecOptions) { o.Version, o.Peers = 2, []netip.Addr{vip6} }, "IPv4 alone"},
		"peers of two families": {func(o *CodecOptions) { o.Peers = []netip.Addr{a2, vip6} }, "same family"},
		"multicast peer":        {func(o *CodecOptions) { o.Peers = []netip.Addr{GroupIPv4} }, "one host"},
		"no peer":               {func(o *CodecOptions) { o.Peers = []netip.Addr{{}} }, "one host"},
		"any peer":              {func(o *CodecOptions) { o.Peers = []netip.Addr{netip.IPv4Unspecified()} }, "one host"},
		"window too small":      {func(o *CodecOptions) { o.Window = time.Millisecond }, "window 1ms"},
		"window too large":      {func(o *CodecOptions) { o.Window = time.Hour }, "window 1h"},
		"password and keys":     {func(o *CodecOptions) { o.Version, o.Auth.Password = 2, secretP }, "exclude"},
		"version 3, password":   {func(o *CodecOptions) { o.Auth = Auth{Password: secretP} }, "no password"},
		"long password":         {func(o *CodecOptions) { o.Version, o.Auth = 2, Auth{Password: count('a', 9)} }, "9 bytes"},
		"key id 0":              {func(o *CodecOptions) { o.Auth.Keys[0].ID = 0 }, "id 0"},
		"the same key id":       {func(o *CodecOptions) { o.Auth.Keys = []Key{key1, key1} }, "two keys"},
		"short key":             {func(o *CodecOptions) { o.Auth.Keys[0].Secret = count(0, 31) }, "31 bytes"},
		"long key":              {func(o *CodecOptions) { o.Auth.Keys[0].Secret = count(0, 65) }, "65 bytes"},
		"negative window":       {func(o *CodecOptions) { o.Window = -time.Second }, "window -1s"},
	}
	if _, err := NewCodec(good()); err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := good()
			tt.change(&o)
			_, err := NewCodec(o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("NewCodec: %v, want one with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), string(secretP)) {
				t.Errorf("NewCodec: %q", err)
			}
		})
	}
}

// Options go to another process as JSON; what is printed holds no secret.
func TestCodecOptionsTravel(t *testing.T) {
	for _, v := range variants() {
		raw, err := json.Marshal(v.options)
		if err != nil {
			t.Fatal(err)
		}
		var there CodecOptions
		if err := json.Unmarshal(raw, &there); err != nil {
			t.Fatal(err)
		}
		a := v.advert()
		a.Priority = 0
		var got Advert
		if err := v.codec(t).Parse(&got, mustCodec(t, there).Append(nil, &a, v.src, v.dst, wall), v.src, v.dst, wall); err != nil || got.Priority != 0 {
			t.Errorf("%s: %+v, %v", v.name, got, err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	o := CodecOptions{Auth: Auth{Password: secretP, Keys: []Key{key1}}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c"} {
		got := strings.ToLower(fmt.Sprintf(verb, o))
		for _, form := range []string{"%s", "%x", "%d", "% x"} {
			for _, secret := range []Secret{secretP, key1.Secret} {
				shown := strings.Trim(fmt.Sprintf(form, []byte(secret)), "[]")
				if strings.Contains(got, shown) {
					t.Errorf("%s shows a secret: %s", verb, got)
				}
			}
		}
		if !strings.Contains(got, "(secret)") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}
