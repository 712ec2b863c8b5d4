package director

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/api"
	"baton/internal/discovery"
	"baton/test/logs"
)

// found is a stage with a service whose servers are in a file.
func found(t *testing.T, servers string) (s *stage, file string) {
	t.Helper()
	s = newStage(t)
	file = filepath.Join(s.dir, "servers.yaml")
	if servers != "" {
		must(t, os.WriteFile(file, []byte(servers), 0o600))
	}
	s.serve("check: none, servers: [10.9.0.1]")
	return s, file
}

// serve writes the configuration with settings of the service.
func (s *stage) serve(settings string) {
	s.t.Helper()
	s.write(fmt.Sprintf("services: [{name: http, address: 10.0.0.100:80, %s, servers_from: [{file: %s/servers.yaml}, {file: %s/more.yaml}]}]\n",
		settings, s.dir, s.dir), router("web", 51, 150))
}

// servers are those in the status, with their weights.
func (s *stage) servers() string {
	s.t.Helper()
	var out []string
	for _, svc := range s.status().Services {
		for _, srv := range svc.Servers {
			out = append(out, fmt.Sprintf("%s*%d %s", srv.Address, srv.ConfiguredWeight, srv.Source))
		}
	}
	return strings.ReplaceAll(strings.Join(out, ", "), s.dir, "")
}

func (s *stage) hasServers(want string) {
	s.t.Helper()
	got := ""
	for began := time.Now(); time.Since(began) < patience; time.Sleep(5 * time.Millisecond) {
		if got = s.servers(); got == want {
			return
		}
	}
	s.t.Fatalf("the servers are %s, want %s\n%s", got, want, s.log)
}

