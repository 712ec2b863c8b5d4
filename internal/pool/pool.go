package pool

import (
	"reflect"
	"slices"
)

// Pool folds the verdicts of checks into the desired table of a set of virtual
// services. It is not safe for concurrent use.
//
// A service's quorum depends on the order of verdicts where it has a hysteresis,
// and so does who serves on while it panics, and how far a slow start has come.
// Everything else depends only on the last verdict of each check.
type Pool struct {
	services  []*service // in the order of the configuration
	byName    map[string]*service
	byCheck   map[CheckID][]*server // who is concerned by a verdict
	verdicts  map[CheckID]Verdict   // of the checks in byCheck; absent: none yet
	overrides map[Place]Override
	rows      []row // sorted by key
	clock     *clock
}

// row is one service of the kernel: the service at one of its keys.
type row struct {
	service *service
	at      int // of the keys of the service's spec
}

func (r row) key() Key { return r.service.spec.Keys[r.at] }

// New returns a pool of the services, of which found is what the kernel holds
// already; see [Pool.Adopt]. The services are valid (the configuration has seen
// to that) and are not changed afterwards by anybody. Where there are overrides,
// make a pool without services, tell it of them, and then do what New does.
func New(services []Service, found Table) *Pool {
	p := &Pool{verdicts: make(map[CheckID]Verdict), clock: new(clock)}
	p.Reconfigure(services)
	p.Adopt(found)
	return p
}

// Set is [Pool.Tell] for a check that says nothing about weights.
func (p *Pool) Set(id CheckID, up bool) (changed bool) { return p.Tell(id, Verdict{Up: up}) }

// Tell takes note of a check's verdict, or an agent's, and reports whether the
// state or the weight of a server changed by it, and with it perhaps the table.
// Verdicts of checks that no server has are ignored.
func (p *Pool) Tell(id CheckID, v Verdict) (changed bool) {
	concerned := p.byCheck[id]
	if was, known := p.verdicts[id]; len(concerned) == 0 || known && was == v {
		return false
	}
	p.verdicts[id] = v
	for _, srv := range concerned {
		changed = srv.judge(p.verdicts) || changed
	}
	// Only now: servers that fail together fail at once.
	for _, srv := range concerned {
		srv.service.judge()
	}
	return changed
}

// Reconfigure replaces the services. What is equal to before keeps its state. A
// server that is found again, by its service and its address, stays in service
// when its checks are replaced by others, until one of those fails: a reload
// must not interrupt what works. Verdicts that are known hold for new servers
// too.
func (p *Pool) Reconfigure(services []Service) {
	old := p.index()
	p.services = make([]*service, 0, len(services))
	p.byName = make(map[string]*service, len(services))
	p.rows = p.rows[:0:0]
	for i := range services {
		s := old.find(&services[i])
		if s == nil || !reflect.DeepEqual(s.spec, services[i]) {
			s = newService(services[i], s, p.clock)
		}
		p.services = append(p.services, s)
		p.byName[s.spec.Name] = s
		for at := range s.spec.Keys {
			p.rows = append(p.rows, row{s, at})
		}
	}
	slices.SortFunc(p.rows, func(a, b row) int { return a.key().Compare(b.key()) })
	p.indexChecks()
	for _, s := range p.services {
		if s.fresh {
			for srv := range s.all() {
				srv.override(p)
			}
			s.start(p.verdicts)
		}
	}
	p.clock.keep(p.byName)
	p.Advance(p.clock.now)
}

// indexChecks rebuilds the map from checks to servers and forgets the verdicts
// of checks that are gone.
func (p *Pool) indexChecks() {
	p.byCheck = make(map[CheckID][]*server)
	for _, s := range p.services {
		for srv := range s.all() {
			for i, id := range srv.spec.Checks {
				if !slices.Contains(srv.spec.Checks[:i], id) {
					p.byCheck[id] = append(p.byCheck[id], srv)
				}
			}
			if id := srv.spec.Agent; id != "" {
				p.byCheck[id] = append(p.byCheck[id], srv)
			}
		}
	}
	for id := range p.verdicts {
		if _, used := p.byCheck[id]; !used {
			delete(p.verdicts, id)
		}
	}
}

// Table returns the desired table, sorted. It is not to be changed; it stays as
// it is when the pool changes.
func (p *Pool) Table() Table { return p.TableOf(func(*Service) bool { return true }) }

// TableOf is [Pool.Table] for the services that are asked for.
func (p *Pool) TableOf(is func(*Service) bool) Table {
	t := make(Table, 0, len(p.rows))
	for _, r := range p.rows {
		if is(&r.service.spec) {
			t = append(t, r.service.row(r.at))
		}
	}
	return t
}

// Snapshot returns the state of each service in the order of the configuration.
// A service that has not changed since the last snapshot has the same pointer.
func (p *Pool) Snapshot() []*ServiceState {
	out := make([]*ServiceState, len(p.services))
	for i, s := range p.services {
		out[i] = s.snapshot(p.verdicts)
	}
	return out
}

// index finds services of the present configuration for the next one.
type index struct {
	byName map[string]*service
	byKey  map[Key]*service
}

func (p *Pool) index() index {
	x := index{byName: p.byName, byKey: make(map[Key]*service, len(p.rows))}
	for _, r := range p.rows {
		x.byKey[r.key()] = r.service
	}
	return x
}

// find returns the service that spec is the next version of: the one of that
// name, or else the one that has its first key (it was given another name), or
// nil.
func (x index) find(spec *Service) *service {
	if s := x.byName[spec.Name]; s != nil {
		return s
	}
	if len(spec.Keys) > 0 {
		return x.byKey[spec.Keys[0]]
	}
	return nil
}
