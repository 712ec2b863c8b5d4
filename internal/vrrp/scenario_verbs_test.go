package vrrp

import (
	"fmt"
	"strconv"
	"time"
)

// scenarioVerbs are the events of scenarios. Where a host is wanted, an event
// that is for routers is for all of its routers.
var scenarioVerbs = map[string]func(c *scenario, words []string) error{
	"end":   func(*scenario, []string) error { return nil },
	"start": eachHost((*sim).start),
	// stop is a planned stop, resign a failover, resume its end.
	"stop": func(c *scenario, words []string) error {
		return eachHost(func(s *sim, host int) {
			if c.alike[host] {
				s.crash(host, true)
				return
			}
			s.tellAll(host, Event{Kind: Shutdown}, "is stopped")
		})(c, words)
	},
	"resign":  eachHost(func(s *sim, host int) { s.tellAll(host, Event{Kind: Resign}, "resigns") }),
	"resume":  eachHost(func(s *sim, host int) { s.tellAll(host, Event{Kind: Resume}, "resumes") }),
	"synced":  eachHost(func(s *sim, host int) { s.tellAll(host, Event{Kind: Synced}, "has all connections") }),
	"recover": router(func(s *sim, i int) { s.command(i, Event{Kind: Recovered}) }),
	"fail":    router(func(s *sim, i int) { s.command(i, Event{Kind: Failed, Reason: "its interface is down"}) }),
	// kill ends a daemon before it can do anything, die leaves its will to be executed.
	"kill": eachHost(func(s *sim, host int) { s.crash(host, false) }),
	"die":  eachHost(func(s *sim, host int) { s.crash(host, true) }),
	// stall is SIGSTOP; pause is that of a virtual machine, whose clock stands still.
	"stall": standStill(false),
	"pause": standStill(true),
	// priority is what tracking makes of it.
	"priority": func(c *scenario, words []string) error {
		if len(words) != 2 {
			return fmt.Errorf("priority: a router and a number are wanted, not %q", words)
		}
		p, err := strconv.ParseUint(words[1], 10, 8)
		if err != nil {
			return err
		}
		return router(func(s *sim, i int) {
			sp := s.nodes[i].spec
			sp.Priority = uint8(p)
			s.logf("%s is told: priority %d", s.nodes[i].name, p)
			s.command(i, Event{Kind: Configured, Spec: &sp})
		})(c, words[:1])
	},
	// cut a b: on no path do they hear each other; with a number, only on that one.
	"cut": func(c *scenario, words []string) error {
		path := -1
		if len(words) == 3 {
			var err error
			if path, err = strconv.Atoi(words[2]); err != nil {
				return err
			}
			words = words[:2]
		}
		var ends []int
		if err := router(func(_ *sim, i int) { ends = append(ends, i) })(c, words); err != nil || len(ends) != 2 {
			return fmt.Errorf("cut: two routers are wanted, and perhaps a path: %w", err)
		}
		for p := range c.paths {
			if path < 0 || p == path {
				c.sim.cut[p][ends[0]][ends[1]], c.sim.cut[p][ends[1]][ends[0]] = true, true
			}
		}
		on := ""
		if path >= 0 {
			on = fmt.Sprintf(" on path %d", path)
		}
		c.logf("%s and %s do not hear each other%s", c.nodes[ends[0]].name, c.nodes[ends[1]].name, on)
		c.disturbed()
		return nil
	},
	"mend": func(c *scenario, _ []string) error { c.mend(); return nil },
}

// tellAll gives an event to all routers of a host.
func (s *sim) tellAll(host int, ev Event, says string) {
	s.logf("%c %s", 'a'+host, says)
	for _, i := range s.byHost[host] {
		s.command(i, ev)
	}
}

// eachHost is for the hosts that words name.
func eachHost(f func(s *sim, host int)) func(c *scenario, words []string) error {
	return func(c *scenario, words []string) error {
		for _, w := range words {
			host := int(w[0]) - 'a'
			if len(w) != 1 || host < 0 || host >= c.hosts {
				return fmt.Errorf("there is no node %q", w)
			}
			f(c.sim, host)
		}
		return nil
	}
}

// router is for the routers that words name.
func router(f func(s *sim, i int)) func(c *scenario, words []string) error {
	return func(c *scenario, words []string) error {
		for _, w := range words {
			found := false
			for i := range c.nodes {
				if c.nodes[i].name == w {
					found = true
					f(c.sim, i)
				}
			}
			if !found {
				return fmt.Errorf("there is no router %q", w)
			}
		}
		return nil
	}
}

func standStill(frozen bool) func(c *scenario, words []string) error {
	return func(c *scenario, words []string) error {
		if len(words) != 2 {
			return fmt.Errorf("a node and a duration are wanted, not %q", words)
		}
		d, err := time.ParseDuration(words[1])
		if err != nil {
			return err
		}
		return eachHost(func(s *sim, host int) { s.stall(host, int64(d), frozen) })(c, words[:1])
	}
}
