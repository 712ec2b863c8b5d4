package ipvs

import (
	"slices"

	"baton/internal/pool"
)

// Service is a virtual service as the kernel holds it: its settings, its
// counters and its real servers.
type Service struct {
	// Settings are the service's own settings. Settings.Servers is nil: the
	// servers are in Servers, with their counters. PersistencePrefix is 0 when
	// the kernel holds a mask that is not a prefix (another program wrote it).
	Settings pool.VirtualService
	Stats    Stats
	Servers  []Server // sorted by address and port
}

// Key returns the key of the service.
func (s Service) Key() pool.Key { return s.Settings.Key }

// Plain returns the service without its counters, as a table would want it.
func (s Service) Plain() pool.VirtualService {
	v := s.Settings
	v.Servers = make([]pool.RealServer, len(s.Servers))
	for i, d := range s.Servers {
		v.Servers[i] = d.RealServer
	}
	return v
}

// Find returns the server with the address and port of o, or nil.
func (s Service) Find(o pool.RealServer) *Server {
	i, ok := slices.BinarySearchFunc(s.Servers, o, func(d Server, o pool.RealServer) int { return d.Compare(o) })
	if !ok {
		return nil
	}
	return &s.Servers[i]
}

// Server is a real server as the kernel holds it: its settings, its connections
// and its counters.
type Server struct {
	pool.RealServer
	Active     uint32 // connections that are established
	Inactive   uint32 // connections in any other state, and all UDP ones
	Persistent uint32 // persistence templates: clients that are bound to this server
	Stats      Stats
}

// Stats are the counters of a service or a server since it was created or
// zeroed, and its rates. The kernel sums both up every two seconds, so they may
// be that old (net/netfilter/ipvs/ip_vs_est.c). The outgoing counters stay 0 with forwarding methods whose replies do not pass the
// director.
type Stats struct {
	Connections           uint64
	PacketsIn, PacketsOut uint64
	BytesIn, BytesOut     uint64

	ConnectionRate              uint64 // per second, as are the rates below
	PacketRateIn, PacketRateOut uint64
	ByteRateIn, ByteRateOut     uint64
}
