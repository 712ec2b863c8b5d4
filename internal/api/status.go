package api

import "time"

// Status is the document of GET /api/v1/status and of "baton status --json".
// Fields are added to it, never renamed or removed.
type Status struct {
	Node     string           `json:"node"`
	Version  string           `json:"version"`
	At       time.Time        `json:"at"`       // when this was true, by the clock of the director
	Problems []string         `json:"problems"` // what needs attention, most serious first
	Config   ConfigStatus     `json:"config"`
	Routers  []Router         `json:"routers"`
	Services []Service        `json:"services"`
	Foreign  []ForeignService `json:"foreign"`
	Absent   []AbsentOverride `json:"absent_overrides,omitempty"` // of servers that are in no service just now
	Keeps    Keeps            `json:"keeps"`                      // what is put back when somebody else changes the kernel
}

// Keeps is what the daemon puts back in the kernel's IPVS, and how soon.
type Keeps struct {
	EveryMS       int64 `json:"every_ms"`       // time between two comparisons with the kernel
	RemoveForeign bool  `json:"remove_foreign"` // services that the configuration does not name are removed
	Timeouts      bool  `json:"timeouts"`       // the idle timeouts of connections are set
}

// ConfigStatus says which configuration is in force, and what became of the last
// attempt to load another. It is the document of GET /api/v1/config.
type ConfigStatus struct {
	Path        string    `json:"path"`
	Hash        string    `json:"hash"`
	Loaded      time.Time `json:"loaded"`                 // when the one in force was loaded
	LastError   string    `json:"last_error,omitempty"`   // why the last reload failed, one line for each mistake
	LastErrorAt time.Time `json:"last_error_at,omitzero"` // when it failed
}

// Router is one VRRP virtual router.
type Router struct {
	Name              string          `json:"name"`
	ID                uint8           `json:"id"`
	Interface         string          `json:"interface"`
	Version           uint8           `json:"version"`
	State             string          `json:"state"` // init, backup, master, fault
	Priority          uint8           `json:"priority"`
	EffectivePriority uint8           `json:"effective_priority"`
	Owner             string          `json:"owner"` // who has the addresses; empty: not known
	OwnerPriority     uint8           `json:"owner_priority"`
	Source            string          `json:"source"` // of this director's adverts; empty: not known yet
	Peers             []string        `json:"peers"`  // unicast; empty: multicast
	Addresses         []string        `json:"addresses"`
	Held              bool            `json:"held"` // the addresses are on this director
	Since             time.Time       `json:"since"`
	Reason            string          `json:"reason"`
	Transitions       uint64          `json:"transitions"`
	Resigned          bool            `json:"resigned"`            // stands back until "baton resume"
	HandingOver       bool            `json:"handing_over"`        // a planned hand-over is in progress
	LastHeard         time.Time       `json:"last_heard,omitzero"` // the last advert of another router
	Adverts           Adverts         `json:"adverts"`
	Announcements     uint64          `json:"announcements"`           // gratuitous ARP and neighbour advertisements
	Rivals            uint64          `json:"rivals"`                  // adverts of another master while this was one
	Conflicts         uint64          `json:"conflicts"`               // announcements of our addresses by somebody else
	Authenticated     string          `json:"authenticated,omitempty"` // hmac, password
	SyncGroup         string          `json:"sync_group,omitempty"`
	ExtraAddresses    []string        `json:"extra_addresses,omitempty"`
	Tracks            []Track         `json:"tracks,omitempty"`
	Heartbeats        []Heartbeat     `json:"heartbeats,omitempty"` // further paths for adverts
	ConnectionSync    *ConnectionSync `json:"connection_sync,omitempty"`
	Problem           string          `json:"problem,omitempty"`
	Stranger          string          `json:"stranger,omitempty"` // somebody uses the same id for other addresses
}

// Track is an object that a router tracks.
type Track struct {
	Name   string    `json:"name"`   // such as "interface eth1"
	State  string    `json:"state"`  // up, down, unknown
	Weight int       `json:"weight"` // what it adds to the priority now
	Detail string    `json:"detail"`
	Since  time.Time `json:"since,omitzero"`
}

// Heartbeat is a further path for a router's adverts.
type Heartbeat struct {
	Interface string    `json:"interface"`
	Source    string    `json:"source"`
	Problem   string    `json:"problem,omitempty"`
	LastHeard time.Time `json:"last_heard,omitzero"`
}

// ConnectionSync is the kernel's connection sync daemon, as far as it concerns a
// router.
type ConnectionSync struct {
	Interface string `json:"interface"`
	ID        uint8  `json:"id"`
	Role      string `json:"role"`     // master, backup, off
	Restarts  uint64 `json:"restarts"` // times that it was found stopped or changed since the start
	Problem   string `json:"problem,omitempty"`
}

// Adverts counts VRRP packets since the start.
type Adverts struct {
	Sent     uint64            `json:"sent"`
	Received uint64            `json:"received"` // and believed
	Rejected map[string]uint64 `json:"rejected"` // by reason
}

