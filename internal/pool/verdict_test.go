package pool

import (
	"math"
	"testing"
)

// saysWeight is the verdict of a check that passes and says a weight.
func saysWeight(n uint32) Verdict { return Verdict{Up: true, Weighted: true, Weight: n} }

func TestWeightsOfChecks(t *testing.T) {
	two := func(s *Service) { s.Servers[0].Checks = []CheckID{"a", "a2"} }
	type told struct {
		id CheckID
		v  Verdict
	}
	pass := Verdict{Up: true}
	for _, tt := range []struct {
		name   string
		edit   []func(*Service)
		tell   []told
		want   string
		weight uint64
	}{
		{"none is said", nil, []told{{"a", pass}}, "10.0.0.1:80*1", 1},
		{"one is said", nil, []told{{"a", saysWeight(7)}}, "10.0.0.1:80*7", 7},
		{"it changes", nil, []told{{"a", saysWeight(7)}, {"a", saysWeight(3)}}, "10.0.0.1:80*3", 3},
		{"none is said any more", nil, []told{{"a", saysWeight(7)}, {"a", pass}}, "10.0.0.1:80*1", 1},
		{"0: no new clients", nil, []told{{"a", saysWeight(0)}}, "10.0.0.1:80*0", 0},
		{"the most", nil, []told{{"a", saysWeight(math.MaxInt32)}}, "10.0.0.1:80*2147483647", math.MaxInt32},
		{"of several the smallest counts", []func(*Service){two}, []told{{"a", saysWeight(7)}, {"a2", saysWeight(5)}}, "10.0.0.1:80*5", 5},
		{"… in either order", []func(*Service){two}, []told{{"a2", saysWeight(5)}, {"a", saysWeight(7)}}, "10.0.0.1:80*5", 5},
		{"one of two says nothing of it", []func(*Service){two}, []told{{"a", saysWeight(7)}, {"a2", pass}}, "10.0.0.1:80*7", 7},
		{"one of two fails", []func(*Service){two}, []told{{"a", saysWeight(7)}, {"a2", Verdict{}}}, "", 0},
		{"who is held keeps the weight", []func(*Service){panics(100)}, []told{{"b", pass}, {"a", saysWeight(7)}, {"a", Verdict{}}}, "10.0.0.1:80*7 10.0.0.2:80*2", 9},
		{"dh: who has no weight has no place", []func(*Service){func(s *Service) { s.Scheduler = "dh" }}, []told{{"a", saysWeight(0)}, {"b", pass}}, "10.0.0.2:80*2", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(web(tt.edit...))
			for _, step := range tt.tell {
				p.Tell(step.id, step.v)
			}
			if got, weight := servers(t, p), p.Snapshot()[0].Weight; got != tt.want || weight != tt.weight {
				t.Errorf("%s, live weight %d; want %s, %d", got, weight, tt.want, tt.weight)
			}
		})
	}
}

// What an agent says is followed at once, whatever the checks say meanwhile.
func TestAgent(t *testing.T) {
	agent := func(s *Service) { s.Servers[0].Agent = "g" }
	percent := func(n uint32) *Agent { return &Agent{Weighs: true, Percent: n} }
	for _, tt := range []struct {
		name   string
		edit   []func(*Service)
		agent  *Agent // nil: it has said nothing
		say    []string
		want   string
		state  State
		weight uint64
	}{
		{name: "silent", say: []string{"a", "b"}, want: "10.0.0.1:80*100 10.0.0.2:80*200", state: Up, weight: 3},
		{name: "half", agent: percent(50), say: []string{"a", "b"}, want: "10.0.0.1:80*50 10.0.0.2:80*200", state: Up, weight: 3},
		{name: "more than all", agent: percent(250), say: []string{"a"}, want: "10.0.0.1:80*250", state: Up, weight: 3},
		{name: "nothing", agent: percent(0), say: []string{"a", "b"}, want: "10.0.0.1:80*0 10.0.0.2:80*200", state: Up, weight: 2},
		{name: "before the checks", agent: percent(50), say: []string{"b"}, want: "10.0.0.2:80*200", state: Checking, weight: 2},
		{name: "down", agent: &Agent{Down: true}, say: []string{"a"}, want: "", state: Down},
		{name: "maintenance", agent: &Agent{Mode: AgentMaint}, say: []string{"a"}, want: "", state: Disabled},
		{name: "the check fails", agent: percent(50), say: []string{"-a"}, want: "", state: Down},
		{
			name: "a weight that one unit cannot show", edit: []func(*Service){func(s *Service) { s.Scheduler = "rr" }},
			agent: percent(10), say: []string{"a", "b"}, want: "10.0.0.1:80*1 10.0.0.2:80*2", state: Up, weight: 3,
		},
		{
			name: "weights too large for fine steps", edit: []func(*Service){func(s *Service) { s.Servers[1].Weight = math.MaxInt32 }},
			agent: percent(50), say: []string{"a", "b"}, want: "10.0.0.1:80*1 10.0.0.2:80*2147483647", state: Up, weight: math.MaxInt32 + 1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(web(append([]func(*Service){agent}, tt.edit...)...))
			if tt.agent != nil {
				p.Tell("g", Verdict{Up: true, Agent: *tt.agent})
			}
			say(p, tt.say...)
			st := p.Snapshot()[0]
			if got := servers(t, p); got != tt.want || st.Servers[0].State != tt.state || st.Weight != tt.weight {
				t.Errorf("%s, %s, live weight %d; want %s, %s, %d", got, st.Servers[0].State, st.Weight, tt.want, tt.state, tt.weight)
			}
		})
	}
}

