package config

import (
	"log/slog"
	"net/netip"
	"time"

	"baton/internal/balancer"
	"baton/internal/speaker"
	"baton/internal/track"
)

// DefaultPath is where the configuration is looked for.
const DefaultPath = "/etc/baton/baton.yaml"

// Config is a valid configuration. It is not changed after it was built.
type Config struct {
	Path  string   // of the main file, as it was given
	Files []string // all files read, the main file first
	Hash  string   // 12 hex digits of the SHA-256 of their bytes, in that order

	Node     string // this director's name; empty: the host name
	StateDir string // absolute
	// MaintenanceDir is the folder in which a file that is named like a server has
	// it drain; absolute, or empty: there is none.
	MaintenanceDir string `json:",omitempty"`

	API     API
	Metrics Metrics
	Log     Log

	Routers        []speaker.Router    // in the order of the file
	SyncGroups     []speaker.SyncGroup // in the order of the file
	Tracks         []track.Object      // what routers track beside interfaces, in the order of the file
	ConnectionSync []ConnectionSync    // in the order of the routers; all the same but for the router
	Balancer       balancer.Spec       // services in the order of the file, with the servers that it names
	Sources        []Sources           `json:",omitempty"` // of services that find servers elsewhere, too, in the order of the file
	Sysctls        Sysctls
	QuorumCommands []QuorumCommands `json:",omitempty"` // of the services that have some, in the order of the file

	Warnings []Warning // by position
}

// ConnectionSync says that the kernel's connection sync daemon follows a router:
// it is the master where the router is, and a backup elsewhere.
type ConnectionSync struct {
	Router    string
	Interface string
	ID        uint8 // 0: a backup takes the messages of all
	Group     netip.Addr
	Port      uint16
	TTL       uint8
	MaxLen    uint16 // bytes of one message; 0: the kernel's default
	Timing    SyncTiming
}

// QuorumCommands are run, as the program and its arguments, when a service gains
// its quorum and when it loses it; nil: nothing is.
type QuorumCommands struct {
	Service  string
	Up, Down []string
}

// SyncTiming says when a connection is told to the other directors, in the terms
// of the kernel (net.ipv4.vs.sync_*): when it changes its state, and at packets
// from the client whose number modulo Period is Threshold, but not again before
// Refresh has passed; then Retries more times, an eighth of Refresh apart. With
// Period 0 it is told at every packet after Refresh, or, where that is 0, once, at
// the packet with the number Threshold.
type SyncTiming struct {
	Written   bool // in the file; otherwise what an administrator has set holds
	Threshold uint32
	Period    uint32 // 0, or more than Threshold
	Refresh   time.Duration
	Retries   uint8 // 0–3
}

// API says where the control interface listens.
type API struct {
	Socket string // absolute path of the unix socket
}

// Metrics says where Prometheus may scrape.
type Metrics struct {
	Listen string // IP:port, or :port for all addresses; empty: off
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format LogFormat
}

// LogFormat is the form of a log line.
type LogFormat string

// The forms of a log line.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Sysctls says who sets the kernel parameters that the services need.
type Sysctls string

// SysctlsManage lets baton set ip_forward and net.ipv4.vs.* as the services
// need them; SysctlsLeave leaves them to the administrator.
const (
	SysctlsManage Sysctls = "manage"
	SysctlsLeave  Sysctls = "leave"
)