// Service is one virtual service.
type Service struct {
	Name           string       `json:"name"`
	Address        string       `json:"address"`  // IP:port, several separated by commas, or "fwmark N"
	Protocol       string       `json:"protocol"` // tcp, udp, sctp, fwmark
	Router         string       `json:"router,omitempty"`
	Scheduler      string       `json:"scheduler"`
	Forward        string       `json:"forward"`
	SourceNAT      bool         `json:"source_nat,omitempty"` // servers with NAT see the director instead of the client
	Up             bool         `json:"up"`
	Quorum         Quorum       `json:"quorum"`
	FallbackActive bool         `json:"fallback_active"`
	Panic          bool         `json:"panic,omitempty"`          // fewer servers are up than panic_threshold, and nobody is taken out
	BackupsActive  bool         `json:"backups_active,omitempty"` // the servers with backup: true serve
	Fallback       *RealServer  `json:"fallback,omitempty"`       // the server that serves while the quorum is lost
	WeightFactor   uint32       `json:"weight_factor"`            // units of the kernel's weight in one unit of the configuration
	Since          time.Time    `json:"since"`
	Reason         string       `json:"reason"`
	Standby        bool         `json:"standby,omitempty"` // not programmed here: its address is elsewhere, and ipvs has standby: cold
	Problem        string       `json:"problem,omitempty"` // the kernel's refusal
	Lacking        string       `json:"lacking,omitempty"` // what the kernel misses beside the service
	Servers        []RealServer `json:"servers"`
	Sources        []Source     `json:"sources,omitempty"` // where it finds servers beside the configuration
}

// Source is a source of servers: a file, a name in the DNS or a service in Consul.
type Source struct {
	Kind        string    `json:"kind"` // file, dns, consul
	Target      string    `json:"target"`
	Servers     int       `json:"servers"`               // in force from it
	Held        int       `json:"held,omitempty"`        // of them, those that it does not name any more
	LastSuccess time.Time `json:"last_success,omitzero"` // when it last said which servers there are
	Error       string    `json:"error,omitempty"`       // of the last attempt; its servers stay as they are
	Failures    uint64    `json:"failures"`              // since the start
	Refused     []string  `json:"refused,omitempty"`     // what it names and the service cannot use
}

// Quorum is what a service needs to be up, and what it has.
type Quorum struct {
	Min        uint64 `json:"min"`
	Hysteresis uint64 `json:"hysteresis"`
	Weight     uint64 `json:"weight"` // of the live servers
}

// RealServer is one real server of a service.
type RealServer struct {
	Address          string    `json:"address"`
	Name             string    `json:"name,omitempty"`
	Source           string    `json:"source,omitempty"` // where it was found; absent: in the configuration
	State            string    `json:"state"`            // checking, up, down, draining, disabled
	Weight           uint32    `json:"weight"`           // as in the kernel's table, in the units of the configuration, rounded up; 0 when not in it
	ConfiguredWeight uint32    `json:"configured_weight"`
	KernelWeight     uint32    `json:"kernel_weight"`                // as ipvsadm shows it: a multiple where parts of a unit are given
	SlowStartPercent uint32    `json:"slow_start_percent,omitempty"` // of its weight, that a slow start has reached
	Backup           bool      `json:"backup,omitempty"`             // serves only while the others have not the quorum
	Kept             bool      `json:"kept,omitempty"`               // fails and serves on, because the service panics
	Forward          string    `json:"forward"`
	InKernel         bool      `json:"in_kernel"`
	Active           uint32    `json:"active"`
	Inactive         uint32    `json:"inactive"`
	Drained          bool      `json:"drained,omitempty"`    // it drains, and has left the table
	DrainUntil       time.Time `json:"drain_until,omitzero"` // when it is taken out although it has connections
	Override         *Override `json:"override,omitempty"`   // an operator's
	Held             string    `json:"held,omitempty"`       // why it drains besides
	Packets          Packets   `json:"packets"`
	Check            *Check    `json:"check"`  // the one that decides; null: no result yet, or no check
	Checks           []Check   `json:"checks"` // those with a result
	Agent            *Agent    `json:"agent,omitempty"`
	Since            time.Time `json:"since"`
	Reason           string    `json:"reason"`
}

// Packets are the kernel's counters of a server since it was added to the table.
type Packets struct {
	Connections uint64 `json:"connections"`
	In          uint64 `json:"in"`
	Out         uint64 `json:"out"`
	InBytes     uint64 `json:"in_bytes"`
	OutBytes    uint64 `json:"out_bytes"`
}

// Check is the last result of a check.
type Check struct {
	Kind      string    `json:"kind"`
	Target    string    `json:"target"`
	Via       string    `json:"via,omitempty"` // "vip": addressed to the VIP, sent to this server
	Up        bool      `json:"up"`
	Code      string    `json:"code"`
	Detail    string    `json:"detail"`
	At        time.Time `json:"at"`
	TookMS    float64   `json:"took_ms"`
	Successes int       `json:"successes"` // in a row
	Failures  int       `json:"failures"`  // in a row
}

// Agent is what the agent of a server has said (HAProxy's agent-check protocol).
type Agent struct {
	Says string `json:"says"` // all that holds of it, such as "ready up 75%"
	Last Check  `json:"last"` // when it was asked last; up: it was understood
}

// ForeignService is a service in the kernel that the configuration does not name
// and that is left alone.
type ForeignService struct {
	Address   string `json:"address"`
	Protocol  string `json:"protocol"`
	Scheduler string `json:"scheduler"`
	Servers   int    `json:"servers"`
}