func TestAgentDrains(t *testing.T) {
	p := pool(web(func(s *Service) { s.Servers[0].Agent = "g" }))
	say(p, "a", "b")
	p.Tell("g", Verdict{Up: true, Agent: Agent{Mode: AgentDrain}})
	if got, want := servers(t, p), "10.0.0.1:80*0 10.0.0.2:80*200"; got != want {
		t.Errorf("draining: %s, want %s", got, want)
	}
	p.Release("web", p.Snapshot()[0].Servers[0].Spec.AddrPort())
	if got, want := servers(t, p), "10.0.0.2:80*200"; got != want {
		t.Errorf("without connections: %s, want %s", got, want)
	}
	p.Tell("g", Verdict{Agent: Agent{Mode: AgentDrain}}) // not reached any more
	if got, want := servers(t, p), "10.0.0.2:80*200"; got != want {
		t.Errorf("when the agent is silent: %s, want %s", got, want)
	}
	p.Tell("g", Verdict{Up: true})
	if got, want := servers(t, p), "10.0.0.1:80*100 10.0.0.2:80*200"; got != want {
		t.Errorf("ready: %s, want %s", got, want)
	}
}

// An agent that had a server at weight 0 is asked before the server gets clients.
func TestTheWeightZeroThatWasFoundCounts(t *testing.T) {
	p := New([]Service{web(func(s *Service) { s.Servers[0].Agent, s.Servers[0].Dynamic = "g", true })},
		found(kernelServer("10.0.0.1", 0), kernelServer("10.0.0.2", 200)))
	say(p, "a", "b")
	if got, want := servers(t, p), "10.0.0.1:80*0 10.0.0.2:80*200"; got != want {
		t.Errorf("before the agent speaks: %s, want %s", got, want)
	}
	p.Set("g", false) // it cannot be reached
	if got, want := servers(t, p), "10.0.0.1:80*100 10.0.0.2:80*200"; got != want {
		t.Errorf("afterwards: %s, want %s", got, want)
	}
}

// A program that is restarted keeps the weight that it finds until those have
// spoken who decide about it.
func TestTheWeightThatWasFoundCounts(t *testing.T) {
	p := New([]Service{web(func(s *Service) { s.Servers[0].Agent, s.Servers[0].Dynamic = "g", true })},
		found(kernelServer("10.0.0.1", 30), kernelServer("10.0.0.2", 5)))
	for _, step := range []struct {
		name, want string
		do         func()
	}{
		{"found", "10.0.0.1:80*30 10.0.0.2:80*200", func() {}},
		{"the check passes", "10.0.0.1:80*30 10.0.0.2:80*200", func() { p.Set("a", true) }},
		{"the agent speaks", "10.0.0.1:80*40 10.0.0.2:80*200", func() {
			p.Tell("g", Verdict{Up: true, Agent: Agent{Weighs: true, Percent: 40}})
		}},
	} {
		step.do()
		if got := servers(t, p); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}
