package pool

import (
	"fmt"
	"strings"
	"testing"
)

func panics(percent uint8) func(*Service) { return func(s *Service) { s.PanicThreshold = percent } }

// farm is a service of n servers of weight 1 with the checks "0", "1", …
func farm(n int, edit ...func(*Service)) Service {
	s := web()
	s.Servers = nil
	for i := range n {
		s.Servers = append(s.Servers, Server{Address: addr(fmt.Sprintf("10.0.0.%d", i+1)), Port: 80, Weight: 1, Checks: []CheckID{CheckID(fmt.Sprint(i))}})
	}
	for _, e := range edit {
		e(&s)
	}
	return s
}

// serving prints the numbers of the servers of a farm that get clients.
func serving(p *Pool) string {
	var out []string
	for i, s := range p.Snapshot()[0].Servers {
		if s.Weight > 0 {
			out = append(out, fmt.Sprint(i))
		}
	}
	return strings.Join(out, " ")
}

func TestPanic(t *testing.T) {
	all := "0 1 2 3 4 5 6 7 8 9"
	for _, tt := range []struct {
		name  string
		edit  []func(*Service)
		say   string
		want  string
		panic bool
	}{
		{"half are up", nil, all + " -0 -1 -2 -3 -4", "5 6 7 8 9", false},
		{"one more fails, and serves on", nil, all + " -0 -1 -2 -3 -4 -5", "5 6 7 8 9", true},
		{"all fail", nil, all + " -0 -1 -2 -3 -4 -5 -6 -7 -8 -9", "5 6 7 8 9", true},
		{"who comes back in the meantime serves", nil, all + " -0 -1 -2 -3 -4 -5 -6 0", "0 5 6 7 8 9", true},
		{"… and is not taken out again", nil, all + " -0 -1 -2 -3 -4 -5 -6 0 -0", "0 5 6 7 8 9", true},
		{"enough are back", nil, all + " -0 -1 -2 -3 -4 -5 -6 0 1", "0 1 7 8 9", false},
		{"off", []func(*Service){panics(0)}, all + " -0 -1 -2 -3 -4 -5", "6 7 8 9", false},
		{"at 100 %", []func(*Service){panics(100)}, all + " -3", all, true},
		{"at a start nobody is missed who has not spoken", nil, "-0 -1 -2 -3 -4", "", false},
		{"at a start nobody is kept who never was up", nil, "-0 -1 -2 -3 -4 -5 6", "6", true},
		{"a shared check takes all at once, and so takes nobody", []func(*Service){func(s *Service) {
			for i := range s.Servers {
				s.Servers[i].Checks = []CheckID{"0"}
			}
		}}, "0 -0", all, true},
		{"who drains is not counted", []func(*Service){func(s *Service) {
			for i := range 4 {
				s.Servers[i].Drain = true
			}
		}}, all + " -4 -5 -6", "7 8 9", false},
		{"backups are not counted", []func(*Service){func(s *Service) {
			for i := range 4 {
				s.Servers[i].Backup = true
			}
		}}, all + " -4 -5 -6", "7 8 9", false},
		{"quiesced ones serve on as well", []func(*Service){quiesce}, all + " -0 -1 -2 -3 -4 -5", "5 6 7 8 9", true},
		{
			"the fallback does not serve while the last good set makes the quorum",
			[]func(*Service){sorry, quorum(5, 0)},
			all + " -0 -1 -2 -3 -4 -5 -6 -7 -8 -9", "5 6 7 8 9", true,
		},
		{"it does when the last good set does not", []func(*Service){sorry, quorum(6, 0)}, all + " -0 -1 -2 -3 -4 -5", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(farm(10, append([]func(*Service){panics(50)}, tt.edit...)...))
			say(p, strings.Fields(tt.say)...)
			st := p.Snapshot()[0]
			if got := serving(p); got != tt.want || st.Panic != tt.panic {
				t.Errorf("after %s: %q serve, panic %v; want %q, %v", tt.say, got, st.Panic, tt.want, tt.panic)
			}
			if st.Panic && !strings.Contains(st.Reason, "panic_threshold") {
				t.Errorf("the reason %q does not name the panic", st.Reason)
			}
		})
	}
}

func TestPanicSurvivesAReload(t *testing.T) {
	p := pool(farm(4, panics(75)))
	say(p, "0", "1", "2", "3", "-0", "-1", "-2", "-3")
	p.Reconfigure([]Service{farm(5, panics(75))})
	if got, want := serving(p), "1 2 3"; got != want {
		t.Errorf("%q serve after the reload, want %q", got, want)
	}
	p.Reconfigure([]Service{farm(5)})
	if got := serving(p); got != "" {
		t.Errorf("%q serve after panic_threshold was taken away, want nobody", got)
	}
}

// A program that is restarted in a panic finds the last good set in the kernel. Its
// checks fail one after the other, and none of them is lost by that.
func TestPanicSurvivesARestart(t *testing.T) {
	p := New([]Service{farm(10, panics(50))}, found(kernelServer("10.0.0.6", 1), kernelServer("10.0.0.7", 1),
		kernelServer("10.0.0.8", 1), kernelServer("10.0.0.9", 1), kernelServer("10.0.0.10", 1)))
	say(p, "-0", "-1", "-2", "-3", "-4", "9", "-5", "-6", "-7", "-8")
	if got, want := serving(p), "5 6 7 8 9"; got != want {
		t.Errorf("%q serve, want %q", got, want)
	}
}
