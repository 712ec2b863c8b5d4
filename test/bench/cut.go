package main

import (
	"errors"
	"time"

	"baton/test/lab"
)

// cut is one lost link.
type cut struct {
	silence time.Duration // on the wire, from a's last advert to b's first
	gap     time.Duration // of the client
	lost    int
}

// errUnclear means that a cut tells nothing: the load had moved the VIP just
// before, or nobody spoke.
var errUnclear = errors.New("a was not the master when its link was cut")

// cut takes a's link down right after an advert, as far as the load lets us see
// it, and puts it in again when b has taken over.
func (s *session) cut() (c cut, err error) {
	flow, err := s.stream(s.bench.every)
	if err != nil {
		return c, err
	}
	time.Sleep(200 * time.Millisecond)
	from := len(s.seen.Packets())
	unclear := s.awaitAdvert(s.seen)
	struck := time.Now()
	s.links[0].Down()
	_, err = s.seen.Await(10*s.advert+5*time.Second, func(p lab.Packet) bool {
		a, ok := parseAdvert(p)
		return ok && a.source == sources[1] && a.priority > 0 && a.at.After(struck)
	})
	unclear = errors.Join(unclear, err)
	time.Sleep(s.advert + 300*time.Millisecond)
	result, err := flow.stop()
	s.links[0].Up()
	var clear bool
	c.silence, clear = silence(adverts(s.seen, from))
	if err := errors.Join(err, s.settle(lab.Patience(30*time.Second))); err != nil {
		return c, err
	}
	if !clear || unclear != nil {
		return c, errors.Join(errUnclear, unclear)
	}
	c.gap, c.lost = result.Gap, result.Lost
	return c, nil
}
