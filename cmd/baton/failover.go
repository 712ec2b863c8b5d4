package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"baton/internal/api"
)

func newFailoverCommand() *cobra.Command {
	return routerCommand(&cobra.Command{
		Use:   "failover {ROUTER | --all}",
		Short: "Hand the addresses to the peer without loss, and stand back",
		Long: "Hand the addresses of a router to the peer without loss, and stand back: the router takes over again\n" +
			"only when nobody else is left, or after \"baton resume\".\n\n" +
			"The addresses are kept until the peer has taken over. If nobody does, everything stays as it was.",
	}, (*api.Client).Failover, func(s api.Status, router string) string {
		for _, r := range s.Routers {
			if r.Name == router && r.State == "backup" && r.Owner != "" {
				return fmt.Sprintf("stands back; %s is master", r.Owner)
			}
		}
		return "stands back"
	})
}

// routerCommand completes a command that is for one router or for all.
func routerCommand(cmd *cobra.Command,
	do func(*api.Client, context.Context, api.RouterCommand) (api.Outcomes, error),
	done func(s api.Status, router string) string,
) *cobra.Command {
	dial, asJSON := addSocket(cmd), addJSON(cmd)
	all := cmd.Flags().Bool("all", false, "all routers")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if (len(args) == 1) == *all || len(args) > 1 {
			return errors.New("name one router, or say --all")
		}
		return nil
	}
	cmd.ValidArgsFunction = complete(dial, offerRouters)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := dial()
		defer c.Close()
		out, err := do(c, cmd.Context(), api.RouterCommand{Router: strings.Join(args, ""), All: *all})
		var problem *api.Problem
		if errors.As(err, &problem) {
			out.Routers = problem.Routers
		}
		if *asJSON && len(out.Routers) > 0 {
			return errors.Join(printJSON(cmd, out), err)
		}
		return errors.Join(printOutcomes(cmd, c, out, done), err)
	}
	return cmd
}

// printOutcomes says what became of each router. The reason why a single one
// failed is in the error.
func printOutcomes(cmd *cobra.Command, c *api.Client, out api.Outcomes, done func(api.Status, string) string) error {
	s, err := c.Status(cmd.Context())
	if err != nil {
		s = api.Status{} // the command itself was carried out: say so without details
	}
	for _, o := range out.Routers {
		text := o.Error
		if text == "" {
			text = done(s, o.Router)
		} else if len(out.Routers) == 1 {
			continue
		}
		if err := printText(cmd, fmt.Sprintf("router %s: %s\n", o.Router, strings.TrimPrefix(text, "router "+o.Router+": "))); err != nil {
			return err
		}
	}
	return nil
}
