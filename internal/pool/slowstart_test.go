package pool

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var epoch = time.Unix(1000, 0)

// timed is a pool whose slow starts are told the time as the balancer does it: at
// each deadline, and before each verdict.
type timed struct {
	*Pool
	now    time.Time
	writes int // times that the table changed
}

func clocked(services ...Service) *timed {
	c := &timed{Pool: pool(services...), now: epoch}
	c.Advance(c.now)
	return c
}

// pass lets time pass.
func (c *timed) pass(d time.Duration) {
	end := c.now.Add(d)
	for {
		next := c.Deadline()
		if next.IsZero() || next.After(end) {
			break
		}
		before := c.Table()
		c.now = next
		c.Advance(next)
		if !c.Table().Equal(before) {
			c.writes++
		}
	}
	c.now = end
	c.Advance(end)
}

func slowly(d time.Duration) func(*Service) { return func(s *Service) { s.SlowStart = d } }

// The weight of a server that comes back follows a line over the time of its slow
// start, in the steps that are promised.
func TestSlowStartFollowsTheTable(t *testing.T) {
	const d = 20 * time.Second
	c := clocked(web(slowly(d)))
	say(c.Pool, "a", "b")
	if got, want := servers(t, c.Pool), "10.0.0.1:80*100 10.0.0.2:80*200"; got != want {
		t.Fatalf("at the start %s, want %s: nobody starts slowly there", got, want)
	}
	say(c.Pool, "-b")
	c.pass(time.Minute)
	say(c.Pool, "b")
	c.writes = 0
	for _, step := range []struct {
		at   time.Duration
		want int
	}{
		{0, 2},
		{999 * time.Millisecond, 2},
		{time.Second, 10},
		{1999 * time.Millisecond, 10},
		{2 * time.Second, 20},
		{5 * time.Second, 50},
		{10 * time.Second, 100},
		{19 * time.Second, 190},
		{19999 * time.Millisecond, 190},
		{d, 200},
		{time.Hour, 200},
	} {
		c.pass(step.at - c.now.Sub(epoch.Add(time.Minute)))
		if got, want := servers(t, c.Pool), fmt.Sprintf("10.0.0.1:80*100 10.0.0.2:80*%d", step.want); got != want {
			t.Errorf("after %s: %s, want %s", step.at, got, want)
		}
		if st := c.Snapshot()[0]; st.Weight != 3 || st.Servers[1].Effective != 2 {
			t.Errorf("after %s: live weight %d, effective weight %d; want 3 and 2, whatever the ramp", step.at, st.Weight, st.Servers[1].Effective)
		}
	}
	if c.writes != rampSteps {
		t.Errorf("the kernel was written to %d times, want %d", c.writes, rampSteps)
	}
	if at := c.Deadline(); !at.IsZero() {
		t.Errorf("there is a deadline at %s, want none", at)
	}
}

// Who starts slowly, and who does not.
func TestSlowStartOfWhom(t *testing.T) {
	const d = time.Minute
	third := func(s *Service) {
		s.Servers = append(s.Servers, Server{Address: addr("10.0.0.3"), Port: 80, Weight: 1, Checks: []CheckID{"c"}})
	}
	for _, tt := range []struct {
		name string
		edit []func(*Service)
		do   func(*timed)
		want string
	}{
		{"at the start, admitted at once", []func(*Service){atOnce}, func(*timed) {}, "100 200"},
		{"at the start, one much later", nil, func(c *timed) { say(c.Pool, "a"); c.pass(time.Hour); say(c.Pool, "b") }, "100 200"},
		{"who was found at work", nil, func(c *timed) { c.Adopt(found(kernelServer("10.0.0.2", 200))); say(c.Pool, "a", "b") }, "100 200"},
		{"who failed", nil, func(c *timed) { say(c.Pool, "a", "-b", "b") }, "100 2"},
		{"who fails again in between", nil, func(c *timed) { say(c.Pool, "a", "-b", "b"); c.pass(d / 2); say(c.Pool, "-b", "b") }, "100 2"},
		{"a new one of a service that works", nil, func(c *timed) {
			say(c.Pool, "a", "b")
			c.Reconfigure([]Service{web(slowly(d), third)})
			say(c.Pool, "c")
		}, "100 200 1"},
		{"who is starting at a reload goes on", nil, func(c *timed) {
			say(c.Pool, "a", "b", "-b", "b")
			c.pass(d / 2)
			c.Reconfigure([]Service{web(slowly(d), third)})
		}, "100 100"},
		{"… and is there when the reload makes an end of it", nil, func(c *timed) {
			say(c.Pool, "a", "b", "-b", "b")
			c.Reconfigure([]Service{web()})
		}, "1 2"},
		{"who comes back from draining", nil, func(c *timed) {
			say(c.Pool, "a", "b")
			c.Reconfigure([]Service{web(slowly(d), func(s *Service) { s.Servers[1].Drain = true })})
			c.Reconfigure([]Service{web(slowly(d))})
		}, "100 2"},
		{"who was held through a panic", []func(*Service){panics(60)}, func(c *timed) { say(c.Pool, "a", "b", "-b", "b") }, "100 200"},
		{"a scheduler to which weights mean something else", []func(*Service){func(s *Service) { s.Scheduler = "sh" }}, func(c *timed) {
			say(c.Pool, "-a", "a", "b")
		}, "1 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := clocked(web(append(tt.edit, slowly(d))...))
			tt.do(c)
			if got := weights(c.Pool); got != tt.want {
				t.Errorf("weights %s, want %s", got, tt.want)
			}
		})
	}
}

// weights prints the weights of the servers of a table of one service.
func weights(p *Pool) string {
	var out []string
	for _, s := range p.Table()[0].Servers {
		out = append(out, fmt.Sprint(s.Weight))
	}
	return strings.Join(out, " ")
}

// Ten thousand servers that come back at different times are told in a bounded
// number of steps, and the pool does not look at all of them for each.
func TestSlowStartOfMany(t *testing.T) {
	const n, d = 2000, 10 * time.Second
	s := web(slowly(d))
	s.Servers = nil
	for i := range n {
		s.Servers = append(s.Servers, Server{
			Address: addr(fmt.Sprintf("10.1.%d.%d", i/250, i%250+1)), Port: 80, Weight: 1, Checks: []CheckID{CheckID(fmt.Sprint(i))},
		})
	}
	c := clocked(s)
	for i := range n {
		c.Set(CheckID(fmt.Sprint(i)), true)
	}
	for i := range n {
		c.Set(CheckID(fmt.Sprint(i)), false)
		c.Set(CheckID(fmt.Sprint(i)), true)
	}
	c.pass(d)
	if c.writes > rampSteps {
		t.Errorf("%d changes of the table, want %d at most", c.writes, rampSteps)
	}
	for _, s := range c.Table()[0].Servers {
		if s.Weight != 100 {
			t.Fatalf("server %s has weight %d, want 100", s.Address, s.Weight)
		}
	}
}
