package track

import (
	"math"
	"net/netip"
	"time"

	"baton/internal/check"
)

// Object is something that a router tracks. Exactly one of the kinds is set.
type Object struct {
	Router string // whose priority depends on it
	Name   string // unique within the router
	// Weight is added to the priority while the object is up where it is positive,
	// and while it is down where it is negative. 0: while it is down the router is
	// in fault. For a file see [File].
	Weight int

	// Interval is the time from start to start of a script or ping, and between
	// two looks at the processes; 1s where 0. A file is looked at again after it
	// although nothing was heard of it; 5s where 0.
	Interval time.Duration
	Timeout  time.Duration // of a script or ping; the interval where 0
	// Rise and Fall are how many results in a row make a script or ping up, or
	// down; 1 where 0. The first result of all decides at once.
	Rise, Fall int

	Script  *Script
	Ping    *Ping
	File    *File
	Process *Process
	Service *Service
}

// Script is a program that exits with status 0 while all is well; see
// [check.Exec]. Nothing is replaced in its arguments.
type Script struct {
	Command []string
	User    string // runs with this account's rights; default: our own
}

// Ping is a host that answers echo requests.
type Ping struct {
	Address netip.Addr
}

// File is a file that holds a number; see [check.ReadNumber]. It counts as
// keepalived's track_file does: the number times the weight is added to the
// priority, within ±253; with weight 0 any other number than 0 puts the router
// in fault. A file that is missing, unreadable or without a number counts as 0.
type File struct {
	Path string // absolute
}

// Process is a program that runs. A name without a slash is the kernel's for the
// process (comm; cut to 15 bytes). One with a slash is the path of the
// executable, or of a script.
//
// Processes in containers count, too, where they are in /proc here. Where /proc
// hides those of other users (hidepid), they are not found.
type Process struct {
	Name string
}

// Service is an IPVS service that has its quorum, as [Tracker.Service] says.
type Service struct {
	Name string
}

type sourceKind uint8

const (
	ofCheck sourceKind = iota + 1 // script or ping
	ofFile
	ofProcess
	ofService
)

// source is what is watched on behalf of one or more objects.
type source struct {
	kind sourceKind
	id   string // the job's, the path or the name
}

// observation is what is known of a source. The zero value: nothing yet.
type observation struct {
	known  bool
	up     bool
	number int64 // in a file
	detail string
}

const (
	defaultInterval = time.Second
	defaultReread   = 5 * time.Second
	// maxWeight bounds what a file does to a priority (1 to 254).
	maxWeight = 253
)

// source returns what has to be watched for the object.
func (o Object) source() source {
	switch {
	case o.Script != nil, o.Ping != nil:
		return source{ofCheck, o.job().ID()}
	case o.File != nil:
		return source{ofFile, o.File.Path}
	case o.Process != nil:
		return source{ofProcess, o.Process.Name}
	case o.Service != nil:
		return source{ofService, o.Service.Name}
	}
	return source{}
}

// job returns the probe of a script or ping.
func (o Object) job() *check.Job {
	j := &check.Job{
		Spec:     check.Spec{Timeout: o.Timeout},
		Schedule: check.Schedule{Interval: o.interval(defaultInterval), Rise: max(o.Rise, 1), Fall: max(o.Fall, 1)},
	}
	if j.Spec.Timeout <= 0 {
		j.Spec.Timeout = j.Schedule.Interval
	}
	if o.Script != nil {
		j.Spec.Exec = &check.Exec{Command: o.Script.Command, User: o.Script.User}
	} else {
		j.Spec.Ping = &check.Ping{}
		j.Spec.Target = netip.AddrPortFrom(o.Ping.Address, 0)
	}
	return j
}

func (o Object) interval(fallback time.Duration) time.Duration {
	if o.Interval > 0 {
		return o.Interval
	}
	return fallback
}

// state makes of what is known what it means for the router.
func (o Object) state(seen observation) State {
	s := State{Name: o.Name, Known: seen.known, Up: seen.up, Detail: seen.detail}
	switch {
	case !seen.known:
		return State{Name: o.Name, Detail: "there is no result yet"}
	case o.File != nil:
		s.Up = o.Weight != 0 || seen.number == 0
		s.Weight = times(seen.number, o.Weight)
	case o.Weight > 0 && s.Up, o.Weight < 0 && !s.Up:
		s.Weight = o.Weight
	}
	return s
}

// times multiplies within ±maxWeight.
func times(number int64, weight int) int {
	product := float64(number) * float64(weight) // exact wherever it is not cut
	return int(math.Max(-maxWeight, math.Min(maxWeight, product)))
}

// State is what a tracked object means for its router.
type State struct {
	Name   string // the object's
	Known  bool   // false: there is no result yet
	Up     bool
	Weight int    // what it adds to the priority just now
	Detail string // one sentence: why it came to be so
	Since  time.Time
}

// same reports whether two states mean the same for the router.
func (s State) same(t State) bool {
	return s.Name == t.Name && s.Known == t.Known && s.Up == t.Up && s.Weight == t.Weight
}
