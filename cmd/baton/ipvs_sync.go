package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"baton/internal/api"
	"baton/internal/ipvs"
	"baton/internal/ipvsadm"
)

func newIPVSSyncCommand(dial func() *api.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Show, start and stop the connection sync daemons",
		Long: "Show the kernel's connection sync daemons, as \"ipvsadm -L --daemon\" does.\n\n" +
			"A master tells other directors of this one's connections, a backup takes over what a master tells;\n" +
			"both may run at a time.",
		Args: cobra.NoArgs,
	}
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var daemons []ipvs.SyncDaemon
		err := withKernel(cmd.Context(), func(k *ipvs.Kernel) (err error) {
			daemons, err = k.SyncDaemons(cmd.Context())
			return err
		})
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(cmd, ipvsadm.DaemonDocuments(daemons))
		}
		return printText(cmd, ipvsadm.DaemonText(daemons))
	}
	cmd.AddCommand(newIPVSSyncStartCommand(dial), newIPVSSyncStopCommand(dial))
	return cmd
}

func newIPVSSyncStartCommand(dial func() *api.Client) *cobra.Command {
	cmd := syncCommand("start", "Start a connection sync daemon")
	d := ipvsadm.DaemonFlags{}
	flags := cmd.Flags()
	flags.StringVar(&d.Interface, "interface", "", "interface that messages are sent and heard on (required)")
	flags.Uint8Var(&d.ID, "id", 0, "a backup takes messages with this id only, with 0 all (required)")
	flags.StringVar(&d.Group, "group", "", "multicast group (default 224.0.0.81)")
	flags.Uint16Var(&d.Port, "port", 0, "UDP port (default 8848)")
	flags.Uint8Var(&d.TTL, "ttl", 0, "time to live of messages (default 1)")
	flags.Uint16Var(&d.MaxLen, "max-length", 0, "bytes of a message (default: by the interface)")
	_ = cmd.MarkFlagRequired("interface") // fails for an unknown flag only
	_ = cmd.MarkFlagRequired("id")
	return changeSync(cmd, dial, func(ctx context.Context, k *ipvs.Kernel, role ipvs.SyncRole) error {
		want, err := d.Daemon(role)
		if err != nil {
			return exitError{exitUsage, err}
		}
		return k.StartSync(ctx, want)
	})
}

func newIPVSSyncStopCommand(dial func() *api.Client) *cobra.Command {
	return changeSync(syncCommand("stop", "Stop a connection sync daemon"), dial,
		func(ctx context.Context, k *ipvs.Kernel, role ipvs.SyncRole) error {
			stopped, err := k.StopSync(ctx, role)
			if err == nil && !stopped {
				err = fmt.Errorf("there is no connection sync %s to stop", role)
			}
			return err
		})
}

func syncCommand(name, short string) *cobra.Command {
	return &cobra.Command{
		Use:       name + " {master | backup}",
		Short:     short,
		ValidArgs: []cobra.Completion{"master", "backup"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
	}
}

// changeSync completes a command that starts or stops a daemon.
func changeSync(cmd *cobra.Command, dial func() *api.Client, do func(context.Context, *ipvs.Kernel, ipvs.SyncRole) error) *cobra.Command {
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		role := ipvs.SyncMaster
		if strings.Join(args, "") == ipvs.SyncBackup.String() {
			role = ipvs.SyncBackup
		}
		var now []ipvs.SyncDaemon
		err := withKernel(cmd.Context(), func(k *ipvs.Kernel) (err error) {
			if err := do(cmd.Context(), k, role); err != nil {
				return err
			}
			now, err = k.SyncDaemons(cmd.Context())
			return err
		})
		if err != nil {
			return err
		}
		notice(cmd, dial, api.Status.UndoesSync)
		if *asJSON {
			return printJSON(cmd, ipvsadm.DaemonDocuments(now))
		}
		return nil
	}
	return cmd
}
