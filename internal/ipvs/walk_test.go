package ipvs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"baton/internal/pool"
)

// schedulers are all that the kernel has.
var schedulers = strings.Fields("rr wrr lc wlc lblc lblcr dh sh mh sed nq fo ovf twos")

// walkKeys and walkServers are what a walk's tables are made of. Of the servers
// 127.0.0.1, 10.0.0.77, ::1 and 2001:db8::77 are the director's own addresses.
var (
	walkKeys = strings.Split("tcp 10.0.0.100:80,tcp 10.0.0.100:21,tcp 10.0.0.100:0,tcp 127.0.0.1:8080,udp 10.0.0.100:53,udp 10.0.0.100:0,"+
		"sctp 10.0.0.100:80,tcp [2001:db8::100]:80,tcp [2001:db8::100]:0,udp [2001:db8::100]:5060,sctp [2001:db8::100]:80,"+
		"fwmark 7 inet,fwmark 2147483647 inet,fwmark 7 inet6", ",")
	walkServers = strings.Fields("10.0.0.11 10.0.0.12 10.0.0.13 10.0.0.14 10.0.0.77 127.0.0.1 " +
		"2001:db8::11 2001:db8::12 2001:db8::13 2001:db8::77 ::1")
	walkWeights = []uint32{0, 1, 2, 100, 1<<16 - 1, 1 << 16, 70000, weightMax}
)

// walker makes up tables that the kernel takes: any at all, and such as differ
// from a given one in a single setting.
type walker struct {
	*rand.Rand
	schedulers []string
}

// newWalker returns a walker with the seed in BATON_IPVS_SEED, or with the given
// one. A failed test prints it.
func newWalker(t *testing.T, seed uint64) walker {
	t.Helper()
	if s := os.Getenv("BATON_IPVS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("BATON_IPVS_SEED: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the same walk again: BATON_IPVS_SEED=%d", seed)
		}
	})
	return walker{rand.New(rand.NewPCG(seed, 0)), schedulers}
}

// walkLength is how many transitions to make.
func walkLength(t *testing.T, length int) int {
	t.Helper()
	if s := os.Getenv("BATON_IPVS_WALK"); s != "" {
		var err error
		if length, err = strconv.Atoi(s); err != nil {
			t.Fatalf("BATON_IPVS_WALK: %v", err)
		}
	}
	return length
}

func pick[T any](w walker, list []T) T { return list[w.IntN(len(list))] }

// next returns a table to go to: one of the worlds, any at all, or the present
// one with up to three changes of a single setting.
func (w walker) next(now pool.Table) pool.Table {
	switch n := w.IntN(20); {
	case n == 0:
		return clone(pick(w, worlds).table)
	case n < 4:
		return w.any()
	}
	t := clone(now)
	for range 1 + w.IntN(3) {
		t = w.mutated(t)
	}
	return t
}

func (w walker) any() pool.Table {
	var t pool.Table
	for range w.IntN(7) {
		t = w.withService(t)
	}
	return t
}

// withService adds a service, or replaces the one with the same key.
func (w walker) withService(t pool.Table) pool.Table {
	v := service(pick(w, walkKeys) + " " + pick(w, w.schedulers))
	for range 12 {
		w.changeSettings(&v)
	}
	for range w.IntN(7) {
		w.addServer(&v)
	}
	w.fit(&v)
	t = slices.DeleteFunc(t, func(o pool.VirtualService) bool { return o.Key == v.Key })
	return append(t, v)
}

// mutated changes one thing in one service.
func (w walker) mutated(t pool.Table) pool.Table {
	if len(t) == 0 || w.IntN(12) == 0 {
		return w.withService(t)
	}
	i := w.IntN(len(t))
	v := &t[i]
	switch w.IntN(12) {
	case 0:
		return slices.Delete(t, i, i+1)
	case 1, 2, 3:
		w.changeSettings(v)
	case 4, 5:
		w.addServer(v)
	case 6: // all servers exchanged
		n := len(v.Servers)
		v.Servers = nil
		for range max(n, 1) {
			w.addServer(v)
		}
	case 7:
		if n := len(v.Servers); n > 0 {
			j := w.IntN(n)
			v.Servers = slices.Delete(v.Servers, j, j+1)
		}
	default:
		if len(v.Servers) > 0 {
			w.changeServer(&v.Servers[w.IntN(len(v.Servers))])
		}
	}
	w.fit(v)
	return t
}

