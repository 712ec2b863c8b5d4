package speaker

import (
	"context"

	"baton/internal/network"
)

// Kernel changes are made by one goroutine for all routers: the kernel does them
// one after the other anyway, and each needs a large stack. What changes an owner
// goes before mere renewals of leases.
type kernel struct {
	urgent, renewals chan change
}

// change is one owner's new state.
type change struct {
	ctx   context.Context
	owner string
	state network.State
	done  chan<- error
}

func newKernel() kernel {
	return kernel{urgent: make(chan change), renewals: make(chan change)}
}

// run makes changes until stop is closed.
func (k kernel) run(n Network, stop <-chan struct{}) {
	for {
		var c change
		select {
		case c = <-k.urgent:
		default:
			select {
			case c = <-k.urgent:
			case c = <-k.renewals:
			case <-stop:
				return
			}
		}
		c.done <- n.Set(c.ctx, c.owner, c.state)
	}
}

// set makes a change and waits for it.
func (k kernel) set(ctx context.Context, owner string, state network.State, renewal bool) error {
	done := make(chan error, 1)
	queue := k.urgent
	if renewal {
		queue = k.renewals
	}
	select {
	case queue <- change{ctx, owner, state, done}:
		return <-done
	case <-ctx.Done():
		return ctx.Err()
	}
}
