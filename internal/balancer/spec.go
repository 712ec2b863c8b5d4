package balancer

import (
	"fmt"
	"reflect"
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

// Spec is everything the balancer needs to know.
type Spec struct {
	Services []pool.Service
	Jobs     map[pool.CheckID]*check.Job // every check that a service names; nobody may change them

	Resync        time.Duration // compare with the kernel this often; at least 100 ms
	RemoveForeign bool          // remove services in the kernel that the spec does not name
	Withdraw      bool          // remove the services at a planned stop
	Cold          bool          // only services whose router has its addresses here, and those without one
	Timeouts      Timeouts
	Marks         Marks `json:",omitzero"` // for jobs with a [check.Via]
}

// Reuse has the spec share with an earlier one what both have, so that it is in
// memory once.
func (s *Spec) Reuse(earlier Spec) {
	for id := range s.Jobs {
		if j := earlier.Jobs[id]; j != nil { // the same: one ID is one job
			s.Jobs[id] = j
		}
	}
	byName := make(map[string]*pool.Service, len(earlier.Services))
	for i := range earlier.Services {
		byName[earlier.Services[i].Name] = &earlier.Services[i]
	}
	for i := range s.Services {
		if was := byName[s.Services[i].Name]; was != nil && reflect.DeepEqual(*was, s.Services[i]) {
			s.Services[i] = *was
		}
	}
}

// Timeouts are the kernel's idle timeouts of connections, whole seconds; zero
// leaves the kernel's as it is.
type Timeouts struct{ TCP, TCPFin, UDP time.Duration }

// unlike says in words in which the kernel's timeouts are not as wanted.
func (t Timeouts) unlike(have Timeouts) (out []string) {
	for _, one := range []struct {
		name       string
		want, have time.Duration
	}{{"tcp", t.TCP, have.TCP}, {"tcp_fin", t.TCPFin, have.TCPFin}, {"udp", t.UDP, have.UDP}} {
		if one.want != 0 && one.want != one.have {
			out = append(out, fmt.Sprintf("%s %s, not %s", one.name, one.have, one.want))
		}
	}
	return out
}