func (w walker) changeSettings(v *pool.VirtualService) {
	switch w.IntN(6) {
	case 0:
		v.Scheduler = pick(w, w.schedulers)
	case 1:
		v.Flags ^= pick(w, []pool.Flags{pool.Sched1, pool.Sched2, pool.OnePacket})
	case 2:
		v.Flags ^= pool.Persistent
	case 3:
		v.PersistenceSeconds = 1 + w.Uint32N(persistenceMax)
	case 4:
		v.PersistencePrefix = uint8(1 + w.IntN(int(fullPrefix(v.IPv6))))
	case 5:
		v.PersistenceEngine = pick(w, []string{"", "sip"})
	}
}

func (w walker) addServer(v *pool.VirtualService) {
	s := pool.RealServer{Address: netip.MustParseAddr(pick(w, walkServers)), Port: pick(w, []uint16{80, 8080})}
	for range 8 {
		w.changeServer(&s)
	}
	v.Servers = append(v.Servers, s)
}

func (w walker) changeServer(s *pool.RealServer) {
	switch w.IntN(5) {
	case 0:
		s.Weight = pick(w, walkWeights)
	case 1:
		s.Weight = w.Uint32N(weightMax + 1)
	case 2:
		s.Forward = pick(w, []pool.Forward{pool.NAT, pool.DR, pool.TUN})
	case 3:
		s.Upper = pick(w, []uint32{0, 1000, limitMax, w.Uint32N(limitMax)})
		s.Lower = pick(w, []uint32{0, s.Upper, w.Uint32N(limitMax)})
	case 4:
		s.Tunnel = pool.Tunnel{
			Type: pick(w, []pool.TunnelType{pool.IPIP, pool.GUE, pool.GRE}),
			Port: uint16(1 + w.IntN(65535)), Flags: uint16(w.IntN(3)),
		}
	}
}

// fit makes of made up settings what a configuration could ask for.
func (w walker) fit(v *pool.VirtualService) {
	datagrams := v.Protocol == pool.UDP || v.FWMark != 0
	if !datagrams {
		v.Flags &^= pool.OnePacket
		v.PersistenceEngine = ""
	}
	if v.FWMark == 0 && v.Port == 0 || v.PersistenceEngine != "" {
		v.Flags |= pool.Persistent
	}
	v.PersistenceSeconds = max(v.PersistenceSeconds, 1)
	if v.Scheduler != "sh" && v.Scheduler != "mh" {
		v.Flags &^= pool.Sched1 | pool.Sched2
	}
	for i := range v.Servers {
		s := &v.Servers[i]
		s.Lower = min(s.Lower, s.Upper)
		if s.Address.Is6() != v.IPv6 {
			s.Forward = pool.TUN
		}
		if s.Forward != pool.NAT {
			s.Port = v.Port
		}
		if s.Tunnel.Type == pool.GRE {
			s.Tunnel.Flags &= 1
		}
	}
	slices.SortStableFunc(v.Servers, pool.RealServer.Compare)
	v.Servers = slices.CompactFunc(v.Servers, func(a, b pool.RealServer) bool { return a.AddrPort() == b.AddrPort() })
}

func clone(t pool.Table) pool.Table {
	t = slices.Clone(t)
	for i := range t {
		t[i].Servers = slices.Clone(t[i].Servers)
	}
	return t
}

// orderly is a Table that holds the order of writes against a promise: a service
// that is there before and after is there all the time, and one that can take
// connections before and after can take them all the time.
type orderly struct {
	Table
	weights map[pool.Key]map[netip.AddrPort]uint32 // what is in the kernel
	broken  []string
}

