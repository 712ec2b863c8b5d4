package balancer

import (
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

// Spec is everything the balancer needs to know.
type Spec struct {
	Services []pool.Service
	Jobs     map[pool.CheckID]check.Job // every check that a service names

	Resync        time.Duration // compare with the kernel this often; at least 100 ms
	RemoveForeign bool          // remove services in the kernel that the spec does not name
	Withdraw      bool          // remove the services at a planned stop
	Cold          bool          // only services whose router has its addresses here, and those without one
	Timeouts      Timeouts
}

// Timeouts are the kernel's idle timeouts of connections, whole seconds; zero
// leaves the kernel's as it is.
type Timeouts struct{ TCP, TCPFin, UDP time.Duration }
