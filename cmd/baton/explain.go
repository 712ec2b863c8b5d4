package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"baton/internal/api"
)

func newExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say in words why something is in its state",
		Args: func(*cobra.Command, []string) error {
			return errors.New("say what to explain: router NAME, service NAME, or server SERVICE ADDRESS")
		},
		RunE: func(*cobra.Command, []string) error { return nil }, // never reached: Args
	}
	dial := addSocket(cmd)
	cmd.AddCommand(
		explain(dial, "router NAME", "Say why a router is in its state, and what would change it", 1, offerRouters,
			func(ctx context.Context, c *api.Client, args []string) (api.Explanation, error) {
				return c.ExplainRouter(ctx, args[0])
			}),
		explain(dial, "service NAME", "Say why a service is up or down, and what would change it", 1, offerServices,
			func(ctx context.Context, c *api.Client, args []string) (api.Explanation, error) {
				return c.ExplainService(ctx, args[0])
			}),
		explain(dial, "server SERVICE ADDRESS", "Say why a server gets connections or not; ADDRESS may also be its name", 2, offerServers,
			func(ctx context.Context, c *api.Client, args []string) (api.Explanation, error) {
				return c.ExplainServer(ctx, args[0], args[1])
			}),
	)
	return cmd
}

func explain(dial func() *api.Client, use, short string, args int,
	offer func(api.Status, []string) []cobra.Completion,
	ask func(context.Context, *api.Client, []string) (api.Explanation, error),
) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args:              cobra.ExactArgs(args),
		ValidArgsFunction: complete(dial, offer),
	}
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := dial()
		defer c.Close()
		doc, err := ask(cmd.Context(), c, args)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd, doc)
		}
		return printText(cmd, strings.Join(doc.Lines, "\n")+"\n")
	}
	return cmd
}
