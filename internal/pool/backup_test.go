package pool

import (
	"strings"
	"testing"
)

// backups makes the servers of a farm from n on backups.
func backups(n int) func(*Service) {
	return func(s *Service) {
		for i := range s.Servers[n:] {
			s.Servers[n+i].Backup = true
		}
	}
}

func TestBackups(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit []func(*Service)
		say  string
		want string
		up   bool
	}{
		{"primaries serve", nil, "0 1 2 3 4", "0 1 2", true},
		{"as many as make the quorum", nil, "0 1 2 3 4 -0", "1 2", true},
		{"too few", nil, "0 1 2 3 4 -0 -1", "2 3 4", true},
		{"none", nil, "0 1 2 3 4 -0 -1 -2", "3 4", true},
		{"one backup is down", nil, "0 1 2 3 -4 -0 -1", "2 3", true},
		{"backups are not enough either", nil, "0 1 2 3 -4 -0 -1 -2", "3", false},
		{"primaries are back", nil, "0 1 2 3 4 -0 -1 -2 0 1", "0 1", true},
		{"a backup speaks first at the start", nil, "3 4", "", false},
		{"… and then the primaries fail", nil, "3 4 -0 -1", "3 4", true},
		{"hysteresis: not yet back", []func(*Service){quorum(2, 1)}, "0 1 2 3 4 -0 -1 -2 0 1", "0 1 3 4", true},
		{"hysteresis: back", []func(*Service){quorum(2, 1)}, "0 1 2 3 4 -0 -1 -2 0 1 2", "0 1 2", true},
		{"hysteresis: not yet gone", []func(*Service){quorum(2, 1)}, "0 1 2 3 4 -0 -1", "2", true},
		{"the fallback comes after the backups", []func(*Service){sorry}, "0 1 2 3 4 -0 -1 -2", "3 4", true},
		{"… when they are not enough", []func(*Service){sorry}, "0 1 2 3 4 -0 -1 -2 -3", "", false},
		{"the last good set comes before the backups", []func(*Service){panics(60)}, "0 1 2 3 4 -0 -1 -2", "1 2", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(farm(5, append([]func(*Service){quorum(2, 0), backups(3)}, tt.edit...)...))
			say(p, strings.Fields(tt.say)...)
			st := p.Snapshot()[0]
			if got := serving(p); got != tt.want || st.Up != tt.up {
				t.Errorf("after %s: %q serve, up %v; want %q, %v", tt.say, got, st.Up, tt.want, tt.up)
			}
		})
	}
}

// A backup that does not serve any more finishes the connections that it has.
func TestABackupKeepsItsPlace(t *testing.T) {
	p := pool(farm(2, backups(1)))
	say(p, "0", "1", "-0", "0")
	if got, want := servers(t, p), "10.0.0.1:80*1 10.0.0.2:80*0"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestBackupsSurviveARestart(t *testing.T) {
	p := New([]Service{farm(3, backups(1))}, found(kernelServer("10.0.0.2", 1), kernelServer("10.0.0.3", 1)))
	if got, want := serving(p), "1 2"; got != want {
		t.Errorf("%q serve, want %q: what was found at work", got, want)
	}
	say(p, "0")
	if got, want := serving(p), "0"; got != want {
		t.Errorf("%q serve, want %q", got, want)
	}
}
