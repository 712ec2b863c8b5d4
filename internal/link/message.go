package link

import (
	"log/slog"
	"time"

	"baton/internal/speaker"
)

// Version is the version of the messages. Both ends send it in their first
// message and part when it differs.
const Version = 2

// Message is one message; exactly one of the pointers is set.
type Message struct {
	// From both ends, first.
	Hello *Hello `json:"hello,omitempty"`

	// From the director.
	Configure *Configure `json:"configure,omitempty"`
	Command   *Command   `json:"command,omitempty"`
	Tracked   *Tracked   `json:"tracked,omitempty"`
	Synced    *Synced    `json:"synced,omitempty"`
	Ask       *Ask       `json:"ask,omitempty"`
	Reloaded  *Reloaded  `json:"reloaded,omitempty"`

	// From pulse.
	Status     *Status             `json:"status,omitempty"`
	Will       *speaker.Will       `json:"will,omitempty"`
	Transition *speaker.Transition `json:"transition,omitempty"`
	Notice     *speaker.Notice     `json:"notice,omitempty"`
	Reply      *Reply              `json:"reply,omitempty"`
	Order      Order               `json:"order,omitempty"`
}

// Hello opens the conversation.
type Hello struct {
	Version int `json:"version"`
	// Restarts is how many directors there were before this one (from pulse).
	Restarts int `json:"restarts"`
	// LastExit says how the one before ended, or is empty (from pulse).
	LastExit string `json:"last_exit,omitempty"`
}

// Configure gives pulse its routers. It is sent at the director's start and
// whenever they changed.
type Configure struct {
	Routers []speaker.Router    `json:"routers"`
	Groups  []speaker.SyncGroup `json:"groups,omitempty"`
	// LogLevel and LogFormat ("text" or "json") are for pulse's own log.
	LogLevel  slog.Level `json:"log_level"`
	LogFormat string     `json:"log_format"`
	// LastGood is the file that the next director of this pulse may fall back
	// on.
	LastGood string `json:"last_good"`
}

// Tracked gives pulse the state of all objects that a router tracks, other than
// interfaces.
type Tracked struct {
	Router string               `json:"router"`
	Tracks []speaker.TrackState `json:"tracks"`
}

// Ask asks pulse for a [Status] now.
type Ask struct{}

// Synced tells pulse that the connection table has caught up with the master's.
type Synced struct {
	Router string `json:"router"`
}

// Command asks pulse to do something for one router, and to [Reply].
type Command struct {
	ID     uint64 `json:"id"`
	Action Action `json:"action"`
	Router string `json:"router"`
}

// Action is what a [Command] asks for.
type Action string

// The actions.
const (
	Failover Action = "failover"
	Resume   Action = "resume"
)

// Reply answers the [Command] with that ID.
type Reply struct {
	ID    uint64 `json:"id"`
	Error string `json:"error,omitempty"`
}

// Reloaded tells pulse, and through it the service manager, that an
// [OrderReload] was carried out.
type Reloaded struct {
	Error string `json:"error,omitempty"`
}

// Status is the state of the routers at a time.
type Status struct {
	At      time.Time      `json:"at"`
	Routers speaker.Status `json:"routers"`
}

// Order is what pulse tells the director to do.
type Order string

// The orders.
const (
	OrderReload Order = "reload" // read the configuration again
	OrderDump   Order = "dump"   // write the whole state to the log
	OrderStop   Order = "stop"   // planned stop: the addresses are handed over already
)
