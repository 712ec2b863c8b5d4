package pool

import (
	"iter"
	"net/netip"
	"slices"
)

// service is one virtual service with what is known of it.
type service struct {
	spec     Service
	servers  []*server // in the order of the spec
	leaving  []*server // they drain, and the spec does not have them
	fallback *server   // nil: none
	before   *service  // its last version while it is fresh, or nil
	fresh    bool      // not yet started

	factor uint32 // units of the kernel's weight in one configured unit
	clock  *clock // the pool's

	up      bool   // has its quorum
	weight  uint64 // sum of the weights of live servers, without backups
	reserve uint64 // sum of the weights of live backups
	backups bool   // the backups serve
	// hasBackups: it has servers that are backups.
	hasBackups bool
	panic      bool // fewer servers are up than its threshold

	state *ServiceState  // cached; nil after a change
	real  [][]RealServer // by the place of the key in the spec; cached; nil after a change
}

func newService(spec Service, before *service, clock *clock) *service {
	s := &service{spec: spec, before: before, fresh: true, factor: spec.factor(), clock: clock}
	s.servers = make([]*server, len(spec.Servers))
	for i := range spec.Servers {
		s.servers[i] = &server{spec: &s.spec.Servers[i], service: s, wanted: noOverride}
		s.hasBackups = s.hasBackups || spec.Servers[i].Backup
	}
	if spec.Fallback != nil {
		s.fallback = &server{spec: spec.Fallback, service: s, wanted: noOverride, fallback: true}
	}
	if before != nil {
		s.takeLeavers(before)
	}
	return s
}

// quiesces reports whether a server that fails keeps its place.
func (s *service) quiesces() bool {
	return s.spec.OnFailure == Quiesce && !s.spec.Datagrams() && s.keepsPlaces()
}

// all yields the servers, those that are leaving, and the fallback.
func (s *service) all() iter.Seq[*server] {
	return func(yield func(*server) bool) {
		for _, srv := range s.servers {
			if !yield(srv) {
				return
			}
		}
		for _, srv := range s.leaving {
			if !yield(srv) {
				return
			}
		}
		if s.fallback != nil {
			yield(s.fallback)
		}
	}
}

// start gives a new version of a service its state: what its last version knew,
// or else nothing.
func (s *service) start(verdicts map[CheckID]Verdict) {
	before := make(map[netip.AddrPort]*server)
	if s.before != nil {
		s.up, s.panic, s.backups = s.before.up, s.before.panic, s.before.backups
		for _, srv := range slices.Concat(s.before.leaving, s.before.servers) {
			before[srv.spec.AddrPort()] = srv
		}
	}
	for srv := range s.all() {
		b := before[srv.spec.AddrPort()]
		switch {
		case srv.fallback, srv.leaving:
		case b != nil:
			srv.succeed(b)
		default:
			srv.cold = s.up // it comes late
		}
		srv.judge(verdicts)
		if b != nil && !srv.fallback && !srv.leaving {
			srv.fell = b.state == Up && srv.state == Down
		}
	}
	// Only now: the places above are those of the last version.
	s.before, s.fresh = nil, false
	s.judge()
}

// succeed takes over what the server was in the last version of its service.
func (s *server) succeed(b *server) {
	s.adopted = b.state == Up
	_, s.seated = b.place()
	s.said, s.borrows, s.borrowed = b.said, b.borrows, b.borrowed
	s.held = b.held
	s.cold = b.cold
	if s.service.spec.SlowStart > 0 {
		s.warming, s.ramp = b.warming, b.ramp
		if s.ramp > 0 {
			s.service.clock.watch(s)
		}
	}
}

// touch drops what was derived from the state.
func (s *service) touch() { s.state, s.real = nil, nil }

// judge decides about panic, backups and the quorum. It is lost below
// Min-Hysteresis, and always when nobody is left; it is regained at Min+Hysteresis.
// Between the two the service stays what it was.
func (s *service) judge() {
	s.judgePanic()
	s.judgeBackups()
	low, high := s.spec.Quorum.thresholds()
	up, weight := s.up, s.serving()
	switch {
	case weight < low:
		up = false
	case weight >= high:
		up = true
	}
	if up != s.up {
		s.up = up
		s.touch()
	}
}

// fallbackServes reports whether the fallback is in the table. A fallback that
// is down is of no use: the servers that are left then serve on without it. One
// that no check has spoken about yet is trusted, for there is nobody else.
func (s *service) fallbackServes() bool {
	return !s.up && s.fallback != nil && s.fallback.state != Down
}

// row returns the service as the kernel shall have it at one of its keys.
func (s *service) row(at int) VirtualService {
	k := s.spec.Keys[at]
	v := VirtualService{
		Key:                k,
		Scheduler:          s.spec.Scheduler,
		Flags:              s.spec.Flags &^ Persistent,
		PersistencePrefix:  k.fullPrefix(),
		PersistenceEngine:  s.spec.PersistenceEngine,
		PersistenceSeconds: s.spec.PersistenceSeconds,
		Servers:            s.realServers(at),
	}
	if s.diverts() {
		v.Flags |= Sched1
	}
	if s.spec.PersistenceSeconds > 0 {
		v.Flags |= Persistent
		if p := s.spec.PersistencePrefix; p > 0 && p < v.PersistencePrefix {
			v.PersistencePrefix = p
		}
	}
	return v
}

// fullPrefix is the length of an address of the key's family.
func (k Key) fullPrefix() uint8 {
	if k.IPv6 {
		return 128
	}
	return 32
}

// realServers returns the servers that the kernel shall have at one of the
// service's keys. They depend on the key by their ports; see [Server.At].
func (s *service) realServers(at int) []RealServer {
	if s.real == nil {
		s.real = make([][]RealServer, len(s.spec.Keys))
	}
	if s.real[at] == nil {
		s.real[at] = s.listServers(s.spec.Keys[at])
	}
	return s.real[at]
}

func (s *service) listServers(k Key) []RealServer {
	out := make([]RealServer, 0, len(s.servers))
	taken := make(map[netip.AddrPort]bool, len(s.servers)+1)
	add := func(srv *server) {
		weight, in := srv.place()
		r := srv.spec.At(k)
		if r.Weight = weight; in && !taken[r.AddrPort()] {
			taken[r.AddrPort()] = true
			out = append(out, r)
		}
	}
	// The fallback comes first: where it is one of the servers as well, the
	// kernel can have it once only, and it is the fallback that counts.
	if s.fallback != nil {
		add(s.fallback)
	}
	for _, srv := range s.servers {
		add(srv)
	}
	for _, srv := range s.leaving {
		if slices.Contains(srv.keys, k) {
			add(srv)
		}
	}
	slices.SortFunc(out, RealServer.Compare)
	return out
}
