package main

import (
	"github.com/spf13/cobra"

	"baton/internal/api"
	"baton/internal/ipvs"
	"baton/internal/ipvsadm"
)

func newIPVSTimeoutsCommand(dial func() *api.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "timeouts",
		Short: "Show or set how long idle connections are kept",
		Long: "Show how long the kernel keeps an idle connection, in seconds and as \"ipvsadm -L --timeout\" does, or set it.\n" +
			"What is not named stays as it is.",
		Args: cobra.NoArgs,
	}
	var want ipvs.Timeouts
	flags := cmd.Flags()
	flags.DurationVar(&want.TCP, "tcp", 0, "set it for TCP connections, in whole seconds, such as 15m")
	flags.DurationVar(&want.TCPFin, "tcp-fin", 0, "set it for TCP connections after a FIN")
	flags.DurationVar(&want.UDP, "udp", 0, "set it for UDP")
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range []string{"tcp", "tcp-fin", "udp"} {
			if f := flags.Lookup(name); f.Changed && f.Value.String() == "0s" {
				return usageError("--%s 0s: a connection without a timeout is not possible", name)
			}
		}
		var now ipvs.Timeouts
		err := withKernel(cmd.Context(), func(k *ipvs.Kernel) (err error) {
			if want != (ipvs.Timeouts{}) {
				if err := k.SetTimeouts(cmd.Context(), want); err != nil {
					return err
				}
			}
			now, err = k.Timeouts(cmd.Context())
			return err
		})
		if err != nil {
			return err
		}
		if want != (ipvs.Timeouts{}) {
			notice(cmd, dial, api.Status.UndoesTimeouts)
		}
		if *asJSON {
			return printJSON(cmd, ipvsadm.TimeoutsDocumentOf(now))
		}
		return printText(cmd, ipvsadm.TimeoutsText(now))
	}
	return cmd
}