func TestServersFromAFile(t *testing.T) {
	s, file := found(t, "[10.9.0.1, {address: 10.9.0.2, weight: 5}]")
	s.start("")
	s.hasServers("10.9.0.1:80*1 , 10.9.0.2:80*5 file /servers.yaml")
	s.happened("service http", "file "+file, "servers changed", "added 2 (10.9.0.1, 10.9.0.2)")

	// One that both name is said once, however often it is looked at.
	must(t, os.WriteFile(file, []byte("[10.9.0.1, {address: 10.9.0.2, weight: 6}, 10.9.0.3:8080]"), 0o600))
	s.hasServers("10.9.0.1:80*1 , 10.9.0.2:80*6 file /servers.yaml, 10.9.0.3:8080*1 file /servers.yaml")
	if n := strings.Count(s.log.String(), "names a server that the service has already"); n != 1 {
		t.Errorf("said %d times:\n%s", n, s.log)
	}

	// A mistake changes nothing and is to be seen with its place.
	must(t, os.WriteFile(file, []byte("- 10.9.0.4\n- {adress: 10.9.0.5}"), 0o600))
	var st api.Status
	for began := time.Now(); time.Since(began) < patience; time.Sleep(5 * time.Millisecond) {
		// For a moment the file may be seen empty, which is another mistake.
		if st = s.status(); strings.Contains(st.Services[0].Sources[0].Error, "unknown key") {
			break
		}
	}
	src := st.Services[0].Sources[0]
	if !strings.Contains(src.Error, file+`:2:4: unknown key "adress"`) || strings.Contains(src.Error, "\n") || src.Kind != "file" || src.Target != file || src.Servers != 3 ||
		src.Failures == 0 || src.LastSuccess.IsZero() {
		t.Errorf("%+v", src)
	}
	if other := st.Services[0].Sources[1]; !strings.Contains(other.Error, "no such file") || !other.LastSuccess.IsZero() {
		t.Errorf("%+v", other)
	}
	if !slices.ContainsFunc(st.Problems, func(p string) bool { return strings.Contains(p, "service http: file "+file+" fails") }) {
		t.Errorf("problems: %q", st.Problems)
	}
	why, err := s.client(s.socket).ExplainService(t.Context(), "http")
	must(t, err)
	text := strings.Join(why.Lines, "\n")
	for _, want := range []string{"It has 3 servers from file " + file + ", which last answered at", "The source file " + file + " fails, so its servers stay as they are: ", "has not answered yet"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	s.hasServers("10.9.0.1:80*1 , 10.9.0.2:80*6 file /servers.yaml, 10.9.0.3:8080*1 file /servers.yaml")

	// The second source is asked as well.
	must(t, os.WriteFile(filepath.Join(s.dir, "more.yaml"), []byte("[10.9.0.3:8080, 10.9.0.9]"), 0o600))
	s.hasServers("10.9.0.1:80*1 , 10.9.0.2:80*6 file /servers.yaml, 10.9.0.3:8080*1 file /servers.yaml, 10.9.0.9:80*1 file /more.yaml")
}

// A reload with the same sources does not say that something changed;
// what a service says anew holds for the servers that there are.
func TestReloadWithSources(t *testing.T) {
	s, _ := found(t, "[10.9.0.2]")
	s.start("")
	s.hasServers("10.9.0.1:80*1 , 10.9.0.2:80*1 file /servers.yaml")
	before := s.servers()
	s.serve("check: none, servers: [10.9.0.1]")
	out, err := s.client(s.socket).Reload(t.Context())
	if err != nil || out.Changed {
		t.Errorf("%+v, %v", out, err)
	}
	if now := s.servers(); now != before || strings.Count(s.log.String(), "the servers of a source have changed") != 1 {
		t.Errorf("%s became %s\n%s", before, now, s.log)
	}

	// dr: the port of a server must be the service's now, which it is.
	s.serve("check: {tcp: {}}, forward: dr, servers: []")
	out, err = s.client(s.socket).Reload(t.Context())
	if err != nil || !cmp.Equal(out.Changes, []string{"service http changed", "sources of service http changed"}) {
		t.Errorf("%+v, %v", out, err)
	}
	s.hasServers("10.9.0.2:80*1 file /servers.yaml, 10.9.0.1:80*1 ") // which drains: there is no kernel that could end it
	srv := s.dirs.balancer.Status().Services[0].Servers[0]
	if srv.Forward.String() != "dr" || len(srv.Checks) != 1 || srv.Checks[0].Subject() != "10.9.0.2:80" {
		t.Errorf("%+v", srv)
	}
}

// A restart while the source is away has its servers, from the first moment on.
func TestRestartWithoutSource(t *testing.T) {
	s, file := found(t, "[10.9.0.2, {address: 10.9.0.3, weight: 7, name: x}]")
	s.start("")
	want := "10.9.0.1:80*1 , 10.9.0.2:80*1 file /servers.yaml, 10.9.0.3:80*7 file /servers.yaml"
	s.hasServers(want)
	kept := filepath.Join(s.dir, "state", discoveredFile)
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		var saved []discovery.Saved
		if ok, err := s.dirs.store.load(discoveredFile, &saved); ok && err == nil && len(saved) == 1 {
			break
		}
		if time.Since(began) > patience {
			t.Fatal("nothing is kept")
		}
	}
	must(t, s.stop())
	must(t, os.Remove(file))

	second := &stage{t: t, dir: s.dir, config: s.config, socket: s.socket, log: new(logs.Buffer), edges: &edges{}}
	must(t, second.open(""))
	var at []string
	for _, srv := range second.dirs.discovered.fill(second.dirs.cfg).Balancer.Services[0].Servers {
		at = append(at, fmt.Sprint(srv.AddrPort(), srv.Weight, srv.Name))
	}
	if !slices.Equal(at, []string{"10.9.0.1:80 1", "10.9.0.2:80 1", "10.9.0.3:80 7x"}) {
		t.Errorf("before it runs: %q", at)
	}
	second.run()
	second.next()
	second.hasServers(want)
	if strings.Contains(second.log.String(), "have changed") {
		t.Errorf("nothing has:\n%s", second.log)
	}
	must(t, second.stop())

	// A configuration that is broken by now has its sources from the last good one.
	text, err := os.ReadFile(s.config)
	must(t, err)
	must(t, os.WriteFile(s.config, append(text, "nonsense: 1\n"...), 0o600))
	third := &stage{t: t, dir: s.dir, config: s.config, socket: s.socket, log: new(logs.Buffer), edges: &edges{}}
	must(t, third.open(filepath.Join(s.dir, "state", lastGoodFile)))
	third.run()
	third.next()
	third.hasServers(want)
	must(t, third.stop())
	must(t, os.WriteFile(s.config, text, 0o600))

	// What was kept is broken: it is said, and no more than that is lost.
	must(t, os.WriteFile(kept, []byte("{"), 0o600))
	fourth := &stage{t: t, dir: s.dir, config: s.config, socket: s.socket, log: new(logs.Buffer), edges: &edges{}}
	must(t, fourth.open(""))
	fourth.run()
	fourth.next()
	fourth.hasServers("10.9.0.1:80*1 ")
	if !strings.Contains(fourth.log.String(), "the servers that sources had named are not known") {
		t.Errorf("not said:\n%s", fourth.log)
	}
	must(t, os.WriteFile(file, []byte("[10.9.0.2]"), 0o600))
	fourth.hasServers("10.9.0.1:80*1 , 10.9.0.2:80*1 file /servers.yaml")
}

func TestMetricsOfSources(t *testing.T) {
	s, file := found(t, "[10.9.0.2]")
	s.start("")
	s.hasServers("10.9.0.1:80*1 , 10.9.0.2:80*1 file /servers.yaml")
	w := httptest.NewRecorder()
	s.dirs.collector.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`baton_discovery_servers{service="http",source="file ` + file + `"} 1`,
		`baton_discovery_up{service="http",source="file ` + s.dir + `/more.yaml"} 0`,
		`baton_discovery_last_success_timestamp_seconds{service="http",source="file ` + file + `"} `,
		`baton_problems{where="source"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}
