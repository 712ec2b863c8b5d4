package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"baton/internal/ipvs"
	"baton/internal/ipvsadm"
)

func newIPVSListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [SERVICE]",
		Short: "List the virtual services with their servers",
		Long: "List the virtual services with their servers, as \"ipvsadm -Ln\" does.\n\n" +
			"With --json there are all settings, counters and rates, whatever the columns.",
	}
	thresholds := cmd.Flags().Bool("thresholds", false, "show the connection thresholds of the servers")
	persistent := cmd.Flags().Bool("persistent-conn", false, "show how many clients are bound to each server")
	tunnels := cmd.Flags().Bool("tun-info", false, "show the encapsulation of tunnels")
	cmd.MarkFlagsMutuallyExclusive("thresholds", "persistent-conn", "tun-info")
	list(cmd, func() ipvsadm.Listing {
		switch {
		case *thresholds:
			return ipvsadm.Listing{Style: ipvsadm.Thresholds}
		case *persistent:
			return ipvsadm.Listing{Style: ipvsadm.Persistence}
		case *tunnels:
			return ipvsadm.Listing{Style: ipvsadm.Tunnels}
		}
		return ipvsadm.Listing{}
	}, func() bool { return false })
	return cmd
}

func newIPVSStatsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats [SERVICE]",
		Short: "Show the counters of services and servers",
		Long: "Show the counters of services and servers since they were added or zeroed, as \"ipvsadm -Ln --stats\" does.\n" +
			"The kernel brings them up to date every two seconds.",
	}
	counters(cmd, ipvsadm.Stats)
	return cmd
}

func newIPVSRateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rate [SERVICE]",
		Short: "Show the rates of services and servers",
		Long:  "Show connections, packets and bytes per second of services and servers, as \"ipvsadm -Ln --rate\" does.",
	}
	counters(cmd, ipvsadm.Rate)
	return cmd
}

// counters completes a command that shows counters.
func counters(cmd *cobra.Command, style ipvsadm.Style) {
	exact := cmd.Flags().Bool("exact", false, "show large numbers in full, not as thousands (K), millions (M) and so on")
	total := cmd.Flags().Bool("total", false, "show the sum over all services, also of those since deleted")
	list(cmd, func() ipvsadm.Listing { return ipvsadm.Listing{Style: style, Exact: *exact} }, func() bool { return *total })
}

// list completes a command that shows the table, or one service of it.
func list(cmd *cobra.Command, style func() ipvsadm.Listing, total func() bool) {
	asJSON := addJSON(cmd)
	cmd.Args = cobra.MaximumNArgs(3)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		key, err := oneService(args)
		if err != nil {
			return err
		}
		l := style()
		err = withKernel(cmd.Context(), func(k *ipvs.Kernel) error {
			return read(cmd.Context(), k, &l)
		})
		if err == nil && len(args) > 0 {
			err = l.Only(key)
		}
		if err == nil && (total() || *asJSON) {
			var sum ipvs.Stats
			sum, err = ipvs.ReadTotals()
			l.Total = &sum
		}
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(cmd, l.Document())
		}
		if err := l.Write(cmd.OutOrStdout()); err != nil {
			return fmt.Errorf("write the output: %w", err)
		}
		return nil
	}
}

func read(ctx context.Context, k *ipvs.Kernel, l *ipvsadm.Listing) (err error) {
	info, err1 := k.Info(ctx)
	services, err2 := k.Dump(ctx)
	l.Info, l.Services = info, services
	return errors.Join(err1, err2)
}