func newOrderly(t Table) *orderly {
	return &orderly{Table: t, weights: make(map[pool.Key]map[netip.AddrPort]uint32)}
}

func (o *orderly) Dump(ctx context.Context) ([]Service, error) {
	list, err := o.Table.Dump(ctx)
	clear(o.weights)
	for _, s := range list {
		servers := make(map[netip.AddrPort]uint32)
		for _, d := range s.Servers {
			servers[d.AddrPort()] = d.Weight
		}
		o.weights[s.Key()] = servers
	}
	return list, err
}

func (o *orderly) Write(ctx context.Context, ops []Op) []error {
	errs := o.Table.Write(ctx, ops)
	before := make(map[pool.Key]bool)
	gap := make(map[pool.Key]Op)
	for k := range o.weights {
		before[k] = o.serves(k)
	}
	for i, op := range ops {
		if errs[i] != nil {
			continue
		}
		k := op.Service.Key
		switch op.Kind {
		case NewService:
			o.weights[k] = make(map[netip.AddrPort]uint32)
		case DelService:
			delete(o.weights, k)
		case NewServer, EditServer:
			o.weights[k][op.Server.AddrPort()] = op.Server.Weight
		case DelServer:
			delete(o.weights[k], op.Server.AddrPort())
		}
		if _, had := before[k]; had && op.Kind == DelService || before[k] && !o.serves(k) {
			gap[k] = op
		}
	}
	for k, op := range gap {
		if _, there := o.weights[k]; op.Kind == DelService && there || o.serves(k) {
			o.broken = append(o.broken, fmt.Sprintf("%v serves nobody after %q in\n%s", k, op, script(ops)))
		}
	}
	return errs
}

// serves reports whether the service has a server that takes connections.
func (o *orderly) serves(k pool.Key) bool {
	for _, w := range o.weights[k] {
		if w > 0 {
			return true
		}
	}
	return false
}

func (o *orderly) assert(t *testing.T) {
	t.Helper()
	for _, b := range o.broken {
		t.Fatal(b)
	}
}

// The assertion of the walks can fail.
func TestOrderlySeesAGap(t *testing.T) {
	v := service("tcp 10.0.0.100:80 rr")
	a, b := server("10.0.0.11:80 nat 1"), server("10.0.0.12:80 nat 1")
	idle := a
	idle.Weight = 0
	for _, bad := range [][]Op{
		{{DelServer, v, a}, {NewServer, v, b}},
		{{EditServer, v, idle}, {NewServer, v, b}},
		{{DelService, v, a}, {NewService, v, a}, {NewServer, v, b}},
	} {
		o := newOrderly(newFakeKernel(service("tcp 10.0.0.100:80 rr", a)))
		if _, err := o.Dump(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.Write(t.Context(), bad)
		if len(o.broken) == 0 {
			t.Errorf("no gap was seen in\n%s", script(bad))
		}
	}
}

// walk makes transitions between tables and calls check after each.
func walk(t *testing.T, w walker, length int, kernel Table, disturb func(), check func(want pool.Table, r *Reconciler)) {
	t.Helper()
	o := newOrderly(kernel)
	r := NewReconciler(o, nil, silent())
	var now pool.Table
	step := 0
	defer func() {
		if t.Failed() {
			t.Logf("in step %d, to\n%s", step, print(now))
		}
	}()
	for step = range length {
		now = w.next(now)
		var a Applied
		switch w.IntN(12) {
		case 0: // another program changes something; only a dump can know
			disturb()
			if a = mustApply(t, r, now); len(a.Failed) > 0 {
				t.Fatalf("failed: %v", a.Failed)
			}
		case 1: // the daemon starts again
			r = NewReconciler(o, r.Owned(), silent())
			a = mustApply(t, r, now)
			assertClean(t, a)
		case 2, 3, 4:
			assertClean(t, mustApply(t, r, now))
		default:
			assertClean(t, mustChange(t, r, now))
		}
		o.assert(t)
		check(now, r)
	}
}
