package director

import (
	"strings"
	"testing"

	"baton/internal/balancer"
	"baton/internal/config"
	"baton/internal/notify"
)

func TestQuorumCommands(t *testing.T) {
	var ran []string
	q := newQuorumKeeper(func(c notify.Command) { ran = append(ran, c.Args[0]+" "+strings.Join(c.Env, " ")) })
	commands := func(services ...string) *config.Config {
		cfg := new(config.Config)
		for _, s := range services {
			cfg.QuorumCommands = append(cfg.QuorumCommands, config.QuorumCommands{Service: s, Up: []string{"/up"}, Down: []string{"/down"}})
		}
		return cfg
	}
	status := func(up bool) balancer.Status {
		return balancer.Status{Services: []balancer.ServiceStatus{{Name: "web", Up: up, Reason: "r"}, {Name: "other", Up: up}}}
	}
	move := func(from, to string) {
		q.transition(balancer.Transition{Service: "web", From: from, To: to, Reason: "r"})
	}
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"not configured", func() { move("down", "up") }, ""},
		{"down at the start is no loss", func() { q.configure(commands("web")); q.look(status(false)) }, ""},
		{"found at work", func() { q.look(status(true)) }, "/up BATON_SERVICE=web BATON_STATE=up BATON_REASON=r"},
		{"… and only once", func() { q.look(status(true)) }, ""},
		{"lost", func() { move("up", "down") }, "/down BATON_SERVICE=web BATON_STATE=down BATON_REASON=r"},
		{"an old status comes late", func() { q.look(status(true)) }, ""},
		{"a server's transition", func() { q.transition(balancer.Transition{Service: "web", Server: "10.0.0.1:80", To: "up"}) }, ""},
		{"a panic", func() { move("normal", "panic") }, ""},
		{"regained", func() { move("down", "up") }, "/up BATON_SERVICE=web BATON_STATE=up BATON_REASON=r"},
		{"a reload changes nothing", func() { q.configure(commands("web")); q.look(status(true)) }, ""},
		{
			"one that gets commands is told once", func() { q.configure(commands()); q.configure(commands("web")); q.look(status(true)) },
			"/up BATON_SERVICE=web BATON_STATE=up BATON_REASON=r",
		},
	} {
		ran = nil
		step.do()
		if got := strings.Join(ran, "\n"); got != step.want {
			t.Errorf("%s: ran %q, want %q", step.name, got, step.want)
		}
	}
}
