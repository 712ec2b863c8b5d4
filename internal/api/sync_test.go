package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"baton/internal/api"
	"baton/internal/api/apitest"
)

func TestConnectionSync(t *testing.T) {
	const problem = "start the connection sync master on eth1: there is no such interface"
	for _, tt := range []struct {
		sync    api.ConnectionSync
		explain string
	}{
		{api.ConnectionSync{Interface: "eth1", ID: 51, Role: "master"}, "It tells the other directors of its connections on eth1 (id 51)."},
		{api.ConnectionSync{Interface: "eth1", ID: 51, Role: "backup"}, "It takes over the owner's connections from eth1 (id 51)."},
		{api.ConnectionSync{Interface: "eth1", ID: 51, Role: "off", Problem: problem}, "Connections are not synchronised: " + problem},
	} {
		s := apitest.Snapshot()
		s.Sync = map[string]api.ConnectionSync{"web": tt.sync}
		doc := api.FromSnapshot(s, apitest.Now)
		if got := doc.Routers[0].ConnectionSync; got == nil || *got != tt.sync {
			t.Errorf("%+v is shown as %+v", tt.sync, got)
		}
		if got := doc.Routers[1].ConnectionSync; got != nil {
			t.Errorf("the other router shows %+v", got)
		}
		want := "router web: connections are not synchronised: " + problem
		if shown := slices.Contains(doc.Problems, want); shown != (tt.sync.Problem != "") {
			t.Errorf("%s: problems %q", tt.sync.Role, doc.Problems)
		}
		h := newServer(t)
		h.engine.Change(func(now *api.Snapshot) { *now = s })
		if body := h.do(http.MethodGet, "/api/v1/explain/router/web", "").Body.String(); !strings.Contains(body, tt.explain) {
			t.Errorf("explain router says %s, not %q", body, tt.explain)
		}
	}
}
