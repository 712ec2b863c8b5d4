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
// sendmsg, handles one after the other and answers those that it refuses or that
// ask for an answer (netlink_rcv_skb). Only the last one of a batch asks: with its
// answer the fate of all is known. A change for which the kernel names a missing scheduler or persistence engine
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
			k.memory.forget(ops, batch)
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

// batch sends one batch and waits for the answers. It returns the indices of the
// changes of which nobody knows what became of them.
func (c *conn) batch(ctx context.Context, ops []Op, indices []int, errs []error) ([]int, error) {
	msgs := make([]netlink.Message, len(indices))
	for n, i := range indices {
		errs[i] = nil
		msgs[n] = c.message(ops[i])
	}
	last := len(msgs) - 1
	msgs[last].Header.Flags |= netlink.Acknowledge
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
	if err := c.answers(ctx, waiting, msgs[last].Header.Sequence, errs); err != nil {
		return slices.Collect(maps.Values(waiting)), unknown(err)
	}
	return nil, nil
}

// unknown hides an error number of the socket: inside the error of a change it
// would be taken for the kernel's refusal.
func unknown(err error) error {
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return errors.New(err.Error())
	}
	return err
}

// message packs a change for a batch: struct genlmsghdr {cmd, version u8; u16},
// then the attributes.
func (c *conn) message(op Op) netlink.Message {
	data := make(writer, 4, 256)
	data[0], data[1] = op.Kind.command(), familyVersion
	data.op(op)
	return netlink.Message{Header: netlink.Header{Type: c.family, Flags: netlink.Request}, Data: data}
}

// answers reads the refusals of a batch until the last message is answered, and
// takes what was refused out of waiting. The kernel answers in the order of the
// messages; when it has no room for an answer it says so (ENOBUFS, in
// netlink_ack and netlink_overrun), and then nobody knows what became of those
// that are still waiting. The sequence numbers matter: mdlayher/netlink returns
// the error of a refused message alone, without the message.
func (c *conn) answers(ctx context.Context, waiting map[uint32]int, last uint32, errs []error) error {
	// A new deadline: the kernel may have spent the old one inside sendmsg, on
	// loading scheduler modules.
	if err := c.arm(ctx); err != nil {
		return err
	}
	for {
		msgs, err := c.nl.Receive()
		if errno, ok := refusal(err); ok {
			var op *netlink.OpError
			errors.As(err, &op)
			if i, ok := waiting[op.Sequence]; ok {
				errs[i] = errno
				delete(waiting, op.Sequence)
			}
			if op.Sequence == last {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range msgs {
			if m.Header.Sequence == last {
				return nil
			}
		}
	}
}

// provide runs modprobe for schedulers and persistence engines that the kernel
// says it does not have, and returns the indices of the changes to make again:
// all that failed in the services concerned.
//
// The kernel tries the same by itself (request_module in ip_vs_scheduler_get),
// through the program in /proc/sys/kernel/modprobe, which may be unset.
func (k *Kernel) provide(ctx context.Context, ops []Op, errs []error) []int {
	loaded := make(map[pool.Key]bool)
	fresh := make(map[string]bool) // modules loaded now, for all services that need them
	for i, op := range ops {
		if op.Kind.ofServer() || !errors.Is(errs[i], syscall.ENOENT) {
			continue
		}
		for _, module := range op.modules() {
			ok, err := k.modules.sometimes(ctx, module)
			fresh[module] = fresh[module] || ok
			if fresh[module] {
				loaded[op.Service.Key] = true
			} else if err != nil {
				errs[i] = fmt.Errorf("%w; %w", errs[i], err)
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
