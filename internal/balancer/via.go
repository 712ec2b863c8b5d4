package balancer

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"baton/internal/check"
	"baton/internal/pool"
)

// Marks are the firewall marks for checks that go through the VIP, First to Last;
// none when both are 0.
type Marks struct{ First, Last uint32 }

// Count is how many there are.
func (m Marks) Count() int {
	if m.First == 0 {
		return 0
	}
	return int(m.Last-m.First) + 1
}

// String writes them as the configuration does.
func (m Marks) String() string { return fmt.Sprintf("0x%x-0x%x", m.First, m.Last) }

// Has reports whether a mark is one of them.
func (m Marks) Has(mark uint32) bool { return m.Count() > 0 && m.First <= mark && mark <= m.Last }

// vias are the virtual services, one for each real server that is checked through
// the VIP, that lead the packets of the checks there: selected by the mark that the
// sockets of the checks carry. A server keeps its mark for as long as a check needs
// it, so that no probe under way can get to another one.
type vias struct {
	marks Marks
	of    map[via]uint32
	used  map[uint32]via
	table pool.Table              // of these services, sorted
	ready map[pool.CheckID]uint32 // checks whose service is in the kernel, with its mark
	wait  map[pool.CheckID]via    // those whose is not
}

// via is a server as such a service has it.
type via struct {
	ipv6   bool // the family of the VIP
	server pool.RealServer
}

func viaOf(s check.Spec) via {
	return via{
		ipv6:   s.Target.Addr().Is6(),
		server: pool.RealServer{Address: s.Via.Server, Weight: 1, Forward: s.Via.Forward, Tunnel: s.Via.Tunnel},
	}
}

func (v via) compare(o via) int {
	family := 0
	if v.ipv6 != o.ipv6 {
		family = 1
		if o.ipv6 {
			family = -1
		}
	}
	return cmp.Or(family, v.server.Compare(o.server), cmp.Compare(v.server.Forward, o.server.Forward),
		cmp.Compare(v.server.Tunnel.Type, o.server.Tunnel.Type), cmp.Compare(v.server.Tunnel.Port, o.server.Tunnel.Port),
		cmp.Compare(v.server.Tunnel.Flags, o.server.Tunnel.Flags))
}

// assign finds marks for the checks that need one. After a restart a server gets
// the same as before, unless two of them have the same digest.
func (v *vias) assign(jobs map[pool.CheckID]*check.Job, marks Marks) {
	needed := map[via]bool{}
	for _, j := range jobs {
		if j.Spec.Via != nil {
			needed[viaOf(j.Spec)] = true
		}
	}
	if v.marks != marks {
		v.marks, v.of, v.used = marks, map[via]uint32{}, map[uint32]via{}
	}
	for d, mark := range v.of {
		if !needed[d] {
			delete(v.of, d)
			delete(v.used, mark)
		}
	}
	for _, d := range slices.SortedFunc(maps.Keys(needed), via.compare) {
		if _, has := v.of[d]; !has && len(v.used) < marks.Count() {
			v.take(d)
		}
	}
	v.table = make(pool.Table, 0, len(v.of))
	for d, mark := range v.of {
		v.table = append(v.table, d.service(mark))
	}
	v.table.Sort()
}

// take gives a server the first mark that is free from its digest on.
func (v *vias) take(d via) {
	h := fnv.New32a()
	fmt.Fprint(h, d.ipv6, d.server.Address, d.server.Forward, d.server.Tunnel)
	n := uint32(v.marks.Count()) //nolint:gosec // checked by the configuration
	for i := h.Sum32() % n; ; i = (i + 1) % n {
		if mark := v.marks.First + i; v.used[mark] == (via{}) {
			v.of[d], v.used[mark] = mark, d
			return
		}
	}
}

// service is the virtual service with a mark. One packet: datagrams leave no
// connection behind.
func (v via) service(mark uint32) pool.VirtualService {
	return pool.VirtualService{
		Key: pool.Key{FWMark: mark, IPv6: v.ipv6}, Scheduler: "rr", Flags: pool.OnePacket,
		Servers: []pool.RealServer{v.server},
	}
}

// look sorts the checks into those that can run and those whose service is not in
// the kernel, and reports whether that has changed. Without it their packets would
// reach the VIP by the ordinary way, and any server could answer.
func (v *vias) look(jobs map[pool.CheckID]*check.Job, seen view) (changed bool) {
	ready, wait := map[pool.CheckID]uint32{}, map[pool.CheckID]via{}
	for id, j := range jobs {
		if j.Spec.Via == nil {
			continue
		}
		d := viaOf(j.Spec)
		mark, has := v.of[d]
		key := pool.Key{FWMark: mark, IPv6: d.ipv6}
		there := seen.wanted.Find(key)
		if has && there != nil && slices.Equal(there.Servers, []pool.RealServer{d.server}) && seen.failed[key] == nil {
			ready[id] = mark
		} else {
			wait[id] = d
		}
	}
	changed = !maps.Equal(ready, v.ready)
	v.ready, v.wait = ready, wait
	return changed
}

// runnable completes a check's job with its mark; false: it cannot run now.
func (v *vias) runnable(id pool.CheckID, j *check.Job) (*check.Job, bool) {
	if j.Spec.Via == nil {
		return j, true
	}
	mark, ok := v.ready[id]
	marked := *j
	marked.Spec.FWMark = mark
	return &marked, ok
}

// waiting says in words why a check does not run, or nothing.
func (e *engine) waiting(id pool.CheckID) string {
	d, ok := e.vias.wait[id]
	if !ok {
		return ""
	}
	mark, has := e.vias.of[d]
	err := e.view.failed[pool.Key{FWMark: mark, IPv6: d.ipv6}]
	switch {
	case !has:
		return fmt.Sprintf("all %d marks are taken; make the range vip_check_marks larger", e.vias.marks.Count())
	case e.view.problem != "":
		return e.view.problem
	case err != nil:
		return err.Error()
	}
	return "the kernel does not have the virtual service for it yet"
}

// wanted is the table that the kernel shall have.
func (e *engine) wanted() pool.Table {
	t := e.pool.TableOf(func(s *pool.Service) bool { return !e.standby(s) })
	if len(e.vias.table) == 0 {
		return t
	}
	t = append(t, e.vias.table...)
	slices.SortStableFunc(t, func(a, b pool.VirtualService) int { return a.Key.Compare(b.Key) })
	return t
}

// withdrawVias removes at a planned stop what nobody needs without the checks,
// where the services stay.
func (e *engine) withdrawVias(ctx context.Context) error {
	if e.table == nil || len(e.vias.table) == 0 {
		return nil
	}
	e.vias.table = nil
	want := e.wanted()
	a, err := e.table.ApplyChange(ctx, want)
	e.setOwned(e.table.Owned())
	if err != nil {
		return fmt.Errorf("remove the virtual services of the checks: %w", err)
	}
	for k, err := range a.Failed {
		if want.Find(k) == nil {
			return fmt.Errorf("remove the virtual services of the checks: %s: %w", k, err)
		}
	}
	return nil
}
