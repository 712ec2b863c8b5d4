package ipvs

import (
	"cmp"
	"slices"

	"baton/internal/pool"
)

// entry is what is known of one service in the kernel, in normal form and
// without counters.
type entry struct {
	settings pool.VirtualService // Servers is nil
	servers  []pool.RealServer   // sorted

	// What saves comparing again what has not changed:
	read   bool     // as it was read, from source
	source []Server // see [Kernel.Sample]
	meets  *wanted  // what it was found to be equal to, and has its servers from; nil: nothing known
}

// entryOf returns the entry for a service that was read from the kernel.
func entryOf(s Service) *entry {
	e := &entry{settings: normalSettings(s.Settings), servers: make([]pool.RealServer, len(s.Servers))}
	for i, d := range s.Servers {
		e.servers[i] = normalServer(d.RealServer)
	}
	e.read, e.source = true, s.Servers
	return e
}

// isOf reports whether the entry is what entryOf would make of the service.
func (e *entry) isOf(s Service) bool {
	return e.read && same(e.source, s.Servers) && e.settings.EqualSettings(normalSettings(s.Settings))
}

// equals notes that the entry is what is wanted, and need not be there twice.
func (e *entry) equals(w *wanted) { e.meets, e.servers = w, w.Servers }

// written notes that the entry is about to be changed by a write.
func (e *entry) written() {
	if e.meets != nil {
		e.servers = slices.Clone(e.servers)
	}
	e.read, e.source, e.meets = false, nil, nil
}

// find finds the server with the address and port of s, or its place.
func (e *entry) find(s pool.RealServer) (at int, ok bool) {
	return slices.BinarySearchFunc(e.servers, s, pool.RealServer.Compare)
}

// put adds or replaces a server.
func (e *entry) put(s pool.RealServer) {
	at, ok := e.find(s)
	if !ok {
		e.servers = slices.Insert(e.servers, at, s)
	}
	e.servers[at] = s
}

// remove removes the server with the address and port of s.
func (e *entry) remove(s pool.RealServer) {
	if at, ok := e.find(s); ok {
		e.servers = slices.Delete(e.servers, at, at+1)
	}
}

// same reports whether two slices are the same elements, and not only equal.
func same[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// service is the inverse of entryOf. It holds until the entry is changed.
func (e *entry) service() pool.VirtualService {
	v := e.settings
	v.Servers = e.servers
	return v
}

// step is a change on the way from one state of a service to another, and what
// it replaces.
type step struct {
	op     Op
	before *entry // nil for a new service
}

// steps returns the changes that turn have, or nothing when it is nil, into
// want, in the order in which to make them.
//
// The order keeps the pool from being empty on the way: new servers come before
// the old ones go, and a server is raised before another falls to weight 0. The
// servers of a service follow the service directly, and not after all other
// services, so that a new service rejects connections for as short as possible.
func steps(have *entry, want pool.VirtualService) []step {
	settings := want
	settings.Servers = nil
	var list []step
	add := func(k OpKind, s pool.RealServer) {
		list = append(list, step{Op{Kind: k, Service: settings, Server: s}, have})
	}
	if have == nil {
		add(NewService, pool.RealServer{})
		for _, s := range want.Servers {
			add(NewServer, s)
		}
		return list
	}
	if !have.settings.EqualSettings(settings) {
		add(EditService, pool.RealServer{})
	}
	var edits, gone []pool.RealServer
	stays := 0
	for _, s := range want.Servers {
		at, ok := have.find(s)
		switch {
		case !ok:
			add(NewServer, s)
			continue
		case have.servers[at] != s:
			edits = append(edits, s)
		}
		stays++
	}
	slices.SortStableFunc(edits, func(a, b pool.RealServer) int { return cmp.Compare(falls(a), falls(b)) })
	for _, s := range edits {
		add(EditServer, s)
	}
	if stays < len(have.servers) {
		gone = missingFrom(want.Servers, have.servers)
	}
	for _, s := range gone {
		add(DelServer, s)
	}
	return list
}

// falls is 1 for a server that takes no new connections.
func falls(s pool.RealServer) int {
	if s.Weight == 0 {
		return 1
	}
	return 0
}

// missingFrom returns the servers of have that want does not name. Both are sorted,
// and so is what is returned.
func missingFrom(want, have []pool.RealServer) []pool.RealServer {
	var gone []pool.RealServer
	for _, s := range have {
		if _, ok := slices.BinarySearchFunc(want, s, pool.RealServer.Compare); !ok {
			gone = append(gone, s)
		}
	}
	return gone
}
