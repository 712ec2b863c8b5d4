package api_test

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"baton/internal/api"
	"baton/internal/api/apitest"
	"baton/internal/balancer"
)

func TestOverride(t *testing.T) {
	f := newServer(t)
	const server = "/api/v1/services/http/servers/"
	rec := f.do("PATCH", server+"web2", `{"state":"draining","reason":" new disk "}`)
	out := decode[api.Overridden](t, rec)
	if rec.Code != 200 || !out.Changed || out.Service != "http" || len(out.Notes) != 1 ||
		out.Server.Address != "10.0.0.12:80" || out.Server.State != "draining" || out.Server.Override == nil ||
		out.Server.Override.By != "alice" || out.Server.Override.Reason != "new disk" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if srv := decode[api.RealServer](t, f.do("GET", server+"10.0.0.12:80", "")); srv.State != "draining" || srv.Override == nil {
		t.Errorf("%+v", srv)
	}
	text := decode[api.Status](t, f.do("GET", "/api/v1/status", "")).Text(false)
	if !strings.Contains(text, "drained by alice 2026-01-31 04:05: new disk") {
		t.Errorf("status:\n%s", text)
	}
	for target, body := range map[string]string{
		"10.0.0.11":    `{"weight":0}`,
		"10.0.0.13:80": `{"reset":true,"weight":5,"state":"disabled"}`,
		"web3":         `{"reset":true}`,
	} {
		if rec := f.do("PATCH", server+target, body); rec.Code != 200 {
			t.Errorf("%s %s: %d %s", target, body, rec.Code, rec.Body)
		}
	}
	text = decode[api.Status](t, f.do("GET", "/api/v1/status", "")).Text(false)
	if !strings.Contains(text, "HTTP status 200; weight 0 by alice 2026-01-31 04:05\n") {
		t.Errorf("status:\n%s", text)
	}
	want := []string{
		"http 10.0.0.11:80: weight 0", "http 10.0.0.12:80: draining (new disk)",
		"http 10.0.0.13:80: reset", "http 10.0.0.13:80: reset disabled weight 5",
	}
	if got := f.engine.Asked(); !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
}

func TestOverrideProblems(t *testing.T) {
	f := newServer(t)
	f.engine.Change(func(s *api.Snapshot) {
		other := s.Balancer.Services[0].Servers[0]
		other.Address = netip.MustParseAddrPort("10.0.0.11:81")
		s.Balancer.Services[0].Servers = append(slices.Clip(s.Balancer.Services[0].Servers), other)
	})
	f.engine.Refuse("marked", &api.NotSavedError{Err: errors.New("write /state/overrides.json: no space left on device")})
	f.engine.Refuse("media", errors.New("the balancer has ended"))
	for _, tt := range []struct {
		target, body string
		status       int
		detail       string
	}{
		{"http/servers/web2", `{}`, 400, "say what to change"},
		{"http/servers/web2", `{"state":"up"}`, 400, `state is "up"; it may be draining, disabled or enabled`},
		{"http/servers/web2", `{"weight":2147483648}`, 400, "weight is 2147483648; it may be from 0 to 2147483647"},
		{"http/servers/web2", `{"weight":-1}`, 400, "the request is not understood"},
		{"http/servers/web2", `{"drain":true}`, 400, `unknown field "drain"`},
		{"http/servers/web2", `{"reset":true,"reason":"a\nb"}`, 400, "the reason is not one line of text"},
		{"http/servers/web2", `{"reset":true,"reason":"` + strings.Repeat("ä", api.MaxReason+1) + `"}`, 400, "longer than 200 characters"},
		{"htp/servers/web2", `{"reset":true}`, 404, `there is no service "htp"; there is http, media, marked`},
		{"http/servers/web9", `{"reset":true}`, 404, `there is no server of service http "web9"; there is 10.0.0.11:80,`},
		{"http/servers/10.0.0.11", `{"reset":true}`, 404, "service http has several servers at 10.0.0.11; name one of 10.0.0.11:80, 10.0.0.11:81"},
		{"media/servers/sorry", `{"state":"draining"}`, 409, "10.0.0.13:5000 is the fallback of service media"},
		{"marked/servers/10.0.0.31:25", `{"state":"draining"}`, 507, "nothing was changed, because it could not be kept for the next start: write /state/overrides.json: no space left on device; make room"},
		{"media/servers/10.0.0.21:5000", `{"state":"draining"}`, 503, "the balancer has ended"},
	} {
		rec := f.do("PATCH", "/api/v1/services/"+tt.target, tt.body)
		if p := decode[api.Problem](t, rec); rec.Code != tt.status || !strings.Contains(p.Detail, tt.detail) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.target, tt.body, rec.Code, p.Detail, tt.status, tt.detail)
		}
	}
	if asked := f.engine.Asked(); len(asked) != 2 {
		t.Errorf("asked %q", asked)
	}
}

