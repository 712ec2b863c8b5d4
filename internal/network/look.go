package network

import (
	"errors"
	"runtime"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// look is what the kernel had of ours when it was last asked, of one family. As
// with addresses (see view), each Set asks anew, unless that is costly: where we
// have many, or where others have, because the kernel walks all routes to find
// ours. A million of them take it some tenths of a second, which may be spent
// seldom only. Meanwhile Watch tells what others remove; without it, a look is good
// for one Set.
type look[T any] struct {
	at   time.Time
	took time.Duration // of processor time
	list []T
}

// looks are those of both families; the index is 1 for IPv6.
type looks[T any] [2]*look[T]

const (
	costly = time.Millisecond // a look that takes longer
	rarely = 100              // is good for this many times as long: it costs 1 % of the time
)

// refresh forgets what is too old to rely on.
func (l *looks[T]) refresh() {
	for i, k := range l {
		if k == nil {
			continue
		}
		good := time.Duration(0)
		if k.took > costly {
			good = rarely * k.took
		}
		if len(k.list) > crowded {
			good = max(good, moment)
		}
		if time.Since(k.at) > good {
			l[i] = nil
		}
	}
}

func ofFamily(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

func (l *looks[T]) has(v6 bool) bool { return l[ofFamily(v6)] != nil }

func (l *looks[T]) get(v6 bool, list func(v6 bool) ([]T, error)) (*look[T], error) {
	i := ofFamily(v6)
	if l[i] != nil {
		return l[i], nil
	}
	// The kernel makes a dump on the thread that asks for it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	at, began := time.Now(), threadTime()
	all, err := list(v6)
	if err != nil {
		return nil, err
	}
	l[i] = &look[T]{at: at, took: threadTime() - began, list: all}
	return l[i], nil
}

// threadTime is the processor time that the calling thread has used. What it
// waited for a busy machine is not in it.
func threadTime() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now) != nil {
		return 0 // and no look is costly
	}
	return time.Duration(now.Nano())
}

// routes lists the routes that carry our mark.
func (c *conn) routes(v6 bool) ([]kernelRoute, error) {
	head := &nl.RtMsg{RtMsg: unix.RtMsg{Family: familyOf(v6), Protocol: Protocol}}
	messages, err := c.dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, head)
	var out []kernelRoute
	for _, data := range messages {
		if k, ok := parseRoute(data); ok && k.protocol == Protocol && k.v6() == v6 {
			out = append(out, k)
		}
	}
	return out, noFamily(err)
}

// rules lists all rules of a family, anybody's.
func (c *conn) rules(v6 bool) ([]kernelRule, error) {
	head := &nl.RtMsg{RtMsg: unix.RtMsg{Family: familyOf(v6)}}
	messages, err := c.dump(unix.RTM_GETRULE, unix.RTM_NEWRULE, head)
	var out []kernelRule
	for _, data := range messages {
		if k, ok := parseRule(data); ok && k.IPv6 == v6 {
			out = append(out, k)
		}
	}
	return out, noFamily(err)
}

// noFamily: a kernel without IPv6, or without policy routing, has none.
func noFamily(err error) error {
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}
