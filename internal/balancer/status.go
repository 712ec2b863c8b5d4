package balancer

import (
	"net/netip"
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

// ServerState is the state of a real server, as contract and status show it.
type ServerState string

// The states of a server.
const (
	Checking ServerState = "checking" // not yet known; not used
	Up       ServerState = "up"
	Down     ServerState = "down"
	Draining ServerState = "draining"
	Disabled ServerState = "disabled"
)

// Status is an immutable snapshot. Nothing in it may be changed by its readers.
type Status struct {
	Services []ServiceStatus
	Foreign  []ForeignService // in the kernel, not ours, left alone
	// Problem says why the kernel's table cannot be kept, or is empty.
	Problem string
	Keeps   Keeps

	Writes map[string]uint64 // successful kernel writes by operation since the start
	Drift  uint64            // foreign changes found and repaired since the start
	Checks []CheckCount      // results by kind and code since the start
}

// Keeps is what the balancer puts back when somebody else changes it.
type Keeps struct {
	Every         time.Duration // time between two comparisons with the kernel
	RemoveForeign bool          // also removes the services of others
	Timeouts      bool          // also sets the idle timeouts of connections
}

// ServiceStatus is one configured service.
type ServiceStatus struct {
	Name           string
	Router         string
	Keys           []pool.Key
	Scheduler      string
	Forward        pool.Forward
	SourceNAT      bool // servers with NAT see the director instead of the client
	Up             bool // has its quorum
	Quorum         pool.Quorum
	Weight         uint64 // of the live servers
	FallbackActive bool
	// Panic: fewer servers are up than PanicThreshold percent, and no check takes one
	// out any more. A threshold of 0 is none.
	Panic          bool
	PanicThreshold uint8
	BackupsServe   bool          // for the other servers have not the quorum
	SlowStart      time.Duration // of a server that comes up; 0: none
	// Factor is how many units of the kernel's weight one configured unit is.
	Factor         uint32
	Fallback       netip.AddrPort // invalid: none
	FallbackServer *ServerStatus  // nil: none
	Since          time.Time
	Reason         string
	// Standby: it is not in the kernel, because its address is elsewhere.
	Standby bool
	// Problem is the kernel's refusal of this service in words, or empty.
	Problem string
	// Lacking says what the kernel misses beside the service, so that its clients
	// are not served although it is there as wanted, or is empty.
	Lacking string
	Servers []ServerStatus
}

// ServerStatus is one real server of a service.
type ServerStatus struct {
	Name             string
	Source           string // where it was found, in words; empty: in the configuration
	Address          netip.AddrPort
	State            ServerState
	Weight           uint32 // as in the kernel's table, in configured units, parts of one counting as one; 0 when not in it
	KernelWeight     uint32 // as in the kernel's table; see Factor
	ConfiguredWeight uint32
	Weighted         bool // its checks say that its weight should be CheckWeight instead
	CheckWeight      uint32
	Ramp             uint32 // percentage of its weight that a slow start has reached; 0: none is under way
	RampUntil        time.Time
	Backup           bool // it serves only while the others have not the quorum
	Spare            bool // a live backup that does not serve
	Kept             bool // it fails and serves on: its service panics
	Forward          pool.Forward
	InKernel         bool
	Active, Inactive uint32
	// Drained: it drains, and has left the table, because nothing is left to wait for.
	Drained bool
	// DrainUntil is when a server that drains leaves the table at the latest;
	// zero: when it has no connections any more.
	DrainUntil time.Time
	Override   *Override // an operator's; nil: there is none
	Held       string    // why it drains besides; empty: nothing holds it
	Stats      Stats
	Since      time.Time
	Reason     string
	Checks     []CheckStatus
	Agent      *AgentStatus // nil: none
}

// Stats are the kernel's counters of a server, since it was added.
type Stats struct {
	Connections           uint64
	InPackets, OutPackets uint64
	InBytes, OutBytes     uint64
}

// CheckStatus is the last result of one check of a server.
type CheckStatus struct {
	ID        pool.CheckID
	Job       *check.Job // nil: it is not known
	Waiting   string     // why it does not run, or empty
	Known     bool       // false: no result yet
	Up        bool
	Last      check.Result
	Successes int // in a row
	Failures  int // in a row
}

// Kind is the name that the configuration has for the check, such as tcp.
func (c *CheckStatus) Kind() string {
	if c.Job == nil {
		return ""
	}
	return c.Job.Spec.Kind()
}

// Subject is what is probed: an address and port, an address, a file or a program.
func (c *CheckStatus) Subject() string {
	if c.Job == nil {
		return ""
	}
	return c.Job.Spec.Subject()
}

// Via is how the probe goes through the VIP to this server; nil: to the server itself.
func (c *CheckStatus) Via() *check.Via {
	if c.Job == nil {
		return nil
	}
	return c.Job.Spec.Via
}

func (c *CheckStatus) schedule() check.Schedule {
	if c.Job == nil {
		return check.Schedule{}
	}
	return c.Job.Schedule
}

// AgentStatus is what the agent of a server says.
type AgentStatus struct {
	CheckStatus            // of the last time that it was asked
	Says        check.Word // in all
}

// CheckCount counts results.
type CheckCount struct {
	Kind  string
	Code  check.Code
	Count uint64
}

// ForeignService is a service in the kernel that the configuration does not
// name.
type ForeignService struct {
	Key       pool.Key
	Scheduler string
	Servers   int
}

// Transition is a change worth telling: of a service or one of its servers.
type Transition struct {
	At      time.Time
	Service string
	Server  string // empty: the service itself
	From    string
	To      string
	Reason  string
}
