package ipvs

import (
	"context"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"

	"baton/internal/pool"
)

// Zero sets the counters of a service and of its servers to zero. With the zero
// key it does so for all services, and for the totals.
func (k *Kernel) Zero(ctx context.Context, service pool.Key) error {
	var attrs []byte
	what := "all services"
	if service != (pool.Key{}) {
		attrs, what = encodeService(service), service.String()
	}
	err := k.plain(ctx, cmdZero, attrs)
	if errno, _ := refusal(err); errno == syscall.ESRCH {
		return fmt.Errorf("zero the counters of %s: the kernel has no such service (%w)", what, errno)
	}
	if err != nil {
		return fmt.Errorf("zero the counters of %s: %w", what, err)
	}
	return nil
}

// Flush deletes all services, whoever made them.
func (k *Kernel) Flush(ctx context.Context) error {
	if err := k.plain(ctx, cmdFlush, nil); err != nil {
		return fmt.Errorf("clear the virtual server table: %w", err)
	}
	return nil
}

// plain sends a command that is answered by an acknowledgement only.
func (k *Kernel) plain(ctx context.Context, cmd uint8, attrs []byte) error {
	return k.retrying(ctx, func(c *conn) error {
		_, err := c.ask(ctx, cmd, netlink.Acknowledge, attrs)
		return err
	})
}
