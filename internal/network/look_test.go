package network

import (
	"testing"
	"time"
)

// A look that was slow because the machine was busy is not one at much: to rely
// on it for a hundred times as long would blind Set for seconds.
func TestDelayIsNoCost(t *testing.T) {
	var l looks[int]
	list := func(bool) ([]int, error) {
		time.Sleep(20 * costly) // as the scheduler may have it
		return nil, nil
	}
	if _, err := l.get(false, list); err != nil {
		t.Fatal(err)
	}
	l.refresh()
	if l.has(false) {
		t.Errorf("a look that waited is good for long: it is said to have taken %v", l[0].took)
	}
	worked := func(bool) ([]int, error) {
		for began := threadTime(); threadTime()-began < 20*costly; {
		}
		return nil, nil
	}
	if _, err := l.get(false, worked); err != nil {
		t.Fatal(err)
	}
	l.refresh()
	if !l.has(false) {
		t.Errorf("a look that worked is good for no moment: it is said to have taken %v", l[0].took)
	}
}

// Without Watch nobody tells of what others remove, and no look is good for more
// than one Set, however costly it was.
func TestNoLookIsGoodUnwatched(t *testing.T) {
	h, m := host(t)
	h.Address("eth0", "10.0.0.1/24")
	routes, rules := []string{"10.9.0.0/16 via 10.0.0.254 dev eth0"}, []string{"priority 500 from 10.0.0.0/24 table 100"}
	want := full(State{}, routes, rules)
	for range 2 { // the first Set of a route does not look
		must(t, m.Set(t.Context(), "web", want))
	}
	m.seenRoutes[0].took, m.seenRules[0].took = time.Hour, time.Hour
	ip(t, h, "route del "+routes[0])
	ip(t, h, "rule del "+rules[0])
	must(t, m.Set(t.Context(), "web", want))
	wantList(t, "routes", routesOf(t, h, true), routes...)
	wantList(t, "rules", rulesOf(t, h, true), rules...)
}
