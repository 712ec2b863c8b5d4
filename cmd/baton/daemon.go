package main

import (
	"cmp"
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"baton/internal/api"
)

// socketVariable names the socket where --socket is not given.
const socketVariable = "BATON_SOCKET"

// addSocket adds the flag --socket and returns what connects to the daemon.
func addSocket(cmd *cobra.Command) func() *api.Client {
	socket := cmd.PersistentFlags().String("socket", "",
		"unix socket of the daemon (default $"+socketVariable+" or "+api.DefaultSocket+")")
	return func() *api.Client {
		return api.Dial(cmp.Or(*socket, os.Getenv(socketVariable), api.DefaultSocket))
	}
}

// completion offers values for the arguments so far.
type completion func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective)

// complete makes a completion from the status of the daemon. Without a daemon
// there is nothing to offer.
func complete(dial func() *api.Client, offer func(s api.Status, args []string) []cobra.Completion) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		s, err := dial().Status(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offer(s, args), cobra.ShellCompDirectiveNoFileComp
	}
}

func offerRouters(s api.Status, args []string) (out []cobra.Completion) {
	if len(args) > 0 {
		return nil
	}
	for _, r := range s.Routers {
		out = append(out, cobra.CompletionWithDesc(r.Name, r.State))
	}
	return out
}

func offerServices(s api.Status, args []string) (out []cobra.Completion) {
	if len(args) > 0 {
		return nil
	}
	for _, svc := range s.Services {
		out = append(out, cobra.CompletionWithDesc(svc.Name, svc.Address))
	}
	return out
}

// offerServers offers a service, then one of its servers.
func offerServers(s api.Status, args []string) (out []cobra.Completion) {
	if len(args) == 0 {
		return offerServices(s, args)
	}
	for _, svc := range s.Services {
		if len(args) > 1 || svc.Name != args[0] {
			continue
		}
		for _, srv := range svc.Servers {
			out = append(out, cobra.CompletionWithDesc(srv.Address, srv.State))
		}
	}
	return out
}
