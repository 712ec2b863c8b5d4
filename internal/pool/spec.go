package pool

import (
	"net/netip"
	"slices"
	"time"
)

// CheckID names a check. Servers that share an ID share the check's verdict.
type CheckID string

// OnFailure says what becomes of a server whose checks fail.
type OnFailure uint8

// Remove takes a failed server out of the kernel's table; Quiesce leaves it
// there with weight 0, so that its open connections go on. Of a service that
// carries UDP only a failed server is always taken out: the kernel would send
// the packets of a flow to it for as long as the flow lasts.
const (
	Remove OnFailure = iota
	Quiesce
)

// Admit says when a server joins the pool after a start.
type Admit uint8

// AdmitChecked waits for the first success of all of a server's checks;
// AdmitAtOnce uses the server until a check says otherwise.
const (
	AdmitChecked Admit = iota
	AdmitAtOnce
)

// Service is the specification of a virtual service: what the configuration
// asks for. Its name is unique within a pool.
type Service struct {
	Name   string
	Router string // the VRRP router that owns its address, or ""

	// Keys are the kernel's services that this one stands for. All of them have
	// the same settings and servers; there is at least one.
	Keys []Key

	Scheduler          string
	Flags              Flags
	PersistenceSeconds uint32
	PersistencePrefix  uint8 // 0: the full length
	PersistenceEngine  string

	Forward Forward // what a server without a method of its own uses; shown in status
	// SourceNAT: real servers with NAT get the director's address as the source,
	// so that their replies come back through it.
	SourceNAT bool `json:",omitempty"`
	OnFailure OnFailure
	Admit     Admit
	// DrainTimeout is how long a server that drains is waited for; 0: as long as
	// it has connections. The pool only keeps it.
	DrainTimeout time.Duration
	// SlowStart is how long the weight of a server that comes up takes to grow to
	// all of it; 0: it has all of it at once.
	SlowStart time.Duration `json:",omitempty"`
	// PanicThreshold: when a smaller percentage of the servers is up, no check takes
	// one out any more. 0–100; 0: never.
	PanicThreshold uint8 `json:",omitempty"`
	Quorum         Quorum
	Fallback       *Server // serves while the quorum is lost; nil: nobody does
	Servers        []Server
}

// Datagrams reports whether all that the service carries is UDP. One that is
// selected by a firewall mark may carry anything.
func (s *Service) Datagrams() bool {
	return len(s.Keys) > 0 && !slices.ContainsFunc(s.Keys, func(k Key) bool { return k.Protocol != UDP })
}

// Quorum is the sum of the weights of live servers below which a service is
// down and its fallback serves. It is lost below Min-Hysteresis and regained at
// Min+Hysteresis.
type Quorum struct {
	Min        uint64 // at least 1
	Hysteresis uint64 // less than Min
}

// Server is the specification of one real server of a service. Its address and
// port are unique within the service.
type Server struct {
	Name    string // what the configuration calls it, or ""
	Address netip.Addr
	Port    uint16 // 0: the service's, which for DR and TUN always counts; see [Server.At]
	Weight  uint32
	Forward Forward
	Tunnel  Tunnel
	Upper   uint32
	Lower   uint32
	Checks  []CheckID // all must pass; none: the server is always up
	Drain   bool      // it gets no new connections and leaves the table without them
	Agent   CheckID   `json:",omitempty"` // what it says changes the weight and more; empty: none
	// Dynamic: checks or an agent decide about its weight, so that a program that is
	// restarted keeps the one that it finds until they have spoken.
	Dynamic bool   `json:",omitempty"`
	Backup  bool   `json:",omitempty"` // it serves only while the others have not the quorum
	Source  string `json:",omitempty"` // where it was found, in words; empty: in the configuration
}

// AddrPort returns the server's address and port.
func (s Server) AddrPort() netip.AddrPort { return netip.AddrPortFrom(s.Address, s.Port) }
