package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"baton/internal/check"
	"baton/internal/pool"
	"baton/internal/speaker"
)

// TestValid compares what files become with golden files.
func TestValid(t *testing.T) {
	t.Chdir("testdata/valid")
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".yaml")
		t.Run(name, func(t *testing.T) {
			cfg, err := Load(file, Options{LookupEnv: validEnv, ReadSecret: testSecret})
			if err != nil {
				t.Fatal(err)
			}
			checkConfig(t, cfg)
			golden(t, name+".json", show(t, cfg))
		})
	}
}

func validEnv(key string) (string, bool) {
	v, ok := map[string]string{"NAME": "lb-a", "PORT": "8080", "SMALL": "9", "FALSE": "false"}[key]
	return v, ok
}

// show prints a config with its jobs numbered in the order of their use, because
// their IDs are of no interest.
func show(t *testing.T, cfg *Config) string {
	t.Helper()
	copied := *cfg
	copied.Balancer.Jobs = make(map[pool.CheckID]*check.Job)
	number := make(map[pool.CheckID]pool.CheckID)
	rename := func(ids []pool.CheckID) []pool.CheckID {
		var out []pool.CheckID
		for _, id := range ids {
			if number[id] == "" {
				number[id] = pool.CheckID(fmt.Sprintf("job %02d", len(number)+1))
				copied.Balancer.Jobs[number[id]] = cfg.Balancer.Jobs[id]
			}
			out = append(out, number[id])
		}
		return out
	}
	copied.Balancer.Services = slices.Clone(cfg.Balancer.Services)
	for i := range copied.Balancer.Services {
		s := &copied.Balancer.Services[i]
		s.Servers = slices.Clone(s.Servers)
		for j := range s.Servers {
			s.Servers[j].Checks = rename(s.Servers[j].Checks)
			if id := s.Servers[j].Agent; id != "" {
				s.Servers[j].Agent = rename([]pool.CheckID{id})[0]
			}
		}
		if s.Fallback != nil {
			f := *s.Fallback
			f.Checks = rename(f.Checks)
			s.Fallback = &f
		}
	}
	out, err := json.MarshalIndent(copied, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

// checkConfig holds for every config that was accepted.
func checkConfig(t testing.TB, cfg *Config) {
	t.Helper()
	used := make(map[pool.CheckID]bool)
	for _, s := range cfg.Balancer.Services {
		if s.Name == "" || len(s.Keys) == 0 || s.Scheduler == "" || s.Quorum.Min < 1 || s.Quorum.Hysteresis >= s.Quorum.Min {
			t.Errorf("service %+v", s)
		}
		if (s.Flags&pool.Persistent != 0) != (s.PersistenceSeconds > 0) || s.PersistencePrefix == 0 {
			t.Errorf("persistence of %+v", s)
		}
		servers := s.Servers
		if s.Fallback != nil {
			servers = append(slices.Clone(servers), *s.Fallback)
		}
		for _, v := range servers {
			if !v.Address.IsValid() || v.Forward != pool.TUN && v.Address.Is6() != s.Keys[0].IPv6 {
				t.Errorf("server %+v of %s", v, s.Name)
			}
			for _, id := range v.Checks {
				used[id] = true
			}
			if v.Agent != "" {
				used[v.Agent] = true
			}
		}
	}
	for id, j := range cfg.Balancer.Jobs {
		if !used[id] || string(id) != j.ID() {
			t.Errorf("job %s is named wrongly or not used", id)
		}
		port, target := j.Spec.Target.Port() != 0, j.Spec.Target.IsValid()
		whole := j.Spec.Exec != nil || target == (j.Spec.File == nil) && port == (j.Spec.File == nil && j.Spec.Ping == nil)
		if j.Spec.Timeout <= 0 || j.Spec.Timeout > j.Schedule.Interval || !whole || j.Spec.Kind() == "none" {
			t.Errorf("job %+v", j)
		}
	}
	if len(used) != len(cfg.Balancer.Jobs) {
		t.Errorf("%d checks are used, %d defined", len(used), len(cfg.Balancer.Jobs))
	}
	for _, r := range cfg.Routers {
		checkRouter(t, cfg, r)
	}
	checkTracks(t, cfg)
	grouped := make(map[string]bool)
	for _, g := range cfg.SyncGroups {
		if g.Name == "" || len(g.Routers) < 2 {
			t.Errorf("sync group %+v", g)
		}
		for _, name := range g.Routers {
			known := slices.ContainsFunc(cfg.Routers, func(r speaker.Router) bool { return r.Name == name })
			if !known || grouped[name] {
				t.Errorf("member %q of sync group %s", name, g.Name)
			}
			grouped[name] = true
		}
	}
	for _, s := range cfg.ConnectionSync {
		first := cfg.ConnectionSync[0]
		first.Router = s.Router
		if s != first || s.Interface == "" || !s.Group.IsMulticast() || s.Port == 0 || s.TTL == 0 {
			t.Errorf("connection sync %+v", s)
		}
	}
}

// TestSharedProbes: services with equal checks of the same servers share them.
func TestSharedProbes(t *testing.T) {
	cfg, err := Parse("x", []byte(`
services:
  - {name: a, address: 10.0.0.1:80, check: {http: {}}, servers: [10.0.0.11, 10.0.0.12]}
  - {name: b, address: 10.0.0.2:80, check: {http: {status: 200-299}}, servers: [10.0.0.11, 10.0.0.12]}
  - {name: c, address: 10.0.0.3:80, check: {http: {}, rise: 3}, servers: [10.0.0.11]}
`))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(cfg.Balancer.Jobs); n != 3 {
		t.Errorf("%d jobs, want 3", n)
	}
}

func TestHash(t *testing.T) {
	t.Chdir("testdata/valid")
	cfg, err := Load("include.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	for _, f := range cfg.Files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(b)
	}
	if want := hex.EncodeToString(h.Sum(nil))[:12]; cfg.Hash != want || len(cfg.Files) != 5 {
		t.Errorf("hash %s of %d files, want %s of 5", cfg.Hash, len(cfg.Files), want)
	}
	values := make(map[string]bool)
	for _, name := range []string{"a", "b"} {
		cfg, err := Load("x", Options{
			ReadFile:  func(string) ([]byte, error) { return []byte("env: true\nnode: ${X}"), nil },
			LookupEnv: func(string) (string, bool) { return name, true },
		})
		if err != nil || cfg.Node != name {
			t.Fatal(cfg, err)
		}
		values[cfg.Hash] = true
	}
	if len(values) != 2 {
		t.Error("the hash does not depend on variables that were used")
	}
}

// TestConfigSurvivesJSON: the director keeps the last good configuration as JSON,
// and what it says of routers, with their keys, goes to pulse in that form.
func TestConfigSurvivesJSON(t *testing.T) {
	t.Chdir("testdata/valid")
	for _, file := range []string{"router_vrrp.yaml", "service_full.yaml"} {
		cfg, err := Load(file, Options{LookupEnv: validEnv, ReadSecret: testSecret})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var again Config
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(cfg, &again, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{})); diff != "" {
			t.Errorf("%s (-before +after):\n%s", file, diff)
		}
	}
}

func TestLoadUnreadable(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"), Options{})
	var list Errors
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, &list) {
		t.Errorf("got %v", err)
	}
}

func TestParseReadsNothing(t *testing.T) {
	_, err := Parse("x.yaml", []byte("include: [/etc/passwd, '*.yaml']\n"))
	want := "x.yaml:1:11: include: there are no files here; put everything in one file\n" +
		"x.yaml:1:24: include: there are no files here; put everything in one file"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
