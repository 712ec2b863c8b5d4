package ipvs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"baton/internal/pool"
)

// sampleRounds bounds how old what [Kernel.Sample] remembers can be: each call
// reads at least this part of the services anew.
const sampleRounds = 30

// memory is what a Kernel remembers of the table between two samples.
type memory struct {
	services map[pool.Key]remembered
	cursor   pool.Key // the last service that was read in turn
}

// remembered are the servers of a service as they were last read.
type remembered struct {
	servers     []Server
	connections uint64 // of the service, then
	name        string // in a glance
	digest      uint64 // of the servers, before they were read
	awaited     bool   // one that gets no new connections still has some
}

// Sample is a [Kernel.Dump] at bounded cost. The services, with their counters,
// are always read, in one exchange. Their servers need an exchange for each
// service, which for large tables costs more than a comparison every second is
// worth: they are read in turn, for as long as the budget allows and at least a
// thirtieth of the services, and the others are returned as they were last read.
// A small table is read completely each time.
//
// Always read are the servers of a service that was not there the last time, that
// this Kernel has changed since, that somebody else has changed in a way that a
// glance shows (servers, weights, forwarding), whose counters were reset, or that
// has a server of weight 0 with connections: its last one may be waited for. So
// only changed limits and tunnels, and the counters of other servers, may wait for
// their turn.
//
// What is returned as it was before are the same slices: nobody may change them.
func (k *Kernel) Sample(ctx context.Context, budget time.Duration) ([]Service, error) {
	var list []Service
	err := k.retrying(ctx, func(c *conn) (err error) {
		list, err = k.sample(ctx, c, time.Now().Add(budget))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the kernel's virtual server table: %w", err)
	}
	return list, nil
}

func (k *Kernel) sample(ctx context.Context, c *conn, until time.Time) ([]Service, error) {
	seen := k.glance() // first: what changes after it is seen by the next
	list, err := c.services(ctx)
	if err != nil {
		return nil, err
	}
	old := k.memory
	k.memory = memory{services: make(map[pool.Key]remembered, len(list)), cursor: old.cursor}
	var waiting []int // services that are as remembered, as far as can be seen
	first := 0        // of these, the one whose turn it is
	for i := range list {
		s := &list[i]
		m, ok := old.services[s.Key()]
		if !ok {
			m.name = nameInGlance(s.Key())
		}
		if !ok || m.awaited || seen[m.name] != m.digest || s.Stats.Connections < m.connections {
			if err := k.read(ctx, c, s, m.name, seen); err != nil {
				return nil, err
			}
			continue
		}
		s.Servers, m.connections = m.servers, s.Stats.Connections
		k.memory.services[s.Key()] = m
		if s.Key().Compare(old.cursor) <= 0 {
			first++
		}
		waiting = append(waiting, i)
	}
	waiting = slices.Concat(waiting[first:], waiting[:first])
	least := (len(list) + sampleRounds - 1) / sampleRounds
	for n, i := range waiting {
		if n >= least && !time.Now().Before(until) {
			break
		}
		s := &list[i]
		if err := k.read(ctx, c, s, k.memory.services[s.Key()].name, seen); err != nil {
			return nil, err
		}
		k.memory.cursor = s.Key()
	}
	return list, nil
}

// read reads the servers of a service and remembers them.
func (k *Kernel) read(ctx context.Context, c *conn, s *Service, name string, seen glance) (err error) {
	delete(k.memory.services, s.Key())
	if s.Servers, err = c.servers(ctx, s.Key()); err != nil {
		return fmt.Errorf("the servers of %v: %w", s.Key(), err)
	}
	awaited := slices.ContainsFunc(s.Servers, func(d Server) bool {
		return d.Weight == 0 && d.Active+d.Inactive+d.Persistent > 0
	})
	k.memory.services[s.Key()] = remembered{s.Servers, s.Stats.Connections, name, seen[name], awaited}
	return nil
}

// forget drops what is remembered of the services that are being changed.
func (m *memory) forget(ops []Op, indices []int) {
	for _, i := range indices {
		delete(m.services, ops[i].Service.Key)
	}
}
