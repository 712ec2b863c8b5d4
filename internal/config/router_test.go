package config

import (
	"slices"
	"testing"
	"time"

	"baton/internal/speaker"
)

// checkRouter holds for every router that was accepted.
func checkRouter(t testing.TB, cfg *Config, r speaker.Router) {
	t.Helper()
	step := 10 * time.Millisecond
	if r.Version == 2 {
		step = time.Second
	}
	if r.Name == "" || r.Interface == "" || r.ID == 0 || r.Priority == 0 || len(r.Addresses) == 0 || r.GARP.Repeat < 1 ||
		r.Version != 2 && r.Version != 3 || r.Version == 2 && r.IPv6() ||
		r.Interval < step || r.Interval > 255*time.Second || r.Interval%step != 0 || r.Lease%time.Second != 0 {
		t.Errorf("router %+v", r)
	}
	if (len(r.Auth.Keys) > 0 && r.Version != 3) || (len(r.Auth.Password) > 0 && r.Version != 2) || len(r.Auth.Password) > 8 {
		t.Errorf("auth of router %+v", r)
	}
	for _, k := range r.Auth.Keys {
		if k.ID == 0 || len(k.Secret) < 32 || len(k.Secret) > 64 {
			t.Errorf("key %d of %d bytes of router %s", k.ID, len(k.Secret), r.Name)
		}
	}
	for _, a := range r.VIPs() {
		if a.Is6() != r.IPv6() {
			t.Errorf("addresses of router %+v", r)
		}
	}
	paths := append([]speaker.Heartbeat{{Interface: r.Interface, Source: r.Source, Peers: r.Peers}}, r.Heartbeats...)
	for _, h := range paths {
		for _, a := range append(slices.Clone(h.Peers), h.Source) {
			if h.Interface == "" || a.IsValid() && a.Is6() != r.IPv6() {
				t.Errorf("path %+v of router %s", h, r.Name)
			}
		}
	}
	if r.PreemptAfterSync > 0 && !slices.ContainsFunc(cfg.ConnectionSync, func(s ConnectionSync) bool { return s.Router == r.Name }) {
		t.Errorf("router %s waits for a table that is not there", r.Name)
	}
	for _, v := range r.Routes {
		if !v.To.IsValid() || v.To != v.To.Masked() || v.Via.IsValid() && v.Via.Is6() != v.To.Addr().Is6() || !v.Via.IsValid() && v.Interface == "" {
			t.Errorf("route %+v of router %s", v, r.Name)
		}
	}
	for _, v := range r.Rules {
		if v.Table == 0 || v.From.IsValid() && v.From.Addr().Is6() != v.IPv6 || v.To.IsValid() && v.To.Addr().Is6() != v.IPv6 {
			t.Errorf("rule %+v of router %s", v, r.Name)
		}
	}
	for i, v := range r.Track {
		twice := slices.ContainsFunc(r.Track[:i], func(o speaker.Track) bool { return o.Name == v.Name })
		if twice || v.Weight < -253 || v.Weight > 253 || (v.Kind == speaker.TrackInterface) != (v.Interface != "") {
			t.Errorf("track %+v of router %s", v, r.Name)
		}
	}
}

// checkTracks holds what is watched against what the routers track.
func checkTracks(t testing.TB, cfg *Config) {
	t.Helper()
	type key struct{ router, name string }
	want := make(map[key]speaker.Track)
	for _, r := range cfg.Routers {
		for _, v := range r.Track {
			if v.Kind != speaker.TrackInterface {
				want[key{r.Name, v.Name}] = v
			}
		}
	}
	for _, o := range cfg.Tracks {
		spec, ok := want[key{o.Router, o.Name}]
		kinds := 0
		for _, set := range []bool{o.Script != nil, o.Ping != nil, o.File != nil, o.Process != nil, o.Service != nil} {
			if set {
				kinds++
			}
		}
		if !ok || o.Weight != spec.Weight || kinds != 1 || o.Timeout > o.Interval || o.Service == nil && o.Interval <= 0 {
			t.Errorf("%+v is watched for %+v", o, spec)
		}
		delete(want, key{o.Router, o.Name})
	}
	if len(want) > 0 {
		t.Errorf("not watched: %v", want)
	}
}