// What is wanted of a server that is gone is shown, and can be taken back.
func TestAbsentOverride(t *testing.T) {
	f := newServer(t)
	weight := uint32(9)
	f.engine.Change(func(s *api.Snapshot) {
		note := balancer.Note{By: "bob", At: apitest.Now.Add(-time.Hour), Reason: "why"}
		s.Absent = []api.Absent{{
			Override: balancer.Override{
				Service: "old", Server: netip.MustParseAddrPort("10.0.0.77:80"), State: balancer.Disabled, Stated: note,
				Weight: &weight, Weighed: note, Absent: apitest.Now.Add(-time.Minute),
			},
			Until: apitest.Now.Add(24 * time.Hour),
		}}
	})
	st := decode[api.Status](t, f.do("GET", "/api/v1/status", ""))
	if len(st.Absent) != 1 || st.Absent[0].Override.By != "bob" || *st.Absent[0].Override.Weight != 9 || !st.Absent[0].Until.Equal(apitest.Now.Add(24*time.Hour)) {
		t.Errorf("%+v", st.Absent)
	}
	const line = "old      10.0.0.77:80  disabled by bob 2026-01-31 03:05: why; weight 9 by bob 2026-01-31 03:05: why  in 1d00h"
	if text := st.Text(false); !strings.Contains(text, line) {
		t.Errorf("status:\n%s", text)
	}
	const server = "/api/v1/services/old/servers/10.0.0.77"
	if rec := f.do("PATCH", server, `{"state":"draining"}`); rec.Code != 404 {
		t.Errorf("drained: %d %s", rec.Code, rec.Body)
	}
	for _, body := range []string{`{"reset":true}`, `{"state":"enabled"}`} {
		rec := f.do("PATCH", server, body)
		if out := decode[api.Overridden](t, rec); rec.Code != 200 || out.Server.Address != "10.0.0.77:80" {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
}

// Over the unix socket the kernel says who it is.
func TestRequester(t *testing.T) {
	f := newServer(t)
	socket, _ := f.serve(t)
	c := api.Dial(socket)
	defer c.Close()
	if _, err := c.Override(t.Context(), "http", "web2", api.ServerPatch{State: api.ServerDraining}); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	want := me.Username
	if text, err := os.ReadFile("/proc/self/loginuid"); err == nil {
		id := strings.TrimSpace(string(text))
		if _, err := strconv.ParseInt(id, 10, 32); err == nil && id != me.Uid {
			if login, err := user.LookupId(id); err == nil {
				want = login.Username + " as " + want
			} else {
				want = "user " + id + " as " + want
			}
		}
	}
	if got := f.engine.By(); got != want {
		t.Errorf("it was %q, want %q", got, want)
	}
	// Without a socket, and without a name, there is nobody to name.
	f.do(http.MethodPatch, "/api/v1/services/http/servers/web2", `{"reset":true}`)
	if got := f.engine.By(); got != "somebody" {
		t.Errorf("it was %q", got)
	}
}

func TestPeerName(t *testing.T) {
	for _, tt := range []struct {
		uid, login uint32
		want       string
	}{
		{0, api.NoLogin, "root"},
		{0, 0, "root"},
		{0, 4000000001, "user 4000000001 as root"},
		{4000000001, api.NoLogin, "user 4000000001"},
	} {
		if got := api.PeerName(tt.uid, tt.login); got != tt.want {
			t.Errorf("%d, logged in as %d: %s, want %s", tt.uid, tt.login, got, tt.want)
		}
	}
	t.Log("this process was logged in by", api.LoginOf(int32(os.Getpid())))
}
