package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"

	"baton/internal/pool"
)

// batchSize is how many messages go to the kernel in one sendmsg. A batch of 256
// is at most 64 KiB, which a default socket's send buffer holds; larger ones
// gain nothing.
const batchSize = 256

// Write makes the changes in their order and returns one error per change, nil
// for each that was made. A failed change does not stop those after it. Each
// error is an [*OpError].
//
// The changes travel in batches: the kernel takes many messages from one
// sendmsg, handles one after the other and acknowledges each (netlink_rcv_skb).
// A change for which the kernel names a missing scheduler or persistence engine
// is made again after modprobe, where that is allowed.
func (k *Kernel) Write(ctx context.Context, ops []Op) []error {
	errs := make([]error, len(ops))
	all := make([]int, len(ops))
	for i := range all {
		all[i] = i
	}
	k.write(ctx, ops, all, errs)
	if again := k.provide(ctx, ops, errs); len(again) > 0 {
		k.write(ctx, ops, again, errs)
	}
	for i, err := range errs {
		if err != nil {
			errs[i] = &OpError{Op: ops[i], Err: err}
		}
	}
	return errs
}

// write makes the changes with the given indices and puts their outcome into
// errs. After an error of the connection the rest is not tried.
func (k *Kernel) write(ctx context.Context, ops []Op, indices []int, errs []error) {
	for batch := range slices.Chunk(indices, batchSize) {
		var unanswered []int
		err := k.with(ctx, func(c *conn) error {
			var err error
			unanswered, err = c.batch(ctx, ops, batch, errs)
			return err
		})
		if err == nil {
			continue
		}
		if unanswered == nil { // there was no connection to send it over
			unanswered = batch
		}
		for _, i := range unanswered {
			errs[i] = err
		}
		for _, i := range indices[slices.Index(indices, batch[0])+len(batch):] {
			errs[i] = fmt.Errorf("not tried: %w", err)
		}
		return
	}
}

// batch sends one batch and waits for all acknowledgements. It returns the
// indices of the changes that have none.
func (c *conn) batch(ctx context.Context, ops []Op, indices []int, errs []error) ([]int, error) {
	msgs := make([]netlink.Message, len(indices))
	for n, i := range indices {
		errs[i] = nil
		msgs[n] = c.message(ops[i])
	}
	if err := c.arm(ctx); err != nil {
		return indices, err
	}
	msgs, err := c.nl.SendMessages(msgs)
	if err != nil {
		return indices, err
	}
	waiting := make(map[uint32]int, len(msgs)) // sequence → index of the change
	for n, m := range msgs {
		waiting[m.Header.Sequence] = indices[n]
	}
	err = c.acknowledgements(ctx, waiting, errs)
	return slices.Collect(maps.Values(waiting)), err
}

// message packs a change for a batch: struct genlmsghdr {cmd, version u8; u16},
// then the attributes.
func (c *conn) message(op Op) netlink.Message {
	data := append([]byte{op.Kind.command(), familyVersion, 0, 0}, encodeOp(op)...)
	header := netlink.Header{Type: c.family, Flags: netlink.Request | netlink.Acknowledge}
	return netlink.Message{Header: header, Data: data}
}

// acknowledgements reads answers and takes their sequence numbers out of
// waiting, until it is empty. The numbers matter: mdlayher/netlink returns the
// error of a refused message alone, without the message.
func (c *conn) acknowledgements(ctx context.Context, waiting map[uint32]int, errs []error) error {
	// A new deadline: the kernel may have spent the old one inside sendmsg, on
	// loading scheduler modules.
	if err := c.arm(ctx); err != nil {
		return err
	}
	for len(waiting) > 0 {
		msgs, err := c.nl.Receive()
		if errno, ok := refusal(err); ok {
			var op *netlink.OpError
			errors.As(err, &op)
			if i, ok := waiting[op.Sequence]; ok {
				errs[i] = errno
				delete(waiting, op.Sequence)
			}
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range msgs {
			delete(waiting, m.Header.Sequence)
		}
	}
	return nil
}

// provide runs modprobe for schedulers and persistence engines that the kernel
// says it does not have, and returns the indices of the changes to make again:
// all that failed in the services concerned.
//
// The kernel tries the same by itself (request_module in ip_vs_scheduler_get),
// through the program in /proc/sys/kernel/modprobe, which may be unset.
func (k *Kernel) provide(ctx context.Context, ops []Op, errs []error) []int {
	loaded := make(map[pool.Key]bool)
	for i, op := range ops {
		if op.Kind.ofServer() || !errors.Is(errs[i], syscall.ENOENT) {
			continue
		}
		for _, module := range op.modules() {
			if k.modules.once(ctx, module) {
				loaded[op.Service.Key] = true
			}
		}
	}
	var again []int
	for i, op := range ops {
		if errs[i] != nil && loaded[op.Service.Key] {
			again = append(again, i)
		}
	}
	return again
}

// modules names the kernel modules that the settings of the op's service need
// beside ip_vs.
func (o Op) modules() []string {
	m := []string{"ip_vs_" + o.Service.Scheduler}
	if o.Service.PersistenceEngine != "" {
		m = append(m, "ip_vs_pe_"+o.Service.PersistenceEngine)
	}
	return m
}
