package director

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/internal/api"
)

func (s *stage) marksDir(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(s.dir, name)
	must(t, os.MkdirAll(dir, 0o700))
	return dir
}

func touch(t *testing.T, parts ...string) string {
	t.Helper()
	path := filepath.Join(parts...)
	must(t, os.WriteFile(path, nil, 0o600))
	return path
}

// A file holds a server from the start, while it is there, beside an operator, and
// over a reload that names another folder.
func TestMaintenanceDir(t *testing.T) {
	s := newStage(t)
	dir, other := s.marksDir(t, "marks"), s.marksDir(t, "other")
	s.write("maintenance_dir: "+dir+"\n"+webService, router("web", 51, 150))
	one := touch(t, dir, "one")
	touch(t, dir, "10.9.9.9:80")
	touch(t, other, "10.0.0.2:81")
	onService(s)
	becomes := func(server, state string) api.RealServer {
		t.Helper()
		var srv api.RealServer
		s.eventually(func() bool { srv = s.server(server); return srv.State == state })
		return srv
	}
	if srv := s.server("one"); srv.State != "draining" || !strings.HasPrefix(srv.Held, "file "+one+" exists since ") || srv.Reason != srv.Held {
		t.Errorf("at the start: %+v", srv)
	}
	// Both count.
	out := s.override("one", api.ServerPatch{State: api.ServerDraining})
	if srv := out.Server; !strings.HasPrefix(srv.Reason, "drained by ") || !strings.HasSuffix(srv.Reason, srv.Held) {
		t.Errorf("drained besides: %+v", srv)
	}
	out = s.override("one", api.ServerPatch{State: api.ServerEnabled})
	if out.Server.State != "draining" || len(out.Notes) == 0 || !strings.Contains(out.Notes[0], "it is draining all the same: file "+one) {
		t.Errorf("enabled: %+v", out)
	}
	must(t, os.Remove(one))
	becomes("one", "up")
	touch(t, dir, "10.0.0.2")
	becomes("10.0.0.2:80", "draining")
	becomes("10.0.0.2:81", "draining")
	s.happened("server web up→draining file " + dir)
	s.eventually(func() bool { return strings.Contains(s.log.String(), "names no server") })
	time.Sleep(50 * time.Millisecond)
	if n := strings.Count(s.log.String(), "names no server"); n != 1 || !strings.Contains(s.log.String(), "file=10.9.9.9:80") {
		t.Errorf("said %d times that a name is not known\n%s", n, s.log)
	}

	s.write("maintenance_dir: "+other+"\n"+webService, router("web", 51, 150))
	_, err := s.client(s.socket).Reload(t.Context())
	must(t, err)
	if a, b := s.server("10.0.0.2:80"), s.server("10.0.0.2:81"); a.State != "up" || b.State != "draining" || !strings.Contains(b.Held, other) {
		t.Errorf("with another folder: %+v %+v", a, b)
	}
	must(t, os.RemoveAll(other))
	must(t, os.WriteFile(other, nil, 0o600)) // no folder any more
	s.eventually(func() bool {
		return strings.Contains(strings.Join(s.status().Problems, "\n"), "maintenance_dir: cannot be read")
	})
	if b := s.server("10.0.0.2:81"); b.State != "draining" {
		t.Errorf("a folder that cannot be read brings a server back: %+v", b)
	}
	s.write(webService, router("web", 51, 150))
	_, err = s.client(s.socket).Reload(t.Context())
	must(t, err)
	becomes("10.0.0.2:81", "up")
	must(t, s.stop())
}
