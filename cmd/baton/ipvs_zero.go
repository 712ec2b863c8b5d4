package main

import (
	"github.com/spf13/cobra"

	"baton/internal/ipvs"
)

func newIPVSZeroCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "zero [SERVICE]",
		Short: "Set counters to zero",
		Long: "Set the counters of a service and its servers to zero, or those of all services and the total.\n\n" +
			"The metrics of a daemon that runs are these counters: a scraper takes it for a restart.",
		Args: cobra.MaximumNArgs(3),
	}
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		key, err := oneService(args)
		if err != nil {
			return err
		}
		err = withKernel(cmd.Context(), func(k *ipvs.Kernel) error { return k.Zero(cmd.Context(), key) })
		if err != nil || !*asJSON {
			return err
		}
		doc := zeroed{Service: "all"}
		if len(args) > 0 {
			doc.Service = key.String()
		}
		return printJSON(cmd, doc)
	}
	return cmd
}

// zeroed is the document of "baton ipvs zero --json".
type zeroed struct {
	Service string `json:"service"` // or "all"
}
