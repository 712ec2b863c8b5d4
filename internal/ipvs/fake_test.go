package ipvs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"

	"baton/internal/pool"
)

// fakeKernel is a table in memory that refuses what the kernel refuses. It
// prints itself.
type fakeKernel struct {
	mu       sync.Mutex
	services map[pool.Key]*entry
	active   uint32 // shown as the active connections of every server

	dumps  int
	ops    []Op                        // all that were asked for
	refuse func(Op) error              // nil or the answer to give instead of working
	hide   func(Service) bool          // services that a dump misses
	dumped func(*fakeKernel)           // called after each dump, as another program would act
	lost   func(context.Context) error // an error of the dump
}

func newFakeKernel(t ...pool.VirtualService) *fakeKernel {
	f := &fakeKernel{services: make(map[pool.Key]*entry)}
	for _, v := range t {
		f.set(v)
	}
	return f
}

// set puts a service into the table, as another program would.
func (f *fakeKernel) set(v pool.VirtualService) {
	v = normalService(v)
	e := entryOf(Service{Settings: v})
	e.settings.Servers = nil
	for _, s := range v.Servers {
		e.put(s)
	}
	f.services[v.Key] = e
}

func (f *fakeKernel) Dump(ctx context.Context) ([]Service, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dumps++
	if f.lost != nil {
		if err := f.lost(ctx); err != nil {
			return nil, err
		}
	}
	var list []Service
	for _, k := range slices.SortedFunc(maps.Keys(f.services), pool.Key.Compare) {
		v := f.services[k].service()
		s := Service{Settings: v}
		s.Settings.Servers = nil
		for _, d := range v.Servers {
			s.Servers = append(s.Servers, Server{RealServer: d, Active: f.active})
		}
		if f.hide == nil || !f.hide(s) {
			list = append(list, s)
		}
	}
	if f.dumped != nil {
		f.dumped(f)
	}
	return list, nil
}

func (f *fakeKernel) Write(_ context.Context, ops []Op) []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	errs := make([]error, len(ops))
	for i, op := range ops {
		f.ops = append(f.ops, op)
		err := error(nil)
		if f.refuse != nil {
			err = f.refuse(op)
		}
		if err == nil {
			err = f.do(op)
		}
		if err != nil {
			errs[i] = &OpError{Op: op, Err: err}
		}
	}
	return errs
}

// do follows ip_vs_genl_set_cmd: same order of checks, same error numbers.
func (f *fakeKernel) do(op Op) error {
	e := f.services[op.Service.Key]
	if e == nil && op.Kind != NewService {
		return syscall.ESRCH
	}
	var there bool
	if e != nil {
		_, there = e.find(op.Server)
	}
	switch op.Kind {
	case NewService:
		if e != nil {
			return syscall.EEXIST
		}
		f.services[op.Service.Key] = &entry{settings: op.Service}
	case EditService:
		e.settings = op.Service
	case DelService:
		delete(f.services, op.Service.Key)
	case NewServer, EditServer:
		switch {
		case op.Server.Address.Is6() != op.Service.IPv6 && op.Server.Forward != pool.TUN:
			return syscall.EINVAL
		case op.Server.Lower > op.Server.Upper:
			return syscall.ERANGE
		case op.Kind == NewServer && there:
			return syscall.EEXIST
		case op.Kind == EditServer && !there:
			return syscall.ENOENT
		}
		e.put(op.Server)
	case DelServer:
		if !there {
			return syscall.ENOENT
		}
		e.remove(op.Server)
	}
	return nil
}

// String prints the table, a line for each service and server.
func (f *fakeKernel) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var t pool.Table
	for _, e := range f.services {
		t = append(t, e.service())
	}
	return print(t)
}

// print prints a table in normal form, in the words of ipvsadm.
func print(t pool.Table) string {
	t = slices.Clone(t)
	t.Sort()
	var b strings.Builder
	for _, v := range t {
		v = normalService(v)
		fmt.Fprintf(&b, "%v %s", v.Key, v.Scheduler)
		if v.Flags != 0 {
			fmt.Fprintf(&b, " flags %#x", uint32(v.Flags))
		}
		if v.Flags&pool.Persistent != 0 {
			fmt.Fprintf(&b, " persistent %d/%d", v.PersistenceSeconds, v.PersistencePrefix)
		}
		if v.PersistenceEngine != "" {
			fmt.Fprintf(&b, " pe %s", v.PersistenceEngine)
		}
		b.WriteByte('\n')
		for _, s := range v.Servers {
			fmt.Fprintf(&b, "  -> %v %v %d", s.AddrPort(), s.Forward, s.Weight)
			if s.Tunnel != (pool.Tunnel{}) {
				fmt.Fprintf(&b, " tunnel %v", s.Tunnel)
			}
			if s.Upper != 0 || s.Lower != 0 {
				fmt.Fprintf(&b, " limit %d-%d", s.Lower, s.Upper)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// script prints ops, one a line.
func script(ops []Op) string {
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintln(&b, op)
	}
	return b.String()
}
