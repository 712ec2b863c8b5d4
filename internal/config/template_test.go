package config

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"baton/internal/discovery"
	"baton/internal/pool"
)

var source = discovery.Source{File: "/run/servers.yaml"}

// TestFoundServersAreAsConfigured: each service of the valid files, with the list of
// its servers in a file of their own, has the same servers and checks.
func TestFoundServersAreAsConfigured(t *testing.T) {
	files, err := filepath.Glob("testdata/valid/*.yaml")
	must(t, err)
	compared := 0
	for _, file := range append(files, filepath.Join(confDir, "reference.yaml")) {
		data, err := os.ReadFile(file)
		must(t, err)
		p := &problems{}
		tree, ok := parseTree(p, file, data, validEnv)
		if !ok || tree.field("services") == nil || tree.field("include") != nil {
			continue
		}
		cfg := &Config{}
		build(cfg, p, tree, testSecret)
		must(t, p.err())
		for i, svc := range cfg.Balancer.Services {
			block := tree.field("services").items[i]
			list := block.field("servers")
			if list == nil {
				continue
			}
			template := roundTrip(t, Template{
				Service: seedOfBlock(block, "servers", "servers_from"), Synced: len(cfg.ConnectionSync) > 0,
			})
			if d := tree.field("defaults"); d != nil {
				template.Defaults = seedOfBlock(d, "router")
			}
			var text strings.Builder
			write(&text, list)
			found, err := ParseServers(source.File, []byte(text.String()))
			if err != nil {
				t.Fatalf("%s: %s: %v\n%s", file, svc.Name, err, &text)
			}
			got := template.Expand(source, found)
			var want []pool.Server
			refused := 0
			for n, s := range svc.Servers {
				if s.Source = source.String(); list.items[n].field("check") != nil && slices.ContainsFunc(s.Checks, func(id pool.CheckID) bool {
					spec := cfg.Balancer.Jobs[id].Spec
					return spec.Exec != nil || spec.File != nil
				}) {
					refused++ // that a file must not ask for
					continue
				}
				want = append(want, s)
			}
			if diff := cmp.Diff(want, got.Servers, sameConfig...); diff != "" || len(got.Refused) != refused {
				t.Errorf("%s: service %s (-configured +found), refused %q:\n%s", file, svc.Name, got.Refused, diff)
			}
			for id, job := range got.Jobs {
				if !reflect.DeepEqual(cfg.Balancer.Jobs[id], job) {
					t.Errorf("%s: service %s: job %+v", file, svc.Name, job)
				}
			}
			for _, s := range got.Servers {
				for _, id := range append([]pool.CheckID{s.Agent}, s.Checks...) {
					if _, ok := got.Jobs[id]; !ok && id != "" {
						t.Errorf("%s: service %s: %s names a check that there is not", file, svc.Name, s.Address)
					}
				}
			}
			compared += len(got.Servers)
		}
	}
	if compared < 30 {
		t.Errorf("only %d servers compared", compared)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// roundTrip writes a template down and reads it, as the last good configuration is.
func roundTrip(t *testing.T, in Template) (out Template) {
	t.Helper()
	b, err := json.Marshal(in)
	must(t, err)
	must(t, json.Unmarshal(b, &out))
	if !reflect.DeepEqual(in, out) {
		t.Errorf("%v becomes %v", in, out)
	}
	return out
}

func templateOf(t *testing.T, service string) Template {
	t.Helper()
	cfg, err := Parse("x", []byte("defaults: {check: {interval: 3s}}\nservices: [{name: a, servers_from: [{file: /x}], "+service+"}]"))
	must(t, err)
	return roundTrip(t, cfg.Sources[0].Template)
}

func at(s string) discovery.Server {
	a := netip.MustParseAddrPort(s)
	return discovery.Server{Address: a.Addr(), Port: a.Port()}
}

func TestExpandAddresses(t *testing.T) {
	for service, want := range map[string]string{
		"address: 10.0.0.100:80":               "10.0.0.1:80 10.0.0.2:8080*7 | 2001:db8::1: address: 2001:db8::1 is of another family than the service; only forward: tun can cross families",
		"address: 10.0.0.100:80, forward: dr":  "10.0.0.1:80 | 10.0.0.2:8080: address: forward: dr cannot change the port from the service's 80 to 8080; 2001:db8::1: address: 2001:db8::1 is of another family than the service; only forward: tun can cross families",
		"address: 10.0.0.100:80, forward: tun": "10.0.0.1:80 [2001:db8::1]:80 | 10.0.0.2:8080: address: forward: tun cannot change the port from the service's 80 to 8080",
		"address: '[2001:db8::100]:81'":        "[2001:db8::1]:81 | 10.0.0.1: address: 10.0.0.1 is of another family than the service; only forward: tun can cross families; 10.0.0.2:8080: address: 10.0.0.2 is of another family than the service; only forward: tun can cross families",
		"fwmark: 7, check: none":               "10.0.0.1:0 10.0.0.2:8080*7 | 2001:db8::1: address: 2001:db8::1 is of another family than the service; only forward: tun can cross families",
		"fwmark: 7, check: {tcp: {}}":          "10.0.0.2:8080*7 | 10.0.0.1: check: there is no port to connect to, because the service has none; write connect: {port: …}, or check: none; 2001:db8::1: address: 2001:db8::1 is of another family than the service; only forward: tun can cross families; check: there is no port to connect to, because the service has none; write connect: {port: …}, or check: none",
	} {
		heavy := at("10.0.0.2:8080")
		heavy.Weight = 7
		e := templateOf(t, service).Expand(source, []discovery.Server{at("10.0.0.1:0"), heavy, at("[2001:db8::1]:0")})
		var got []string
		for _, s := range e.Servers {
			text := s.AddrPort().String()
			if s.Weight != 1 {
				text += "*7"
			}
			got = append(got, text)
		}
		if text := strings.Join(got, " ") + " | " + strings.Join(e.Refused, "; "); text != want {
			t.Errorf("%s:\n%s, want\n%s", service, text, want)
		}
		if len(e.Usable) != len(e.Servers) {
			t.Errorf("%s: %d usable, %d servers", service, len(e.Usable), len(e.Servers))
		}
	}
}

// A server has the service's check at its own address, with the defaults.
func TestExpandChecks(t *testing.T) {
	e := templateOf(t, "address: 10.0.0.100:80, check: [{http: {path: /x}, timeout: 500ms}, {ping: {}}]").Expand(source, []discovery.Server{at("10.0.0.1:8080")})
	if len(e.Servers) != 1 || len(e.Servers[0].Checks) != 2 || len(e.Jobs) != 2 {
		t.Fatalf("%+v", e)
	}
	job := e.Jobs[e.Servers[0].Checks[0]]
	if job.Spec.Target != netip.MustParseAddrPort("10.0.0.1:8080") || job.Spec.HTTP.Path != "/x" || job.Schedule.Interval.String() != "3s" || job.Spec.Timeout.String() != "500ms" {
		t.Errorf("%+v %+v", job, job.Spec.HTTP)
	}
	if id := pool.CheckID(job.ID()); id != e.Servers[0].Checks[0] {
		t.Errorf("%s is called %s", id, e.Servers[0].Checks[0])
	}
	// A refused one leaves no check behind.
	e = templateOf(t, "address: 10.0.0.100:80, forward: dr").Expand(source, []discovery.Server{at("10.0.0.1:8080")})
	if len(e.Servers) != 0 || len(e.Jobs) != 0 || len(e.Refused) != 1 {
		t.Errorf("%+v", e)
	}
}

func TestParseServers(t *testing.T) {
	for text, want := range map[string]string{
		"":               "/f:1:1: the file is empty; write [] if there are no servers",
		"# nothing":      "/f:1:1: the file is empty; write [] if there are no servers",
		"servers: []":    "/f:1:1: found a mapping; allowed: a list of servers",
		"10.0.0.1":       `/f:1:1: found "10.0.0.1"; allowed: a list of servers`,
		"- 10.0.0.1\n- ": "/f:2:2: servers: found no value; allowed: an address such as 10.0.0.11:80, or a mapping such as {address: 10.0.0.11:80}, or leave it out",
		"- 10.0.0.1\n- {address: 10.0.0.2, wieght: 2}\n- 10.0.0.300:80\n- {weight: 1}": "/f:2:23: unknown key \"wieght\" in server; allowed: address, backup, check, forward, lower, name, tunnel, upper, weight; did you mean \"weight\"?\n" +
			"/f:3:3: servers: \"10.0.0.300\" is not an address; allowed: IP:port or [IPv6]:port, or an address alone\n/f:4:3: \"address\" is missing in server",
		"- 10.0.0.1:80\n- {address: 10.0.0.1:80}\n": "/f:2:13: address: 10.0.0.1:80 is given twice; first at /f:1:3",
		"[10.0.0.1":                         "/f:2:1: not valid YAML: did not find expected ',' or ']', while parsing a flow sequence that starts at 1:1",
		"- 10.0.0.1\n---\n- 10.0.0.2":       "/f:2:1: a second document starts here; allowed: one in a file",
		"- {address: 10.0.0.1, weight: -1}": "/f:1:31: weight: -1 is out of range; allowed: a whole number from 0 to 2147483647",
		"- {address: '${HOME}'}":            "/f:1:13: address: \"${HOME}\" is not an address; allowed: IP:port or [IPv6]:port, or an address alone",
		"[" + strings.Repeat("10.0.0.1, ", discovery.MaxServers+1) + "]": "/f:1:1: the list has 1025 servers; allowed: at most 1024",
	} {
		found, err := ParseServers("/f", []byte(text))
		var list Errors
		switch {
		case !errors.As(err, &list):
			t.Errorf("%q: %v, %v", text, found, err)
		case len(list) > 100: // 1025 times the same
			if list[0].Error() != want {
				t.Errorf("%q", list[0].Error())
			}
		case err.Error() != want:
			t.Errorf("%q:\n%v, want\n%s", text, err, want)
		}
	}
	for _, text := range []string{"[]", "- 10.0.0.1\n- {address: '10.0.0.2:80', name: a, weight: 3}", `["10.0.0.1", {"address": "10.0.0.2:80", "weight": 3, "name": "a"}]`} {
		if _, err := ParseServers("/f", []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What a service cannot have is refused with its place, as is what only the
// configuration may ask for.
func TestFilesAskForNoSecrets(t *testing.T) {
	template := templateOf(t, "address: 10.0.0.100:80, forward: dr, check: {exec: {command: [/bin/true]}}")
	for item, want := range map[string]string{
		"{address: 10.0.0.1, check: {exec: {command: [/bin/sh]}}}":                                   "check: exec is for the configuration only",
		"{address: 10.0.0.1, check: [{tcp: {}}, {http: {username: a, password_file: /etc/shadow}}]}": "check: password_file is for the configuration only",
		"{address: 10.0.0.1, check: {file: {path: /etc/shadow}}}":                                    "check: file is for the configuration only",
		"{address: 10.0.0.1, check: {redis: {password_file: /etc/shadow}}}":                          "check: password_file is for the configuration only",
		"{address: 10.0.0.1, check: {radius: {secret_file: /etc/shadow}}}":                           "check: secret_file is for the configuration only",
		"10.0.0.1:81":                               "forward: dr cannot change the port",
		"{address: 10.0.0.1, check: {}}":            "check: found no kind",
		"{address: 10.0.0.1, lower: 4}":             "lower: 4 has no effect without upper",
		"{address: 10.0.0.1, tunnel: {type: ipip}}": "tunnel: it belongs to forward: tun",
	} {
		found, err := ParseServers("/f", []byte("- 10.0.0.9\n- "+item))
		must(t, err)
		e := template.Expand(source, found)
		if len(e.Refused) != 1 || !strings.HasPrefix(e.Refused[0], "/f:2:3: ") || !strings.Contains(e.Refused[0], want) || len(e.Servers) != 1 {
			t.Errorf("%s: %q", item, e.Refused)
		}
	}
	// The service's own is no matter of the file.
	found, err := ParseServers("/f", []byte("- 10.0.0.1\n- {address: 10.0.0.2, name: a}\n- {address: 10.0.0.3, name: a}"))
	must(t, err)
	e := template.Expand(source, found)
	if len(e.Servers) != 2 || e.Jobs[e.Servers[0].Checks[0]].Spec.Kind() != "exec" || len(e.Refused) != 1 || !strings.Contains(e.Refused[0], `name: "a" is taken`) {
		t.Errorf("%+v", e)
	}
}

// FuzzParseServers feeds any bytes: no panic, each error has its place, and what was
// accepted is the same when it was kept and read again.
func FuzzParseServers(f *testing.F) {
	for _, text := range []string{
		"- 10.0.0.1:80\n- {address: '[2001:db8::1]:80', weight: 2, name: web2}", "[]", "- &a {address: 10.0.0.1}\n- *a",
		`[{"address": "10.0.0.1", "check": {"http": {"path": "/"}, "interval": "5s"}, "upper": 5, "lower": 4}]`,
		"- {address: 10.0.0.1, forward: tun, tunnel: {type: gue, port: 6080}, check: [{tcp: {send: \"a\\n\"}}, none]}",
		"- {address: 10.0.0.1, check: {exec: {command: [/x]}}}", "env: true", "- 10.0.0.1:0\n- ~",
	} {
		f.Add([]byte(text))
	}
	cfg, err := Parse("x", []byte("services: [{name: a, address: 10.0.0.100:80, forward: tun, servers_from: [{file: /x}], check: {tcp: {}}}]"))
	if err != nil {
		f.Fatal(err)
	}
	template := cfg.Sources[0].Template
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := ParseServers("/f", data)
		if err != nil {
			var list Errors
			if !errors.As(err, &list) {
				t.Fatalf("%T: %v", err, err)
			}
			checkErrors(t, list)
			return
		}
		b, err := json.Marshal(found)
		must(t, err)
		var kept []discovery.Server
		must(t, json.Unmarshal(b, &kept))
		one, other := template.Expand(source, found), template.Expand(source, kept)
		if diff := cmp.Diff(one.Servers, other.Servers, sameConfig...); diff != "" || !reflect.DeepEqual(one.Jobs, other.Jobs) || len(one.Refused) != len(other.Refused) {
			t.Errorf("kept as %s it differs:\n%s\n%q\n%q", b, diff, one.Refused, other.Refused)
		}
		for i, s := range one.Servers {
			if s.Address != one.Usable[i].Address || one.Usable[i].Port != 0 && s.Port != one.Usable[i].Port {
				t.Errorf("%v became %v", one.Usable[i], s)
			}
			for _, id := range s.Checks {
				if _, ok := one.Jobs[id]; !ok || one.Jobs[id].Spec.Exec != nil {
					t.Errorf("check %s of %v is %+v", id, s, one.Jobs[id])
				}
			}
		}
	})
}

func BenchmarkExpand(b *testing.B) {
	cfg, err := Parse("x", []byte("services: [{name: a, address: 10.0.0.100:80, check: {http: {path: /healthz}}, servers_from: [{file: /x}]}]"))
	if err != nil {
		b.Fatal(err)
	}
	var found []discovery.Server
	for i := range discovery.MaxServers {
		found = append(found, discovery.Server{Address: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), Port: 8080, Weight: 3})
	}
	for b.Loop() {
		if e := cfg.Sources[0].Template.Expand(source, found); len(e.Servers) != len(found) {
			b.Fatal(e.Refused)
		}
	}
}
