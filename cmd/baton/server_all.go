package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"baton/internal/api"
)

// A host often serves several services. With --all-services a command is for all
// servers at its address.

func addAllServices(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("all-services", false, "the servers of all services at the address, or of the name")
}

// overrideArgs checks the arguments, of which there is one less for all services.
func overrideArgs(all *bool, n int, patch func([]string) (api.ServerPatch, error)) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		want := n
		if *all {
			want--
		}
		if err := cobra.ExactArgs(want)(cmd, args); err != nil || patch == nil {
			return err
		}
		_, err := patch(args)
		return err
	}
}

// target is a server that a command is for.
type target struct{ service, address string }

// targets are the servers that the arguments name.
func targets(ctx context.Context, c *api.Client, args []string, all bool) ([]target, error) {
	if !all {
		return []target{{args[0], args[1]}}, nil
	}
	s, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	var out []target
	for _, svc := range s.Services {
		for _, srv := range svc.Servers {
			if srv.Address == args[0] || hostOf(srv.Address) == args[0] || srv.Name == args[0] {
				out = append(out, target{svc.Name, srv.Address})
			}
		}
	}
	for _, a := range s.Absent {
		if a.Server == args[0] || hostOf(a.Server) == args[0] {
			out = append(out, target{a.Service, a.Server})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no service has a server %q; \"baton status\" lists them", args[0])
	}
	return out, nil
}

// hostOf is the address of an address and port.
func hostOf(text string) string {
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		return ""
	}
	return at.Addr().String()
}

// overrideEach changes what is wanted of the servers that the arguments name. What
// fails for one does not keep the others from it.
func overrideEach(ctx context.Context, c *api.Client, args []string, all bool, p api.ServerPatch) (done []api.Overridden, err error) {
	list, err := targets(ctx, c, args, all)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, t := range list {
		out, err := c.Override(ctx, t.service, t.address, p)
		switch {
		case err == nil:
			done = append(done, out)
		case len(list) == 1 || errors.Is(err, api.ErrUnreachable):
			return done, err
		default:
			errs = append(errs, fmt.Errorf("service %s: %w", t.service, err))
		}
	}
	return done, errors.Join(errs...)
}

// offerTargets completes a service and one of its servers, or a host.
func offerTargets(dial func() *api.Client, all *bool) completion {
	return complete(dial, func(s api.Status, args []string) []cobra.Completion {
		if !*all {
			return offerServers(s, args)
		}
		if len(args) > 0 {
			return nil
		}
		var out []cobra.Completion
		for _, svc := range s.Services {
			for _, srv := range svc.Servers {
				out = append(out, cobra.CompletionWithDesc(hostOf(srv.Address), cmp.Or(srv.Name, svc.Name)))
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	})
}
