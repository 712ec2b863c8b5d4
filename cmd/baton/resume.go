package main

import (
	"github.com/spf13/cobra"

	"baton/internal/api"
)

func newResumeCommand() *cobra.Command {
	return routerCommand(&cobra.Command{
		Use:   "resume {ROUTER | --all}",
		Short: "Take part again after a failover",
		Long:  "Let a router that stands back after \"baton failover\" take part in the election again, as configured.",
	}, (*api.Client).Resume, func(api.Status, string) string { return "takes part again" })
}
