package api

import (
	"context"
	"strings"
	"time"

	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/discovery"
	"baton/internal/pool"
	"baton/internal/speaker"
)

// Engine is the daemon as the API sees it. All methods are safe for concurrent
// use.
type Engine interface {
	// Snapshot returns the present state. It does not wait for anything.
	Snapshot() Snapshot
	// Past returns what is remembered of a check's results, the oldest first.
	Past(id pool.CheckID) []check.Streak
	// Override does what an operator wants of a server and returns when the kernel
	// has been told. *[NotSavedError]: nothing has changed.
	Override(ctx context.Context, c OverrideCommand) (OverrideDone, error)
	// Reload reads the configuration again and applies it, and returns when that
	// is done. An invalid configuration, which changes nothing, is reported as
	// *[InvalidConfigError].
	Reload(ctx context.Context) (Reloaded, error)
	// Failover hands the addresses of a router to a peer and returns when the
	// peer has them, or why it has not; then nothing has changed.
	Failover(ctx context.Context, router string) error
	// Resume makes a router take part again after Failover.
	Resume(ctx context.Context, router string) error
}

// Snapshot is the state of the daemon at a moment. Nothing in it may be changed
// by its readers.
type Snapshot struct {
	Node     string // this director's name
	Version  string // of baton
	Config   ConfigStatus
	Routers  speaker.Status
	Balancer balancer.Status
	// Sources are those of the services that find servers outside of the
	// configuration, in its order.
	Sources []discovery.Status
	// Sync is the state of the connection synchronisation, by router; without those
	// that have none.
	Sync map[string]ConnectionSync
	// Absent are the overrides whose servers are in no service.
	Absent []Absent
	// Problems are those of the daemon itself, in words: no contact to the pulse
	// process, a restarted director. Those of routers and services are found by
	// [FromSnapshot].
	Problems []string
	// NotReady says what is still missing before this director can do its work;
	// empty: it is ready.
	NotReady []string
}

// Reloaded is the outcome of a successful reload.
type Reloaded struct {
	Hash    string    `json:"hash"`    // of the configuration now in force
	At      time.Time `json:"at"`      // when it came into force
	Changed bool      `json:"changed"` // false: the file says what was in force already
	Changes []string  `json:"changes"` // in words: "router web: added"
}

// InvalidConfigError says that the configuration was refused. What was in force
// before still is.
type InvalidConfigError struct {
	Path     string
	Mistakes []string // one line each, with file:line:column
}

// Error returns one line for each mistake.
func (e *InvalidConfigError) Error() string {
	if len(e.Mistakes) == 0 {
		return "the configuration " + e.Path + " is invalid"
	}
	return strings.Join(e.Mistakes, "\n")
}
