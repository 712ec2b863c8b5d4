package ipvs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"

	"baton/internal/pool"
)

// Dump reads all services with their servers and counters, sorted by key.
//
// The kernel lists servers only one service at a time (ip_vs_genl_dump_dests),
// so this makes one exchange more than there are services. Another program that
// changes the table meanwhile may make an entry be missed; one that is listed
// twice is returned once.
func (k *Kernel) Dump(ctx context.Context) ([]Service, error) {
	var list []Service
	err := k.retrying(ctx, func(c *conn) (err error) {
		k.memory = memory{} // which has everything read
		list, err = k.sample(ctx, c, time.Time{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the kernel's virtual server table: %w", err)
	}
	return list, nil
}

// services reads the services without their servers.
func (c *conn) services(ctx context.Context) ([]Service, error) {
	answers, err := c.ask(ctx, cmdGetService, netlink.Dump, nil)
	if err != nil {
		return nil, err
	}
	list := make([]Service, 0, len(answers))
	for _, a := range answers {
		s, err := decodeService(a.Data)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return sortedOnce(list, func(a, b Service) int { return a.Key().Compare(b.Key()) }), nil
}

// servers reads the servers of one service. A service that is gone meanwhile has
// none: the kernel ends the dump without an error then.
func (c *conn) servers(ctx context.Context, k pool.Key) ([]Server, error) {
	answers, err := c.ask(ctx, cmdGetDest, netlink.Dump, encodeService(k))
	if err != nil {
		return nil, err
	}
	list := make([]Server, 0, len(answers))
	for _, a := range answers {
		s, err := decodeServer(a.Data, k.IPv6)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return sortedOnce(list, func(a, b Server) int { return a.Compare(b.RealServer) }), nil
}

// sortedOnce sorts the list and leaves of equal elements the last.
func sortedOnce[T any](list []T, cmp func(a, b T) int) []T {
	slices.SortStableFunc(list, cmp)
	out := list[:0]
	for i, v := range list {
		if i+1 == len(list) || cmp(v, list[i+1]) != 0 {
			out = append(out, v)
		}
	}
	return out
}
