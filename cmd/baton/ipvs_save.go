package main

import (
	"strings"

	"github.com/spf13/cobra"

	"baton/internal/ipvs"
	"baton/internal/ipvsadm"
)

func newIPVSSaveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save",
		Short: "Print the table as rules",
		Long: "Print the table as rules, which \"baton ipvs restore\" and \"ipvsadm -R\" read. They are those of \"ipvsadm -Sn\"\n" +
			"and more: the connection thresholds (-x, -y), which it loses.\n\n" +
			"A service that rules cannot express is named on standard error, and the exit code is 1.",
		Args: cobra.NoArgs,
	}
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var services []ipvs.Service
		err := withKernel(cmd.Context(), func(k *ipvs.Kernel) (err error) {
			services, err = k.Dump(cmd.Context())
			return err
		})
		if err != nil {
			return err
		}
		lines, lost := ipvsadm.Save(services)
		if *asJSON {
			err = printJSON(cmd, saved{Rules: lines})
		} else {
			err = printText(cmd, strings.Join(append(lines, ""), "\n"))
		}
		if err != nil {
			return err
		}
		for _, e := range lost {
			cmd.PrintErrln("baton:", e)
		}
		if len(lost) > 0 {
			return exitError{code: exitFailed}
		}
		return nil
	}
	return cmd
}

// saved is the document of "baton ipvs save --json".
type saved struct {
	Rules []string `json:"rules"`
}
