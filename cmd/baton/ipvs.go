package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"baton/internal/api"
	"baton/internal/ipvs"
	"baton/internal/ipvsadm"
	"baton/internal/pool"
)

func newIPVSCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ipvs",
		Short: "Show and change the kernel's IPVS",
		Long: "Show and change the kernel's IPVS, as ipvsadm does and in its columns.\n\n" +
			"These commands speak to the kernel, in the network namespace that they run in, and need no daemon;\n" +
			"all but \"connections\" need root or CAP_NET_ADMIN. Where a daemon that runs would undo a change,\n" +
			"they say so on standard error.\n\n" +
			"SERVICE is a protocol with an address and a port, such as \"tcp 10.0.0.100:80\" or \"udp [2001:db8::1]:53\",\n" +
			"or \"fwmark 7\", and \"fwmark 7 inet6\" for IPv6; without a protocol it is TCP.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	dial := addSocket(cmd)
	cmd.AddCommand(
		newIPVSListCommand(), newIPVSStatsCommand(), newIPVSRateCommand(), newIPVSConnectionsCommand(),
		newIPVSSaveCommand(), newIPVSRestoreCommand(dial), newIPVSZeroCommand(),
		newIPVSTimeoutsCommand(dial), newIPVSSyncCommand(dial),
	)
	return cmd
}

// withKernel calls f with the kernel's table.
func withKernel(ctx context.Context, f func(*ipvs.Kernel) error) error {
	k, err := ipvs.Open(ctx, ipvs.Options{})
	if err != nil {
		return err
	}
	defer k.Close() //nolint:errcheck // nothing is lost with the socket
	return f(k)
}

// notice says on standard error what a daemon that runs would undo. Without a
// daemon there is nothing to say.
func notice(cmd *cobra.Command, dial func() *api.Client, undoes func(api.Status) []string) {
	c := dial()
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	s, err := c.Status(ctx)
	if err != nil {
		return
	}
	for _, note := range undoes(s) {
		cmd.PrintErrln("note:", note)
	}
}

// oneService reads the arguments that name a service; none is the zero key.
func oneService(args []string) (key pool.Key, err error) {
	if len(args) == 0 {
		return key, nil
	}
	if key, err = ipvsadm.ParseKey(strings.Join(args, " ")); err != nil {
		return key, exitError{exitUsage, err}
	}
	return key, nil
}

// usageError is an error of the usage of a command.
func usageError(format string, args ...any) error {
	return exitError{exitUsage, fmt.Errorf(format, args...)}
}
