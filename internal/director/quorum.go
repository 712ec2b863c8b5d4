package director

import (
	"context"
	"sync"
	"time"

	"baton/internal/balancer"
	"baton/internal/config"
	"baton/internal/notify"
)

// quorumKeeper has the commands run that services name for when their quorum comes
// and goes.
type quorumKeeper struct {
	tell func(notify.Command)

	mu       sync.Mutex
	commands map[string]config.QuorumCommands // by service
	told     map[string]string                // up or down, by service; absent: nothing yet
}

func newQuorumKeeper(tell func(notify.Command)) *quorumKeeper {
	return &quorumKeeper{tell: tell, told: make(map[string]string)}
}

// configure takes over the commands of a configuration.
func (q *quorumKeeper) configure(cfg *config.Config) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.commands = make(map[string]config.QuorumCommands, len(cfg.QuorumCommands))
	for _, c := range cfg.QuorumCommands {
		q.commands[c.Service] = c
	}
	for service := range q.told {
		if _, has := q.commands[service]; !has {
			delete(q.told, service)
		}
	}
}

// transition takes a transition of a service or server.
func (q *quorumKeeper) transition(t balancer.Transition) {
	if t.Server != "" || t.To != string(balancer.Up) && t.To != string(balancer.Down) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.report(t.Service, t.To, t.Reason)
}

// look reports the services that have been up since they were there, and had no
// transition by that: those that were found at work at the start.
func (q *quorumKeeper) look(s balancer.Status) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.commands) == 0 {
		return
	}
	for _, svc := range s.Services {
		if svc.Up && q.told[svc.Name] == "" {
			q.report(svc.Name, string(balancer.Up), svc.Reason)
		}
	}
}

// report has the command for a state run. The caller holds the mutex.
func (q *quorumKeeper) report(service, state, reason string) {
	c, has := q.commands[service]
	if !has {
		return
	}
	q.told[service] = state
	args := c.Up
	if state == string(balancer.Down) {
		args = c.Down
	}
	if len(args) == 0 {
		return
	}
	q.tell(notify.Command{
		Queue: service, What: "service " + service + " is " + state, Args: args,
		Env: []string{"BATON_SERVICE=" + service, "BATON_STATE=" + state, "BATON_REASON=" + reason},
	})
}

// run looks until ctx ends.
func (q *quorumKeeper) run(ctx context.Context, status func() balancer.Status) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			q.look(status())
		}
	}
}
