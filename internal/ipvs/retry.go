package ipvs

import (
	"net/netip"
	"time"

	"baton/internal/pool"
)

// A change that the kernel refused is made again after retryFirst, then after
// twice as long each time, up to retryLast.
const (
	retryFirst = time.Second
	retryLast  = 30 * time.Second
)

// retries remembers the changes that the kernel refused, one per service and one
// per server. What is held back is the change, not the object: a different
// change to the same object, and all other changes to the same service, are made
// at once.
type retries map[object]*attempt

// object is a service, or with a valid address one of its servers.
type object struct {
	key    pool.Key
	server netip.AddrPort
}

func (o Op) object() object {
	if o.Kind.ofServer() {
		return object{o.Service.Key, o.Server.AddrPort()}
	}
	return object{key: o.Service.Key}
}

// attempt is a refused change.
type attempt struct {
	op       Op
	err      error
	failures int
	after    time.Time // when to make it again
	due      bool      // it is still wanted, see forgetOthers
}

// held returns the error of the last attempt while it is too early for another,
// and nil when the change may be made.
func (r retries) held(op Op, now time.Time) error {
	a := r[op.object()]
	if a == nil || !a.op.equal(op) {
		return nil
	}
	a.due = true
	if now.Before(a.after) {
		return a.err
	}
	return nil
}

// refused notes that the kernel refused the change.
func (r retries) refused(op Op, err error, now time.Time) {
	a := r[op.object()]
	if a == nil || !a.op.equal(op) {
		a = &attempt{op: op}
		r[op.object()] = a
	}
	wait := retryLast
	if a.failures < 5 {
		wait = min(retryFirst<<a.failures, retryLast)
	}
	a.failures++
	a.err, a.after, a.due = err, now.Add(wait), true
}

// made notes that the change was made.
func (r retries) made(op Op) { delete(r, op.object()) }

// forgetOthers drops what no pass has asked for since the last call.
func (r retries) forgetOthers() {
	for o, a := range r {
		if !a.due {
			delete(r, o)
		}
		a.due = false
	}
}
