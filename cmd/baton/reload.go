package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newReloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Apply the configuration file",
		Long: "Make the daemon read its configuration again and apply what changed; what did not change is not touched.\n" +
			"An invalid configuration changes nothing. SIGHUP does the same, without an answer.",
		Args: cobra.NoArgs,
	}
	dial, asJSON := addSocket(cmd), addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := dial()
		defer c.Close()
		done, err := c.Reload(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd, done)
		}
		if !done.Changed {
			return printText(cmd, fmt.Sprintf("configuration %s is in force; nothing changed\n", done.Hash))
		}
		text := fmt.Sprintf("configuration %s is in force\n", done.Hash)
		if len(done.Changes) > 0 {
			text += "  " + strings.Join(done.Changes, "\n  ") + "\n"
		}
		return printText(cmd, text)
	}
	return cmd
}
